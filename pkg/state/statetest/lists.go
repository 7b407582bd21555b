package statetest

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/state"
)

// keys in byte order, and in no other order that a database might prefer.
func keys() []string {
	k := []string{
		"A", "B", "Z", "_", "a", "a ", "a  ", "a\t", "a!", "a.", "a/", "a/b", "a0", "aa", "b", "z", "~",
		"\u00e9", "e\u0301", "\u00c4", "\u4e2d\u6587", "\u044f", "\U0001f600", "\ufffd", "\x7f", "\x01", " ", "%00", "a\\b", "a'b", `a"b`,
		"not \xff utf-8 \xc3", strings.Repeat("k", 1024), strings.Repeat("\u00df", 512),
	}
	slices.Sort(k)
	return k
}

func rowsOrder(t *testing.T, s state.Store) {
	want := keys()
	for _, i := range []int{7, 3, 5} { // in some other order, all of them
		for j := i; j < len(want); j += 8 {
			commit(t, s, state.Row{Group: group, Key: want[j]}, state.Effects{})
		}
	}
	for _, k := range want {
		if get(t, s, k).Rev == 0 {
			commit(t, s, state.Row{Group: group, Key: k}, state.Effects{})
		}
	}
	equal(t, list(t, s, ""), want)
	for i, k := range want {
		equal(t, get(t, s, k).Key, k)
		equal(t, list(t, s, k), append([]string(nil), want[i+1:]...))
	}
	check(t, s.MarkDirty(t.Context(), group, want, start, ""))
	due, err := s.Due(t.Context(), group, start, 0)
	check(t, err)
	var got []string
	for _, d := range due {
		got = append(got, d.Key)
	}
	equal(t, got, want)
}

func list(t *testing.T, s state.Store, after string) []string {
	t.Helper()
	rows, err := s.Rows(t.Context(), group, after, 0)
	check(t, err)
	var got []string
	for _, r := range rows {
		got = append(got, r.Key)
	}
	return got
}

func rowsPages(t *testing.T, s state.Store) {
	var want, got []string
	for i := range 25 {
		k := fmt.Sprintf("k%02d", i)
		want = append(want, k)
		row := full(k)
		row.Rev = commit(t, s, row, state.Effects{})
	}
	after := ""
	for {
		page, err := s.Rows(t.Context(), group, after, 10)
		check(t, err)
		for _, r := range page {
			full := full(r.Key)
			equal(t, encode(t, r), encode(t, full))
			got = append(got, r.Key)
		}
		if len(page) < 10 {
			break
		}
		after = page[len(page)-1].Key
	}
	equal(t, got, want)
}

func dirtyEarlier(t *testing.T, s state.Store) {
	ctx := t.Context()
	at := func(m int) time.Time { return start.Add(time.Duration(m) * time.Minute) }
	check(t, s.MarkDirty(ctx, group, []string{"k"}, at(5), "five"))
	check(t, s.MarkDirty(ctx, group, []string{"k"}, at(9), "nine"))
	equal(t, snapshot(t, s).Dirty, []state.Dirty{{Group: group, Key: "k", Due: at(5), Reason: "five"}})
	check(t, s.MarkDirty(ctx, group, []string{"k"}, at(5), "same"))
	equal(t, snapshot(t, s).Dirty[0].Reason, "five")
	check(t, s.MarkDirty(ctx, group, []string{"k", "k"}, at(1), "one"))
	equal(t, snapshot(t, s).Dirty, []state.Dirty{{Group: group, Key: "k", Due: at(1), Reason: "one"}})
	// A hint that comes while a key is backing off does not make it forget how often it failed.
	late := at(60)
	commit(t, s, get(t, s, "k"), state.Effects{Dirty: &late, Attempts: 4, Reason: "failed"})
	check(t, s.MarkDirty(ctx, group, []string{"k"}, at(2), "hint"))
	equal(t, snapshot(t, s).Dirty, []state.Dirty{{Group: group, Key: "k", Due: at(2), Attempts: 4, Reason: "hint"}})
}

