package worker

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/scan"
)

// comparison is what is remembered of a backfill that takes several runs, one after the other: together they are a complete
// comparison since Began, if each of them listed all replicas, and nothing is left to do of what they found.
type comparison struct {
	Began time.Time `json:"began"`
	Whole bool      `json:"whole"`         // all replicas were listed so far
	Run   string    `json:"run,omitempty"` // who is at work on it; what it does not live to tell is not known

	at string // the key after which this run goes on
}

const (
	comparisonCursor = "backfill/comparison"
	// pauseTimeout is what a backfill may take to note how far it came, after it was told to end.
	pauseTimeout = 5 * time.Second
	// leftTimeout is how long the last run waits for keys that an earlier one was writing when it was cut off: for about as long as
	// the lease of a small object.
	leftTimeout = time.Minute
)

// beginComparison begins a comparison, or goes on with the one whose place is kept. It is not whole if somebody else is, or died, at
// work on it.
func (w *Worker) beginComparison(ctx context.Context) (c comparison, err error) {
	at, err := w.store.Cursor(ctx, w.o.Group.Name, backfillCursor)
	if err != nil {
		return c, fmt.Errorf("read cursor: %w", err)
	}
	last, err := w.comparison(ctx)
	if err != nil {
		return c, err
	}
	c = comparison{Began: time.Now(), Whole: last.Run == "", Run: rand.Text(), at: at}
	if at != "" {
		c.Began, c.Whole = last.Began, last.Whole && last.Run == "" && !last.Began.IsZero()
	}
	return c, w.keepComparison(ctx, comparison{Began: c.Began, Run: c.Run})
}

// pauseComparison keeps a comparison for the next run, also if ctx is what ended this one.
func (w *Worker) pauseComparison(ctx context.Context, c comparison, p scan.Progress) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), pauseTimeout)
	defer cancel()
	c.Whole = c.Whole && len(p.Skipped) == 0 && p.Resumed == c.at
	last, err := w.comparison(ctx)
	if err != nil {
		return err
	}
	if last.Run != c.Run { // somebody else moved the place of this one, or this one that of somebody else
		c = last
		c.Whole = false
	} else {
		c.Run = ""
	}
	return w.keepComparison(ctx, c)
}

// endComparison closes the books if the comparison was complete: in this run alone, or in all of them.
func (w *Worker) endComparison(ctx context.Context, c comparison, p scan.Progress) error {
	last, err := w.comparison(ctx)
	if err != nil {
		return err
	}
	complete, began := p.Complete() && p.Resumed == "", c.Began
	if !complete && c.Whole && last.Run == c.Run && len(p.Skipped) == 0 && p.Resumed == c.at && c.at != "" {
		if complete, err = w.nothingLeft(ctx); err != nil {
			return err
		}
	}
	if complete && w.o.Ledger != nil {
		if err := w.o.Ledger.Compared(ctx, began); err != nil {
			return err //nolint:wrapcheck // says "close ledger"
		}
	}
	if last.Run != c.Run {
		return nil // it is somebody else's
	}
	return w.keepComparison(ctx, comparison{})
}

// nothingLeft waits a moment until no key is left to do. What a run found and did not bring together is among them, whoever
// does it.
func (w *Worker) nothingLeft(ctx context.Context) (bool, error) {
	for until := time.Now().Add(leftTimeout); ; {
		stats, err := w.store.Stats(ctx, w.o.Group.Name)
		if err != nil {
			return false, fmt.Errorf("read statistics: %w", err)
		}
		next, ok, err := w.store.NextDue(ctx, w.o.Group.Name)
		if err != nil {
			return false, fmt.Errorf("read next key that is due: %w", err)
		}
		if stats.Dirty == 0 || !ok || next.After(until) || !time.Now().Before(until) {
			return stats.Dirty == 0, nil
		}
		timer := time.NewTimer(max(time.Until(next), sweepAtMost))
		select {
		case <-ctx.Done():
			timer.Stop()
			return false, errkind.New(errkind.Of(ctx.Err()), "wait for keys that are left: %w", ctx.Err())
		case <-timer.C:
		}
		if err := w.Sweep(ctx); err != nil {
			return false, err
		}
	}
}

// comparison reads the record; none is one that nobody is at work on.
func (w *Worker) comparison(ctx context.Context) (c comparison, err error) {
	text, err := w.store.Cursor(ctx, w.o.Group.Name, comparisonCursor)
	if err != nil {
		return c, fmt.Errorf("read cursor: %w", err)
	}
	if json.Unmarshal([]byte(text), &c) != nil {
		return comparison{}, nil //nolint:nilerr // nobody noted any
	}
	return c, nil
}

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
