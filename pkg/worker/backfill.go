package worker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/config"
	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/reconcile"
	"github.com/bucketmesh/bucketmesh/pkg/scan"
)

// backfillCursor is the checkpoint of a backfill that was interrupted.
const backfillCursor = "backfill"

// Backfill compares the listings of all replicas with the state and brings together what differs, conflicts included.
// An interrupted one goes on where it was. progress, if not nil, is told now and then. One at a time: a second one is
// refused with Conflict.
func (w *Worker) Backfill(ctx context.Context, progress func(scan.Progress)) (scan.Progress, error) {
	if !w.backfill.TryLock() {
		return scan.Progress{}, errkind.New(errkind.Conflict, "backfill: one is running already in this process")
	}
	defer w.backfill.Unlock()
	sources := make([]scan.Source, len(w.replicas))
	for i, r := range w.replicas {
		sources[i] = scan.Source{
			Name: r.Name, Bucket: r.Bucket,
			HidesEdits: r.Dialect == "versitygw", // it keeps metadata beside the file, whose time they don't change
		}
	}
	c, err := w.beginComparison(ctx)
	if err != nil {
		return scan.Progress{}, fmt.Errorf("backfill: %w", err)
	}
	p, err := scan.Run(ctx, scan.Config{
		Group: w.o.Group.Name, Sources: sources, Store: w.store, Match: w.o.Group.Match, Reconcile: w.bring,
		Parallel: w.o.Sweepers, Cursor: backfillCursor, Progress: progress, Now: time.Now, Logger: w.log,
	})
	if err == nil {
		err = w.Sweep(ctx) // the conflict copies that it made
	}
	if err == nil {
		err = w.endComparison(ctx, c, p)
	}
	if err != nil {
		return p, fmt.Errorf("backfill: %w", errors.Join(err, w.pauseComparison(ctx, c, p)))
	}
	return p, nil
}

// bring reconciles a key to its end: a conflict is resolved at once instead of through the events that tell of it, so that
// whoever waits for the backfill waits for its conflicts too.
func (w *Worker) bring(ctx context.Context, key string) (reconcile.Outcome, error) {
	out, err := w.engine.Reconcile(ctx, key, nil, 0)
	if err != nil || out != reconcile.Conflicted {
		return out, err //nolint:wrapcheck // scan names the key
	}
	if w.o.Judge == nil && w.o.Group.Rule(key).Policy == config.Webhook { // the resolver's turn, who can ask
		return out, nil
	}
	if _, err := w.engine.Resolve(ctx, key); err != nil {
		return out, err //nolint:wrapcheck // scan names the key
	}
	again, err := w.engine.Reconcile(ctx, key, nil, 0)
	if err == nil && again == reconcile.Settled {
		return reconcile.Conflicted, nil
	}
	return again, err //nolint:wrapcheck // scan names the key
}
