// Package statetest is the suite that every state.Store passes: Run for any store, RunShared for those that several
// processes share, RunCrash for those that survive the process.
//
// Failures are reported by testing.TB. A store is opened for each test; tests run in parallel.
package statetest

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/state"
	"github.com/bucketmesh/bucketmesh/pkg/version"
)

// Open makes an empty store that is closed when the test ends; now is the clock that its revisions follow.
type Open func(t *testing.T, now func() time.Time) state.Store

// Run runs the suite.
func Run(t *testing.T, open Open) {
	t.Helper()
	for _, test := range []struct {
		name string
		run  func(t *testing.T, s state.Store)
	}{
		{"Get/missing", getMissing},
		{"Get/a caller may change what it got", getIsACopy},
		{"Commit/the row comes back as it was", commitRoundTrip},
		{"Commit/stale revisions are refused", commitStale},
		{"Commit/a refused commit has no effects", commitAtomic},
		{"Commit/refuses what can never work", commitInvalid},
		{"Commit/remove", commitRemove},
		{"Commit/remove of a missing row", commitRemoveMissing},
		{"Commit/create of a row that came and went", commitMissed},
		{"Commit/race", commitRace},
		{"Commit/race of creates and removes", commitRaceRemove},
		{"Commit/ended context", commitEnded},
		{"Rows/keys in byte order", rowsOrder},
		{"Rows/pages", rowsPages},
		{"Dirty/earlier stays", dirtyEarlier},
		{"Dirty/effects replace", dirtyEffects},
		{"Dirty/due", dirtyDue},
		{"Dirty/mark of an entry without a row", markWithoutRow},
		{"Dirty/marks never come back", func(t *testing.T, s state.Store) { marks(t, []state.Store{s}) }},
		{"Dirty/an entry that was read is cleared", clearRead},
		{"Dirty/a wake-up after the read survives", clearMissed},
		{"Dirty/a wake-up after the read stays early", soilMissed},
		{"Dirty/lease", lease},
		{"Dirty/own lease is cleared", leaseOwn},
		{"Dirty/a wake-up during a lease survives", leaseMissed},
		{"Dirty/race of wake-ups and commits", wakeRace},
		{"Dirty/many keys", dirtyMany},
		{"Dirty/marks and commits at once", dirtyAndCommits},
		{"Dirty/reasons that are not text", dirtyReason},
		{"Outbox/order and removal", outboxOrder},
		{"Outbox/numbers are never given twice", outboxNumbers},
		{"Outbox/order of one key under load", outboxRace},
		{"Conflicts", conflicts},
		{"Cursor", cursors},
		{"Guards/weigh", weighing},
		{"Guards/race", weighRace},
		{"Guards/deletions", deletionLists},
		{"Guards/removed objects", removedObjects},
		{"Stats", stats},
		{"Groups are apart", groupsApart},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.run(t, open(t, time.Now))
		})
	}
	for name, clock := range clocks {
		t.Run("Revisions/"+name, func(t *testing.T) {
			t.Parallel()
			revisions(t, open(t, clock()))
		})
	}
}

const group = "media"

// start is a time that JSON, 64-bit nanoseconds and all databases hold exactly.
var start = time.Date(2026, 3, 1, 12, 0, 0, 123456789, time.UTC)

// clocks are the ways in which a clock can be wrong.
var clocks = map[string]func() func() time.Time{
	"frozen":    func() func() time.Time { return func() time.Time { return start } },
	"backwards": backwards,
	"zero":      func() func() time.Time { return func() time.Time { return time.Time{} } },
}

func backwards() func() time.Time {
	ch := make(chan time.Time, 1)
	ch <- start
	return func() time.Time {
		now := <-ch
		ch <- now.Add(-time.Hour)
		return now
	}
}

func getMissing(t *testing.T, s state.Store) {
	row, err := s.Get(t.Context(), group, "nothing")
	check(t, err)
	equal(t, row, state.Row{Group: group, Key: "nothing"})
}

func getIsACopy(t *testing.T, s state.Store) {
	row := full("k")
	row.Rev = commit(t, s, row, state.Effects{})
	want := encode(t, row)
	row.Counters["us"]++ // what was committed is the store's
	row.Intents[0].Nonce = "other"
	got := get(t, s, "k")
	equal(t, encode(t, got), want)
	delete(got.Replicas, "us")
	clear(got.Versions)
	got.Intents[0].Owner = "other"
	equal(t, encode(t, get(t, s, "k")), want)
	rows, err := s.Rows(t.Context(), group, "", 1)
	check(t, err)
	clear(rows[0].Replicas)
	equal(t, encode(t, get(t, s, "k")), want)
}

