package statetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/state"
)

func minutes(m int) *time.Time {
	t := start.Add(time.Duration(m) * time.Minute)
	return &t
}

// mark is a wake-up of k.
func mark(t *testing.T, s state.Store, due *time.Time, reason string) {
	t.Helper()
	check(t, s.MarkDirty(t.Context(), group, []string{"k"}, *due, reason))
}

// wantDirty says what is left of k; none if due is nil.
func wantDirty(t *testing.T, s state.Store, due *time.Time, attempts int, reason string) {
	t.Helper()
	var want []state.Dirty
	if due != nil {
		want = []state.Dirty{{Group: group, Key: "k", Due: *due, Attempts: attempts, Reason: reason}}
	}
	equal(t, snapshot(t, s).Dirty, want)
	if known := get(t, s, "k").DirtyMark != 0; known != (due != nil) {
		t.Fatalf("there is an entry: %v; Get has a mark: %v", due != nil, known)
	}
}

func markWithoutRow(t *testing.T, s state.Store) {
	mark(t, s, minutes(0), "hint")
	row := get(t, s, "k")
	if row.DirtyMark == 0 {
		t.Fatal("no mark of an entry without a row")
	}
	equal(t, row, state.Row{Group: group, Key: "k", DirtyMark: row.DirtyMark})
	equal(t, get(t, s, "other"), state.Row{Group: group, Key: "other"})
	elsewhere, err := s.Get(t.Context(), "other", "k")
	check(t, err)
	equal(t, elsewhere, state.Row{Group: "other", Key: "k"})
	row.Rev = commit(t, s, row, state.Effects{})
	rows, err := s.Rows(t.Context(), group, "", 0)
	check(t, err)
	equal(t, rows, []state.Row{{Group: group, Key: "k", Rev: row.Rev}}) // the mark is no part of the row
	commit(t, s, row, state.Effects{Remove: true})
	equal(t, get(t, s, "k"), state.Row{Group: group, Key: "k", AsOf: row.Rev, DirtyMark: row.DirtyMark}) // the entry outlives it
}

// marks makes entries in every way and removes them. What leaves the entry alone leaves its mark; all else gives one
// that the key never had, whichever of the stores (of one database) does it.
func marks(t *testing.T, stores []state.Store) {
	t.Helper()
	seen := map[int64]bool{0: true}
	var last int64
	turn := 0
	next := func() state.Store {
		turn++
		return stores[turn%len(stores)]
	}
	fresh := func(how string) {
		t.Helper()
		last = get(t, next(), "k").DirtyMark
		if last < 0 || seen[last] {
			t.Fatalf("%s: mark %d was there before, or says that there is no entry", how, last)
		}
		seen[last] = true
	}
	effects := func(fx state.Effects) { t.Helper(); commit(t, next(), get(t, next(), "k"), fx) }
	for round := range 20 {
		mark(t, next(), minutes(5), "hint")
		fresh("made")
		mark(t, next(), minutes(4), "hint")
		fresh("brought forward")
		mark(t, next(), minutes(4), "hint")
		fresh("repeated")
		mark(t, next(), minutes(9), "hint")
		fresh("asked for later")
		effects(state.Effects{Dirty: minutes(7)})
		fresh("replaced")
		effects(state.Effects{Lease: minutes(1)})
		equal(t, get(t, next(), "k").DirtyMark, last) // there was an entry
		effects(state.Effects{})
		equal(t, get(t, next(), "k").DirtyMark, last)
		effects(state.Effects{ClearDirty: true, Remove: round%2 == 0})
		equal(t, get(t, next(), "k").DirtyMark, int64(0))
		effects(state.Effects{Lease: minutes(1)})
		fresh("lease")
		effects(state.Effects{ClearLease: true})
		equal(t, get(t, next(), "k").DirtyMark, int64(0))
		effects(state.Effects{Dirty: minutes(1)})
		fresh("made by a commit")
		effects(state.Effects{ClearDirty: true})
	}
}

