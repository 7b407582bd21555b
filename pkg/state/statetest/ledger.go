package statetest

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/audit"
	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/ledger"
	"github.com/bucketmesh/bucketmesh/pkg/state"
)

// Books are a ledger with what it looks at: the audit log and the store of the same database.
type Books struct {
	Store  state.Store
	Log    audit.Log
	Ledger ledger.Ledger
}

// OpenBooks makes empty ones; now is their clock.
type OpenBooks func(t *testing.T, now func() time.Time) Books

// RunLedger runs the suite that every ledger.Ledger passes.
func RunLedger(t *testing.T, open OpenBooks) {
	t.Helper()
	for _, test := range []struct {
		name string
		run  func(t *testing.T, b *books)
	}{
		{"nothing happened", booksEmpty},
		{"every outcome counts once", booksOutcomes},
		{"a parked event follows its key", booksParked},
		{"an event that comes twice counts once", booksTwice},
		{"an event without an outcome", booksUnaccounted},
		{"an outcome without an event", booksUnrecorded},
		{"two outcomes that exclude each other", booksDisputed},
		{"a dead letter is replayed", booksReplayed},
		{"what came before they were opened", booksBefore},
		{"groups are apart", booksGroups},
		{"a comparison of everything makes up for what was lost", booksForgiven},
		{"a fold ends before what is too young", booksYoung},
		{"a fold tells nothing of what is not about objects", booksOthers},
		{"what can't be kept is refused", booksInvalid},
		{"many at once, folded meanwhile", booksRace},
	} {
		t.Run("Ledger/"+test.name, func(t *testing.T) {
			t.Parallel()
			b := &books{t: t}
			b.time.Store(start.UnixNano())
			b.Books = open(t, b.now)
			check(t, b.Ledger.Begin(t.Context(), group))
			test.run(t, b)
		})
	}
}

// books are Books with a clock that goes on by a second with every event and every note.
type books struct {
	Books

	t    *testing.T
	time atomic.Int64
}

const source = "https://s3.example/media"

func (b *books) now() time.Time  { return time.Unix(0, b.time.Load()).UTC() }
func (b *books) tick() time.Time { return time.Unix(0, b.time.Add(int64(time.Second))).UTC() }

// in records events as audit does.
func (b *books) in(ids ...string) {
	b.t.Helper()
	for _, id := range ids {
		b.tick()
		b.record("dev.bucketmesh.object.written.v1", id)
	}
}

func (b *books) record(typ, id string) {
	b.t.Helper()
	check(b.t, b.Log.Append(b.t.Context(), audit.Event{Source: source, ID: id, Type: typ, Subject: "key of " + id, JSON: []byte(`{}`)}))
}

// out notes an outcome as sync does.
func (b *books) out(o ledger.Outcome, ids ...string) {
	b.t.Helper()
	b.tick()
	var notes []ledger.Note
	for _, id := range ids {
		n := ledger.Note{Source: source, ID: id, Outcome: o}
		if o == ledger.Parked {
			n.Key = "k\xff" + id
		}
		notes = append(notes, n)
	}
	check(b.t, b.Ledger.Note(b.t.Context(), group, notes...))
}

// fold folds what was recorded until now, and says whether that changed the balance, which it must not.
func (b *books) fold() {
	b.t.Helper()
	before := b.balance()
	b.foldAt(b.tick())
	after := b.balance()
	if fmt.Sprint(before) != fmt.Sprint(after) {
		b.t.Errorf("a fold changed the balance from %+v to %+v", before, after)
	}
}

func (b *books) foldAt(before time.Time) {
	b.t.Helper()
	for more := true; more; {
		var err error
		more, err = b.Ledger.Fold(b.t.Context(), group, before)
		check(b.t, err)
	}
}

// balance is drawn up with nothing under way.
func (b *books) balance() ledger.Balance {
	b.t.Helper()
	return b.balanceAt(b.tick())
}

func (b *books) balanceAt(before time.Time) ledger.Balance {
	b.t.Helper()
	sum, err := b.Ledger.Balance(b.t.Context(), group, before)
	check(b.t, err)
	return sum
}

