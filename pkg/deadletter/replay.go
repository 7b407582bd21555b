package deadletter

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/cloudevents/sdk-go/v2/event"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
)

// Sink is where events are sent again: the broker.
type Sink interface {
	Publish(ctx context.Context, events ...event.Event) error
}

// Replayer sends the events of a group's letters to the broker again. A broker can't give an event to one trigger alone, so
// that all whose filter it passes get it once more. That is safe, because delivery is at least once anyway: audit
// and the ledger know the event by its source and id and count it once, sync finds what it tells in the row of its key and
// sends no request for it, or looks, and the conflict-resolver finds its conflict settled. What must not happen is that a
// letter is taken for replayed before the broker has its event; hence the order here.
type Replayer struct {
	Store Store
	Group string
	Sink  Sink
	// Refused says that an error of Sink is about the event, and no trouble of the sink; nil: none is.
	Refused func(error) bool
}

// replayPage bounds the letters in memory, each of which may be of megabytes.
const replayPage = 20

// Replay sends letters again and says how many the broker took. It goes on after one that fails: the error is of all.
func (r *Replayer) Replay(ctx context.Context, ids ...string) (n int, err error) {
	var errs []error
	for _, id := range ids {
		l, err := r.Store.Get(ctx, r.Group, id)
		if err == nil {
			err = r.replay(ctx, l)
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		n++
	}
	return n, errors.Join(errs...)
}

// All sends every letter again that is an event and was not yet. It goes on after one that the broker refuses because of what it is, and
// the error is of the first of those; it ends with any other failure: then the broker or the store has trouble, and all
// others would fail too.
func (r *Replayer) All(ctx context.Context) (n int, err error) {
	q := Query{Limit: replayPage}
	var refused error
	for {
		page, err := r.Store.List(ctx, r.Group, q)
		if err != nil {
			return n, errors.Join(refused, err) // says "read dead letters"
		}
		if len(page) == 0 {
			return n, refused
		}
		for _, l := range page {
			q.After = l.ID
			if l.Event == nil {
				continue
			}
			err := r.replay(ctx, l)
			switch {
			case err != nil && r.Refused != nil && r.Refused(err):
				refused = cmp.Or(refused, err)
			case err != nil:
				return n, errors.Join(refused, err)
			default:
				n++
			}
		}
	}
}

func (r *Replayer) replay(ctx context.Context, l Letter) error {
	if l.Event == nil {
		return errkind.New(errkind.Unsupported, "replay dead letter %s: it is a message that could not be understood, so no trigger can take it", l.ID)
	}
	if err := r.Sink.Publish(ctx, *l.Event); err != nil {
		return fmt.Errorf("replay dead letter %s: %w", l.ID, err)
	}
	if err := r.Store.Replayed(ctx, r.Group, l); err != nil {
		return fmt.Errorf("replay dead letter %s: the broker has it, but that is not noted; it may be replayed once more: %w", l.ID, err)
	}
	return nil
}
