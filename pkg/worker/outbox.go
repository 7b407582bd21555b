package worker

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	cloudevents "github.com/cloudevents/sdk-go/v2/event"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/event"
	"github.com/bucketmesh/bucketmesh/pkg/serve"
	"github.com/bucketmesh/bucketmesh/pkg/state"
)

const outboxPage = 256

// outbox publishes what commits left in the store's outbox: right after a commit, and now and then what a crash left.
type outbox struct {
	store     state.Store
	sink      serve.Sink
	log       *slog.Logger
	every     time.Duration
	published func(cloudevents.Event)

	kicked chan struct{}

	mu       sync.Mutex
	underWay map[int64]bool // what this process is publishing, by number
}

func newOutbox(o Options) *outbox {
	return &outbox{
		store: o.Store, sink: o.Sink, log: o.Logger, every: o.OutboxEvery, published: o.Published, kicked: make(chan struct{}, 1),
		underWay: map[int64]bool{},
	}
}

func (b *outbox) kick() {
	select {
	case b.kicked <- struct{}{}:
	default: // somebody is about to look anyway
	}
}

// run publishes until ctx is done.
func (b *outbox) run(ctx context.Context) error {
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval, pause.MaxInterval = 200*time.Millisecond, 10*time.Second
	for {
		wait := b.every
		if err := b.flush(ctx); err == nil {
			pause.Reset()
		} else if ctx.Err() == nil {
			wait = pause.NextBackOff()
			b.log.WarnContext(ctx, "outbox is not published, it will be tried again", "wait", wait, "error", err)
		}
		timer := time.NewTimer(wait)
		kicked := b.kicked
		if wait != b.every { // a commit does not make the sink come back sooner
			kicked = nil
		}
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err() //nolint:wrapcheck // the caller asked
		case <-kicked:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// flush publishes until the outbox is empty, but for what another call of this process is publishing: that one is responsible for it. It
// does not wait for the other one, because a broker may answer only after all subscribers have handled an event (Knative's in-memory
// channel does), and one of them may be this process: to settle a conflict, sync waits for the resolver, which waits for sync.
func (b *outbox) flush(ctx context.Context) error {
	for {
		page, err := b.store.Outbox(ctx, outboxPage)
		if err != nil {
			return fmt.Errorf("read outbox: %w", err)
		}
		mine := b.take(page)
		if len(mine) == 0 {
			return nil
		}
		err = b.publish(ctx, mine)
		b.release(mine)
		if err != nil {
			return err
		}
		if len(page) < outboxPage {
			return nil
		}
	}
}

// take marks what nobody in this process publishes as under way.
func (b *outbox) take(page []state.OutboxEvent) (mine []state.OutboxEvent) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, o := range page {
		if !b.underWay[o.Seq] {
			b.underWay[o.Seq] = true
			mine = append(mine, o)
		}
	}
	return mine
}

func (b *outbox) release(mine []state.OutboxEvent) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, o := range mine {
		delete(b.underWay, o.Seq)
	}
}

func (b *outbox) publish(ctx context.Context, page []state.OutboxEvent) error {
	events := make([]cloudevents.Event, 0, len(page))
	seqs := make([]int64, 0, len(page))
	for _, o := range page {
		seqs = append(seqs, o.Seq)
		e, err := event.Decode(o.JSON)
		if err != nil { // nobody could ever publish it, and it would hold up all that follow
			b.log.ErrorContext(ctx, "outbox holds what is no event; it is dropped", "id", o.ID, "error", err)
			continue
		}
		events = append(events, e)
	}
	err := b.sink.Publish(ctx, events...)
	if errkind.Is(err, errkind.Invalid) && len(page) > 1 { // one of them: find it
		for i := range page {
			if err := b.publish(ctx, page[i:i+1]); err != nil {
				return err
			}
		}
		return nil
	}
	switch {
	case errkind.Is(err, errkind.Invalid):
		b.log.ErrorContext(ctx, "the broker refuses an event of the outbox for good; it is dropped", "id", page[0].ID, "error", err)
		events = nil
	case err != nil:
		return fmt.Errorf("publish outbox: %w", err)
	}
	if err := b.store.Published(ctx, seqs); err != nil {
		return fmt.Errorf("note published events: %w", err)
	}
	for _, e := range events {
		b.tell(ctx, e)
	}
	return nil
}

func (b *outbox) tell(ctx context.Context, e cloudevents.Event) {
	b.published(e)
	if e.Type() == event.GuardTripped {
		if g, err := event.GuardOf(e); err == nil {
			b.log.WarnContext(ctx, "the delete brake tripped: deletes are held until somebody decides", "reason", g.Reason,
				"mend", "bucketmesh brake status, approve or undo")
		}
	}
	if e.Type() != event.SyncApplied || !b.log.Enabled(ctx, slog.LevelDebug) {
		return
	}
	s, err := event.SyncOf(e)
	if err != nil {
		return
	}
	size, _ := strconv.ParseInt(s.Size, 10, 64) // "" for a delete
	b.log.DebugContext(ctx, "change applied", "key", s.Key, "kind", s.Kind, "version", s.Version, "origin", s.Origin,
		"replicas", s.Replicas, "bytes", size, "lag", s.Applied.Sub(s.Written))
}
