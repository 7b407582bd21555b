package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/bucketmesh/bucketmesh/test/e2e"
)

// keys of an episode are few, so that users and copies meet.
const keys = 12

// between two batches of writes.
const between = 700 * time.Millisecond

// users write to all replicas, in batches.
type users struct {
	stage *e2e.Stage
	rand  *rand.Rand
	last  int // number of the last operation
}

// until writes a batch, and another one from time to time until done is closed.
func (u *users) until(ctx context.Context, done <-chan struct{}) error {
	tick := time.NewTicker(between)
	defer tick.Stop()
	for {
		if err := u.batch(ctx); err != nil {
			return err
		}
		select {
		case <-done:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// batch is writes of four keys at the same time: creates, overwrites, deletes and edits, and most of them with a twin at
// another replica, which is a conflict if both come before a copy.
func (u *users) batch(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for range 4 {
		op := u.draw(fmt.Sprintf("key-%02d", u.rand.IntN(keys)))
		ops := []e2e.Operation{op}
		if u.rand.IntN(3) > 0 {
			twin := u.draw(op.Key)
			twin.Replica = (op.Replica + 1) % u.stage.Replicas()
			ops = append(ops, twin)
		}
		for _, op := range ops {
			g.Go(func() error { return u.stage.Do(ctx, op) })
		}
	}
	return g.Wait()
}

func (u *users) draw(key string) e2e.Operation {
	u.last++
	op := e2e.Operation{
		Number: u.last, Replica: u.rand.IntN(u.stage.Replicas()), Key: key, Kind: e2e.OpPut, Size: 64 + u.rand.IntN(4<<10),
		Conditional: u.rand.IntN(2) == 0, ContentType: []string{"text/plain", "application/json"}[u.rand.IntN(2)],
		Note: fmt.Sprintf("n %x", u.rand.Uint32()),
	}
	switch n := u.rand.IntN(100); {
	case n < 15:
		op.Kind = e2e.OpDelete
	case n < 35:
		op.Kind = e2e.OpEdit
	}
	return op
}
