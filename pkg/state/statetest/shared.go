package statetest

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/state"
	"github.com/bucketmesh/bucketmesh/pkg/version"
)

// Database makes an empty database, to be used by several stores; the function that it returns opens one more store,
// with the clock Frozen.
type Database func(t *testing.T) (open func() (state.Store, error))

// RunShared tests stores that share a database, as several processes do, and what is left after a store was closed.
func RunShared(t *testing.T, database Database) {
	t.Helper()
	t.Run("Shared/opened by many at once", func(t *testing.T) {
		t.Parallel()
		openAtOnce(t, database(t))
	})
	t.Run("Shared/one sees what the other wrote", func(t *testing.T) {
		t.Parallel()
		sharedView(t, database(t))
	})
	t.Run("Shared/race", func(t *testing.T) {
		t.Parallel()
		open := database(t)
		race(t, []state.Store{opened(t, open), opened(t, open), opened(t, open)})
	})
	t.Run("Shared/race of creates and removes", func(t *testing.T) {
		t.Parallel()
		commitRaceRemove(t, opened(t, database(t)))
	})
	t.Run("Shared/marks of dirty entries", func(t *testing.T) {
		t.Parallel()
		open := database(t)
		marks(t, []state.Store{opened(t, open), opened(t, open), opened(t, open)})
	})
	t.Run("Shared/race of deletes at the brake", func(t *testing.T) {
		t.Parallel()
		open := database(t)
		weighAll(t, []state.Store{opened(t, open), opened(t, open), opened(t, open)})
	})
	t.Run("Shared/reopened", func(t *testing.T) {
		t.Parallel()
		reopened(t, database(t))
	})
}

// openAtOnce: the first start of several processes; one migrates, and all work.
func openAtOnce(t *testing.T, open func() (state.Store, error)) {
	t.Helper()
	const n = 6
	stores, errs := make([]state.Store, n), make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { stores[i], errs[i] = open() })
	}
	wg.Wait()
	for _, s := range stores {
		if s != nil {
			t.Cleanup(func() { closed(t, s) })
		}
	}
	check(t, errors.Join(errs...))
	row := state.Row{Group: group, Key: "k"}
	for _, s := range stores {
		row.Rev = commit(t, s, row, state.Effects{})
	}
}

func sharedView(t *testing.T, open func() (state.Store, error)) {
	t.Helper()
	a, b := opened(t, open), opened(t, open)
	due := start
	row := full("k")
	row.Rev = commit(t, a, row, state.Effects{Dirty: &due, Events: []state.OutboxEvent{event("1")}, Conflicts: []state.Conflict{conflict("c", "k", start)}})
	equal(t, snapshot(t, b), snapshot(t, a))
	row.DirtyMark = get(t, b, "k").DirtyMark
	row.Rev = commit(t, b, row, state.Effects{ClearDirty: true, Events: []state.OutboxEvent{event("2")}})
	equal(t, snapshot(t, a), snapshot(t, b))
	equal(t, snapshot(t, a).Outbox, []string{"1", "2"})
	equal(t, get(t, a, "k").Rev, row.Rev)
}

func reopened(t *testing.T, open func() (state.Store, error)) {
	t.Helper()
	s, err := open()
	check(t, err)
	due := start
	row := full("k")
	row.Rev = commit(t, s, row, state.Effects{Dirty: &due, Events: []state.OutboxEvent{event("1")}, Conflicts: []state.Conflict{conflict("c", "k", start)}})
	gone := state.Row{Group: group, Key: "gone"}
	gone.Rev = commit(t, s, gone, state.Effects{})
	commit(t, s, gone, state.Effects{Remove: true})
	check(t, s.SetCursor(t.Context(), group, "name", "value"))
	before, mark := snapshot(t, s), get(t, s, "k").DirtyMark
	check(t, s.Close())
	if _, err := s.Get(t.Context(), group, "k"); err == nil {
		t.Error("a closed store answers")
	}
	_, err = s.Commit(t.Context(), row, state.Effects{})
	if err == nil {
		t.Error("a closed store commits")
	}

	s = opened(t, open)
	equal(t, snapshot(t, s), before)
	v, err := s.Cursor(t.Context(), group, "name")
	check(t, err)
	equal(t, v, "value")
	if rev := commit(t, s, get(t, s, "gone"), state.Effects{}); rev <= gone.Rev {
		t.Errorf("the row that came back has revision %d, it once had %d", rev, gone.Rev)
	}
	row.Counters = version.Vector{"us": 8}
	row.DirtyMark = mark
	commit(t, s, row, state.Effects{ClearDirty: true}) // who read it may end its work over another connection
	equal(t, len(snapshot(t, s).Dirty), 0)
	check(t, s.MarkDirty(t.Context(), group, []string{"k"}, start, ""))
	if again := get(t, s, "k").DirtyMark; again == 0 || again == mark {
		t.Errorf("the mark of a new entry is %d, that of the one before was %d", again, mark)
	}
}

func opened(t *testing.T, open func() (state.Store, error)) state.Store {
	t.Helper()
	s, err := open()
	check(t, err)
	t.Cleanup(func() { closed(t, s) })
	return s
}

func closed(t *testing.T, s state.Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// Frozen is a clock that stands still, for stores that are opened with RunShared: the worst case for revisions.
func Frozen() time.Time { return start }
