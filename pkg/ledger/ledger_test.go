package ledger_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/event"
	"github.com/bucketmesh/bucketmesh/pkg/ledger"
)

func TestTypesAreThoseOfTheVocabulary(t *testing.T) {
	if ledger.Types != event.Prefix+"object." {
		t.Errorf("%q", ledger.Types)
	}
}

func TestFindingsSayWhatToDo(t *testing.T) {
	for _, c := range []struct {
		b    ledger.Balance
		says []string
	}{
		{ledger.Balance{In: 3, Applied: 1, Superseded: 1, InFlight: 1}, nil},
		{ledger.Balance{In: 1, Unaccounted: 1}, []string{"1 event came in", "bucketmesh sync"}},
		{ledger.Balance{In: 2, Unaccounted: 2}, []string{"what became of them"}},
		{ledger.Balance{Unrecorded: 2}, []string{"2 events that the audit log does not have"}},
		{ledger.Balance{In: 1, Filtered: 1, Disputed: 1}, []string{"1 event was noted both", "filter was changed"}},
		{ledger.Balance{In: 3, Applied: 1}, []string{"off by 2"}},
		{ledger.Balance{In: 1, Applied: 2}, []string{"off by -1"}},
	} {
		c.b.Close()
		found := strings.Join(c.b.Findings(), "\n")
		if c.b.Holds != (c.says == nil) || c.b.Holds != (found == "") {
			t.Errorf("%+v: %q", c.b, found)
		}
		for _, s := range c.says {
			if !strings.Contains(found, s) {
				t.Errorf("%+v says %q, want %q", c.b, found, s)
			}
		}
	}
}

func TestRoundsNameNoEventTwice(t *testing.T) {
	var notes []ledger.Note
	for i := range 30 {
		notes = append(notes, ledger.Note{Source: fmt.Sprint(i % 2), ID: fmt.Sprint(i % 7), Key: fmt.Sprint(i)})
	}
	n := 0
	last := map[string]string{}
	for _, round := range ledger.Rounds(notes) {
		seen := map[string]bool{}
		for _, note := range round {
			name := note.Source + "/" + note.ID
			if seen[name] {
				t.Errorf("%s twice in one round", name)
			}
			if k := last[name]; len(k) > len(note.Key) || len(k) == len(note.Key) && k >= note.Key {
				t.Errorf("%s comes after %s", note.Key, k)
			}
			seen[name], last[name] = true, note.Key
			n++
		}
	}
	if n != len(notes) || len(ledger.Rounds(nil)) != 0 {
		t.Errorf("%d notes of %d", n, len(notes))
	}
}

// slow is a ledger whose transactions take a second.
type slow struct {
	ledger.Ledger

	mu      sync.Mutex
	batches []int
	err     error
}

func (s *slow) Note(ctx context.Context, _ string, notes ...ledger.Note) error {
	<-time.After(time.Second)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.batches = append(s.batches, len(notes))
	return errors.Join(s.err, ctx.Err())
}

// Whoever waits while a transaction is under way shares the next one; a caller that gives up takes nobody along.
func TestNotesAreWrittenTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &slow{}
		k := ledger.New(s, "media", ledger.SinceHorizon)
		var wg sync.WaitGroup
		for i := range 600 {
			ctx, cancel := context.WithCancel(t.Context())
			wg.Go(func() {
				defer cancel()
				if err := k.Note(ctx, ledger.Note{Source: "s", ID: fmt.Sprint(i), Outcome: ledger.Applied}); err != nil {
					t.Error(err)
				}
			})
			if i == 0 {
				synctest.Wait() // it is writing
				cancel()
			}
		}
		wg.Wait()
		if got := fmt.Sprint(s.batches); got != "[1 256 256 87]" {
			t.Errorf("batches %s", got)
		}
		if err := k.Note(t.Context(), ledger.Note{Source: "s", ID: "last", Outcome: ledger.Applied}); err != nil || len(s.batches) != 5 {
			t.Errorf("a late one: %v, %v", err, s.batches)
		}
	})
}

func TestNoteThatWasNotKeptIsAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &slow{err: errkind.New(errkind.Unavailable, "the disk is full")}
		k := ledger.New(s, "media", ledger.SinceHorizon)
		var wg sync.WaitGroup
		for i := range 10 {
			wg.Go(func() {
				if err := k.Note(t.Context(), ledger.Note{Source: "s", ID: fmt.Sprint(i), Outcome: ledger.Dead}); !errkind.Is(err, errkind.Unavailable) {
					t.Errorf("%d: %v", i, err)
				}
			})
		}
		wg.Wait()
		if err := k.Note(t.Context(), ledger.Note{Source: "s", ID: "", Outcome: ledger.Dead}); !errkind.Is(err, errkind.Invalid) {
			t.Errorf("an event without a name: %v", err)
		}
	})
}
