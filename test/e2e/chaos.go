package e2e

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"time"
)

// killer ends the process at seeded moments and starts it again.
type killer struct {
	program  *Program
	seed     uint64
	kills    int
	over     time.Duration
	progress io.Writer
}

// run kills at random moments of the time. Every fourth time it does not wait until the process is ready, so that some
// kills hit a process that is just recovering.
func (k *killer) run(ctx context.Context) (done int, err error) {
	r := rand.New(rand.NewPCG(k.seed, 0xdead))
	moments := make([]time.Duration, k.kills)
	for i := range moments {
		moments[i] = time.Duration(r.Int64N(int64(k.over)))
	}
	slices.Sort(moments)
	start := time.Now()
	for i, at := range moments {
		if err := pause(ctx, at-time.Since(start)); err != nil {
			return done, err
		}
		if err := k.program.Kill(); err != nil {
			return done, fmt.Errorf("kill %d: %w", i+1, err)
		}
		done++
		if err := k.program.Start(ctx); err != nil {
			return done, fmt.Errorf("restart %d: %w", i+1, err)
		}
		if i%4 == 3 {
			if err := pause(ctx, time.Duration(r.IntN(400))*time.Millisecond); err != nil {
				return done, err
			}
			continue
		}
		if err := k.program.Ready(ctx); err != nil {
			return done, fmt.Errorf("restart %d: %w", i+1, err)
		}
		if (i+1)%10 == 0 {
			fmt.Fprintf(k.progress, "  killed and restarted %d times after %.0f s\n", done, time.Since(start).Seconds())
		}
	}
	return done, k.program.Ready(ctx)
}