func commitRoundTrip(t *testing.T, s state.Store) {
	row := full("a/b c+%20.txt")
	row.Rev = commit(t, s, row, state.Effects{})
	got := get(t, s, row.Key)
	equal(t, got.Rev, row.Rev)
	equal(t, got.Group, group)
	equal(t, got.Key, row.Key)
	equal(t, encode(t, got), encode(t, row))
	if !got.Intents[0].LeaseUntil.Equal(row.Intents[0].LeaseUntil) {
		t.Errorf("lease is until %v, want %v", got.Intents[0].LeaseUntil, row.Intents[0].LeaseUntil)
	}
	// Everything gone again: a row without contents is a row.
	empty := state.Row{Group: group, Key: row.Key, Rev: got.Rev}
	empty.Rev = commit(t, s, empty, state.Effects{})
	equal(t, get(t, s, row.Key), empty)
}

func commitStale(t *testing.T, s state.Store) {
	row := state.Row{Group: group, Key: "k"}
	first := commit(t, s, row, state.Effects{})
	row.Rev = first
	second := commit(t, s, row, state.Effects{})
	for _, rev := range []int64{0, first, first - 1, second + 1} {
		for _, remove := range []bool{false, true} {
			_, err := s.Commit(t.Context(), state.Row{Group: group, Key: "k", Rev: rev}, state.Effects{Remove: remove})
			wantKind(t, err, errkind.Conflict)
		}
	}
	_, err := s.Commit(t.Context(), state.Row{Group: group, Key: "missing", Rev: first}, state.Effects{})
	wantKind(t, err, errkind.Conflict)
	equal(t, get(t, s, "k").Rev, second)
	equal(t, get(t, s, "missing").Rev, int64(0))
}

func commitAtomic(t *testing.T, s state.Store) {
	due := start
	rev := commit(t, s, full("k"), state.Effects{Dirty: &due, Attempts: 2, Reason: "first"})
	before, mark := snapshot(t, s), get(t, s, "k").DirtyMark
	later := start.Add(time.Hour)
	all := state.Effects{
		Dirty: &later, Attempts: 9, Reason: "never", Events: []state.OutboxEvent{event("never")},
		Conflicts: []state.Conflict{conflict("never", "k", start)},
	}
	clean, remove, leased := all, all, all
	clean.Dirty, clean.ClearDirty = nil, true
	remove.Remove = true
	leased.Dirty, leased.Lease = nil, &later
	for _, fx := range []state.Effects{all, clean, remove, leased} {
		for _, stale := range []int64{0, rev - 1, rev + 1} {
			_, err := s.Commit(t.Context(), state.Row{Group: group, Key: "k", Rev: stale, DirtyMark: mark}, fx)
			wantKind(t, err, errkind.Conflict)
			equal(t, snapshot(t, s), before)
			equal(t, get(t, s, "k").DirtyMark, mark)
		}
	}
	_, err := s.Commit(t.Context(), state.Row{Group: group, Key: "none", Rev: rev}, state.Effects{Lease: &later})
	wantKind(t, err, errkind.Conflict)
	equal(t, snapshot(t, s), before)
}

func commitInvalid(t *testing.T, s state.Store) {
	ok, due := state.Row{Group: group, Key: "k"}, start
	for name, c := range map[string]struct {
		row state.Row
		fx  state.Effects
	}{
		"no group":                     {state.Row{Key: "k"}, state.Effects{}},
		"no key":                       {state.Row{Group: group}, state.Effects{}},
		"negative revision":            {state.Row{Group: group, Key: "k", Rev: -1}, state.Effects{}},
		"event without id":             {ok, state.Effects{Events: []state.OutboxEvent{{JSON: []byte("{}")}}}},
		"lease made and cleared":       {ok, state.Effects{Lease: &due, ClearLease: true}},
		"lease made, all else cleared": {ok, state.Effects{Lease: &due, ClearDirty: true}},
		"event of nothing":             {ok, state.Effects{Events: []state.OutboxEvent{{ID: "e"}}}},
		"conflict without id": {ok, state.Effects{
			Conflicts: []state.Conflict{{Group: group, Key: "k"}}}},
		"conflict of another key": {ok, state.Effects{
			Conflicts: []state.Conflict{conflict("c", "other", start)}}},
	} {
		_, err := s.Commit(t.Context(), c.row, c.fx)
		if !errkind.Is(err, errkind.Invalid) {
			t.Errorf("%s: error is %v, want kind invalid", name, err)
		}
	}
	wantKind(t, s.MarkDirty(t.Context(), group, []string{"a", ""}, start, ""), errkind.Invalid)
	wantKind(t, s.MarkDirty(t.Context(), "", []string{"a"}, start, ""), errkind.Invalid)
	wantKind(t, s.SetCursor(t.Context(), group, "", "v"), errkind.Invalid)
	equal(t, snapshot(t, s), dump{})
}

