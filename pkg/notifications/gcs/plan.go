package gcs

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"google.golang.org/api/googleapi"
	"google.golang.org/api/storage/v1"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/notifications"
)

// payload is the format in which a message carries the object's description.
const payload = "JSON_API_V1"

// events are all that there are; a replace is a FINALIZE of the new and a DELETE or an ARCHIVE of the old.
var events = []string{"OBJECT_FINALIZE", "OBJECT_DELETE", "OBJECT_ARCHIVE", "OBJECT_METADATA_UPDATE"}

// work is a plan with what it is about.
type work struct {
	plan   notifications.Plan
	add    bool
	remove []string // ids, after the addition
}

// Plan implements notifications.Provider.
func (b *Bucket) Plan(ctx context.Context, goal notifications.Goal) (notifications.Plan, error) {
	w, err := b.work(ctx, goal)
	if err != nil {
		return notifications.Plan{}, err
	}
	if goal == notifications.Install {
		w.plan.Findings = append(w.plan.Findings, b.checkSubscriptions(ctx)...)
	}
	return w.plan, nil
}

// work compares what is there with what is wanted.
func (b *Bucket) work(ctx context.Context, goal notifications.Goal) (*work, error) {
	ctx, cancel := context.WithTimeout(ctx, b.cfg.RequestTimeout)
	defer cancel()
	list, err := b.store.Notifications.List(b.cfg.Replica.Bucket).Context(ctx).Do()
	if err != nil {
		return nil, b.fail("list the notification configurations of the bucket "+b.cfg.Replica.Bucket, "storage.buckets.get", err)
	}
	w, want := &work{}, b.wanted()
	keep, old := b.ours(list.Items, want)
	for _, have := range list.Items {
		e := entry(have)
		switch {
		case have.CustomAttributes[Attribute] != b.cfg.ID:
			e.State = notifications.Foreign
			w.foreign(goal, have, want)
		case goal == notifications.Install && have.Id == keep:
			e.State = notifications.Present
		case goal == notifications.Install && keep == "" && have.Id == old:
			e = entry(want)
			e.Name, e.State, e.Action, e.Differences = have.Id, notifications.Different, notifications.Change, compare(have, want)
			w.remove = append(w.remove, have.Id)
		default:
			e.State, e.Action = notifications.Surplus, notifications.RemoveEntry
			w.remove = append(w.remove, have.Id)
		}
		w.plan.Entries = append(w.plan.Entries, e)
	}
	w.add = goal == notifications.Install && keep == ""
	if w.add && old == "" {
		e := entry(want)
		e.Name, e.State, e.Action = b.cfg.ID, notifications.Missing, notifications.Add
		w.plan.Entries = append(w.plan.Entries, e)
	}
	return w, nil
}

// ours finds the id of ours that is as it must be, and of the first of ours that is not; "" if there is none.
func (b *Bucket) ours(all []*storage.Notification, want *storage.Notification) (keep, old string) {
	for _, have := range all {
		switch {
		case have.CustomAttributes[Attribute] != b.cfg.ID:
		case keep == "" && len(compare(have, want)) == 0:
			keep = have.Id
		case old == "":
			old = have.Id
		}
	}
	return keep, old
}

// foreign is about somebody else's configuration that tells our topic, too.
func (w *work) foreign(goal notifications.Goal, have, want *storage.Notification) {
	overlap := strings.HasPrefix(have.ObjectNamePrefix, want.ObjectNamePrefix) || strings.HasPrefix(want.ObjectNamePrefix, have.ObjectNamePrefix)
	if goal == notifications.Remove || have.Topic != want.Topic || !overlap {
		return
	}
	f := notifications.Finding{
		Level: notifications.Warning, About: "notification configuration " + have.Id,
		Text: "somebody else's, to the same topic: each change comes twice, which costs messages and is harmless (both have one id)",
		Mend: "if it was made by hand for this group, remove it: gcloud storage buckets notifications delete",
	}
	w.plan.Findings = append(w.plan.Findings, f)
}

