package serve

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	vocabulary "github.com/bucketmesh/bucketmesh/pkg/event"
	"github.com/bucketmesh/bucketmesh/pkg/serve/cetrace"
)

const scope = "github.com/bucketmesh/bucketmesh/pkg/serve"

// Observe is h with a span in the trace of the event, a measurement of its time and outcome, a log line for a failure, and
// with a panic turned into an error of kind Unknown. Events does it by itself; a handler that a broker in this process calls
// is observed with it in the same way.
func Observe(h Handler, o Options) (Handler, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Telemetry == nil {
		o.Telemetry = NoTelemetry()
	}
	duration, err := o.Telemetry.Meter.Meter(scope).Float64Histogram("bucketmesh.event.duration", metric.WithUnit("s"),
		metric.WithDescription("Time to handle one event, by type and by the kind of the error, ok if there was none."))
	if err != nil {
		return nil, fmt.Errorf("create instrument: %w", err)
	}
	return &observed{inner: h, log: o.Logger, tracer: o.Telemetry.Tracer.Tracer(scope), duration: duration}, nil
}

type observed struct {
	inner    Handler
	log      *slog.Logger
	tracer   trace.Tracer
	duration metric.Float64Histogram
}

func (h *observed) Handle(ctx context.Context, e event.Event) (err error) {
	begin := time.Now()
	request := trace.SpanContextFromContext(ctx)
	ctx = cetrace.Extract(ctx, e)
	var links []trace.Link
	if request.IsValid() && request.TraceID() != trace.SpanContextFromContext(ctx).TraceID() {
		links = append(links, trace.Link{SpanContext: request}) // a sender that does not carry the event's trace in its headers
	}
	ctx, span := h.tracer.Start(ctx, "handle "+knownType(e.Type()), trace.WithSpanKind(trace.SpanKindConsumer), trace.WithLinks(links...),
		trace.WithAttributes(
			attribute.String("cloudevents.event_id", e.ID()),
			attribute.String("cloudevents.event_source", e.Source()),
			attribute.String("cloudevents.event_type", e.Type()),
		))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("handle event: panic: %v", p)
			h.log.ErrorContext(ctx, "handler panicked", "id", e.ID(), "type", e.Type(), "panic", p, "stack", string(debug.Stack()))
		}
		outcome := "ok"
		if err != nil {
			outcome = errkind.Of(err).String()
			span.RecordError(err)
			span.SetStatus(codes.Error, outcome)
			h.log.WarnContext(ctx, "event failed", "id", e.ID(), "type", e.Type(), "subject", e.Subject(), "kind", outcome, "error", err)
		}
		h.duration.Record(ctx, time.Since(begin).Seconds(),
			metric.WithAttributes(attribute.String("type", knownType(e.Type())), attribute.String("outcome", outcome)))
		span.End()
	}()
	return h.inner.Handle(ctx, e)
}

// knownType keeps the number of time series bounded: anybody can post an event of any type.
func knownType(t string) string {
	if vocabulary.Known(t) {
		return t
	}
	return "other"
}
