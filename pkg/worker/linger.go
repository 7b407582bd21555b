package worker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
)

const (
	// lingerSpread is how far apart the processes of a service look at keys that are due.
	lingerSpread = time.Second
	// mendedEvery is how often a replica that is left out is asked for.
	mendedEvery = time.Minute
)

// Linger is what a process that others start and stop does while it lives, beside its deliveries, until ctx is done; then it lets
// what is under way end. With sweeps it looks at keys when they are due, and publishes what comes of it: a delete that waits a
// moment (deletes.hold), a replica that was out of order for a minute or what another process left when it died is
// done in seconds, and only what is due when no process lives waits for a timer.
//
// It ends by itself, with an error of kind Unavailable, when a replica that is left out (Options.LeaveOut) is mended: the next
// process takes it in.
func (w *Worker) Linger(ctx context.Context, sweeps bool) error {
	g, ctx := errgroup.WithContext(ctx)
	if sweeps {
		w.sweeper.spread, w.sweeper.after = lingerSpread, w.Publish
		g.Go(func() error { return w.sweeper.run(ctx) })
	}
	g.Go(func() error { return w.awaitMended(ctx) })
	if err := g.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("linger: %w", err)
	}
	return nil
}

// awaitMended returns when a replica that is left out can take part, or ctx is done.
func (w *Worker) awaitMended(ctx context.Context) error {
	tick := time.NewTicker(mendedEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err() //nolint:wrapcheck // the caller asked
		case <-tick.C:
		}
		if name := w.mended(ctx); name != "" {
			return errkind.New(errkind.Unavailable, "replica %s, which was left out, is mended: this process ends, and the next one takes it in", name)
		}
	}
}

// mended names a replica that is left out and could take part by now.
func (w *Worker) mended(ctx context.Context) string {
	for _, r := range w.replicas {
		if r.out == nil {
			continue
		}
		again := &Replica{Replica: r.Replica}
		err := w.openReplica(ctx, again)
		if again.Bucket != nil {
			_ = again.Bucket.Close() // nothing was written that could be lost
		}
		if err == nil && again.out == nil {
			return r.Name
		}
	}
	return ""
}
