package azure

import (
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/eventgrid/armeventgrid/v2"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/notifications"
)

// What we decide about ours.
const (
	maxAttempts = 30      // the most that Event Grid takes
	timeToLive  = 24 * 60 // minutes, the most that Event Grid takes
	schema      = armeventgrid.EventDeliverySchemaCloudEventSchemaV10
)

// eventTypes are those that change what is in a container. Event Grid tells nothing of metadata and tags.
var eventTypes = []string{
	"Microsoft.Storage.BlobCreated", "Microsoft.Storage.BlobDeleted", "Microsoft.Storage.BlobRenamed",
	"Microsoft.Storage.DirectoryDeleted", "Microsoft.Storage.DirectoryRenamed",
}

// subject is the beginning of the subjects of the replica's blobs.
func (c *Container) subject() string {
	return "/blobServices/default/containers/" + c.cfg.Replica.Bucket + "/blobs/" + c.cfg.Replica.Prefix
}

// wanted changes what we decide in a subscription (an empty one, or ours as it is) and leaves the rest.
func (c *Container) wanted(p *armeventgrid.EventSubscriptionProperties) {
	p.EventDeliverySchema = new(schema)
	p.RetryPolicy = &armeventgrid.RetryPolicy{MaxDeliveryAttempts: new(int32(maxAttempts)), EventTimeToLiveInMinutes: new(int32(timeToLive))}
	if p.Filter == nil {
		p.Filter = &armeventgrid.EventSubscriptionFilter{}
	}
	p.Filter.SubjectBeginsWith, p.Filter.IsSubjectCaseSensitive = new(c.subject()), new(true)
	p.Filter.IncludedEventTypes = to.SliceOfPtrs(eventTypes...)
	// An operator may have given it an identity: the destination is inside of that then.
	if p.DeliveryWithResourceIdentity != nil {
		p.DeliveryWithResourceIdentity.Destination = c.destinationLike(p.DeliveryWithResourceIdentity.Destination)
		return
	}
	p.Destination = c.destinationLike(p.Destination)
}

// destinationLike is our destination, with what an operator set at the one that is there.
func (c *Container) destinationLike(have armeventgrid.EventSubscriptionDestinationClassification) armeventgrid.EventSubscriptionDestinationClassification {
	if c.target.queue != "" {
		d, ok := have.(*armeventgrid.StorageQueueEventSubscriptionDestination)
		if !ok || d.Properties == nil {
			d = &armeventgrid.StorageQueueEventSubscriptionDestination{Properties: &armeventgrid.StorageQueueEventSubscriptionDestinationProperties{}}
		}
		d.EndpointType = new(armeventgrid.EndpointTypeStorageQueue)
		d.Properties.ResourceID, d.Properties.QueueName = new(c.target.account), new(c.target.queue)
		return d
	}
	d, ok := have.(*armeventgrid.WebHookEventSubscriptionDestination)
	if !ok || d.Properties == nil {
		d = &armeventgrid.WebHookEventSubscriptionDestination{Properties: &armeventgrid.WebHookEventSubscriptionDestinationProperties{}}
	}
	d.EndpointType = new(armeventgrid.EndpointTypeWebHook)
	d.Properties.EndpointURL, d.Properties.EndpointBaseURL = new(c.fullURL()), nil
	d.Properties.AzureActiveDirectoryTenantID, d.Properties.AzureActiveDirectoryApplicationIDOrURI = nil, nil
	if c.cfg.EntraTenant != "" {
		d.Properties.AzureActiveDirectoryTenantID = new(c.cfg.EntraTenant)
		d.Properties.AzureActiveDirectoryApplicationIDOrURI = new(c.cfg.EntraAudience)
	}
	return d
}

// where is the destination of a subscription.
func where(p *armeventgrid.EventSubscriptionProperties) armeventgrid.EventSubscriptionDestinationClassification {
	if p.DeliveryWithResourceIdentity != nil {
		return p.DeliveryWithResourceIdentity.Destination
	}
	return p.Destination
}

// target is a destination for a person, without a secret.
func target(d armeventgrid.EventSubscriptionDestinationClassification) string {
	switch d := d.(type) {
	case *armeventgrid.WebHookEventSubscriptionDestination:
		if d.Properties != nil {
			if base := str(d.Properties.EndpointBaseURL); base != "" {
				return bare(base)
			}
			return bare(str(d.Properties.EndpointURL))
		}
	case *armeventgrid.StorageQueueEventSubscriptionDestination:
		if d.Properties != nil {
			return str(d.Properties.ResourceID) + "/queueServices/default/queues/" + str(d.Properties.QueueName)
		}
	case nil:
		return ""
	}
	return string(value(d.GetEventSubscriptionDestination().EndpointType))
}

// bare is a URL without what may be a secret.
func bare(s string) string {
	u, err := url.Parse(s)
	if err != nil {
		return "(not a URL)"
	}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	return u.String()
}

