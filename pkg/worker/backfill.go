package worker

import (
	"context"
	"encoding/json"
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
	if err != nil {
		return p, fmt.Errorf("backfill: %w", errors.Join(err, w.pauseComparison(ctx, c, p)))
	}
	if err := w.Sweep(ctx); err != nil { // the conflict copies that it made
		return p, fmt.Errorf("backfill: %w", err)
	}
	if w.o.Ledger != nil && p.Complete() && c.Whole {
		if err := w.o.Ledger.Compared(ctx, c.Began); err != nil {
			return p, fmt.Errorf("backfill: %w", err)
		}
	}
	return p, nil
}

// comparison is what is remembered of a backfill that takes several runs: together they are a complete comparison since Began, if
// each of them brought everything together that it came to.
type comparison struct {
	Began time.Time `json:"began"`
	Whole bool      `json:"whole"`
}

// comparisonCursor keeps a comparison while nobody is at work on it.
const comparisonCursor = "backfill/comparison"

// beginComparison begins a comparison, or goes on with the one whose place is kept. Should this process be killed, what it did not
// bring together is not known, so the comparison is not whole any more from here on, until pauseComparison says that it is.
func (w *Worker) beginComparison(ctx context.Context) (c comparison, err error) {
	at, err := w.store.Cursor(ctx, w.o.Group.Name, backfillCursor)
	if err != nil {
		return c, fmt.Errorf("read cursor: %w", err)
	}
	text, err := w.store.Cursor(ctx, w.o.Group.Name, comparisonCursor)
	if err != nil {
		return c, fmt.Errorf("read cursor: %w", err)
	}
	if at == "" {
		c = comparison{Began: time.Now(), Whole: true}
	} else if json.Unmarshal([]byte(text), &c) != nil {
		c = comparison{} // nobody noted when it began
	}
	return c, w.keepComparison(ctx, comparison{Began: c.Began})
}

// pauseComparison keeps a comparison for the next run, also if ctx is what ended this one.
func (w *Worker) pauseComparison(ctx context.Context, c comparison, p scan.Progress) error {
	c.Whole = c.Whole && p.Pending == 0 && len(p.Skipped) == 0
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), pauseTimeout)
	defer cancel()
	return w.keepComparison(ctx, c)
}

// pauseTimeout is what a backfill may take to note how far it came, after it was told to end.
const pauseTimeout = 5 * time.Second

func (w *Worker) keepComparison(ctx context.Context, c comparison) error {
	text, err := json.Marshal(c)
	if err == nil {
		err = w.store.SetCursor(ctx, w.o.Group.Name, comparisonCursor, string(text))
	}
	if err != nil {
		return fmt.Errorf("set cursor: %w", err)
	}
	return nil
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
