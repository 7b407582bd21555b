package pubsub

import (
	"context"
	"time"

	google "cloud.google.com/go/pubsub/v2"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/pull/queue"
)

// Receive is that of queue.Source.
func (s *Source) Receive(ctx context.Context, c queue.Consumer) error {
	l := s.cfg.Limits
	work, cancel := queue.Outlive(ctx, l.Stop)
	defer cancel()
	stream, end := context.WithCancel(ctx)
	defer end()
	sub := s.client.Subscriber(s.cfg.Subscription)
	sub.ReceiveSettings = google.ReceiveSettings{
		MaxExtension:               s.cfg.Hold + l.Handle + l.Request,
		MaxDurationPerAckExtension: min(max(l.Visibility, 10*time.Second), 10*time.Minute), // what Pub/Sub takes
		MaxOutstandingMessages:     l.Messages,
		MaxOutstandingBytes:        int(l.Bytes),
		NumGoroutines:              1, // a stream is enough for what Messages allows
	}
	r := &run{Source: s, consumer: c, stopping: ctx, handling: queue.NewPause(l)}
	go r.probe(stream)
	done := make(chan error, 1)
	go func() { done <- sub.Receive(stream, func(_ context.Context, m *google.Message) { r.handle(work, m) }) }()
	select {
	case err := <-done:
		return s.ended(ctx, err)
	case <-ctx.Done():
	}
	// The library waits until all acknowledgements are sent, however long the server is away.
	last := time.NewTimer(l.Stop + 2*l.Request)
	defer last.Stop()
	select {
	case err := <-done:
		return s.ended(ctx, err)
	case <-last.C:
		return errkind.New(errkind.Canceled, "stop pubsub subscription %s: %w: what is not acknowledged comes again", s.cfg.Subscription, errStop)
	}
}

func (s *Source) ended(ctx context.Context, err error) error {
	switch {
	case err != nil:
		return fail("receive from", s.cfg.Subscription, err)
	case ctx.Err() == nil:
		return errkind.New(errkind.Unavailable, "receive from pubsub subscription %s: the stream ended", s.cfg.Subscription)
	}
	return nil
}

// run is one Receive.
type run struct {
	*Source
	consumer queue.Consumer
	stopping context.Context
	handling *queue.Pause
}

// probe looks whether the subscription can be reached: the library hides that it can't, and connects again by itself.
func (r *run) probe(ctx context.Context) {
	for ctx.Err() == nil {
		if err := r.Check(ctx); ctx.Err() == nil {
			r.consumer.Seen(err)
		}
		_ = queue.Sleep(ctx, r.cfg.Limits.Wait) // the loop looks at ctx
	}
}

// handle has a message handled until that works, or the time for holding it is over, or the source stops.
func (r *run) handle(ctx context.Context, m *google.Message) {
	r.consumer.Seen(nil)
	msg := queue.Message{ID: m.ID, Body: m.Data, Attributes: m.Attributes, Sent: m.PublishTime}
	if m.DeliveryAttempt != nil { // known with a dead-letter policy only
		msg.Deliveries = *m.DeliveryAttempt
	}
	giveBack := time.Now().Add(r.cfg.Hold)
	for try := 1; ; try++ {
		msg.Deliveries = max(msg.Deliveries, try)
		err := r.consumer.Handle(ctx, msg)
		if err == nil {
			r.handling.OK()
			r.consumer.Settled(ctx, msg, r.ack(ctx, m))
			return
		}
		pause := r.handling.Failed(err)
		if time.Now().Add(pause).After(giveBack) || queue.Sleep(r.stopping, pause) != nil {
			m.Nack()
			r.consumer.Settled(ctx, msg, err)
			return
		}
	}
}

// ack waits for the answer where the subscription gives one (exactly-once delivery). Elsewhere an acknowledgement that is
// lost makes the message come again.
func (r *run) ack(ctx context.Context, m *google.Message) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.cfg.Limits.Request)
	defer cancel()
	if _, err := m.AckWithResult().Get(ctx); err != nil {
		return fail("acknowledge message of", r.cfg.Subscription, err)
	}
	return nil
}