// wanted is the configuration that the document asks for.
func (b *Bucket) wanted() *storage.Notification {
	return &storage.Notification{
		Topic: b.topic, PayloadFormat: payload, EventTypes: events, ObjectNamePrefix: b.cfg.Replica.Prefix,
		CustomAttributes: map[string]string{Attribute: b.cfg.ID},
	}
}

func entry(n *storage.Notification) notifications.Entry {
	types := n.EventTypes
	if len(types) == 0 { // none named is all
		types = events
	}
	return notifications.Entry{
		Name: n.Id, Kind: "configuration", Action: notifications.Keep, Target: strings.TrimPrefix(n.Topic, "//pubsub.googleapis.com/"),
		Events: types, Prefix: n.ObjectNamePrefix,
	}
}

// compare lists what differs between ours and what it has to be.
func compare(have, want *storage.Notification) []notifications.Difference {
	h, w := entry(have), entry(want)
	d := notifications.Diff(nil, "target", h.Target, w.Target)
	d = notifications.DiffSet(d, "events", h.Events, w.Events)
	d = notifications.Diff(d, "prefix", h.Prefix, w.Prefix)
	return notifications.Diff(d, "payload", have.PayloadFormat, want.PayloadFormat)
}

// Apply implements notifications.Provider.
func (b *Bucket) Apply(ctx context.Context, goal notifications.Goal) error {
	if goal == notifications.Install {
		if f, refused := (notifications.Plan{Findings: b.checkSubscriptions(ctx)}).Refusal(); refused {
			return errkind.New(errkind.Invalid, "%s", f)
		}
	}
	w, err := b.work(ctx, goal)
	if err != nil {
		return err
	}
	if w.add {
		if err := b.add(ctx); err != nil {
			return err
		}
	}
	for _, id := range w.remove {
		if err := b.remove(ctx, id); err != nil {
			return err
		}
	}
	return nil
}

func (b *Bucket) add(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, b.cfg.RequestTimeout)
	defer cancel()
	if _, err := b.store.Notifications.Insert(b.cfg.Replica.Bucket, b.wanted()).Context(ctx).Do(); err != nil {
		target := b.cfg.Replica.Notifications.Target
		err = b.fail("add a notification configuration to the bucket "+b.cfg.Replica.Bucket, "storage.buckets.update", err)
		return errkind.New(errkind.Of(err), "%w; the topic %s must be there, and the service agent of Cloud Storage "+
			"(gcloud storage service-agent) must be a publisher of it (roles/pubsub.publisher)", err, target)
	}
	return nil
}

func (b *Bucket) remove(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, b.cfg.RequestTimeout)
	defer cancel()
	err := b.store.Notifications.Delete(b.cfg.Replica.Bucket, id).Context(ctx).Do()
	if api, ok := errors.AsType[*googleapi.Error](err); ok && api.Code == http.StatusNotFound {
		return nil // somebody was faster
	}
	if err != nil {
		return b.fail("remove the notification configuration "+id+" of the bucket "+b.cfg.Replica.Bucket, "storage.buckets.update", err)
	}
	return nil
}

// fail gives an error its kind; permission is what a refused caller needs.
func (b *Bucket) fail(doing, permission string, err error) error {
	kind := kindOf(err)
	if kind == errkind.PermissionDenied {
		return errkind.New(kind, "%s: %w; the credentials need %s", doing, err, permission)
	}
	return errkind.New(kind, "%s: %w", doing, err)
}

func kindOf(err error) errkind.Kind {
	api, ok := errors.AsType[*googleapi.Error](err)
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || !ok {
		if kind := errkind.Of(err); kind != errkind.Unknown {
			return kind
		}
		return errkind.Unavailable
	}
	switch st := api.Code; {
	case st == http.StatusNotFound:
		return errkind.NotFound
	case st == http.StatusUnauthorized:
		return errkind.Unauthenticated
	case st == http.StatusForbidden:
		return errkind.PermissionDenied
	case st == http.StatusConflict:
		return errkind.Conflict
	case st == http.StatusTooManyRequests:
		return errkind.Throttled
	case st == http.StatusNotImplemented || st == http.StatusMethodNotAllowed:
		return errkind.Unsupported
	case st >= 300 && st < 500:
		return errkind.Invalid
	}
	return errkind.Unavailable
}
