package worker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/bucketmesh/bucketmesh/pkg/serve"
)

const (
	// lingerSpread is how far apart the processes of a service look at keys that are due.
	lingerSpread = time.Second
	// mendedEvery is how soon a replica that is left out is asked for, and mendedAtMost how rarely, as time goes by: a bucket that was
	// not fit takes some hundred requests.
	mendedEvery  = time.Minute
	mendedAtMost = 10 * time.Minute
)

// Linger is what a process that others start and stop does while it lives, beside its deliveries, until ctx is done; then it lets
// what is under way end. With sweeps it looks at keys when they are due, and publishes what comes of it: a delete that waits a
// moment (deletes.hold), a replica that was out of order for a minute or what another process left when it died is
// done in seconds, and only what is due when no process lives waits for a timer.
//
// It ends by itself, with serve.ErrReplace, when a replica that is left out (Options.LeaveOut) is mended: the next process takes
// it in.
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
	for wait := mendedEvery; ; wait = min(2*wait, mendedAtMost) {
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err() //nolint:wrapcheck // the caller asked
		case <-timer.C:
		}
		for _, r := range w.replicas {
			switch {
			case r.out == nil:
			case w.admissible(ctx, r):
				w.log.InfoContext(ctx, "a replica that was left out is mended: this process ends, and the next one takes it in", "replica", r.Name)
				return errors.Join(serve.ErrReplace, w.settled(ctx)) // copies end first; ending the process cuts off what begins after them
			default:
				r.isOut() // whatever it answered
			}
		}
	}
}
