package statetest

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/state"
	"github.com/bucketmesh/bucketmesh/pkg/version"
)

func weigh(t testing.TB, s state.Store, key string, f func(w *state.Weighing)) {
	t.Helper()
	check(t, s.Weigh(t.Context(), group, key, func(w *state.Weighing) error { f(w); return nil }))
}

func deletions(t testing.TB, s state.Store, after string, limit int) (got []string) {
	t.Helper()
	all, err := s.Deletions(t.Context(), group, after, limit)
	check(t, err)
	for _, d := range all {
		got = append(got, d.Key)
	}
	return got
}

func weighing(t *testing.T, s state.Store) {
	b, err := s.Brake(t.Context(), group)
	check(t, err)
	equal(t, encode(t, b), encode(t, state.Brake{}))
	commit(t, s, state.Row{Group: group, Key: "a row"}, state.Effects{})
	odd := "not \xff utf-8"
	want := state.Brake{
		State: state.Tripped, Since: start, Reason: "why", Waiting: 7, Counts: []state.Count{{At: 60, N: 2}, {At: 120, N: 5}},
		Minute: state.Count{At: 120, N: 3}, Latest: start, Approved: start, Until: start, Further: 4,
	}
	d := state.Deletion{Key: odd, Version: "a.1", Noted: start, Waiting: true, Approved: true}
	weigh(t, s, odd, func(w *state.Weighing) {
		equal(t, w.Keys, 1)
		equal(t, w.Deletion, state.Deletion{})
		w.Brake, w.Deletion, w.Events = want, d, []state.OutboxEvent{event("tripped")}
	})
	if b, err = s.Brake(t.Context(), group); err != nil || encode(t, b) != encode(t, want) {
		t.Errorf("brake %+v, %v", b, err)
	}
	weigh(t, s, odd, func(w *state.Weighing) {
		equal(t, encode(t, w.Brake), encode(t, want))
		if !w.Deletion.Noted.Equal(start) {
			t.Errorf("noted at %v", w.Deletion.Noted)
		}
		w.Deletion.Noted = start
		equal(t, w.Deletion, d)
	})
	out, err := s.Outbox(t.Context(), 10)
	check(t, err)
	equal(t, len(out), 1)
	// An error undoes everything, and comes back as it is.
	no := errors.New("no")
	err = s.Weigh(t.Context(), group, odd, func(w *state.Weighing) error {
		w.Brake, w.Deletion, w.Events = state.Brake{}, state.Deletion{}, []state.OutboxEvent{event("another")}
		return no
	})
	if !errors.Is(err, no) {
		t.Errorf("error is %v", err)
	}
	if b, err = s.Brake(t.Context(), group); err != nil || encode(t, b) != encode(t, want) {
		t.Errorf("brake after an error: %+v, %v", b, err)
	}
	equal(t, deletions(t, s, "", 0), []string{odd})
	weigh(t, s, "", func(w *state.Weighing) { w.Brake.State = state.Armed }) // the brake alone
	weigh(t, s, odd, func(w *state.Weighing) {
		equal(t, w.Brake.State, state.Armed)
		w.Deletion = state.Deletion{}
	})
	equal(t, deletions(t, s, "", 0), nil)
	weigh(t, s, odd, func(w *state.Weighing) { equal(t, w.Deletion, state.Deletion{}) })
	wantKind(t, s.Weigh(t.Context(), "", "k", func(*state.Weighing) error { return nil }), errkind.Invalid)
	if b, err := s.Brake(t.Context(), "other"); err != nil || b.Waiting != 0 {
		t.Errorf("brake of another group: %+v, %v", b, err)
	}
}

// weighRace: what each call adds is there in the end, in whatever order they came.
func weighRace(t *testing.T, s state.Store) { weighAll(t, []state.Store{s}) }

