package subscriber

import (
	"context"
	"fmt"

	cloudevents "github.com/cloudevents/sdk-go/v2/event"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/ledger"
	"github.com/bucketmesh/bucketmesh/pkg/reconcile"
)

// Noter notes what became of an event (*ledger.Keeper).
type Noter interface {
	Note(ctx context.Context, n ledger.Note) error
}

// account handles an object.* event and notes what became of it. An event that will come again has no outcome yet.
func (s *Sync) account(ctx context.Context, e cloudevents.Event) error {
	n, err := s.object(ctx, e)
	if err != nil {
		if kind := errkind.Of(err); kind.Retryable() {
			return err
		}
		n = ledger.Note{Outcome: ledger.Dead} // the broker makes it one
	}
	if s.Ledger == nil {
		return err
	}
	n.Source, n.ID = e.Source(), e.ID()
	if nerr := s.Ledger.Note(ctx, n); nerr != nil {
		return fmt.Errorf("sync %q: %w", e.Subject(), nerr) // it comes again, and tells nothing new then
	}
	return err
}

// noteOf is what became of an event about one key.
func noteOf(out reconcile.Outcome, key string) ledger.Note {
	switch out {
	case reconcile.Settled:
		return ledger.Note{Outcome: ledger.Applied}
	case reconcile.Echo, reconcile.Known:
		return ledger.Note{Outcome: ledger.Superseded}
	case reconcile.Conflicted, reconcile.Pending:
	}
	return ledger.Note{Outcome: ledger.Parked, Key: key}
}

// heavier is what became of an event about both.
func heavier(a, b ledger.Note) ledger.Note {
	for _, o := range []ledger.Outcome{ledger.Parked, ledger.Applied, ledger.Superseded} {
		if a.Outcome == o {
			return a
		}
		if b.Outcome == o {
			return b
		}
	}
	return a
}