func dirtyEffects(t *testing.T, s state.Store) {
	soon, late := start, start.Add(time.Hour)
	row := state.Row{Group: group, Key: "k"}
	row.Rev = commit(t, s, row, state.Effects{Dirty: &soon, Attempts: 1, Reason: "one"})
	equal(t, snapshot(t, s).Dirty, []state.Dirty{{Group: group, Key: "k", Due: soon, Attempts: 1, Reason: "one"}})
	row.DirtyMark = get(t, s, "k").DirtyMark
	row.Rev = commit(t, s, row, state.Effects{Dirty: &late, Attempts: 2, Reason: "two"}) // later replaces earlier
	equal(t, snapshot(t, s).Dirty, []state.Dirty{{Group: group, Key: "k", Due: late, Attempts: 2, Reason: "two"}})
	row.Rev = commit(t, s, row, state.Effects{}) // no word of it leaves it
	equal(t, len(snapshot(t, s).Dirty), 1)
	row.DirtyMark = get(t, s, "k").DirtyMark
	row.Rev = commit(t, s, row, state.Effects{ClearDirty: true})
	equal(t, len(snapshot(t, s).Dirty), 0)
	commit(t, s, row, state.Effects{ClearDirty: true, Dirty: &soon, Reason: "again"}) // clean, then due again
	equal(t, snapshot(t, s).Dirty, []state.Dirty{{Group: group, Key: "k", Due: soon, Reason: "again"}})
}

func dirtyDue(t *testing.T, s state.Store) {
	ctx := t.Context()
	_, ok, err := s.NextDue(ctx, group)
	check(t, err)
	equal(t, ok, false)
	for i, k := range []string{"c", "a", "d", "b"} {
		check(t, s.MarkDirty(ctx, group, []string{k}, start.Add(time.Duration(i)), ""))
	}
	next, ok, err := s.NextDue(ctx, group)
	check(t, err)
	equal(t, ok, true)
	equal(t, next, start)
	for _, c := range []struct {
		now   time.Time
		limit int
		want  string
	}{
		{start.Add(-1), 10, ""}, {start, 10, "c"}, {start.Add(2), 10, "cad"}, {start.Add(time.Hour), 10, "cadb"}, {start.Add(time.Hour), 2, "ca"},
	} {
		due, err := s.Due(ctx, group, c.now, c.limit)
		check(t, err)
		var got []string
		for _, d := range due {
			got = append(got, d.Key)
		}
		equal(t, strings.Join(got, ""), c.want)
	}
	check(t, s.MarkDirty(ctx, group, []string{"zero"}, time.Time{}, "")) // the zero time is long ago
	next, _, err = s.NextDue(ctx, group)
	check(t, err)
	if !next.IsZero() {
		t.Errorf("next due time is %v, want the zero time", next)
	}
}

func dirtyMany(t *testing.T, s state.Store) {
	ctx := t.Context()
	var many []string
	for i := range 2345 {
		many = append(many, fmt.Sprintf("k%06d", i))
	}
	check(t, s.MarkDirty(ctx, group, many, start, "backfill"))
	check(t, s.MarkDirty(ctx, group, nil, start, "nothing"))
	due, err := s.Due(ctx, group, start, 5000)
	check(t, err)
	equal(t, len(due), len(many))
	st, err := s.Stats(ctx, group)
	check(t, err)
	equal(t, st, state.Stats{Dirty: int64(len(many))})
}

func dirtyReason(t *testing.T, s state.Store) {
	check(t, s.MarkDirty(t.Context(), group, []string{"k"}, start, "a\x00b\xff"+strings.Repeat("x", 5000)))
	got := snapshot(t, s).Dirty[0].Reason
	if !strings.HasPrefix(got, "a\ufffdb\ufffdx") || len(got) > 1100 {
		t.Errorf("reason of %d bytes begins with %q", len(got), got[:10])
	}
}

