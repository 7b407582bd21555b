package gcs_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	pubsub "cloud.google.com/go/pubsub/v2/apiv1"
	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/notifications"
	"github.com/bucketmesh/bucketmesh/pkg/notifications/gcs"
)

// The tests in this file look at subscriptions of a Pub/Sub emulator.

type emulator struct {
	t      *testing.T
	addr   string
	id     string
	topics *pubsub.TopicAdminClient
	subs   *pubsub.SubscriptionAdminClient
}

func newEmulator(t *testing.T) *emulator {
	t.Helper()
	e := &emulator{t: t, addr: env(t, "BUCKETMESH_TEST_PUBSUB"), id: strings.ToLower(rand.Text()[:16])}
	opts := []option.ClientOption{
		option.WithEndpoint(e.addr), option.WithoutAuthentication(), option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())),
	}
	var err error
	if e.topics, err = pubsub.NewTopicAdminClient(t.Context(), opts...); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.topics.Close() })
	if e.subs, err = pubsub.NewSubscriptionAdminClient(t.Context(), opts...); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.subs.Close() })
	return e
}

func (e *emulator) topic(name string) string {
	e.t.Helper()
	name = fmt.Sprintf("projects/p/topics/%s-%s", name, e.id)
	if _, err := e.topics.CreateTopic(e.t.Context(), &pubsubpb.Topic{Name: name}); err != nil {
		e.t.Fatal(err)
	}
	return name
}

// subscription makes one that is as it should be, but for a change.
func (e *emulator) subscription(name, topic string, change func(*pubsubpb.Subscription)) string {
	e.t.Helper()
	s := &pubsubpb.Subscription{
		Name: fmt.Sprintf("projects/p/subscriptions/%s-%s", name, e.id), Topic: topic, AckDeadlineSeconds: 60,
		MessageRetentionDuration: durationpb.New(7 * 24 * time.Hour), ExpirationPolicy: &pubsubpb.ExpirationPolicy{},
		DeadLetterPolicy: &pubsubpb.DeadLetterPolicy{DeadLetterTopic: topic, MaxDeliveryAttempts: 5},
	}
	change(s)
	if _, err := e.subs.CreateSubscription(e.t.Context(), s); err != nil {
		e.t.Fatal(err)
	}
	return s.Name
}

func pushing(change func(*pubsubpb.PushConfig)) func(*pubsubpb.Subscription) {
	return func(s *pubsubpb.Subscription) {
		s.PushConfig = &pubsubpb.PushConfig{
			PushEndpoint: "https://mesh.example.com/gcs/us",
			AuthenticationMethod: &pubsubpb.PushConfig_OidcToken_{OidcToken: &pubsubpb.PushConfig_OidcToken{
				ServiceAccountEmail: "push@p.iam.gserviceaccount.com",
			}},
		}
		change(s.PushConfig)
	}
}

func asItIs[T any](T) {}

// with is a bucket that tells a topic which these subscriptions drain.
func (e *emulator) with(s *server, topic, push, pull string) *gcs.Bucket {
	return s.open(func(c *gcs.Config) {
		c.PubSub, c.Replica.Notifications.Target = e.addr, topic
		c.Replica.Notifications.Subscription, c.Replica.Notifications.Pull = push, pull
	})
}

func TestGoodSubscriptions(t *testing.T) {
	s, e := newServer(t), newEmulator(t)
	topic := e.topic("media")
	push := e.subscription("push", topic, pushing(func(p *pubsubpb.PushConfig) {
		p.Wrapper = &pubsubpb.PushConfig_NoWrapper_{NoWrapper: &pubsubpb.PushConfig_NoWrapper{WriteMetadata: true}}
	}))
	wrapped := e.subscription("wrapped", topic, pushing(asItIs))
	pull := e.subscription("pull", topic, asItIs)
	for _, names := range [][2]string{{push, pull}, {wrapped, ""}} {
		b := e.with(s, topic, names[0], names[1])
		if p := plan(t, b, notifications.Install); len(p.Findings) > 0 {
			t.Errorf("%v: %+v", names, p.Findings)
		}
		apply(t, b, notifications.Install)
	}
}

func TestTrapUnwrappedPushWithoutMetadataIsRefused(t *testing.T) {
	s, e := newServer(t), newEmulator(t)
	topic := e.topic("media")
	b := e.with(s, topic, e.subscription("bare", topic, pushing(func(p *pubsubpb.PushConfig) {
		p.Wrapper = &pubsubpb.PushConfig_NoWrapper_{NoWrapper: &pubsubpb.PushConfig_NoWrapper{}}
	})), "")
	f, refused := plan(t, b, notifications.Install).Refusal()
	if !refused || !strings.Contains(f.Mend, "--push-no-wrapper-write-metadata") || f.About != "notifications.subscription" {
		t.Errorf("plan: %v", f)
	}
	if err := b.Apply(t.Context(), notifications.Install); !errkind.Is(err, errkind.Invalid) {
		t.Errorf("apply: %v (%s)", err, errkind.Of(err))
	}
	if got := s.get(); len(got) != 0 {
		t.Errorf("installed all the same: %v", got)
	}
	apply(t, b, notifications.Remove) // what can't be installed can be removed
}