func clearRead(t *testing.T, s state.Store) {
	mark(t, s, minutes(0), "hint")
	row := get(t, s, "k")
	row.Rev = commit(t, s, row, state.Effects{}) // a commit between does not make it another entry
	row.Rev = commit(t, s, row, state.Effects{Lease: minutes(9)})
	wantDirty(t, s, minutes(0), 0, "hint")
	row.Rev = commit(t, s, row, state.Effects{ClearLease: true})
	wantDirty(t, s, minutes(0), 0, "hint")
	row.Rev = commit(t, s, row, state.Effects{ClearDirty: true})
	wantDirty(t, s, nil, 0, "")
	commit(t, s, row, state.Effects{Dirty: minutes(0), Attempts: 3, Reason: "failed"})
	commit(t, s, get(t, s, "k"), state.Effects{ClearDirty: true}) // an entry of a commit as well
	wantDirty(t, s, nil, 0, "")
}

// clearMissed: whoever read the row before the wake-up did not look at the replicas after it.
func clearMissed(t *testing.T, s state.Store) {
	for name, c := range map[string]struct {
		before, wake *time.Time
		reason       string // that is left
	}{
		"no entry before": {nil, minutes(1), "wake"},
		"brought forward": {minutes(5), minutes(1), "wake"},
		"due already":     {minutes(1), minutes(5), "before"},
		"due just then":   {minutes(1), minutes(1), "before"},
	} {
		for _, kind := range []string{"row", "no row", "removed"} {
			if row := get(t, s, "k"); row.Rev == 0 && kind != "no row" {
				commit(t, s, row, state.Effects{})
			}
			if c.before != nil {
				mark(t, s, c.before, "before")
			}
			row := get(t, s, "k")
			mark(t, s, c.wake, "wake")
			commit(t, s, row, state.Effects{ClearDirty: true, Remove: kind != "row"})
			t.Log(name, kind)
			wantDirty(t, s, minutes(1), 0, c.reason)
			commit(t, s, get(t, s, "k"), state.Effects{ClearDirty: true, Remove: true}) // now it was seen
			wantDirty(t, s, nil, 0, "")
		}
	}
	// The entry that was read is gone, and the one that is there is another.
	mark(t, s, minutes(1), "wake")
	row := get(t, s, "k")
	row.Rev = commit(t, s, row, state.Effects{ClearDirty: true})
	mark(t, s, minutes(1), "wake")
	row.Rev = commit(t, s, row, state.Effects{ClearDirty: true})
	wantDirty(t, s, minutes(1), 0, "wake")
	// An entry of a commit, by one who did not read it.
	commit(t, s, row, state.Effects{Dirty: minutes(1), Reason: "commit"})
	row.Rev = get(t, s, "k").Rev
	commit(t, s, row, state.Effects{ClearDirty: true})
	wantDirty(t, s, minutes(1), 0, "commit")
}

// soilMissed: a worker that puts a key off until later does not put a wake-up off that it doesn't know of.
func soilMissed(t *testing.T, s state.Store) {
	again := func() state.Row {
		t.Helper()
		commit(t, s, get(t, s, "k"), state.Effects{ClearDirty: true})
		return get(t, s, "k")
	}
	row := again()
	mark(t, s, minutes(1), "wake")
	commit(t, s, row, state.Effects{Dirty: minutes(60), Attempts: 4, Reason: "failed"})
	wantDirty(t, s, minutes(1), 4, "failed")
	commit(t, s, get(t, s, "k"), state.Effects{Dirty: minutes(60), Attempts: 5, Reason: "failed"}) // now it was seen
	wantDirty(t, s, minutes(60), 5, "failed")

	row = again()
	mark(t, s, minutes(60), "wake")
	commit(t, s, row, state.Effects{Dirty: minutes(1), Attempts: 4, Reason: "failed"})
	wantDirty(t, s, minutes(1), 4, "failed")

	again()
	mark(t, s, minutes(1), "wake")
	row = get(t, s, "k")
	mark(t, s, minutes(2), "wake again")
	commit(t, s, row, state.Effects{Dirty: minutes(60), ClearDirty: true, Reason: "failed"})
	wantDirty(t, s, minutes(1), 0, "failed")

	row = again()
	row.Rev = commit(t, s, row, state.Effects{Lease: minutes(1)})
	commit(t, s, row, state.Effects{Dirty: minutes(60), Attempts: 4, Reason: "failed"}) // a lease is no wake-up
	wantDirty(t, s, minutes(60), 4, "failed")
}