func outboxOrder(t *testing.T, s state.Store) {
	ctx := t.Context()
	for i, k := range []string{"b", "a", "c"} {
		commit(t, s, state.Row{Group: group, Key: k}, state.Effects{Events: []state.OutboxEvent{
			event(fmt.Sprint(i, "z")), event(fmt.Sprint(i, "a")), event(fmt.Sprint(i, "m")),
		}})
	}
	got, err := s.Outbox(ctx, 0)
	check(t, err)
	equal(t, snapshot(t, s).Outbox, []string{"0z", "0a", "0m", "1z", "1a", "1m", "2z", "2a", "2m"})
	for i, e := range got {
		equal(t, string(e.JSON), string(event(e.ID).JSON)) // byte for byte
		if i > 0 && e.Seq <= got[i-1].Seq {
			t.Errorf("number %d follows %d", e.Seq, got[i-1].Seq)
		}
	}
	check(t, s.Published(ctx, []int64{got[0].Seq, got[4].Seq, got[8].Seq, 1 << 40}))
	check(t, s.Published(ctx, []int64{got[0].Seq})) // again is no error
	check(t, s.Published(ctx, nil))
	equal(t, snapshot(t, s).Outbox, []string{"0a", "0m", "1z", "1m", "2z", "2a"})
	two, err := s.Outbox(ctx, 2)
	check(t, err)
	equal(t, []string{two[0].ID, two[1].ID}, []string{"0a", "0m"})
	equal(t, len(two), 2)
}

// outboxNumbers: if the number of a published event were given again, a second Published of the first (a retry, or
// another process) would take an event away that nobody published.
func outboxNumbers(t *testing.T, s state.Store) {
	seen := map[int64]bool{}
	row := state.Row{Group: group, Key: "k"}
	for range 5 {
		row.Rev = commit(t, s, row, state.Effects{Events: []state.OutboxEvent{event("e")}})
		got, err := s.Outbox(t.Context(), 0)
		check(t, err)
		equal(t, len(got), 1)
		if seen[got[0].Seq] {
			t.Fatalf("number %d was given twice", got[0].Seq)
		}
		seen[got[0].Seq] = true
		check(t, s.Published(t.Context(), []int64{got[0].Seq}))
	}
}

func conflicts(t *testing.T, s state.Store) {
	ctx := t.Context()
	row := state.Row{Group: group, Key: "k"}
	c1, c2, c3 := conflict("c1", "k", start), conflict("c2", "k", start.Add(time.Second)), conflict("c3", "k", start.Add(time.Second))
	row.Rev = commit(t, s, row, state.Effects{Conflicts: []state.Conflict{c2, c1}})
	row.Rev = commit(t, s, row, state.Effects{Conflicts: []state.Conflict{c3}})
	got, err := s.Conflicts(ctx, group, "", 0)
	check(t, err)
	equal(t, encode(t, got), encode(t, []state.Conflict{c3, c2, c1}))
	one, err := s.Conflict(ctx, group, "c2")
	check(t, err)
	equal(t, encode(t, one), encode(t, c2))
	if !one.Resolved.IsZero() {
		t.Errorf("resolved is %v, want the zero time", one.Resolved)
	}
	// Replaced by id; of two in one commit the last one stays.
	middle := c2
	middle.State = "middle"
	c2.State, c2.Resolved, c2.Reason = "resolved", start.Add(time.Minute), "latest"
	commit(t, s, row, state.Effects{Conflicts: []state.Conflict{middle, c2}})
	one, err = s.Conflict(ctx, group, "c2")
	check(t, err)
	equal(t, encode(t, one), encode(t, c2))
	for st, want := range map[string]int{"": 3, "detected": 2, "resolved": 1, "pending": 0} {
		got, err := s.Conflicts(ctx, group, st, 0)
		check(t, err)
		equal(t, len(got), want)
	}
	// Open are three states at once; whatever is decided, or was overtaken, is none of them.
	for i, st := range []string{state.ConflictPending, state.ConflictMerging, state.ConflictSuperseded} {
		c := conflict("o"+st, "open", start.Add(-time.Duration(i+1)*time.Second))
		c.State = st
		commit(t, s, state.Row{Group: group, Key: "open", Rev: get(t, s, "open").Rev}, state.Effects{Conflicts: []state.Conflict{c}})
	}
	got, err = s.Conflicts(ctx, group, state.ConflictOpen, 0)
	check(t, err)
	var open []string
	for _, c := range got {
		open = append(open, c.ID)
	}
	equal(t, open, []string{"c3", "c1", "opending", "omerging"})
	got, err = s.Conflicts(ctx, group, state.ConflictOpen, 3)
	check(t, err)
	equal(t, len(got), 3)
	got, err = s.Conflicts(ctx, group, "", 1)
	check(t, err)
	equal(t, encode(t, got), encode(t, []state.Conflict{c3}))
	for _, c := range [][2]string{{group, "none"}, {"other", "c1"}} {
		_, err = s.Conflict(ctx, c[0], c[1])
		wantKind(t, err, errkind.NotFound)
	}
	odd := state.Row{Group: group, Key: "not \xff utf-8"}
	commit(t, s, odd, state.Effects{Conflicts: []state.Conflict{conflict("odd", odd.Key, start)}})
	one, err = s.Conflict(ctx, group, "odd")
	check(t, err)
	equal(t, one.Key, odd.Key)
}

