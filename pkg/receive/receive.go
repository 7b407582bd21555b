// Package receive takes the notifications of a group's buckets over HTTP: it makes the handlers of package normalize out
// of a group's configuration, for the normalizer services and for the one-process mode alike.
//
// Errors: Invalid for a configuration that can't work. The handlers answer as package normalize/s3 says.
//
// Concurrency: handlers may be used from many goroutines.
package receive

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	cloudevents "github.com/cloudevents/sdk-go/v2/event"

	"github.com/bucketmesh/bucketmesh/pkg/config"
	"github.com/bucketmesh/bucketmesh/pkg/event"
	"github.com/bucketmesh/bucketmesh/pkg/normalize"
	"github.com/bucketmesh/bucketmesh/pkg/normalize/s3"
	"github.com/bucketmesh/bucketmesh/pkg/serve"
)

const (
	scope      = "github.com/bucketmesh/bucketmesh/pkg/normalize/s3"
	snsTimeout = 5 * time.Second // to fetch a certificate, or to confirm
)

// Config of the handlers. Logger and Telemetry may be nil.
type Config struct {
	Group       *config.Group
	Tokens      []string // shared secrets of senders
	Topics      []string // ARNs of SNS topics that may send
	Open        bool     // senders need not prove anything: for loopback
	Sink        serve.Sink
	DeadLetters normalize.DeadLetters
	Published   func(cloudevents.Event) // told of every event that the sink took; may be nil
	Logger      *slog.Logger
	Telemetry   *serve.Telemetry
}

// Path is where the notifications of a replica are posted to.
func Path(replica string) string { return s3.PathPrefix + replica }

// S3 takes the notifications of the group's S3 replicas, each at its Path, within the default serve.Limits.
func S3(c Config) (http.Handler, error) {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Telemetry == nil {
		c.Telemetry = serve.NoTelemetry()
	}
	var stores []s3.Store
	for _, r := range c.Group.Replicas {
		if r.Provider != s3.Provider {
			continue
		}
		st := s3.StoreOf(r)
		st.Auth = s3.Auth{Tokens: c.Tokens, Topics: c.Topics, Open: c.Open}
		stores = append(stores, st)
	}
	h := s3.HandlerConfig{
		Stores: stores, Sink: sink{c}, DeadLetters: c.DeadLetters, Now: time.Now, Logger: c.Logger,
		Meter: c.Telemetry.Meter.Meter(scope),
	}
	if len(c.Topics) > 0 {
		h.Verifier = s3.NewVerifier(s3.NewClient(snsTimeout), time.Now, 0)
	}
	handler, err := s3.NewHandler(h)
	if err != nil {
		return nil, fmt.Errorf("make normalizer: %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle(s3.PathPrefix, handler)
	return serve.Limits{}.Handler(mux), nil // here, so that no program can leave it out
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

// Unrecognized keeps messages that can never work as unrecognized events: where there is no dead letter store at hand but
// a broker, the audit log keeps them for a person to look at.
type Unrecognized struct {
	Group string
	Sink  serve.Sink
}

// Store implements normalize.DeadLetters.
func (u Unrecognized) Store(ctx context.Context, raw []byte, contentType, reason string) error {
	sum := sha256.Sum256(raw)
	now := time.Now()
	e, err := event.NewObject(event.Meta{
		ID: hex.EncodeToString(sum[:]), Type: event.Unrecognized, Source: event.GroupSource(u.Group), Time: now, Recorded: now,
		Extensions: map[string]string{event.ExtGroup: u.Group},
	}, event.Object{Provider: s3.Provider, Operation: "unrecognized", ContentType: contentType, Native: raw, NativeNote: reason})
	if err != nil {
		return fmt.Errorf("keep unrecognized message: %w", err)
	}
	return u.Sink.Publish(ctx, e) //nolint:wrapcheck // the caller says "store dead letter"
}
