package worker

import (
	"context"
	"errors"
	"fmt"
	"time"

	cloudevents "github.com/cloudevents/sdk-go/v2/event"

	"github.com/bucketmesh/bucketmesh/pkg/config"
	"github.com/bucketmesh/bucketmesh/pkg/event"
	"github.com/bucketmesh/bucketmesh/pkg/ledger"
	"github.com/bucketmesh/bucketmesh/pkg/reconcile"
	"github.com/bucketmesh/bucketmesh/pkg/serve"
	"github.com/bucketmesh/bucketmesh/pkg/serve/env"
	"github.com/bucketmesh/bucketmesh/pkg/state/postgres"
	"github.com/bucketmesh/bucketmesh/pkg/subscriber"
)

// probeEvery is how long a service takes buckets to be what they were. A process that runs all the time takes them for that until
// it ends.
const probeEvery = 24 * time.Hour

// eventTimeout is of one event: just less than the 600 s that a Knative revision and a trigger allow, so that the answer says what
// happened, and the key is left as it should be.
const eventTimeout = 590 * time.Second

// Role is what a service does with a group.
type Role struct {
	Handler func(*Worker, *config.Group) subscriber.Handler
	Judge   reconcile.Judge // for who settles conflicts; nil for who settles none
	Sweeps  bool            // while it lives, it looks at keys that are due
}

// Service builds a service over a Worker. Whatever a commit left in the outbox is published before the event is
// acknowledged: nothing is left to be done after the answer that could not as well be done by another process, later.
func Service(ctx context.Context, rt serve.Runtime, openers Openers, role Role) (serve.Config, error) {
	group, err := env.Group(rt.Getenv, openers.Document())
	if err != nil {
		return serve.Config{}, err
	}
	sink, err := env.Sink(rt.Getenv)
	if err != nil {
		return serve.Config{}, err
	}
	dsn, err := env.DSN(rt.Getenv)
	if err != nil {
		return serve.Config{}, err
	}
	store, err := postgres.Open(ctx, dsn, postgres.Options{Wait: env.StateWait})
	if err != nil {
		return serve.Config{}, err
	}
	w, err := Open(ctx, Options{
		Group: group, Store: store, Sink: sink, Openers: openers, Judge: role.Judge, Logger: rt.Logger, Telemetry: rt.Telemetry,
		Ledger: ledger.New(store.Ledger(), group.Name, ledger.SinceHorizon), ProbeEvery: probeEvery, Program: serve.BuildVersion(),
		LeaveOut: true,
	})
	if err != nil {
		return serve.Config{}, errors.Join(err, store.Close())
	}
	events, err := serve.Events(publishing{w, role.Handler(w, group)}, serve.Options{
		Limits: serve.Limits{Timeout: eventTimeout}, Logger: rt.Logger, Telemetry: rt.Telemetry,
	})
	if err != nil {
		return serve.Config{}, errors.Join(fmt.Errorf("make service: %w", err), w.Close(), store.Close())
	}
	return serve.Config{Handler: events, Ready: []serve.Check{{Name: "state", Do: func(ctx context.Context) error {
		_, _, err := store.NextDue(ctx, group.Name)
		return err //nolint:wrapcheck // logged with its name
	}}}, Background: func(ctx context.Context) error { return w.Linger(ctx, role.Sweeps) }}, nil
}

// publishing publishes the outbox after each event.
type publishing struct {
	w *Worker
	h subscriber.Handler
}

// Handle implements subscriber.Handler. An event whose effects could not be published comes again: handling it twice
// costs nothing.
func (p publishing) Handle(ctx context.Context, e cloudevents.Event) error {
	if err := p.h.Handle(ctx, e); err != nil {
		return err //nolint:wrapcheck // a decorator
	}
	return p.w.Publish(ctx)
}

// SyncHandler is the subscriber of the service sync. A scan.requested event, which a timer sends, makes it sweep or
// backfill for as long as one delivery may take; the next delivery goes on.
func SyncHandler(w *Worker, group *config.Group) subscriber.Handler {
	return &subscriber.Sync{
		Group: group, Engine: w.Engine(), Now: time.Now, Logger: w.log, Below: w.Below, Ledger: w.Noter(),
		Scan: func(ctx context.Context, s event.Scan) error {
			if s.What == event.ScanDue {
				return errors.Join(w.fold(ctx), w.tidy(ctx), w.Sweep(ctx), w.settled(ctx))
			}
			p, err := w.Backfill(ctx, nil)
			if p.Done && ctx.Err() != nil { // what it found is in the dirty set; another delivery would list everything again
				w.log.WarnContext(ctx, "backfill has compared everything, and the time was over before all was brought together", "error", err)
				return nil //nolint:nilerr // it is logged, and done later
			}
			return err
		},
	}
}

// ResolverHandler is the subscriber of the service conflict-resolver.
func ResolverHandler(w *Worker, group *config.Group) subscriber.Handler {
	return &subscriber.Resolver{Group: group.Name, Engine: w.Engine(), Logger: w.log}
}
