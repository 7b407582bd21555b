package gcs

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"time"

	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/bucketmesh/bucketmesh/pkg/notifications"
)

const (
	minRetention   = 24 * time.Hour // of messages that nobody took: a weekend's outage is longer
	minAckDeadline = 30             // seconds in which a message is to be acknowledged before it is sent again
	deletedTopic   = "_deleted-topic_"
)

// looker collects findings about one subscription.
type looker struct {
	about, name string
	found       []notifications.Finding
}

func (l *looker) add(level notifications.Level, text, mend string) {
	l.found = append(l.found, notifications.Finding{Level: level, About: l.about, Text: "the subscription " + l.name + " " + text, Mend: mend})
}

// checkSubscriptions looks at the subscriptions that the document names.
func (b *Bucket) checkSubscriptions(ctx context.Context) []notifications.Finding {
	n := b.cfg.Replica.Notifications
	var found []notifications.Finding
	for _, s := range []struct {
		field, name string
		check       func(*looker, *pubsubpb.Subscription)
	}{{"notifications.subscription", n.Subscription, b.push}, {"notifications.pull", n.Pull, pull}} {
		if s.name == "" {
			continue
		}
		l := &looker{about: s.field, name: s.name}
		if sub := b.get(ctx, l); sub != nil {
			b.common(l, sub)
			s.check(l, sub)
		}
		found = append(found, l.found...)
	}
	return found
}

// get reads a subscription. One that is not there is refused; what the credentials may not see can be right all the same.
func (b *Bucket) get(ctx context.Context, l *looker) *pubsubpb.Subscription {
	ctx, cancel := context.WithTimeout(ctx, b.cfg.RequestTimeout)
	defer cancel()
	sub, err := b.subs.GetSubscription(ctx, &pubsubpb.GetSubscriptionRequest{Subscription: l.name})
	switch {
	case status.Code(err) == codes.NotFound:
		l.add(notifications.Refused, "is not there", "create it, or correct the name")
		return nil
	case err != nil:
		l.add(notifications.Warning, fmt.Sprintf("could not be looked at: %v", err), "to have it checked, allow pubsub.subscriptions.get")
		return nil
	}
	return sub
}

// common is what is looked at on each subscription.
func (b *Bucket) common(l *looker, s *pubsubpb.Subscription) {
	target := b.cfg.Replica.Notifications.Target
	switch {
	case s.GetTopic() == deletedTopic:
		l.add(notifications.Refused, "has lost its topic, which was deleted: nothing comes any more", "create it anew on the topic "+target)
	case target != "" && s.GetTopic() != target:
		l.add(notifications.Refused, "is one of the topic "+s.GetTopic()+", and the bucket is to tell "+target, "name a subscription of that topic")
	}
	if s.GetDetached() {
		l.add(notifications.Refused, "is detached from its topic: nothing comes any more", "create it anew")
	}
	if s.GetState() == pubsubpb.Subscription_RESOURCE_ERROR {
		l.add(notifications.Warning, "can't be delivered, says Pub/Sub (RESOURCE_ERROR)", "look at it in the console")
	}
	if s.GetBigqueryConfig() != nil || s.GetCloudStorageConfig() != nil || s.GetBigtableConfig() != nil {
		l.add(notifications.Refused, "delivers to another service of Google", "name one that is pushed or pulled")
	}
	if s.GetFilter() != "" {
		l.add(notifications.Warning, fmt.Sprintf("has the filter %q: what it holds back is found by the next scan only", s.GetFilter()), "create it anew without a filter")
	}
	if len(s.GetMessageTransforms()) > 0 {
		l.add(notifications.Warning, "transforms messages: they may not be understood any more", "remove the transforms")
	}
	if d := s.GetMessageRetentionDuration(); d != nil && d.AsDuration() < minRetention {
		l.add(notifications.Warning, fmt.Sprintf("drops messages after %s: an outage that is longer loses them", d.AsDuration()), "set --message-retention-duration=7d")
	}
	if e := s.GetExpirationPolicy(); e == nil || e.GetTtl() != nil {
		l.add(notifications.Advice, "is deleted when nobody uses it for some time (31 days if not set)", "set --expiration-period=never")
	}
	if s.GetAckDeadlineSeconds() < minAckDeadline {
		l.add(notifications.Advice, fmt.Sprintf("sends a message again after %d s without an answer", s.GetAckDeadlineSeconds()),
			fmt.Sprintf("set --ack-deadline=%d or more: a slow broker then costs no second delivery", minAckDeadline))
	}
	if s.GetDeadLetterPolicy() == nil {
		l.add(notifications.Advice, "has no dead-letter topic", "with --dead-letter-topic, what nobody could take is kept instead of tried until it expires")
	}
}

// push is about a subscription that posts to the normalizer.
func (b *Bucket) push(l *looker, s *pubsubpb.Subscription) {
	p := s.GetPushConfig()
	if p.GetPushEndpoint() == "" {
		l.add(notifications.Refused, "does not push", "set --push-endpoint, or name it in notifications.pull for the puller")
		return
	}
	if w := p.GetNoWrapper(); w != nil && !w.GetWriteMetadata() {
		l.add(notifications.Refused, "pushes unwrapped messages without their metadata: what happened to the object is lost",
			"set --push-no-wrapper-write-metadata, or --clear-push-no-wrapper-config")
	}
	endpoint, err := url.Parse(p.GetPushEndpoint())
	if err != nil {
		l.add(notifications.Refused, "pushes to what is no URL", "set --push-endpoint")
		return
	}
	if _, password := endpoint.User.Password(); p.GetOidcToken() == nil {
		if !password && endpoint.Query().Get("token") == "" {
			l.add(notifications.Refused, "pushes without a token: the normalizer refuses what anybody could have sent", "set --push-auth-service-account")
		} else {
			l.add(notifications.Warning, "pushes with a secret in the URL instead of a token that Google signs", "set --push-auth-service-account")
		}
	}
	if path := "/gcs/" + b.cfg.Replica.Name; !strings.HasSuffix(endpoint.Path, path) {
		l.add(notifications.Warning, fmt.Sprintf("pushes to the path %q, and the normalizer takes this replica's messages at %s", endpoint.Path, path),
			"set --push-endpoint=https://HOST"+path)
	}
}

// pull is about a subscription that the puller drains.
func pull(l *looker, s *pubsubpb.Subscription) {
	if s.GetPushConfig().GetPushEndpoint() != "" {
		l.add(notifications.Refused, "pushes: nothing is left to be pulled", "set --push-endpoint= (empty), or name it in notifications.subscription")
	}
}