func TestSubscriptionsThatLoseEventsAreRefused(t *testing.T) {
	s, e := newServer(t), newEmulator(t)
	topic, other := e.topic("media"), e.topic("other")
	lost := e.topic("lost")
	orphan := e.subscription("orphan", lost, func(s *pubsubpb.Subscription) { s.DeadLetterPolicy = nil })
	if err := e.topics.DeleteTopic(t.Context(), &pubsubpb.DeleteTopicRequest{Topic: lost}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ push, pull, says string }{
		{"", orphan, "has lost its topic"},
		{"", e.subscription("of-other", other, asItIs), "is one of the topic " + other},
		{"", "projects/p/subscriptions/not-there", "is not there"},
		{"", e.subscription("pushes", topic, pushing(asItIs)), "nothing is left to be pulled"},
		{e.subscription("pulled", topic, asItIs), "", "does not push"},
		{e.subscription("no-token", topic, pushing(func(p *pubsubpb.PushConfig) { p.AuthenticationMethod = nil })), "", "without a token"},
	} {
		p := plan(t, e.with(s, topic, c.push, c.pull), notifications.Install)
		if !slices.ContainsFunc(p.Findings, func(f notifications.Finding) bool {
			return f.Level == notifications.Refused && strings.Contains(f.Text, c.says) && f.Mend != ""
		}) {
			t.Errorf("%s: %+v", c.says, p.Findings)
		}
	}
}

// documentedPubSub is a local gRPC server that answers for one subscription as Pub/Sub documents it, with what the emulator
// never reports.
type documentedPubSub struct {
	pubsubpb.UnimplementedSubscriberServer
	sub *pubsubpb.Subscription
}

// GetSubscription implements pubsubpb.SubscriberServer.
func (d documentedPubSub) GetSubscription(context.Context, *pubsubpb.GetSubscriptionRequest) (*pubsubpb.Subscription, error) {
	return d.sub, nil
}

func TestSubscriptionsInAStateThatTheEmulatorNeverReports(t *testing.T) {
	s := newServer(t)
	for says, sub := range map[string]*pubsubpb.Subscription{
		"is detached":                            {Detached: true},
		"can't be delivered, says Pub/Sub":       {State: pubsubpb.Subscription_RESOURCE_ERROR},
		"delivers to another service":            {BigqueryConfig: &pubsubpb.BigQueryConfig{Table: "p.d.t"}},
		"delivers to another service of Google ": {CloudStorageConfig: &pubsubpb.CloudStorageConfig{Bucket: "b"}},
		"transforms messages":                    {MessageTransforms: []*pubsubpb.MessageTransform{{}}},
	} {
		sub.Topic = ourTopic
		l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		srv := grpc.NewServer()
		pubsubpb.RegisterSubscriberServer(srv, documentedPubSub{sub: sub})
		go func() { _ = srv.Serve(l) }()
		t.Cleanup(srv.Stop)
		b := s.open(func(c *gcs.Config) {
			c.PubSub, c.Replica.Notifications.Pull = l.Addr().String(), "projects/p/subscriptions/s"
		})
		p := plan(t, b, notifications.Install)
		if !slices.ContainsFunc(p.Findings, func(f notifications.Finding) bool {
			return f.Level != notifications.Advice && strings.Contains(f.Text, strings.TrimSpace(says)) && f.Mend != ""
		}) {
			t.Errorf("%s: %+v", says, p.Findings)
		}
	}
}

func TestSubscriptionsWithADisadvantageAreNamed(t *testing.T) {
	s, e := newServer(t), newEmulator(t)
	topic := e.topic("media")
	name := e.subscription("poor", topic, func(s *pubsubpb.Subscription) {
		pushing(func(p *pubsubpb.PushConfig) {
			p.AuthenticationMethod = nil
			p.PushEndpoint = "https://mesh.example.com/elsewhere?token=top-secret-value"
		})(s)
		s.AckDeadlineSeconds, s.MessageRetentionDuration, s.ExpirationPolicy, s.DeadLetterPolicy = 10, durationpb.New(time.Hour), nil, nil
		s.Filter = `attributes.eventType = "OBJECT_FINALIZE"`
	})
	p := plan(t, e.with(s, topic, name, ""), notifications.Install)
	for _, want := range []struct {
		level notifications.Level
		says  string
	}{
		{notifications.Warning, "has the filter"},
		{notifications.Warning, "drops messages after 1h0m0s"},
		{notifications.Warning, "with a secret in the URL"},
		{notifications.Warning, `takes this replica's messages at /gcs/us`},
		{notifications.Advice, "is deleted when nobody uses it"},
		{notifications.Advice, "again after 10 s"},
		{notifications.Advice, "no dead-letter topic"},
	} {
		if !slices.ContainsFunc(p.Findings, func(f notifications.Finding) bool {
			return f.Level == want.level && strings.Contains(f.Text, want.says)
		}) {
			t.Errorf("nothing says %q", want.says)
		}
	}
	for _, f := range p.Findings {
		if strings.Contains(f.String(), "top-secret") || f.Level == notifications.Refused {
			t.Errorf("%+v", f)
		}
	}
}

func TestSubscriptionThatCanNotBeSeenIsAWarning(t *testing.T) {
	s := newServer(t)
	b := s.open(func(c *gcs.Config) {
		c.PubSub, c.RequestTimeout = "127.0.0.1:1", 200*time.Millisecond
		c.Replica.Notifications.Pull = "projects/p/subscriptions/s"
	})
	p := plan(t, b, notifications.Install)
	if len(p.Findings) != 1 || p.Findings[0].Level != notifications.Warning || !strings.Contains(p.Findings[0].Mend, "pubsub.subscriptions.get") {
		t.Errorf("got %+v", p.Findings)
	}
}
