// Package receive takes the notifications of a group's buckets over HTTP: it makes the handlers of package normalize out
// of a group's configuration, for the normalizer services and for the one-process mode alike.
//
// Each provider has a handler of its own, for its service, and All has them all, for the one-process mode.
//
// Errors: Invalid for a configuration that can't work. The handlers answer as package normalize/internal/httpin says.
//
// Concurrency: handlers may be used from many goroutines.
package receive

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	cloudevents "github.com/cloudevents/sdk-go/v2/event"
	"go.opentelemetry.io/otel/metric"

	"github.com/bucketmesh/bucketmesh/pkg/config"
	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/normalize"
	"github.com/bucketmesh/bucketmesh/pkg/normalize/azure"
	"github.com/bucketmesh/bucketmesh/pkg/normalize/gcs"
	"github.com/bucketmesh/bucketmesh/pkg/normalize/s3"
	"github.com/bucketmesh/bucketmesh/pkg/serve"
	"github.com/bucketmesh/bucketmesh/pkg/serve/env"
)

// Config of the handlers. Logger and Telemetry may be nil.
type Config struct {
	Group       *config.Group
	Tokens      []string      // shared secrets of senders
	Topics      []string      // ARNs of SNS topics that may send
	SNSMaxAge   time.Duration // of SNS messages; 0 is s3.DefaultMaxAge
	SNS         s3.Doer       // fetches SNS's certificates and confirms; nil is a client of our own
	Push        Push          // Google's senders
	Entra       Entra         // Azure's senders
	Origins     []string      // that may subscribe to Azure's CloudEvents; none is azure.DefaultOrigin
	Open        bool          // senders need not prove anything: for loopback
	Sink        serve.Sink
	DeadLetters normalize.DeadLetters
	Published   func(cloudevents.Event) // told of every event that the sink took; may be nil
	Logger      *slog.Logger
	Telemetry   *serve.Telemetry
}

// Path is where the notifications of a replica are posted to.
func Path(r config.Replica) string {
	switch r.Provider {
	case "gcs":
		return gcs.PathPrefix + r.Name
	case "azblob":
		return azure.PathPrefix + r.Name
	}
	return s3.PathPrefix + r.Name
}

// maker makes the handler of one provider, for the paths that begin with prefix.
type maker func(c Config) (prefix string, handler http.Handler, err error)

// S3 takes the notifications of the group's S3 replicas, each at its Path, within serve.Limits, as all handlers here
// do.
func S3(c Config) (http.Handler, error) { return mount(c, newS3) }

// GCS takes the notifications of the group's replicas at Google Cloud Storage.
func GCS(c Config) (http.Handler, error) { return mount(c, newGCS) }

// Azure takes the notifications of the group's replicas at Azure Blob Storage.
func Azure(c Config) (http.Handler, error) { return mount(c, newAzure) }

// All takes the notifications of all of the group's replicas.
func All(c Config) (http.Handler, error) { return mount(c, newS3, newGCS, newAzure) }

// mount makes one handler of some.
func mount(c Config, makers ...maker) (http.Handler, error) {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Telemetry == nil {
		c.Telemetry = serve.NoTelemetry()
	}
	mux := http.NewServeMux()
	for _, makes := range makers {
		prefix, handler, err := makes(c)
		if err != nil {
			return nil, fmt.Errorf("make normalizer: %w", err)
		}
		mux.Handle(prefix, handler)
	}
	// Here, so that no program can leave it out. Each handler bounds its bodies by itself; of theirs the bound of Azure's is the
	// largest, and a smaller one around it would lose what Event Grid sends only once.
	return serve.Limits{MaxBody: azure.DefaultMaxBody}.Handler(mux), nil
}

// pushed are the replicas of a provider whose notifications are posted: those of the others are pulled out of a queue.
func (c Config) pushed(provider string) []config.Replica {
	var found []config.Replica
	for _, r := range c.Group.Replicas {
		if r.Provider == provider && r.Notifications.Pull == "" {
			found = append(found, r)
		}
	}
	return found
}

// nobody is an error if replicas are there whose senders have nothing to prove themselves with; proofs says whether they have
// more than shared secrets, and variables what would give it to them.
func (c Config) nobody(provider string, proofs bool, variables ...string) error {
	if c.Open || proofs || len(c.Tokens) > 0 || len(c.pushed(provider)) == 0 {
		return nil
	}
	return errkind.New(errkind.Invalid, "nobody may send for replica %s: set $%s, or $%s",
		c.pushed(provider)[0].Name, env.Tokens, strings.Join(variables, " and $"))
}

// meter of the package that takes a provider's notifications.
func (c Config) meter(pkg string) metric.Meter {
	return c.Telemetry.Meter.Meter("github.com/bucketmesh/bucketmesh/pkg/normalize/" + pkg)
}

type sink struct{ c Config }

// Publish implements normalize.Sink.
func (s sink) Publish(ctx context.Context, events []cloudevents.Event) error {
	if err := s.c.Sink.Publish(ctx, events...); err != nil {
		return err //nolint:wrapcheck // an adapter
	}
	if s.c.Published != nil {
		for _, e := range events {
			s.c.Published(e)
		}
	}
	return nil
}