// compare lists what differs between ours and what it has to be. full is the webhook's URL with its secret, "" if unknown.
func (c *Container) compare(p *armeventgrid.EventSubscriptionProperties, full string) []notifications.Difference {
	have, want := describe(p), describe(c.fresh())
	d := notifications.Diff(nil, "target", fold(have.Target, c.target.queue != ""), fold(want.Target, c.target.queue != ""))
	if hook, ok := where(p).(*armeventgrid.WebHookEventSubscriptionDestination); ok && hook.Properties != nil && c.target.url != "" {
		d = notifications.Diff(d, "Entra tenant", str(hook.Properties.AzureActiveDirectoryTenantID), c.cfg.EntraTenant)
		d = notifications.Diff(d, "Entra audience", str(hook.Properties.AzureActiveDirectoryApplicationIDOrURI), c.cfg.EntraAudience)
		if full != "" && bare(full) == c.target.url && full != c.fullURL() {
			d = notifications.Diff(d, "secret in the URL", "another one, or none", "that of the environment (not shown)")
			if c.cfg.EntraTenant != "" {
				d[len(d)-1].Have, d[len(d)-1].Want = "a secret", "none: Entra's token is enough"
			}
		}
	}
	d = notifications.DiffSet(d, "events", have.Events, want.Events)
	d = notifications.Diff(d, "subject begins with", have.Prefix, want.Prefix)
	f := p.Filter
	if f == nil {
		f = &armeventgrid.EventSubscriptionFilter{}
	}
	d = notifications.Diff(d, "subject is case sensitive", fmt.Sprint(value(f.IsSubjectCaseSensitive)), "true")
	d = notifications.Diff(d, "schema", string(value(p.EventDeliverySchema)), string(schema))
	r := p.RetryPolicy
	if r == nil {
		r = &armeventgrid.RetryPolicy{}
	}
	d = notifications.Diff(d, "retries", fmt.Sprintf("%d in %d min", value(r.MaxDeliveryAttempts), value(r.EventTimeToLiveInMinutes)), fmt.Sprintf("%d in %d min", maxAttempts, timeToLive))
	switch s := value(p.ProvisioningState); s {
	case armeventgrid.EventSubscriptionProvisioningStateFailed, armeventgrid.EventSubscriptionProvisioningStateCanceled,
		armeventgrid.EventSubscriptionProvisioningStateAwaitingManualAction:
		d = notifications.Diff(d, "state", string(s), string(armeventgrid.EventSubscriptionProvisioningStateSucceeded))
	default: // done, or on its way
	}
	return d
}

// fold makes resource ids comparable: they are the same in upper and lower case.
func fold(s string, resource bool) string {
	if resource {
		return strings.ToLower(s)
	}
	return s
}

// fresh is ours as it is made where nothing is.
func (c *Container) fresh() *armeventgrid.EventSubscriptionProperties {
	p := &armeventgrid.EventSubscriptionProperties{}
	c.wanted(p)
	return p
}

func describe(p *armeventgrid.EventSubscriptionProperties) notifications.Entry {
	e := notifications.Entry{Kind: "event subscription", Action: notifications.Keep, Target: target(where(p))}
	if p.Filter != nil {
		e.Prefix, e.Suffix = str(p.Filter.SubjectBeginsWith), str(p.Filter.SubjectEndsWith)
		for _, t := range p.Filter.IncludedEventTypes {
			e.Events = append(e.Events, str(t))
		}
	}
	return e
}

// remarks are about what an operator set at ours, and is kept.
func (c *Container) remarks(p *armeventgrid.EventSubscriptionProperties) []notifications.Finding {
	var found []notifications.Finding
	warn := func(text, mend string) {
		found = append(found, notifications.Finding{Level: notifications.Warning, About: "event subscription " + c.cfg.ID, Text: text, Mend: mend})
	}
	if f := p.Filter; f != nil && (len(f.AdvancedFilters) > 0 || str(f.SubjectEndsWith) != "") {
		warn("somebody added filters, which are kept: what they hold back is found by the next scan only", "remove them in the portal")
	}
	if t := p.ExpirationTimeUTC; t != nil {
		warn("it ends by itself at "+t.UTC().Format(time.RFC3339), "remove the expiration time")
	}
	if h, ok := where(p).(*armeventgrid.WebHookEventSubscriptionDestination); ok && h.Properties != nil && value(h.Properties.PreferredBatchSizeInKilobytes) > 1024 {
		warn("its batches may be larger than 1 MiB: the normalizer refuses those, and Event Grid does not send them again", "set the preferred batch size to 1024 or less")
	}
	switch s := value(p.ProvisioningState); s {
	case armeventgrid.EventSubscriptionProvisioningStateCreating, armeventgrid.EventSubscriptionProvisioningStateUpdating, armeventgrid.EventSubscriptionProvisioningStateDeleting:
		warn("Azure is at it: "+string(s), "look again in a minute")
	default: // done, or a difference
	}
	return found
}

// complete refuses a subscription that has parts which the SDK read in part only: they would be lost when it is written.
func complete(name string, p *armeventgrid.EventSubscriptionProperties) error {
	unknown := ""
	if p.Filter != nil {
		for _, f := range p.Filter.AdvancedFilters {
			if base, ok := f.(*armeventgrid.AdvancedFilter); ok {
				unknown = "an advanced filter " + string(value(base.OperatorType))
			}
		}
	}
	if d, ok := p.DeadLetterDestination.(*armeventgrid.DeadLetterDestination); ok {
		unknown = "a dead-letter destination " + string(value(d.EndpointType))
	}
	if r := p.DeadLetterWithResourceIdentity; r != nil {
		if d, ok := r.DeadLetterDestination.(*armeventgrid.DeadLetterDestination); ok {
			unknown = "a dead-letter destination " + string(value(d.EndpointType))
		}
	}
	if unknown == "" {
		return nil
	}
	return errkind.New(errkind.Unsupported, "the event subscription %s has %s, which this version does not know and would lose; change it by hand, or remove it first", name, unknown)
}

func str(s *string) string { return value(s) }

func value[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}
