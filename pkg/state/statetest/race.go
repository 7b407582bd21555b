package statetest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/state"
	"github.com/bucketmesh/bucketmesh/pkg/version"
)

const racers = 32

// commitRace lets many writers change one key: from each revision, exactly one gets on.
func commitRace(t *testing.T, s state.Store) { race(t, []state.Store{s}) }

// race spreads the racers over stores, which are of one database.
func race(t *testing.T, stores []state.Store) {
	t.Helper()
	const wins = 5 // of each racer
	type win struct{ from, to int64 }
	results := make(chan win, racers*wins)
	parallel(t, racers, func(i int) error {
		s := stores[i%len(stores)]
		for won := 0; won < wins; {
			row, err := s.Get(t.Context(), group, "k")
			if err != nil {
				return err
			}
			row.Counters = row.Counters.With("n", row.Counters["n"]+1)
			rev, err := s.Commit(t.Context(), row, state.Effects{Events: []state.OutboxEvent{event(fmt.Sprint(row.Counters["n"]))}})
			switch {
			case err == nil:
				results <- win{row.Rev, rev}
				won++
			case !errkind.Is(err, errkind.Conflict):
				return err
			}
		}
		return nil
	})
	close(results)
	next := map[int64]int64{}
	for w := range results {
		if to, twice := next[w.from]; twice {
			t.Errorf("revision %d was followed by %d and by %d", w.from, to, w.to)
		}
		next[w.from] = w.to
	}
	// One chain from 0 to the row.
	var rev int64
	for range next {
		to, ok := next[rev]
		if !ok || to <= rev {
			t.Fatalf("revision %d is followed by %d", rev, to)
		}
		rev = to
	}
	row := get(t, stores[0], "k")
	equal(t, row.Rev, rev)
	equal(t, row.Counters, version.Vector{"n": racers * wins})
	var want []string
	for n := range racers * wins {
		want = append(want, fmt.Sprint(n+1))
	}
	equal(t, snapshot(t, stores[0]).Outbox, want) // one event of each winner, none of a loser, in the order of commits
}

// commitRaceRemove: rows that come and go under load never repeat a revision, and the count of keys stays right.
func commitRaceRemove(t *testing.T, s state.Store) {
	var mu sync.Mutex
	seen := map[int64]bool{}
	parallel(t, 8, func(int) error {
		for range 40 {
			row, err := s.Get(t.Context(), group, "k")
			if err != nil {
				return err
			}
			rev, err := s.Commit(t.Context(), row, state.Effects{Remove: row.Rev != 0})
			if err != nil && !errkind.Is(err, errkind.Conflict) {
				return err
			}
			if err != nil || rev == 0 {
				continue
			}
			mu.Lock()
			twice := seen[rev]
			seen[rev] = true
			mu.Unlock()
			if twice {
				return fmt.Errorf("revision %d was given twice", rev)
			}
		}
		return nil
	})
	d := snapshot(t, s)
	equal(t, d.Stats.Keys, int64(len(d.Rows)))
}

// dirtyAndCommits: batches of marks and commits of the same keys take the same locks in different orders.
func dirtyAndCommits(t *testing.T, s state.Store) {
	var all []string
	for i := range 40 {
		all = append(all, fmt.Sprint("k", i))
	}
	parallel(t, 12, func(i int) error {
		r := rand.New(rand.NewPCG(7, uint64(i)))
		for range 20 {
			if i%2 == 0 {
				some := append([]string(nil), all...)
				r.Shuffle(len(some), func(i, j int) { some[i], some[j] = some[j], some[i] })
				if err := s.MarkDirty(t.Context(), group, some, start, "hint"); err != nil {
					return err
				}
				continue
			}
			row, err := s.Get(t.Context(), group, all[r.IntN(len(all))])
			if err != nil {
				return err
			}
			fx := state.Effects{ClearDirty: r.IntN(2) == 0, Remove: row.Rev != 0 && r.IntN(2) == 0}
			if _, err := s.Commit(t.Context(), row, fx); err != nil && !errkind.Is(err, errkind.Conflict) {
				return err
			}
		}
		return nil
	})
	check(t, s.MarkDirty(t.Context(), group, all, start.Add(time.Hour), "hint"))
	d := snapshot(t, s)
	equal(t, len(d.Dirty), len(all))
	equal(t, d.Stats.Keys, int64(len(d.Rows)))
}

// outboxRace: whatever else is committed at the same time, the events of one key are in the order of its commits.
func outboxRace(t *testing.T, s state.Store) {
	const commits = 25
	parallel(t, 8, func(i int) error {
		row := state.Row{Group: group, Key: fmt.Sprint("k", i)}
		for n := range commits {
			rev, err := s.Commit(t.Context(), row, state.Effects{Events: []state.OutboxEvent{event(fmt.Sprintf("%d %d", i, n))}})
			if err != nil {
				return err
			}
			row.Rev = rev
		}
		return nil
	})
	last := map[int]int{}
	for _, id := range snapshot(t, s).Outbox {
		var key, n int
		if _, err := fmt.Sscan(id, &key, &n); err != nil {
			t.Fatal(err)
		}
		equal(t, n, last[key])
		last[key]++
	}
	for key := range 8 {
		equal(t, last[key], commits)
	}
}

func parallel(t *testing.T, n int, fn func(i int) error) {
	t.Helper()
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { errs[i] = fn(i) })
	}
	wg.Wait()
	check(t, errors.Join(errs...))
}
