package statetest

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/audit"
	"github.com/bucketmesh/bucketmesh/pkg/ledger"
)

// BenchmarkLedger measures what an event costs the store: its entry in the audit log; the note of its outcome, alone and by
// 16 handlers at once; its fold; and the books over 10,000 events that were not folded yet. open makes empty books.
func BenchmarkLedger(b *testing.B, open func(b *testing.B) Books) {
	b.Helper()
	var n atomic.Int64
	record := func(b *testing.B, books Books, many int) (ids []ledger.Note) {
		b.Helper()
		var es []audit.Event
		for range many {
			id := fmt.Sprintf("%064d", n.Add(1))
			es = append(es, audit.Event{Source: source, ID: id, Type: ledger.Types + "written.v1", Subject: "k/" + id, JSON: make([]byte, 1500)})
			ids = append(ids, ledger.Note{Source: source, ID: id, Outcome: ledger.Superseded})
		}
		_, err := books.Log.AppendBatch(b.Context(), es)
		check(b, err)
		return ids
	}
	b.Run("entry", func(b *testing.B) {
		books := open(b)
		for b.Loop() {
			record(b, books, 1)
		}
	})
	for _, handlers := range []int{1, 16} {
		b.Run(fmt.Sprintf("note/%d", handlers), func(b *testing.B) {
			k := ledger.New(open(b).Ledger, group, ledger.SinceHorizon)
			check(b, k.Begin(b.Context()))
			b.SetParallelism(handlers)
			if handlers == 1 {
				for b.Loop() {
					check(b, k.Note(b.Context(), ledger.Note{Source: source, ID: fmt.Sprintf("%064d", n.Add(1)), Outcome: ledger.Superseded}))
				}
				return
			}
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					check(b, k.Note(b.Context(), ledger.Note{Source: source, ID: fmt.Sprintf("%064d", n.Add(1)), Outcome: ledger.Superseded}))
				}
			})
		})
	}
	b.Run("fold", func(b *testing.B) {
		books := open(b)
		check(b, books.Ledger.Begin(b.Context(), group))
		for done := 0; done < b.N; done += 1000 {
			b.StopTimer()
			check(b, books.Ledger.Note(b.Context(), group, record(b, books, 1000)...))
			b.StartTimer()
			for more := true; more; {
				var err error
				more, err = books.Ledger.Fold(b.Context(), group, time.Now().Add(time.Hour))
				check(b, err)
			}
		}
	})
	b.Run("balance of 10000", func(b *testing.B) {
		books := open(b)
		check(b, books.Ledger.Begin(b.Context(), group))
		check(b, books.Ledger.Note(b.Context(), group, record(b, books, 10_000)...))
		for b.Loop() {
			sum, err := books.Ledger.Balance(b.Context(), group, time.Now().Add(time.Hour))
			check(b, err)
			if sum.Superseded != 10_000 {
				b.Fatalf("%+v", sum)
			}
		}
	})
}
