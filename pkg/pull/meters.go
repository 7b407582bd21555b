package pull

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/pull/queue"
)

// meters count what became of messages, by the queue as it is configured.
type meters struct {
	received, acked, refused, poison, ignored, events, errors metric.Int64Counter
	lag                                                       metric.Float64Histogram
	working                                                   metric.Int64Gauge
	source                                                    attribute.KeyValue
}

func newMeters(m metric.Meter) (meters, error) {
	var out meters
	for _, c := range []struct {
		into       *metric.Int64Counter
		name, help string
	}{
		{&out.received, "bucketmesh.pull.received", "tries to handle a message, by source"},
		{&out.acked, "bucketmesh.pull.acked", "messages that were taken out of the queue, by source"},
		{&out.refused, "bucketmesh.pull.refused", "messages that were left in the queue and come again, by source and kind of error"},
		{&out.poison, "bucketmesh.pull.poison", "messages and records that can never work, kept as dead letters, by source"},
		{&out.ignored, "bucketmesh.pull.ignored", "records that are no change, by source and reason"},
		{&out.events, "bucketmesh.pull.events", "events that the broker took, by source and type"},
		{&out.errors, "bucketmesh.pull.errors", "failed requests to the queue, by source and kind"},
	} {
		counter, err := m.Int64Counter(c.name, metric.WithDescription(c.help))
		if err != nil {
			return meters{}, errkind.New(errkind.Invalid, "make counter %s: %w", c.name, err)
		}
		*c.into = counter
	}
	var err error
	if out.lag, err = m.Float64Histogram("bucketmesh.pull.lag", metric.WithUnit("s"),
		metric.WithDescription("time from when the queue took a message until it was taken out, by source")); err != nil {
		return meters{}, errkind.New(errkind.Invalid, "make histogram: %w", err)
	}
	if out.working, err = m.Int64Gauge("bucketmesh.pull.up", metric.WithDescription("1 if the queue answers, else 0, by source")); err != nil {
		return meters{}, errkind.New(errkind.Invalid, "make gauge: %w", err)
	}
	return out, nil
}

// of is for one queue.
func (m meters) of(source string) meters {
	m.source = attribute.String("source", source)
	return m
}

func (m meters) got(ctx context.Context) { m.received.Add(ctx, 1, metric.WithAttributes(m.source)) }

func (m meters) settled(ctx context.Context, msg queue.Message, err error) {
	if err != nil {
		m.refused.Add(ctx, 1, metric.WithAttributes(m.source, attribute.String("kind", errkind.Of(err).String())))
		return
	}
	m.acked.Add(ctx, 1, metric.WithAttributes(m.source))
	if !msg.Sent.IsZero() { // two clocks: never less than nothing
		m.lag.Record(ctx, max(time.Since(msg.Sent), 0).Seconds(), metric.WithAttributes(m.source))
	}
}

func (m meters) delivered(ctx context.Context, o outcome) {
	for _, e := range o.events {
		m.events.Add(ctx, 1, metric.WithAttributes(m.source, attribute.String("type", e.Type())))
	}
	if n := len(o.poison); n > 0 {
		m.poison.Add(ctx, int64(n), metric.WithAttributes(m.source))
	}
	for reason, n := range o.ignored {
		m.ignored.Add(ctx, int64(n), metric.WithAttributes(m.source, attribute.String("reason", reason)))
	}
}

func (m meters) failed(ctx context.Context, kind errkind.Kind) {
	m.errors.Add(ctx, 1, metric.WithAttributes(m.source, attribute.String("kind", kind.String())))
}

func (m meters) up(ctx context.Context, working bool) {
	v := int64(0)
	if working {
		v = 1
	}
	m.working.Record(ctx, v, metric.WithAttributes(m.source))
}