func cursors(t *testing.T, s state.Store) {
	ctx := t.Context()
	read := func(name string) string {
		v, err := s.Cursor(ctx, group, name)
		check(t, err)
		return v
	}
	equal(t, read("scan/us"), "")
	check(t, s.SetCursor(ctx, group, "scan/us", "a"))
	check(t, s.SetCursor(ctx, group, "scan/eu", "not \xff utf-8 \x00"))
	check(t, s.SetCursor(ctx, group, "scan/us", "b"))
	equal(t, read("scan/us"), "b")
	equal(t, read("scan/eu"), "not \xff utf-8 \x00")
	check(t, s.SetCursor(ctx, group, "scan/us", ""))
	check(t, s.SetCursor(ctx, group, "never", ""))
	equal(t, read("scan/us"), "")
}

func stats(t *testing.T, s state.Store) {
	var rows []state.Row
	due := start
	for i := range 100 {
		row := state.Row{Group: group, Key: fmt.Sprint("k", i)}
		row.Rev = commit(t, s, row, state.Effects{
			Dirty: &due, Events: []state.OutboxEvent{event("e")}, Conflicts: []state.Conflict{conflict(row.Key, row.Key, start)},
		})
		rows = append(rows, row)
	}
	for i := range rows[:40] {
		rows[i].DirtyMark = get(t, s, rows[i].Key).DirtyMark
		rows[i].Rev = commit(t, s, rows[i], state.Effects{ClearDirty: true}) // an update is no new key
	}
	for _, r := range rows[:25] {
		commit(t, s, r, state.Effects{Remove: true})
	}
	commit(t, s, state.Row{Group: group, Key: "never there"}, state.Effects{Remove: true})
	wantKind(t, second(s.Commit(t.Context(), rows[3], state.Effects{})), errkind.Conflict)
	got, err := s.Stats(t.Context(), group)
	check(t, err)
	equal(t, got, state.Stats{Keys: 75, Dirty: 60, Outbox: 100, Conflicts: 100})
}

func groupsApart(t *testing.T, s state.Store) {
	ctx := t.Context()
	before := snapshot(t, s)
	due := start
	c := conflict("c", "k", start)
	c.Group = "other"
	row := state.Row{Group: "other", Key: "k"}
	rev := commit(t, s, row, state.Effects{Dirty: &due, Conflicts: []state.Conflict{c}})
	check(t, s.SetCursor(ctx, "other", "name", "value"))
	equal(t, snapshot(t, s), before)
	v, err := s.Cursor(ctx, group, "name")
	check(t, err)
	equal(t, v, "")
	commit(t, s, state.Row{Group: group, Key: "k"}, state.Effects{}) // the other group's row is not this one's
	other, err := s.Get(ctx, "other", "k")
	check(t, err)
	equal(t, other.Rev, rev)
}

func contextOf(t *testing.T) (context.Context, context.CancelFunc) {
	return context.WithCancel(t.Context())
}

func equal[T any](t testing.TB, got, want T) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("got  %+v\nwant %+v", got, want)
	}
}