func weighAll(t *testing.T, stores []state.Store) {
	const n, each = 8, 10
	parallel(t, n, func(i int) error {
		s := stores[i%len(stores)]
		for j := range each {
			key := fmt.Sprintf("k%d-%d", i, j)
			err := s.Weigh(t.Context(), group, key, func(w *state.Weighing) error {
				w.Brake.Waiting++
				w.Deletion = state.Deletion{Version: version.ID(key), Noted: start, Waiting: true}
				return nil
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	b, err := stores[0].Brake(t.Context(), group)
	check(t, err)
	equal(t, b.Waiting, n*each)
	equal(t, len(deletions(t, stores[0], "", 0)), n*each)
}

func deletionLists(t *testing.T, s state.Store) {
	for i, key := range []string{"a", "b", "c", "d"} {
		weigh(t, s, key, func(w *state.Weighing) {
			w.Deletion = state.Deletion{Version: "v", Noted: start.Add(time.Duration(i) * time.Minute), Waiting: key != "b" && key != "c"}
		})
	}
	equal(t, deletions(t, s, "", 0), []string{"a", "d"})
	equal(t, deletions(t, s, "a", 0), []string{"d"})
	equal(t, deletions(t, s, "", 1), []string{"a"})
	n, err := s.ForgetDeletions(t.Context(), group, start.Add(2*time.Minute), 10) // b, and neither a, which waits, nor c, which is too new
	check(t, err)
	equal(t, n, 1)
	weigh(t, s, "c", func(w *state.Weighing) { equal(t, w.Deletion.Version, "v") })
	weigh(t, s, "b", func(w *state.Weighing) { equal(t, w.Deletion.Version, "") })
	equal(t, deletions(t, s, "", 0), []string{"a", "d"})
}

func taken(id, key string, when time.Time) state.Removed {
	return state.Removed{
		ID: id, Group: group, Key: key, Replica: "b", VersionID: "vid", Copy: "copy", When: when, Expires: when.Add(time.Hour),
		Version: version.Version{ID: "a.1", Kind: version.Put, Content: version.Content{Size: 3, SHA256: "s"}, Origin: "a"},
	}
}

func removedIDs(t testing.TB, s state.Store, q state.RemovedQuery) (got []string) {
	t.Helper()
	all, err := s.Removed(t.Context(), group, q)
	check(t, err)
	for _, r := range all {
		got = append(got, r.ID)
	}
	return got
}

func removedObjects(t *testing.T, s state.Store) {
	odd := "p/\xff"
	row := state.Row{Group: group, Key: odd}
	first := taken("1", odd, start)
	row.Rev = commit(t, s, row, state.Effects{Removed: []state.Removed{taken("1", odd, start.Add(time.Second)), first, taken("2", odd, start.Add(time.Minute))}})
	commit(t, s, state.Row{Group: group, Key: "q"}, state.Effects{Removed: []state.Removed{taken("3", "q", start)}})
	equal(t, removedIDs(t, s, state.RemovedQuery{}), []string{"1", "2", "3"})
	all, err := s.Removed(t.Context(), group, state.RemovedQuery{Limit: 1})
	check(t, err)
	equal(t, len(all), 1)
	equal(t, encode(t, all[0]), encode(t, first))
	equal(t, all[0].Key, odd)
	equal(t, removedIDs(t, s, state.RemovedQuery{AfterKey: odd, AfterID: "1"}), []string{"2", "3"})
	equal(t, removedIDs(t, s, state.RemovedQuery{Prefix: "p/"}), []string{"1", "2"})
	equal(t, removedIDs(t, s, state.RemovedQuery{Prefix: odd}), []string{"1", "2"})
	equal(t, removedIDs(t, s, state.RemovedQuery{Since: start.Add(time.Second)}), []string{"2"})
	equal(t, removedIDs(t, s, state.RemovedQuery{ExpiredBefore: start.Add(time.Hour + time.Second)}), []string{"1", "3"})
	// A commit that is refused writes none.
	stale := row
	stale.Rev += 7
	_, err = s.Commit(t.Context(), stale, state.Effects{Removed: []state.Removed{taken("4", odd, start)}})
	wantKind(t, err, errkind.Conflict)
	equal(t, len(removedIDs(t, s, state.RemovedQuery{})), 3)
	for _, bad := range []state.Removed{taken("", odd, start), taken("5", "another", start), {ID: "6", Group: group, Key: odd, End: "expired"}} {
		_, err = s.Commit(t.Context(), row, state.Effects{Removed: []state.Removed{bad}})
		wantKind(t, err, errkind.Invalid)
	}
	first.End, first.Ended = "restored", start.Add(time.Minute)
	check(t, s.SetRemoved(t.Context(), first))
	equal(t, removedIDs(t, s, state.RemovedQuery{Kept: true}), []string{"2", "3"})
	equal(t, removedIDs(t, s, state.RemovedQuery{}), []string{"1", "2", "3"})
	n, err := s.ForgetRemoved(t.Context(), group, start.Add(2*time.Hour), 10) // those that ended only
	check(t, err)
	equal(t, n, 1)
	equal(t, removedIDs(t, s, state.RemovedQuery{}), []string{"2", "3"})
	none, err := s.Removed(t.Context(), "other", state.RemovedQuery{})
	check(t, err)
	equal(t, len(none), 0)
}
