// Package pubsub is a subscription of Google Cloud Pub/Sub as a source of the puller. The client library streams messages,
// bounds them and keeps their deadlines; what fails is tried again in place, with back-off and without giving the message
// back, because each time it is given back counts for the subscription's own dead-letter policy.
//
// PUBSUB_EMULATOR_HOST is honoured, as it is by the library.
//
// Errors: kinds of package errkind, with the mend: NotFound for a subscription that is not there, PermissionDenied for
// credentials that are not right, Invalid for a subscription that can't be pulled, Throttled and Unavailable for what
// passes.
//
// Concurrency: as package queue says.
package pubsub

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"regexp"
	"time"

	"cloud.google.com/go/auth/credentials"
	google "cloud.google.com/go/pubsub/v2"
	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"google.golang.org/api/option"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/pull/queue"
)

// Config of New.
type Config struct {
	Subscription    string // projects/P/subscriptions/S
	CredentialsFile string // of a service account or a workload identity; "" is Google's own chain
	Limits          queue.Limits
	Hold            time.Duration // how long a message that fails is tried in place; 0 is 10 min
}

// Source is a subscription. Make one with New.
type Source struct {
	cfg    Config
	client *google.Client
}

const (
	defaultHold = 10 * time.Minute
	scope       = "https://www.googleapis.com/auth/pubsub"
)

var subscriptionName = regexp.MustCompile(`^projects/([^/]+)/subscriptions/[^/]+$`)

// New makes a source. It sends no request, but Google's own chain of credentials may.
func New(ctx context.Context, c Config) (*Source, error) {
	m := subscriptionName.FindStringSubmatch(c.Subscription)
	if m == nil {
		return nil, errkind.New(errkind.Invalid, "open pubsub subscription %q: write projects/PROJECT/subscriptions/SUBSCRIPTION", c.Subscription)
	}
	if c.Hold <= 0 {
		c.Hold = defaultHold
	}
	options, err := fromFile(c)
	if err != nil {
		return nil, err
	}
	client, err := google.NewClient(ctx, m[1], options...)
	if err != nil {
		return nil, errkind.New(errkind.PermissionDenied, "open pubsub subscription %s: connect (name credentials with credentials= in the URL of "+
			"the replica, or set up Google's own chain): %w", c.Subscription, err)
	}
	return &Source{cfg: c, client: client}, nil
}

// fromFile reads the credentials file. Errors name it, and never what is in it.
func fromFile(c Config) ([]option.ClientOption, error) {
	if c.CredentialsFile == "" {
		return nil, nil
	}
	content, err := os.ReadFile(c.CredentialsFile)
	if err != nil {
		return nil, errkind.New(errkind.PermissionDenied, "open pubsub subscription %s: read credentials file: %w", c.Subscription, err)
	}
	var file struct {
		Type credentials.CredType `json:"type"`
	}
	if json.Unmarshal(content, &file) != nil || (file.Type != credentials.ServiceAccount && file.Type != credentials.ExternalAccount) {
		return nil, errkind.New(errkind.Invalid, "open pubsub subscription %s: the credentials file %s is neither a service account's nor a workload identity's",
			c.Subscription, c.CredentialsFile)
	}
	creds, err := credentials.NewCredentialsFromJSON(file.Type, content, &credentials.DetectOptions{Scopes: []string{scope}})
	if err != nil { // the library's words may quote the file
		return nil, errkind.New(errkind.Invalid, "open pubsub subscription %s: the credentials file %s is not a valid %s",
			c.Subscription, c.CredentialsFile, file.Type)
	}
	return []option.ClientOption{option.WithAuthCredentials(creds)}, nil
}

// Check is that of queue.Source.
func (s *Source) Check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Limits.Request)
	defer cancel()
	sub, err := s.client.SubscriptionAdminClient.GetSubscription(ctx, &pubsubpb.GetSubscriptionRequest{Subscription: s.cfg.Subscription})
	if err != nil {
		return fail("check", s.cfg.Subscription, err)
	}
	switch {
	case sub.GetPushConfig().GetPushEndpoint() != "":
		return errkind.New(errkind.Invalid, "check pubsub subscription %s: it pushes, and can't be pulled: pull another subscription of its topic", s.cfg.Subscription)
	case sub.GetBigqueryConfig() != nil || sub.GetCloudStorageConfig() != nil:
		return errkind.New(errkind.Invalid, "check pubsub subscription %s: it exports to BigQuery or Cloud Storage, and can't be pulled: "+
			"pull another subscription of its topic", s.cfg.Subscription)
	case sub.GetDetached():
		return errkind.New(errkind.Invalid, "check pubsub subscription %s: it is detached from its topic: make a new one", s.cfg.Subscription)
	}
	return nil
}

// Close is that of queue.Source.
func (s *Source) Close() error {
	if err := s.client.Close(); err != nil {
		return fail("close", s.cfg.Subscription, err)
	}
	return nil
}

// errStop is why a Receive ends that was not asked to.
var errStop = errors.New("the time for stopping is over")
