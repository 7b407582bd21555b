// Package ledger is the bookkeeping of events, and the law that it proves: nothing that was told to us is lost without a trace.
//
//	events in = applied + superseded + filtered + in conflict + dead-lettered + in flight
//
// Two subscribers that know nothing of each other keep it. What came in is the audit log: its entries are never changed, and an
// event that comes twice is one entry. What became of each event is noted by sync, before it acknowledges the event. An
// event with an entry and without an outcome, while nothing of its age is under way any more, is unaccounted for: sync lost
// it. An outcome without an entry is an event that the audit log lost.
//
// An event whose key could not be brought to its end is parked: it is acknowledged, and the key waits in the dirty set or for the
// conflict-resolver. Whether it is in conflict, in flight or applied by now is read from the key's state, at the moment at
// which the books are drawn up; nobody has to note it.
//
// What is settled is folded into counters and forgotten, so that the ledger stays small. The audit log goes on knowing the
// event: should it come again, be it a year later, it is not counted twice. What breaks the law is not folded: it stays
// until a complete comparison of all buckets, which makes up for any event that was lost.
//
// The package holds the types, the words and the Keeper, and does no I/O; the ledgers are in the stores (state/sqlite,
// state/postgres, state/mem), and state/statetest is the suite that all of them pass.
//
// Errors: notes that can't be kept are errkind.Invalid; Unavailable leaves it open whether they were: note them again.
//
// Concurrency: a Ledger may be used from many goroutines and processes, a Keeper from many goroutines.
package ledger

import (
	"context"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
)

// Outcome is what became of an event.
type Outcome string

// The outcomes that are noted.
const (
	Applied    Outcome = "applied"    // it led to a new version or to copies
	Superseded Outcome = "superseded" // it told nothing new: an echo of our own write, a duplicate, or a state that was overwritten since
	Filtered   Outcome = "filtered"   // not about a key of the group
	Parked     Outcome = "parked"     // acknowledged; what becomes of it is up to its key
	Dead       Outcome = "dead"       // a dead letter
	Replayed   Outcome = "replayed"   // was a dead letter, and is on its way again
)

// Types is how the types of the events begin that the law is about.
const Types = "dev.bucketmesh.object."

// Trigger is the name of the trigger whose subscriber says what becomes of events.
const Trigger = "sync"

// Accounts reports whether it is up to that trigger, and part of the law, what becomes of an event of the type.
func Accounts(trigger, typ string) bool { return trigger == Trigger && strings.HasPrefix(typ, Types) }

// Note is the outcome of one event.
type Note struct {
	Source, ID string // of the event
	Key        string // of a parked event; else ""
	Outcome    Outcome
}

// Ledger is where outcomes are kept, beside the audit log and the dirty set of the same database.
type Ledger interface {
	// Begin opens the books of a group: events that the audit log has by then are before its time. Books that are open
	// stay as they are.
	Begin(ctx context.Context, group string) error
	// Note notes outcomes; they are kept when it returns. The first outcome of an event stays, except that a dead letter may
	// be replayed, and what was lost or replayed may get any. An event that was filtered and is noted to have been handled, or
	// the other way round, is disputed.
	Note(ctx context.Context, group string, notes ...Note) error
	// Balance draws up the books as of one moment. Nothing that was recorded before the time before is under way any more.
	Balance(ctx context.Context, group string, before time.Time) (Balance, error)
	// Fold folds events that were recorded before that time and are settled into counters. It does a bounded part of the
	// work; more says that there is some left.
	Fold(ctx context.Context, group string, before time.Time) (more bool, err error)
	// Forgive settles everything that breaks the law and was folded before: all buckets were compared since began.
	Forgive(ctx context.Context, group string, began time.Time) error
}

// Check refuses notes that not every database can hold.
func Check(group string, notes ...Note) error {
	if !text(group) {
		return errkind.New(errkind.Invalid, "note outcome: %q is not the name of a group", group)
	}
	for _, n := range notes {
		if !text(n.Source) || !text(n.ID) {
			return errkind.New(errkind.Invalid, "note outcome of event %q of %q: not the name of an event", n.ID, n.Source)
		}
		switch n.Outcome {
		case Applied, Superseded, Filtered, Dead, Replayed:
		case Parked:
			if n.Key == "" {
				return errkind.New(errkind.Invalid, "note outcome of event %q of %q: it is parked, but its key is empty", n.ID, n.Source)
			}
		default:
			return errkind.New(errkind.Invalid, "note outcome of event %q of %q: %q is no outcome", n.ID, n.Source, n.Outcome)
		}
	}
	return nil
}

func text(s string) bool { return s != "" && utf8.ValidString(s) && !strings.ContainsRune(s, 0) }

// Rounds splits notes so that no part names an event twice: one statement can't change the same record twice.
func Rounds(notes []Note) [][]Note {
	type name struct{ source, id string }
	at := make(map[name]int, len(notes))
	var rounds [][]Note
	for _, n := range notes {
		i := at[name{n.Source, n.ID}]
		at[name{n.Source, n.ID}] = i + 1
		if i == len(rounds) {
			rounds = append(rounds, nil)
		}
		rounds[i] = append(rounds[i], n)
	}
	return rounds
}