// want compares the balance, before and after a fold; examples are only counted.
func (b *books) want(want ledger.Balance) {
	b.t.Helper()
	for _, when := range []string{"before", "after"} {
		got := b.balance()
		if loose := got.Unaccounted + got.Unrecorded + got.Disputed; int64(len(got.Examples)) != min(loose, ledger.MaxExamples) {
			b.t.Errorf("%s a fold: %d examples of %d", when, len(got.Examples), loose)
		}
		if (len(got.Findings()) == 0) != got.Holds {
			b.t.Errorf("%s a fold: holds is %v, but the findings are %q", when, got.Holds, got.Findings())
		}
		got.Examples = nil
		if fmt.Sprint(got) != fmt.Sprint(want) {
			b.t.Errorf("%s a fold: got %+v, want %+v", when, got, want)
		}
		b.fold()
	}
}

func booksEmpty(t *testing.T, b *books) {
	b.want(ledger.Balance{Holds: true})
	check(t, b.Ledger.Note(t.Context(), group))
}

func booksOutcomes(_ *testing.T, b *books) {
	b.in("a1", "a2", "a3", "s1", "s2", "f1", "d1")
	b.out(ledger.Applied, "a1", "a2", "a3")
	b.out(ledger.Superseded, "s1", "s2")
	b.out(ledger.Filtered, "f1")
	b.out(ledger.Dead, "d1")
	b.want(ledger.Balance{In: 7, Applied: 3, Superseded: 2, Filtered: 1, DeadLetters: 1, Holds: true})
	b.in("a4")
	b.out(ledger.Applied, "a4")
	b.want(ledger.Balance{In: 8, Applied: 4, Superseded: 2, Filtered: 1, DeadLetters: 1, Holds: true})
}

func booksParked(t *testing.T, b *books) {
	for _, folded := range []bool{false, true} {
		id := fmt.Sprint("p", folded)
		key := "k\xff" + id
		b.in(id)
		b.out(ledger.Parked, id)
		due := start
		row := state.Row{Group: group, Key: key}
		c := conflict("c"+id, key, start)
		c.State = "detected"
		row.Rev = commit(t, b.Store, row, state.Effects{Dirty: &due, Conflicts: []state.Conflict{c}})
		base := ledger.Balance{In: 1, Holds: true}
		if folded {
			base.In, base.Applied = 2, 1
		}
		step := func(change func(*ledger.Balance)) {
			want := base
			change(&want)
			if folded {
				b.want(want)
				return
			}
			got := b.balance()
			got.Examples = nil
			equal(t, got, want)
		}
		step(func(w *ledger.Balance) { w.InConflict++ })
		b.out(ledger.Superseded, id) // it is delivered again: the key still is what it is
		step(func(w *ledger.Balance) { w.InConflict++ })
		c.State = "resolved"
		row.Rev = commit(t, b.Store, row, state.Effects{Conflicts: []state.Conflict{c}})
		step(func(w *ledger.Balance) { w.InFlight++ })
		row.DirtyMark = get(t, b.Store, key).DirtyMark
		commit(t, b.Store, row, state.Effects{ClearDirty: true})
		step(func(w *ledger.Balance) { w.Applied++ })
		b.fold()
		// From then on it is applied for good, whatever becomes of its key.
		check(t, b.Store.MarkDirty(t.Context(), group, []string{key}, start, "another event"))
		step(func(w *ledger.Balance) { w.Applied++ })
	}
}

func booksTwice(_ *testing.T, b *books) {
	want := ledger.Balance{In: 2, Applied: 1, Superseded: 1, Holds: true}
	b.in("a", "s", "a")
	b.out(ledger.Applied, "a", "a")
	b.out(ledger.Superseded, "a", "s") // a is an echo of itself the second time
	b.out(ledger.Dead, "a")
	b.want(want)
	for _, o := range []ledger.Outcome{ledger.Applied, ledger.Superseded, ledger.Filtered, ledger.Parked, ledger.Dead, ledger.Replayed} {
		b.in("a", "s") // long after its row was folded
		b.out(o, "a", "s")
		b.want(want)
	}
}

