package broker

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"knative.dev/eventing/pkg/eventfilter"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/serve/cetrace"
)

// Handler handles one event. The kind of its error decides: a retryable one brings the event back, any other makes it
// a dead letter at once. errkind.After says when to come back.
type Handler interface {
	Handle(ctx context.Context, e event.Event) error
}

// HandlerFunc is a function as a Handler.
type HandlerFunc func(ctx context.Context, e event.Event) error

// Handle implements Handler.
func (f HandlerFunc) Handle(ctx context.Context, e event.Event) error { return f(ctx, e) }

// Declare makes triggers durable without handling anything yet: from now on every event is kept for them. Declare all
// triggers before anything can publish, so that none misses an event of the others' start-up.
func (b *Broker) Declare(ctx context.Context, triggers ...Trigger) error {
	for _, t := range triggers {
		t, err := t.withDefaults()
		if err != nil {
			return err
		}
		if _, err := compile(t); err != nil {
			return err
		}
		if _, err := b.declare(ctx, t); err != nil {
			return err
		}
	}
	return nil
}

func (b *Broker) declare(ctx context.Context, t Trigger) (jetstream.Consumer, error) {
	c, err := b.events.CreateOrUpdateConsumer(ctx, jetstream.ConsumerConfig{
		Durable:        t.Name,
		FilterSubjects: []string{b.names.events + ".>", b.names.replay + "." + t.Name},
		DeliverPolicy:  jetstream.DeliverAllPolicy,
		AckPolicy:      jetstream.AckExplicitPolicy,
		AckWait:        b.cfg.AckWait,
		MaxDeliver:     -1, // attempts are counted here: the server would just stop delivering, and keep the event for ever
		MaxAckPending:  maxAckPending,
		MaxWaiting:     maxConcurrency * 2,
	})
	if err != nil {
		return nil, errkind.New(errkind.Unavailable, "declare trigger %s: %w", t.Name, err)
	}
	b.interest.Store(true)
	return c, nil
}

// Prune removes every trigger that is not named, with what is pending for it: a trigger that nobody subscribes to any more
// keeps its events until the store is full. Dead letters stay.
func (b *Broker) Prune(ctx context.Context, keep ...string) error {
	list := b.events.ConsumerNames(ctx)
	var gone []string
	for name := range list.Name() {
		if !slices.Contains(keep, name) {
			gone = append(gone, name)
		}
	}
	if err := list.Err(); err != nil {
		return errkind.New(errkind.Unavailable, "list triggers: %w", err)
	}
	for _, name := range gone {
		if err := b.events.DeleteConsumer(ctx, name); err != nil {
			return errkind.New(errkind.Unavailable, "remove trigger %s: %w", name, err)
		}
		b.log.Info("removed trigger that is no more configured", "trigger", name)
	}
	return nil
}

// Subscribe declares t and delivers its events to h until Close. ctx bounds the set-up only. A trigger is subscribed to
// once per Broker; several processes on one outside server may subscribe to the same trigger and share its events.
func (b *Broker) Subscribe(ctx context.Context, t Trigger, h Handler) error {
	t, err := t.withDefaults()
	if err != nil {
		return err
	}
	filter, err := compile(t)
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return errkind.New(errkind.Unavailable, "subscribe to trigger %s: the broker is closed", t.Name)
	}
	if b.subscribed[t.Name] {
		return errkind.New(errkind.Invalid, "subscribe to trigger %s: it has a handler already", t.Name)
	}
	consumer, err := b.declare(ctx, t)
	if err != nil {
		return err
	}
	b.subscribed[t.Name] = true
	s := &subscription{broker: b, trigger: t, filter: filter, consumer: consumer, handler: h}
	for range t.Concurrency {
		b.workers.Go(s.work)
	}
	return nil
}

// subscription delivers the events of one trigger.
type subscription struct {
	broker   *Broker
	trigger  Trigger
	filter   eventfilter.Filter
	consumer jetstream.Consumer
	handler  Handler
}

// work is one worker: it asks for an event only when it is free, so that an event never waits in this process, unseen
// by the heartbeat, while other workers would have time for it.
func (s *subscription) work() {
	b := s.broker
	for b.fetching.Err() == nil {
		msg, err := s.consumer.Next(jetstream.FetchContext(b.fetching))
		if err == nil {
			s.deliver(msg)
			continue
		}
		if isQuiet(err) || b.fetching.Err() != nil {
			continue
		}
		b.log.Warn("fetch event", "trigger", s.trigger.Name, "error", err)
		select { // the server is away; the client reconnects by itself
		case <-time.After(time.Second):
		case <-b.fetching.Done():
		}
	}
}

