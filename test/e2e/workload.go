package e2e

import (
	"context"
	"fmt"
	"io"
	"time"

	"golang.org/x/sync/errgroup"
)

// writersPerReplica work at the same time at each replica.
const writersPerReplica = 4

// workload carries out a plan.
type workload struct {
	seed     uint64
	replicas []*replica
	ledger   *ledger
	progress io.Writer
	locks    map[string]*keyLocks // of replicas without versions
}

// run starts each operation at its time, or as soon as a writer of its replica is free.
func (w *workload) run(ctx context.Context, ops []Operation) error {
	g, ctx := errgroup.WithContext(ctx)
	queues := make([]chan Operation, len(w.replicas))
	for i, r := range w.replicas {
		queues[i] = make(chan Operation, writersPerReplica)
		for range writersPerReplica {
			wr := &writer{seed: w.seed, replica: r, ledger: w.ledger, locks: w.locks[r.name]}
			g.Go(func() error {
				for op := range queues[i] {
					if err := wr.run(ctx, op); err != nil {
						return fmt.Errorf("operation %d: %w", op.Number, err)
					}
				}
				return nil
			})
		}
	}
	g.Go(func() error {
		defer func() {
			for _, q := range queues {
				close(q)
			}
		}()
		return w.dispatch(ctx, ops, queues)
	})
	return g.Wait()
}

func (w *workload) dispatch(ctx context.Context, ops []Operation, queues []chan Operation) error {
	start, reported := time.Now(), time.Now()
	for i, op := range ops {
		if err := pause(ctx, op.At-time.Since(start)); err != nil {
			return err
		}
		select {
		case queues[op.Replica] <- op:
		case <-ctx.Done():
			return ctx.Err()
		}
		if time.Since(reported) > 10*time.Second {
			reported = time.Now()
			fmt.Fprintf(w.progress, "  %d of %d operations started after %.0f s\n", i+1, len(ops), time.Since(start).Seconds())
		}
	}
	return nil
}

// pause waits for a time, or for the end of the context.
func pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
