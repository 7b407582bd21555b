package worker

import (
	"context"
	"fmt"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// foldEvery is how often settled events are folded into the ledger's counters by a process that runs all the time. A service
// does it when the timer's event has it sweep.
const foldEvery = time.Minute

// keepBooks folds now and then until ctx is done.
func (w *Worker) keepBooks(ctx context.Context) error {
	tick := time.NewTicker(foldEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err() //nolint:wrapcheck // the caller asked
		case <-tick.C:
		}
		if err := w.fold(ctx); err != nil && ctx.Err() == nil {
			w.log.WarnContext(ctx, "ledger is not folded, it will be tried again", "error", err)
		}
	}
}

// fold folds what is settled.
func (w *Worker) fold(ctx context.Context) error {
	if w.o.Ledger == nil {
		return nil
	}
	return w.o.Ledger.Fold(ctx) //nolint:wrapcheck // says "fold ledger"
}

// measureBooks exposes the conservation law as metrics. They are read from the store when somebody asks.
func (w *Worker) measureBooks() error {
	if w.o.Ledger == nil {
		return nil
	}
	meter := w.o.Telemetry.Meter.Meter(scope)
	events, err := meter.Int64ObservableGauge("bucketmesh.events",
		metric.WithDescription("Events about objects, by what became of them. All of them together are those that came in."))
	if err != nil {
		return fmt.Errorf("create instrument: %w", err)
	}
	in, err := meter.Int64ObservableGauge("bucketmesh.events.in", metric.WithDescription("Events about objects that came in, each counted once."))
	if err != nil {
		return fmt.Errorf("create instrument: %w", err)
	}
	loose, err := meter.Int64ObservableGauge("bucketmesh.events.unaccounted",
		metric.WithDescription("Events that break the law that all that come in are accounted for, by how. Not 0: run bucketmesh status."))
	if err != nil {
		return fmt.Errorf("create instrument: %w", err)
	}
	group := attribute.String("group", w.o.Group.Name)
	_, err = meter.RegisterCallback(func(ctx context.Context, o metric.Observer) error {
		b, err := w.o.Ledger.Balance(ctx)
		if err != nil {
			return err //nolint:wrapcheck // says "draw up ledger"
		}
		o.ObserveInt64(in, b.In, metric.WithAttributes(group))
		for _, c := range []struct {
			of   metric.Int64Observable
			name string
			n    int64
		}{
			{events, "applied", b.Applied}, {events, "superseded", b.Superseded}, {events, "filtered", b.Filtered},
			{events, "conflict", b.InConflict}, {events, "dead", b.DeadLetters}, {events, "flight", b.InFlight},
			{loose, "unaccounted", b.Unaccounted}, {loose, "unrecorded", b.Unrecorded}, {loose, "disputed", b.Disputed},
			{loose, "missing", b.Missing()},
		} {
			o.ObserveInt64(c.of, c.n, metric.WithAttributes(group, attribute.String("outcome", c.name)))
		}
		return nil
	}, events, in, loose)
	if err != nil {
		return fmt.Errorf("create instrument: %w", err)
	}
	return nil
}