// deliver handles one message and settles it.
func (s *subscription) deliver(msg jetstream.Msg) {
	b := s.broker
	attempt := 1
	var sequence uint64
	if meta, err := msg.Metadata(); err == nil {
		attempt, sequence = int(meta.NumDelivered), meta.Sequence.Stream
	}
	e, err := decode(msg.Data())
	if err != nil { // written by another program, or by a version that is not ours
		s.bury(msg, nil, attempt, sequence, err)
		return
	}
	// A replay is what a person asked for: it does not have to pass a filter that may have changed meanwhile.
	replay := strings.HasPrefix(msg.Subject(), b.names.replay+".")
	if !replay && s.filter.Filter(b.handling, e) == eventfilter.FailFilter {
		s.ack(msg)
		return
	}
	err = s.handle(msg, e)
	switch {
	case err == nil:
		s.ack(msg)
	case b.handling.Err() != nil: // interrupted by Close: not the event's fault
		s.nak(msg, 0)
	case !errkind.Of(err).Retryable(), attempt > s.trigger.Retry:
		s.bury(msg, &e, attempt, sequence, err)
	default:
		wait := s.trigger.Backoff(attempt)
		if asked := errkind.Delay(err); asked > 0 {
			wait = min(asked, s.trigger.RetryAfterMax)
		}
		b.log.Debug("event failed, it will be tried again", "trigger", s.trigger.Name, "id", e.ID(), "type", e.Type(),
			"attempt", attempt, "wait", wait, "kind", errkind.Of(err).String(), "error", err)
		s.nak(msg, wait)
	}
}

// handle runs the handler with its time limit, while a heartbeat keeps the event from being delivered again.
func (s *subscription) handle(msg jetstream.Msg, e event.Event) (err error) {
	ctx, cancel := context.WithTimeout(cetrace.Extract(s.broker.handling, e), s.trigger.Timeout)
	defer cancel()
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(s.broker.cfg.AckWait / 3)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				if err := msg.InProgress(); err != nil {
					s.broker.log.Warn("keep event alive", "trigger", s.trigger.Name, "id", e.ID(), "error", err)
				}
			}
		}
	}()
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("handle event: panic: %v", p)
			s.broker.log.Error("handler panicked", "trigger", s.trigger.Name, "id", e.ID(), "type", e.Type(),
				"panic", p, "stack", string(debug.Stack()))
		}
		cancel()
		<-stopped // no heartbeat after the acknowledgement
	}()
	return s.handler.Handle(ctx, e)
}

// bury makes a dead letter of a message, and acknowledges the message only when the letter is kept.
func (s *subscription) bury(msg jetstream.Msg, e *event.Event, attempt int, sequence uint64, cause error) {
	b := s.broker
	letter := deadMessage(b.names.dead+"."+s.trigger.Name, msg.Data(), msg.Headers().Get(headerContentType), cause.Error())
	letter.Header.Set(headerTrigger, s.trigger.Name)
	letter.Header.Set(headerKind, errkind.Of(cause).String())
	letter.Header.Set(headerAttempts, strconv.Itoa(attempt))
	// A crash between here and the acknowledgement brings the message back; the letter is written once all the same.
	letter.Header.Set(jetstream.MsgIDHeader, messageID(s.trigger.Name, strconv.FormatUint(sequence, 10)))
	ctx, cancel := context.WithTimeout(context.WithoutCancel(b.handling), b.cfg.PublishWait)
	defer cancel()
	err := b.publish(ctx, letter)
	if err == nil && e != nil && b.cfg.Buried != nil {
		err = b.cfg.Buried(ctx, s.trigger.Name, *e)
	}
	if err != nil {
		b.log.Error("store dead letter; the event stays with its trigger", "trigger", s.trigger.Name, "error", err)
		s.nak(msg, s.trigger.RetryAfterMax)
		return
	}
	attrs := []any{"trigger", s.trigger.Name, "attempts", attempt, "kind", errkind.Of(cause).String(), "error", cause}
	if e != nil {
		attrs = append(attrs, "id", e.ID(), "type", e.Type(), "subject", e.Subject())
	}
	b.log.Warn("event is a dead letter", attrs...)
	s.ack(msg)
}

// isQuiet reports whether a fetch ended only because there was no event for a while.
func isQuiet(err error) bool {
	return errors.Is(err, nats.ErrTimeout) || errors.Is(err, jetstream.ErrNoMessages)
}

// ack and nak can't fail in a way that matters: an answer that is lost brings the event back after AckWait.

func (s *subscription) ack(msg jetstream.Msg) {
	if err := msg.Ack(); err != nil {
		s.broker.log.Warn("acknowledge event", "trigger", s.trigger.Name, "error", err)
	}
}

func (s *subscription) nak(msg jetstream.Msg, wait time.Duration) {
	if err := msg.NakWithDelay(wait); err != nil {
		s.broker.log.Warn("give event back", "trigger", s.trigger.Name, "error", err)
	}
}