func booksUnaccounted(t *testing.T, b *books) {
	b.in("a", "lost")
	before := b.now()
	b.out(ledger.Applied, "a")
	got := b.balanceAt(before)
	got.Examples = nil
	equal(t, got, ledger.Balance{In: 2, Applied: 1, InFlight: 1, Holds: true}) // it may be under way
	got = b.balance()
	if len(got.Examples) != 1 || got.Examples[0] != (ledger.Loose{What: "unaccounted", Source: source, ID: "lost", Subject: "key of lost", At: before}) {
		t.Errorf("examples %+v", got.Examples)
	}
	b.want(ledger.Balance{In: 2, Applied: 1, Unaccounted: 1})
	b.out(ledger.Superseded, "lost") // it was late, not lost
	b.want(ledger.Balance{In: 2, Applied: 1, Superseded: 1, Holds: true})
	b.in("1", "2", "3", "4", "5", "6", "7")
	b.want(ledger.Balance{In: 9, Applied: 1, Superseded: 1, Unaccounted: 7})
}

func booksUnrecorded(t *testing.T, b *books) {
	b.in("a")
	b.out(ledger.Applied, "a")
	b.out(ledger.Applied, "extra")
	if got := b.balanceAt(b.now()); !got.Holds || got.In != 1 || got.Applied != 1 {
		t.Errorf("an outcome that audit may be about to record: %+v", got)
	}
	b.want(ledger.Balance{In: 1, Applied: 1, Unrecorded: 1})
	if got := b.balance().Examples[0]; got.What != "unrecorded" || got.ID != "extra" {
		t.Errorf("example %+v", got)
	}
	b.in("extra") // it was late
	b.want(ledger.Balance{In: 2, Applied: 2, Holds: true})
}

func booksDisputed(t *testing.T, b *books) {
	b.in("1", "2", "3")
	b.out(ledger.Filtered, "1", "2", "3")
	b.out(ledger.Applied, "1")
	check(t, b.Ledger.Note(t.Context(), group, ledger.Note{Source: source, ID: "2", Outcome: ledger.Filtered},
		ledger.Note{Source: source, ID: "2", Outcome: ledger.Superseded}))
	b.out(ledger.Dead, "3") // that is no contradiction
	b.want(ledger.Balance{In: 3, Filtered: 3, Disputed: 2})
}

func booksReplayed(t *testing.T, b *books) {
	b.in("d", "e", "a")
	b.out(ledger.Applied, "a")
	b.out(ledger.Dead, "d", "e")
	b.want(ledger.Balance{In: 3, Applied: 1, DeadLetters: 2, Holds: true})
	before := b.now()
	b.out(ledger.Replayed, "d", "e", "a") // somebody handled a meanwhile
	got := b.balanceAt(before)
	if got.InFlight != 2 || !got.Holds {
		t.Errorf("replayed just now: %+v", got)
	}
	b.want(ledger.Balance{In: 3, Applied: 1, Unaccounted: 2}) // and never seen again
	b.out(ledger.Applied, "d")
	b.out(ledger.Dead, "e")
	b.want(ledger.Balance{In: 3, Applied: 2, DeadLetters: 1, Holds: true})
}

func booksBefore(t *testing.T, b *books) {
	b.in("a")
	b.out(ledger.Applied, "a")
	const late = "late group"
	check(t, b.Ledger.Begin(t.Context(), late))
	b.in("b", "c")
	check(t, b.Ledger.Begin(t.Context(), late)) // they are open
	for _, id := range []string{"a", "b", "c"} {
		check(t, b.Ledger.Note(t.Context(), late, ledger.Note{Source: source, ID: id, Outcome: ledger.Filtered}))
	}
	for range 2 {
		got, err := b.Ledger.Balance(t.Context(), late, b.tick())
		check(t, err)
		got.Examples = nil
		equal(t, got, ledger.Balance{In: 2, Filtered: 2, Holds: true})
		_, err = b.Ledger.Fold(t.Context(), late, b.tick())
		check(t, err)
	}
	got, err := b.Ledger.Balance(t.Context(), "never opened", b.tick())
	check(t, err)
	got.Examples = nil
	equal(t, got, ledger.Balance{Holds: true})
	_, err = b.Ledger.Fold(t.Context(), "never opened", b.tick())
	check(t, err)
}

func booksGroups(t *testing.T, b *books) {
	const other = "other"
	check(t, b.Ledger.Begin(t.Context(), other))
	b.in("a")
	b.out(ledger.Applied, "a")
	check(t, b.Ledger.Note(t.Context(), other, ledger.Note{Source: source, ID: "a", Outcome: ledger.Filtered}))
	b.want(ledger.Balance{In: 1, Applied: 1, Holds: true})
	got, err := b.Ledger.Balance(t.Context(), other, b.tick())
	check(t, err)
	got.Examples = nil
	equal(t, got, ledger.Balance{In: 1, Filtered: 1, Holds: true})
}