func lease(t *testing.T, s state.Store) {
	row := get(t, s, "k")
	row.Rev = commit(t, s, row, state.Effects{Lease: minutes(2), Attempts: 7, Reason: "not of a lease"})
	wantDirty(t, s, minutes(2), 0, state.ReasonLease)
	row.Rev = commit(t, s, row, state.Effects{Lease: minutes(3)}) // there is an entry
	wantDirty(t, s, minutes(2), 0, state.ReasonLease)
	row.Rev = commit(t, s, row, state.Effects{})
	wantDirty(t, s, minutes(2), 0, state.ReasonLease)
	row.Rev = commit(t, s, row, state.Effects{Lease: minutes(3), Dirty: minutes(4), Reason: "dirty"})
	wantDirty(t, s, minutes(4), 0, "dirty")
	row = get(t, s, "k")
	row.Rev = commit(t, s, row, state.Effects{Lease: minutes(3)})
	wantDirty(t, s, minutes(4), 0, "dirty")
	row.Rev = commit(t, s, row, state.Effects{ClearLease: true})
	wantDirty(t, s, minutes(4), 0, "dirty")
	row.Rev = commit(t, s, row, state.Effects{ClearDirty: true})
	commit(t, s, row, state.Effects{Remove: true, Lease: minutes(5)}) // odd, and not forbidden
	wantDirty(t, s, minutes(5), 0, state.ReasonLease)
}

// leaseOwn: a worker does not read the row again between the commit that makes its lease and the one that ends it.
func leaseOwn(t *testing.T, s state.Store) {
	for _, end := range []state.Effects{
		{ClearDirty: true}, {ClearLease: true}, {ClearDirty: true, ClearLease: true}, {ClearDirty: true, Remove: true}, {ClearLease: true, Remove: true},
	} {
		row := get(t, s, "k")
		row.Rev = commit(t, s, row, state.Effects{Lease: minutes(2)})
		wantDirty(t, s, minutes(2), 0, state.ReasonLease)
		row.Rev = commit(t, s, row, state.Effects{})
		commit(t, s, row, end)
		wantDirty(t, s, nil, 0, "")
	}
	// That of a worker that died, found by the next one.
	commit(t, s, get(t, s, "k"), state.Effects{Lease: minutes(2)})
	commit(t, s, get(t, s, "k"), state.Effects{ClearDirty: true})
	wantDirty(t, s, nil, 0, "")
}

// leaseMissed: a lease that is due before the wake-up must not swallow it.
func leaseMissed(t *testing.T, s state.Store) {
	for wake, due := range map[int]int{1: 1, 2: 2, 9: 2} {
		for _, end := range []state.Effects{{ClearDirty: true}, {ClearLease: true}, {Dirty: minutes(60), Reason: "wake"}} {
			row := get(t, s, "k")
			row.Rev = commit(t, s, row, state.Effects{Lease: minutes(2)})
			mark(t, s, minutes(wake), "wake")
			wantDirty(t, s, minutes(due), 0, "wake")
			commit(t, s, row, end)
			wantDirty(t, s, minutes(due), 0, "wake")
			commit(t, s, get(t, s, "k"), state.Effects{ClearDirty: true})
		}
	}
}

// wakeRace: a wake-up and the end of the work that knows nothing of it, truly at the same time.
func wakeRace(t *testing.T, s state.Store) {
	parallel(t, 6, func(i int) error {
		ctx, key := t.Context(), fmt.Sprint("k", i)
		for n := range 60 {
			row, err := s.Get(ctx, group, key)
			if err != nil {
				return err
			}
			if n%2 == 0 {
				if row.Rev, err = s.Commit(ctx, row, state.Effects{Lease: minutes(2)}); err != nil {
					return err
				}
			}
			end := []state.Effects{
				{ClearDirty: true}, {ClearDirty: true, Remove: true}, {Dirty: minutes(60)},
			}[n%3]
			woken := make(chan error, 1)
			go func() { woken <- s.MarkDirty(ctx, group, []string{key}, *minutes(30), "wake") }()
			_, err = s.Commit(ctx, row, end)
			if late := <-woken; err == nil {
				err = late
			}
			if err != nil {
				return err
			}
			due, err := s.Due(ctx, group, *minutes(30), 0)
			if err != nil {
				return err
			}
			found := false
			for _, d := range due {
				found = found || d.Key == key
			}
			if !found {
				return fmt.Errorf("key %s, round %d: the wake-up is lost", key, n)
			}
			if row, err = s.Get(ctx, group, key); err != nil {
				return err
			}
			if _, err := s.Commit(ctx, row, state.Effects{ClearDirty: n%4 < 2}); err != nil {
				return err
			}
		}
		return nil
	})
}
