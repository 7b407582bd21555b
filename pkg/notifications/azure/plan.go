package azure

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/eventgrid/armeventgrid/v2"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/notifications"
)

// maxPages bounds a list; a storage account has at most 500 event subscriptions.
const maxPages = 100

// Plan implements notifications.Provider.
func (c *Container) Plan(ctx context.Context, goal notifications.Goal) (notifications.Plan, error) {
	p, _, err := c.plan(ctx, goal)
	return p, err
}

// plan is Plan, with ours as it is; nil if it is not there.
func (c *Container) plan(ctx context.Context, goal notifications.Goal) (notifications.Plan, *armeventgrid.EventSubscriptionProperties, error) {
	var p notifications.Plan
	all, err := c.list(ctx)
	if err != nil {
		return p, nil, err
	}
	for _, s := range all {
		if strings.EqualFold(str(s.Name), c.cfg.ID) || s.Properties == nil {
			continue
		}
		e := describe(s.Properties)
		e.Name, e.State = str(s.Name), notifications.Foreign
		p.Entries = append(p.Entries, e)
		if goal == notifications.Install && c.same(e) {
			p.Findings = append(p.Findings, notifications.Finding{
				Level: notifications.Warning, About: "event subscription " + e.Name,
				Text: "somebody else's, to the same target: each change comes twice, which costs deliveries and is harmless (both have one id)",
				Mend: "if it was made by hand for this group, remove it",
			})
		}
	}
	ours, err := c.get(ctx)
	if err != nil {
		return p, nil, err
	}
	e := describe(c.fresh())
	e.Name = c.cfg.ID
	switch {
	case goal == notifications.Remove && ours == nil:
		return p, ours, nil
	case goal == notifications.Remove:
		e = describe(ours)
		e.Name, e.State, e.Action = c.cfg.ID, notifications.Surplus, notifications.RemoveEntry
	case ours == nil:
		e.State, e.Action = notifications.Missing, notifications.Add
		p.Findings = append(p.Findings, c.checkDocument()...)
	default:
		full, finding := c.full(ctx, ours)
		p.Findings = append(append(append(p.Findings, finding...), c.remarks(ours)...), c.checkDocument()...)
		e.State = notifications.Present
		if e.Differences = c.compare(ours, full); len(e.Differences) > 0 {
			e.State, e.Action = notifications.Different, notifications.Change
		}
	}
	p.Entries = append(p.Entries, e)
	return p, ours, nil
}

// same reports whether somebody else's subscription tells our target of our blobs.
func (c *Container) same(e notifications.Entry) bool {
	return strings.EqualFold(e.Target, c.cfg.Replica.Notifications.Target) &&
		(strings.HasPrefix(c.subject(), e.Prefix) || strings.HasPrefix(e.Prefix, c.subject()))
}

// checkDocument is about the document itself.
func (c *Container) checkDocument() []notifications.Finding {
	var found []notifications.Finding
	add := func(level notifications.Level, about, text, mend string) {
		found = append(found, notifications.Finding{Level: level, About: about, Text: text, Mend: mend})
	}
	n := c.cfg.Replica.Notifications
	if u, err := url.Parse(c.target.url); err == nil && c.target.url != "" && !strings.HasSuffix(u.Path, "/azure/"+c.cfg.Replica.Name) {
		add(notifications.Warning, "notifications.target", fmt.Sprintf("the path is %q, and the normalizer takes this replica's events at /azure/%s", u.Path, c.cfg.Replica.Name),
			"make it https://HOST/azure/"+c.cfg.Replica.Name)
	}
	switch {
	case n.Pull != "" && c.target.queue == "":
		add(notifications.Refused, "notifications.pull", "a queue is drained, and the target is a webhook: nothing would come to the queue",
			"make the target the queue's resource id, or remove pull")
	case n.Pull != "" && !isQueue(n.Pull, c.target.account, c.target.queue):
		add(notifications.Refused, "notifications.pull", fmt.Sprintf("%s is not the queue %s that is told", bare(n.Pull), n.Target), "make both the same queue")
	}
	if c.cfg.Replica.Prefix != "" {
		add(notifications.Advice, "the replica's prefix", "Event Grid tells of a rename (in an account with directories) under the new name: one that leads out of the prefix is not told",
			"the next scan finds it; a container without a prefix has no such gap")
	}
	return found
}

// isQueue reports whether a URL is that of a queue: https://ACCOUNT.queue.core.windows.net/QUEUE, or http://HOST/ACCOUNT/QUEUE.
func isQueue(pull, account, queue string) bool {
	u, err := url.Parse(pull)
	if err != nil {
		return false
	}
	account = account[strings.LastIndex(account, "/")+1:]
	first, _, _ := strings.Cut(u.Hostname(), ".")
	path := strings.Trim(u.Path, "/")
	return strings.EqualFold(first, account) && path == queue || path == account+"/"+queue
}

func (c *Container) list(ctx context.Context) ([]*armeventgrid.EventSubscription, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.OperationTimeout)
	defer cancel()
	pager := c.client.NewListByResourcePager(c.scope.ResourceGroupName, "Microsoft.Storage", "storageAccounts", c.scope.Name, nil)
	var all []*armeventgrid.EventSubscription
	for range maxPages {
		if !pager.More() {
			return all, nil
		}
		page, err := pager.NextPage(ctx)
		if err != nil {
			return nil, c.fail("list the event subscriptions of "+c.scope.Name, "Microsoft.EventGrid/eventSubscriptions/read", err)
		}
		all = append(all, page.Value...)
	}
	return nil, errkind.New(errkind.Unavailable, "list the event subscriptions of %s: more than %d pages", c.scope.Name, maxPages)
}

