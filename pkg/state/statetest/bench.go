package statetest

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/state"
)

// BenchmarkCommit measures what one propagated change costs the store: a read, a commit that writes an intent with its
// lease, and a commit that ends both, with an event.
func BenchmarkCommit(b *testing.B, s state.Store) {
	b.Helper()
	var n atomic.Int64
	b.ReportAllocs()
	b.SetParallelism(4)
	b.RunParallel(func(pb *testing.PB) {
		worker := n.Add(1)
		for i := 0; pb.Next(); i++ {
			row, err := s.Get(b.Context(), group, fmt.Sprintf("k/%d/%d", worker, i%100))
			check(b, err)
			now := full(row.Key)
			now.Rev, now.DirtyMark = row.Rev, row.DirtyMark
			row = now
			lease := start.Add(time.Minute)
			row.Rev = commit(b, s, row, state.Effects{Lease: &lease})
			commit(b, s, row, state.Effects{ClearDirty: true, Events: []state.OutboxEvent{event("e")}})
		}
	})
	b.StopTimer()
	check(b, s.Close())
}