func booksForgiven(t *testing.T, b *books) {
	b.in("a", "lost", "both", "replayed")
	b.out(ledger.Applied, "a", "extra")
	b.out(ledger.Filtered, "both")
	b.out(ledger.Applied, "both")
	b.out(ledger.Dead, "replayed")
	b.out(ledger.Replayed, "replayed")
	b.want(ledger.Balance{In: 4, Applied: 1, Filtered: 1, Unaccounted: 2, Unrecorded: 1, Disputed: 1})
	began := b.tick()
	b.in("lost later")
	b.out(ledger.Applied, "extra later")
	b.fold()
	check(t, b.Ledger.Forgive(t.Context(), group, began))
	b.want(ledger.Balance{In: 5, Applied: 1, Superseded: 2, Filtered: 1, Unaccounted: 1, Unrecorded: 1})
}

func booksYoung(t *testing.T, b *books) {
	var ids []string
	for i := range 3000 { // more than any part of a fold
		ids = append(ids, fmt.Sprint(i))
	}
	var es []audit.Event
	for _, id := range ids {
		es = append(es, audit.Event{Source: source, ID: id, Type: "dev.bucketmesh.object.written.v1", JSON: []byte(`{}`)})
	}
	_, err := b.Log.AppendBatch(t.Context(), es)
	check(t, err)
	b.foldAt(b.now()) // not one of them is old enough
	if got := b.balanceAt(b.now()); got.InFlight != 3000 || !got.Holds {
		t.Errorf("%+v", got)
	}
	b.out(ledger.Superseded, ids...)
	b.want(ledger.Balance{In: 3000, Superseded: 3000, Holds: true})
}

func booksOthers(_ *testing.T, b *books) {
	b.record("dev.bucketmesh.sync.applied.v1", "1")
	b.in("2")
	b.record("dev.bucketmesh.objects", "3")
	b.record("other", "4")
	b.out(ledger.Applied, "2")
	b.want(ledger.Balance{In: 1, Applied: 1, Holds: true})
}

func booksInvalid(t *testing.T, b *books) {
	for _, n := range []ledger.Note{
		{ID: "1", Outcome: ledger.Applied},
		{Source: source, Outcome: ledger.Applied},
		{Source: source, ID: "a\x00b", Outcome: ledger.Applied},
		{Source: source, ID: "\xff", Outcome: ledger.Applied},
		{Source: source, ID: "1"},
		{Source: source, ID: "1", Outcome: "gone"},
		{Source: source, ID: "1", Outcome: ledger.Parked},
	} {
		if err := b.Ledger.Note(t.Context(), group, ledger.Note{Source: source, ID: "ok", Outcome: ledger.Applied}, n); !errkind.Is(err, errkind.Invalid) {
			t.Errorf("%+v: %v", n, err)
		}
	}
	if err := b.Ledger.Begin(t.Context(), ""); !errkind.Is(err, errkind.Invalid) {
		t.Errorf("no group: %v", err)
	}
	b.want(ledger.Balance{Holds: true})
}

// booksRace: audit and sync at work, in any order and often twice, while others fold and draw up the books.
func booksRace(t *testing.T, b *books) {
	const writers, each = 4, 100
	outcomes := []ledger.Outcome{ledger.Applied, ledger.Superseded, ledger.Dead}
	var busy, folding sync.WaitGroup
	done := make(chan struct{})
	oldest := b.now() // everything is under way until the end
	for w := range writers {
		busy.Go(func() {
			random := rand.New(rand.NewPCG(uint64(w), 1))
			for i := range each {
				id := fmt.Sprint(w%2, "-", i) // two write the same
				if random.IntN(2) == 0 {
					b.in(id)
					b.out(outcomes[i%len(outcomes)], id)
				} else {
					b.out(outcomes[i%len(outcomes)], id)
					b.in(id)
				}
			}
		})
	}
	for range 2 {
		folding.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				b.foldAt(b.now())
				if got := b.balanceAt(oldest); got.In != got.Accounted()+got.Unaccounted {
					t.Errorf("the books do not add up: %+v", got)
				}
			}
		})
	}
	busy.Wait()
	close(done)
	folding.Wait()
	b.want(ledger.Balance{In: 200, Applied: 68, Superseded: 66, DeadLetters: 66, Holds: true})
}