// get reads ours; nil if it is not there.
func (c *Container) get(ctx context.Context) (*armeventgrid.EventSubscriptionProperties, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.OperationTimeout)
	defer cancel()
	out, err := c.client.Get(ctx, c.scope.String(), c.cfg.ID, nil)
	if e, ok := errors.AsType[*azcore.ResponseError](err); ok && e.StatusCode == http.StatusNotFound {
		return nil, nil //nolint:nilnil // it is not there
	}
	if err != nil {
		return nil, c.fail("read the event subscription "+c.cfg.ID, "Microsoft.EventGrid/eventSubscriptions/read", err)
	}
	if out.Properties == nil {
		return &armeventgrid.EventSubscriptionProperties{}, nil
	}
	return out.Properties, nil
}

// full asks for the webhook's URL with its secret; "" if there is none, or it may not be asked for.
func (c *Container) full(ctx context.Context, ours *armeventgrid.EventSubscriptionProperties) (string, []notifications.Finding) {
	if _, ok := where(ours).(*armeventgrid.WebHookEventSubscriptionDestination); !ok || c.target.url == "" {
		return "", nil
	}
	ctx, cancel := context.WithTimeout(ctx, c.cfg.OperationTimeout)
	defer cancel()
	out, err := c.client.GetFullURL(ctx, c.scope.String(), c.cfg.ID, nil)
	if err != nil {
		return "", []notifications.Finding{{
			Level: notifications.Warning, About: "event subscription " + c.cfg.ID,
			Text: "whether its secret is that of the environment could not be seen: " + c.fail("ask for its URL", "Microsoft.EventGrid/eventSubscriptions/getFullUrl/action", err).Error(),
			Mend: "allow Microsoft.EventGrid/eventSubscriptions/getFullUrl/action",
		}}
	}
	return str(out.EndpointURL), nil
}

// Apply implements notifications.Provider.
func (c *Container) Apply(ctx context.Context, goal notifications.Goal) error {
	p, ours, err := c.plan(ctx, goal)
	if err != nil {
		return err
	}
	if f, refused := p.Refusal(); refused {
		return errkind.New(errkind.Invalid, "%s", f)
	}
	if p.Settled() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, c.cfg.OperationTimeout)
	defer cancel()
	if goal == notifications.Remove {
		poller, err := c.client.BeginDelete(ctx, c.scope.String(), c.cfg.ID, nil)
		if err == nil {
			err = wait(ctx, c, "remove", poller)
		}
		return c.fail("remove the event subscription "+c.cfg.ID, "Microsoft.EventGrid/eventSubscriptions/delete", err)
	}
	if ours == nil {
		ours = &armeventgrid.EventSubscriptionProperties{}
	}
	if err := complete(c.cfg.ID, ours); err != nil {
		return err
	}
	if err := c.secrets(ctx, ours); err != nil {
		return err
	}
	c.wanted(ours)
	ours.ProvisioningState, ours.Topic = nil, nil // Azure's
	poller, err := c.client.BeginCreateOrUpdate(ctx, c.scope.String(), c.cfg.ID, armeventgrid.EventSubscription{Properties: ours}, nil)
	if err == nil {
		err = wait(ctx, c, "make", poller)
	}
	return c.fail("write the event subscription "+c.cfg.ID, "Microsoft.EventGrid/eventSubscriptions/write", err)
}

// secrets fills in the delivery attributes that an operator set: Azure hides their values from who reads the rest.
func (c *Container) secrets(ctx context.Context, ours *armeventgrid.EventSubscriptionProperties) error {
	hook, ok := where(ours).(*armeventgrid.WebHookEventSubscriptionDestination)
	if !ok || hook.Properties == nil || len(hook.Properties.DeliveryAttributeMappings) == 0 {
		return nil
	}
	out, err := c.client.GetDeliveryAttributes(ctx, c.scope.String(), c.cfg.ID, nil)
	if err != nil {
		return c.fail("read the delivery attributes of "+c.cfg.ID+", which a write would lose", "Microsoft.EventGrid/eventSubscriptions/getDeliveryAttributes/action", err)
	}
	hook.Properties.DeliveryAttributeMappings = out.Value
	return nil
}

// operation is a poller of any result.
type operation interface {
	Poll(ctx context.Context) (*http.Response, error)
	Done() bool
}

// outcome is an operation that can tell how it ended.
type outcome[T any] interface {
	operation
	Result(ctx context.Context) (T, error)
}

// wait polls until an operation of Azure ends.
func wait[T any](ctx context.Context, c *Container, what string, op outcome[T]) error {
	began := time.Now()
	tick := time.NewTicker(c.cfg.PollEvery)
	defer tick.Stop()
	for !op.Done() {
		select {
		case <-ctx.Done():
			return errkind.New(errkind.Unavailable, "Azure is not ready after %s; it may end later: look with `bucketmesh notifications check` (%w)",
				time.Since(began).Round(time.Second), ctx.Err())
		case <-tick.C:
		}
		c.cfg.OnProgress(fmt.Sprintf("waiting for Event Grid to %s %s: %s", what, c.cfg.ID, time.Since(began).Round(time.Second)))
		if _, err := op.Poll(ctx); err != nil { //nolint:bodyclose // the SDK has read and closed it
			return err //nolint:wrapcheck // fail does
		}
	}
	_, err := op.Result(ctx)
	return err //nolint:wrapcheck // fail does
}