func commitRemove(t *testing.T, s state.Store) {
	due := start
	row := state.Row{Group: group, Key: "k", Counters: version.Vector{"us": 1}}
	row.Rev = commit(t, s, row, state.Effects{Dirty: &due})
	row.DirtyMark = get(t, s, "k").DirtyMark
	rev := commit(t, s, row, state.Effects{Remove: true, ClearDirty: true, Events: []state.OutboxEvent{event("gone")}})
	equal(t, rev, int64(0))
	equal(t, get(t, s, "k"), state.Row{Group: group, Key: "k", AsOf: row.Rev})
	d := snapshot(t, s)
	equal(t, len(d.Rows), 0)
	equal(t, len(d.Dirty), 0)
	equal(t, d.Outbox, []string{"gone"})
	wantKind(t, second(s.Commit(t.Context(), row, state.Effects{Remove: true})), errkind.Conflict)
}

func commitRemoveMissing(t *testing.T, s state.Store) {
	check(t, s.MarkDirty(t.Context(), group, []string{"k"}, start, "hint"))
	rev := commit(t, s, get(t, s, "k"), state.Effects{Remove: true, ClearDirty: true})
	equal(t, rev, int64(0))
	equal(t, snapshot(t, s), dump{})
	commit(t, s, state.Row{Group: group, Key: "k"}, state.Effects{})
	wantKind(t, second(s.Commit(t.Context(), state.Row{Group: group, Key: "k"}, state.Effects{Remove: true})), errkind.Conflict)
}

// commitMissed: a missing row has no revision, and yet whoever read it notices that it came and went (R8).
func commitMissed(t *testing.T, s state.Store) {
	due := start
	check(t, s.MarkDirty(t.Context(), group, []string{"k"}, start, "hint"))
	early, neighbour := get(t, s, "k"), get(t, s, "neighbour")
	row := get(t, s, "k")
	row.Rev = commit(t, s, row, state.Effects{})
	commit(t, s, row, state.Effects{Remove: true})
	before := snapshot(t, s)
	for range 2 {
		_, err := s.Commit(t.Context(), early, state.Effects{Dirty: &due, Events: []state.OutboxEvent{event("never")}})
		wantKind(t, err, errkind.Conflict)
		equal(t, snapshot(t, s), before)
	}
	commit(t, s, neighbour, state.Effects{}) // of another shard
	row = get(t, s, "k")
	row.Rev = commit(t, s, row, state.Effects{})
	equal(t, get(t, s, "k").Rev, row.Rev)
	equal(t, snapshot(t, s).Stats.Keys, int64(2))
}

func commitEnded(t *testing.T, s state.Store) {
	ctx, cancel := contextOf(t)
	cancel()
	_, err := s.Commit(ctx, full("k"), state.Effects{})
	wantKind(t, err, errkind.Canceled)
	_, err = s.Get(ctx, group, "k")
	wantKind(t, err, errkind.Canceled)
	equal(t, snapshot(t, s), dump{})
}

// revisions walks a key through writes and removals: its revision never stands still, and never comes back.
func revisions(t *testing.T, s state.Store) {
	var last int64
	for round := range 5 {
		row := get(t, s, "k")
		for range 7 {
			row.Rev = commit(t, s, row, state.Effects{})
			if row.Rev <= last {
				t.Fatalf("round %d: revision %d after %d", round, row.Rev, last)
			}
			last = row.Rev
		}
		equal(t, commit(t, s, row, state.Effects{Remove: true}), int64(0))
	}
}

