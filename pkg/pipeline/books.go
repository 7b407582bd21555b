package pipeline

import (
	"context"
	"time"

	cloudevents "github.com/cloudevents/sdk-go/v2/event"

	"github.com/bucketmesh/bucketmesh/pkg/ledger"
)

// skew is how far the clock of an outside NATS server may be from ours.
const skew = time.Minute

// settledBefore is the time before which no event is under way. The broker keeps an event until every subscriber has dealt with
// it, and it was published before audit recorded it: what was recorded before the oldest one that is left is dealt with.
func (p *Pipeline) settledBefore(ctx context.Context) (time.Time, error) {
	now := time.Now()
	oldest, some, err := p.broker.Oldest(ctx)
	switch {
	case err != nil:
		return oldest, err //nolint:wrapcheck // says "read broker status"
	case !some:
		return now, nil
	case p.opts.NATS != "":
		oldest = oldest.Add(-skew)
	}
	return oldest, nil
}

// buried notes a dead letter of sync. Most were noted by the handler that failed; one that was only tried too often was not.
func (p *Pipeline) buried(ctx context.Context, trigger string, e cloudevents.Event) error {
	return p.noteLetter(ctx, trigger, e, ledger.Dead)
}

func (p *Pipeline) replaying(ctx context.Context, trigger string, e cloudevents.Event) error {
	return p.noteLetter(ctx, trigger, e, ledger.Replayed)
}

func (p *Pipeline) noteLetter(ctx context.Context, trigger string, e cloudevents.Event, o ledger.Outcome) error {
	if !ledger.Accounts(trigger, e.Type()) {
		return nil
	}
	return p.ledger.Note(ctx, ledger.Note{Source: e.Source(), ID: e.ID(), Outcome: o}) //nolint:wrapcheck // says "note outcome"
}
