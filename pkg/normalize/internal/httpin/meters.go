package httpin

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/normalize"
	"github.com/bucketmesh/bucketmesh/pkg/normalize/internal/refuse"
)

// meters count what became of messages. Attributes come from the configuration and from closed lists, never from what
// a sender wrote.
type meters struct {
	events, refused, dead, ignored metric.Int64Counter
}

func newMeters(m metric.Meter) (meters, error) {
	if m == nil {
		m = noop.NewMeterProvider().Meter("")
	}
	var out meters
	for _, c := range []struct {
		into       *metric.Int64Counter
		name, help string
	}{
		{&out.events, "bucketmesh.normalizer.events", "events that the broker took, by store and type"},
		{&out.refused, "bucketmesh.normalizer.refused", "messages that were not taken, by store, status and reason"},
		{&out.dead, "bucketmesh.normalizer.dead_letters", "messages and records that can never work, by store"},
		{&out.ignored, "bucketmesh.normalizer.ignored", "records that are no change, by store and reason"},
	} {
		counter, err := m.Int64Counter(c.name, metric.WithDescription(c.help))
		if err != nil {
			return meters{}, errkind.New(errkind.Invalid, "make counter %s: %w", c.name, err)
		}
		*c.into = counter
	}
	return out, nil
}

func (m meters) delivered(ctx context.Context, store string, msg normalize.Message, d normalize.Delivered) {
	at := attribute.String("store", store)
	for _, e := range d.Events {
		m.events.Add(ctx, 1, metric.WithAttributes(at, attribute.String("type", e.Type())))
	}
	if n := len(d.Poison); n > 0 {
		m.dead.Add(ctx, int64(n), metric.WithAttributes(at))
	}
	for reason, n := range msg.Ignored {
		m.ignored.Add(ctx, int64(n), metric.WithAttributes(at, attribute.String("reason", reason)))
	}
}

func (m meters) refuse(ctx context.Context, store string, status int, reason refuse.Reason) {
	m.refused.Add(ctx, 1, metric.WithAttributes(
		attribute.String("store", store), attribute.Int("status", status), attribute.String("reason", string(reason))))
}
