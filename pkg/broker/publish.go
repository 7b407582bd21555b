package broker

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/serve/cetrace"
)

// publishWindow bounds how many events of one Publish wait for their acknowledgement at once.
const publishWindow = 256

// Publish keeps events for every trigger that was declared. It returns when all of them are in the store; if it fails,
// some may be. Repeating it is safe: within Config.Dedupe an event with the same source and id is kept once. The trace
// context of ctx goes with events that carry none.
func (b *Broker) Publish(ctx context.Context, events ...event.Event) error {
	msgs := make([]*nats.Msg, len(events))
	for i, e := range events {
		m, err := b.encode(cetrace.Inject(ctx, e))
		if err != nil {
			return err
		}
		if int64(len(m.Data)) > b.nc.MaxPayload() {
			return errkind.New(errkind.Invalid, "publish event %s: %d bytes are more than the broker takes (%d)", e.ID(), len(m.Data), b.nc.MaxPayload())
		}
		msgs[i] = m
	}
	if err := b.checkInterest(ctx); err != nil {
		return err
	}
	for len(msgs) > 0 {
		n := min(len(msgs), publishWindow)
		if err := b.publish(ctx, msgs[:n]...); err != nil {
			return fmt.Errorf("publish events: %w", err)
		}
		msgs = msgs[n:]
	}
	return nil
}

// checkInterest refuses to take an event while no trigger is declared: the store would acknowledge and forget it.
func (b *Broker) checkInterest(ctx context.Context) error {
	if b.interest.Load() {
		return nil
	}
	info, err := b.events.Info(ctx) // another process may have declared one
	if err != nil {
		return errkind.New(errkind.Unavailable, "read event stream: %w", err)
	}
	if info.State.Consumers == 0 {
		return errkind.New(errkind.Unavailable, "publish events: no trigger is declared")
	}
	b.interest.Store(true)
	return nil
}

// publish sends messages of one stream and waits until all are acknowledged.
func (b *Broker) publish(ctx context.Context, msgs ...*nats.Msg) error {
	h := &b.eventsHealth
	if len(msgs) > 0 && strings.HasPrefix(msgs[0].Subject, b.cfg.Name+".dead.") {
		h = &b.deadHealth
	}
	futures := make([]jetstream.PubAckFuture, len(msgs))
	for i, m := range msgs {
		f, err := b.js.PublishMsgAsync(m)
		if err != nil {
			return storeError(err)
		}
		futures[i] = f
	}
	var first error
	for _, f := range futures {
		select {
		case <-f.Ok():
			h.note(time.Now(), nil)
		case err := <-f.Err():
			h.note(time.Now(), err)
			if first == nil {
				first = storeError(err)
			}
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.DeadlineExceeded) { // no answer is a failure, a caller that left is none
				h.note(time.Now(), ctx.Err())
			}
			return errkind.New(errkind.Unavailable, "wait for acknowledgement: %w", context.Cause(ctx))
		}
	}
	return first
}

func storeError(err error) error {
	switch {
	case errors.Is(err, nats.ErrMaxPayload):
		return errkind.New(errkind.Invalid, "store message: %w", err)
	default:
		return errkind.New(errkind.Unavailable, "store message: %w", err)
	}
}

// encode makes the message of an event: structured JSON, so that it reads the same in any NATS tool.
func (b *Broker) encode(e event.Event) (*nats.Msg, error) {
	if err := e.Validate(); err != nil {
		return nil, errkind.New(errkind.Invalid, "publish event %q: %w", e.ID(), err)
	}
	data, err := e.MarshalJSON()
	if err != nil {
		return nil, errkind.New(errkind.Invalid, "encode event %q: %w", e.ID(), err)
	}
	m := nats.NewMsg(b.names.events + "." + token(e.Type()))
	m.Header.Set(headerContentType, event.ApplicationCloudEventsJSON)
	m.Header.Set(nats.MsgIdHdr, messageID(e.Source(), e.ID()))
	m.Data = data
	return m, nil
}

func decode(data []byte) (event.Event, error) {
	var e event.Event
	if err := e.UnmarshalJSON(data); err != nil {
		return e, errkind.New(errkind.Invalid, "decode event: %w", err)
	}
	return e, nil
}

// messageID names one event, whatever its source and id are made of. The same change has the same id in every delivery
// of a provider, so a retry is kept once; what a trigger did with it doesn't matter, because a failure is never forgotten
// (it is redelivered or a dead letter).
func messageID(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		h.Write([]byte(strconv.Itoa(len(p)) + ":" + p))
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// token makes a subject of an event type: what NATS doesn't allow in one becomes "_". Subjects are for people who
// look at the stream; triggers filter by the event's own attributes.
func token(eventType string) string {
	clean := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '-', r == '_', r == '.':
			return r
		}
		return '_'
	}, eventType)
	parts := strings.FieldsFunc(clean, func(r rune) bool { return r == '.' })
	if len(parts) == 0 {
		return "_"
	}
	return strings.Join(parts, ".")
}
