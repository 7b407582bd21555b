package knative

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/bucketmesh/bucketmesh/test/e2e"
)

func first(ctx context.Context, w *world, r *Result) error {
	start := time.Now()
	n, err := w.do(ctx, e2e.OpPut, 0, "first")
	if err != nil {
		return err
	}
	if err := w.readable(ctx, 1, "first", n, w.first); err != nil {
		return err
	}
	r.took("readable", time.Since(start))
	return nil
}

func load(ctx context.Context, w *world, r *Result) error {
	var mu sync.Mutex
	var took []time.Duration
	lost := 0
	count, err := w.steady(ctx, w.rate, w.over, func(ctx context.Context, i int) error {
		key := fmt.Sprintf("load/%05d", i)
		start := time.Now()
		n, err := w.do(ctx, e2e.OpPut, i%sides, key)
		if err != nil {
			return err
		}
		err = w.readable(ctx, (i+1)%sides, key, n, w.within)
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			lost++
			fmt.Fprintf(w.progress, "load: %v\n", err)
			return nil
		}
		took = append(took, time.Since(start))
		return nil
	})
	if err != nil {
		return err
	}
	slices.Sort(took)
	r.fact("puts", count)
	r.fact("lost", lost)
	if len(took) > 0 {
		r.took("p50", percentile(took, 50))
		r.took("p99", percentile(took, 99))
		r.took("max", took[len(took)-1])
	}
	switch {
	case lost > 0:
		return fmt.Errorf("%d of %d puts were not readable at the other side within %s", lost, count, w.within)
	case w.p99 > 0 && percentile(took, 99) > w.p99:
		return fmt.Errorf("the 99th percentile is %s, must not exceed %s", percentile(took, 99), w.p99)
	}
	return nil
}

// percentile of sorted values; 0 if there are none.
func percentile(sorted []time.Duration, p int) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(len(sorted)*p/100, len(sorted)-1)]
}

// steady starts do at a rate, for a time, and waits for all of them. A slow one holds up nobody.
func (w *world) steady(ctx context.Context, rate float64, over time.Duration, do func(ctx context.Context, i int) error) (count int, err error) {
	count = max(1, int(rate*over.Seconds()))
	tick := time.NewTicker(time.Duration(float64(time.Second) / rate))
	defer tick.Stop()
	g, gctx := errgroup.WithContext(ctx)
	for i := range count {
		select {
		case <-tick.C:
			g.Go(func() error { return do(gctx, i) })
		case <-gctx.Done():
			return count, g.Wait()
		}
	}
	return count, g.Wait()
}

// deleted deletes a key of a group that has more of them than may be deleted at once: the delete waits for spec.deletes.hold, after its
// event was answered.
func deleted(ctx context.Context, w *world, r *Result) error {
	const key = "delete/0"
	for i := range brakeKeys + 2 { // a run of this scenario alone has no others
		name := fmt.Sprintf("delete/%d", i)
		n, err := w.do(ctx, e2e.OpPut, 0, name)
		if err != nil {
			return err
		}
		if err := w.readable(ctx, 1, name, n, w.within); err != nil {
			return err
		}
	}
	start := time.Now()
	if _, err := w.do(ctx, e2e.OpDelete, 0, key); err != nil {
		return err
	}
	if err := w.readable(ctx, 1, key, 0, deletedWithin); err != nil { // 0 is absent
		return err
	}
	took := time.Since(start)
	r.took("deletedAfter", took)
	if took < hold {
		return fmt.Errorf("the delete did not wait, so that nothing is proved")
	}
	return nil
}

const (
	hold          = 5 * time.Second  // the default of spec.deletes.hold
	deletedWithin = 30 * time.Second // a timer ticks every ten minutes
)

// conflict makes one on purpose: two write a key that nobody has, at once. Should one be so quick that the other was replicated
// before, another key is tried.
func conflict(ctx context.Context, w *world, r *Result) error {
	for try := range 10 {
		key := fmt.Sprintf("conflict/%d", try)
		var ops [sides]int
		g, gctx := errgroup.WithContext(ctx)
		for i := range sides {
			g.Go(func() (err error) {
				ops[i], err = w.do(gctx, e2e.OpPut, i, key)
				return err
			})
		}
		if err := g.Wait(); err != nil {
			return err
		}
		kept, err := w.settled(ctx, key, ops)
		if err != nil {
			return err
		}
		if kept {
			r.fact("tries", try+1)
			return nil
		}
	}
	return fmt.Errorf("ten pairs of writes at the same moment, and none was a conflict")
}

// settled waits until all replicas hold the same operation's content, and the other one is kept at all of them. Not kept: the
// winner's writer had seen it.
func (w *world) settled(ctx context.Context, key string, ops [sides]int) (kept bool, err error) {
	var detected bool
	err = poll(ctx, w.within, 50*time.Millisecond, "the conflict of "+key+" is settled", func(ctx context.Context) (bool, error) {
		winner, err := w.stage.Reads(ctx, 0, key)
		if err != nil {
			return false, err
		}
		loser := ops[0] + ops[1] - winner
		copies := 0
		for i := range sides {
			here, err := w.stage.Reads(ctx, i, key)
			if err != nil || here != winner {
				return false, err
			}
			all, err := w.stage.Kept(ctx, i, key)
			if err != nil {
				return false, err
			}
			if slices.Contains(all, loser) {
				copies++
			}
		}
		if copies == sides {
			kept = true
			return true, nil
		}
		if !detected {
			detected, err = w.announced(ctx, key)
		}
		return copies == 0 && !detected && winner != 0, err
	})
	return kept, err
}
