package pull

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	cloudevents "github.com/cloudevents/sdk-go/v2/event"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/normalize"
	"github.com/bucketmesh/bucketmesh/pkg/pull/queue"
)

// worker makes events of messages and hands them over.
type worker struct {
	decode func(queue.Message) normalize.Message
	sink   normalize.Sink
	dead   normalize.DeadLetters
	limits queue.Limits
}

// outcome of a message that is done.
type outcome struct {
	events  []cloudevents.Event
	poison  []normalize.Poison
	ignored map[string]int
}

// handle returns nil if the message may go.
func (w worker) handle(ctx context.Context, m queue.Message) (outcome, error) {
	done, err := w.try(ctx, m)
	if err == nil || m.Deliveries < w.limits.Deliveries || !itsOwn(err) {
		return done, err
	}
	// It failed again and again, and not because somebody was away: nothing of it can be delivered as it is.
	reason := fmt.Sprintf("after %d deliveries: %v", m.Deliveries, err)
	p := normalize.Poison{Raw: m.Body, ContentType: "application/octet-stream", Reason: reason}
	if json.Valid(m.Body) {
		p.ContentType = cloudevents.ApplicationJSON
	}
	ctx, cancel := context.WithTimeout(ctx, w.limits.Request)
	defer cancel()
	if err := w.dead.Store(ctx, p.Raw, p.ContentType, p.Reason); err != nil {
		return outcome{}, fmt.Errorf("store dead letter: %w", err)
	}
	return outcome{poison: []normalize.Poison{p}}, nil
}

// try delivers a message once.
func (w worker) try(ctx context.Context, m queue.Message) (done outcome, err error) {
	defer func() {
		if p := recover(); p != nil { // one message must not end the others
			err = fmt.Errorf("handle message: panic: %v", p)
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, w.limits.Handle)
	defer cancel()
	msg := w.decode(m)
	d, err := normalize.Deliver(ctx, w.sink, w.dead, msg, time.Now(), "")
	if err != nil {
		return outcome{}, err //nolint:wrapcheck // says what could not be done
	}
	return outcome{events: d.Events, poison: d.Poison, ignored: msg.Ignored}, nil
}

// itsOwn reports whether an error can be the fault of the message. What says that somebody is away, or has too much to do,
// or does not let us in, is not: however long that lasts, messages wait for its end.
func itsOwn(err error) bool {
	switch errkind.Of(err) {
	case errkind.Unknown, errkind.Invalid, errkind.Unsupported:
		return true
	}
	return false
}