func full(key string) state.Row {
	id := version.ID("us@7")
	return state.Row{
		Group: group, Key: key,
		Versions: map[version.ID]*version.Version{id: {
			ID: id, Vector: version.Vector{"us": 7, version.Synchronizer: 2}, Kind: version.Put,
			Content: version.Content{Size: 4096, MD5: "0cc175b9c0f1b6a831c399e269772661", ETag: "0cc175b9c0f1b6a831c399e269772661"},
			Origin:  "us", HLC: version.Timestamp(start.UnixNano()), ProviderTime: start.UnixNano(),
		}},
		Counters: version.Vector{"us": 7, "eu": 1 << 60},
		Replicas: map[string]state.Replica{
			"us": {Version: id, Print: state.Fingerprint{Present: true, Tag: `"0cc1"`, VersionID: "null", ModTime: start.UnixNano()}, EchoDue: true},
			"eu": {Tentative: id, Status: state.StatusRefused, Detail: "no \x00 <key> \u2028 like \"this\""},
		},
		Intents: []state.Intent{{
			Nonce: "n1", Replica: "eu", Version: id, Expect: state.Fingerprint{Tag: "old"}, LeaseUntil: start.Add(time.Minute), Owner: "me",
		}},
	}
}

func event(id string) state.OutboxEvent {
	return state.OutboxEvent{ID: id, JSON: fmt.Appendf(nil, `{ "specversion":"1.0", "id":%q }`, id)}
}

func conflict(id, key string, detected time.Time) state.Conflict {
	loser := version.Version{ID: "eu@3", Vector: version.Vector{"eu": 3}, Kind: version.Put, Origin: "eu"}
	return state.Conflict{
		ID: id, Group: group, Key: key, State: "detected", Policy: "keep-both", Detected: detected, WinnerAt: "us",
		Winner: version.Version{ID: "us@4", Vector: version.Vector{"us": 4}, Kind: version.Put, Origin: "us"},
		Losers: []state.Loser{{Version: loser, Replica: "eu", Copy: ".conflicts/" + key}},
	}
}

// dump is all that a store tells of the group, in a form that can be compared.
type dump struct {
	Rows      []string
	Dirty     []state.Dirty
	Outbox    []string
	Conflicts []string
	Stats     state.Stats
}

func snapshot(t testing.TB, s state.Store) dump {
	t.Helper()
	ctx := t.Context()
	var d dump
	rows, err := s.Rows(ctx, group, "", 0)
	check(t, err)
	for _, r := range rows {
		d.Rows = append(d.Rows, fmt.Sprintf("%q at %d: %s", r.Key, r.Rev, encode(t, r)))
	}
	d.Dirty, err = s.Due(ctx, group, time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC), 0)
	check(t, err)
	for i := range d.Dirty { // a mark is nobody's business but that it is the one that Get tells
		row, err := s.Get(ctx, group, d.Dirty[i].Key)
		check(t, err)
		if mark := d.Dirty[i].Mark; mark == 0 || mark != row.DirtyMark {
			t.Errorf("the entry of %q has the mark %d, and to Get it is %d", d.Dirty[i].Key, mark, row.DirtyMark)
		}
		d.Dirty[i].Mark = 0
	}
	events, err := s.Outbox(ctx, 0)
	check(t, err)
	for _, e := range events {
		d.Outbox = append(d.Outbox, e.ID)
	}
	cs, err := s.Conflicts(ctx, group, "", 0)
	check(t, err)
	for _, c := range cs {
		d.Conflicts = append(d.Conflicts, encode(t, c))
	}
	d.Stats, err = s.Stats(ctx, group)
	check(t, err)
	return d
}

func get(t testing.TB, s state.Store, key string) state.Row {
	t.Helper()
	row, err := s.Get(t.Context(), group, key)
	check(t, err)
	return row
}

func commit(t testing.TB, s state.Store, row state.Row, fx state.Effects) int64 {
	t.Helper()
	rev, err := s.Commit(t.Context(), row, fx)
	check(t, err)
	return rev
}

func encode(t testing.TB, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	check(t, err)
	return string(b)
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func second[T any](_ T, err error) error { return err }

func wantKind(t testing.TB, err error, kind errkind.Kind) {
	t.Helper()
	if !errkind.Is(err, kind) {
		t.Fatalf("error is %v, want kind %v", err, kind)
	}
	if _, ok := errors.AsType[*errkind.Error](err); !ok {
		t.Fatalf("error %v was not classified", err)
	}
}
