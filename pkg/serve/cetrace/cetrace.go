// Package cetrace carries W3C trace context in CloudEvents, in the attributes of the distributed tracing extension
// (traceparent, tracestate), so that one trace spans a change from the provider's notification to the last replica, across
// brokers that keep events but not HTTP headers.
//
// Its functions are pure, return no errors and are safe for concurrent use.
package cetrace

import (
	"context"
	"net/http"

	"github.com/cloudevents/sdk-go/v2/event"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// The extension attributes.
const (
	traceparent = "traceparent"
	tracestate  = "tracestate"
)

// Inject returns e with the trace context of ctx. An event that already carries one is returned as it is: it belongs to
// the trace in which it was made, not to the one that happens to publish it (an outbox sweep, a replay). e itself is not
// changed.
func Inject(ctx context.Context, e event.Event) event.Event {
	if !trace.SpanContextFromContext(ctx).IsValid() {
		return e
	}
	if _, ok := e.Extensions()[traceparent]; ok {
		return e
	}
	e = e.Clone()
	propagation.TraceContext{}.Inject(ctx, carrier{&e})
	return e
}

// Extract returns ctx with the trace context that e carries as the remote parent; ctx as it is if e carries none, or if ctx is in
// the same trace already: then its span is nearer, be it the request's, or that of a broker in between.
func Extract(ctx context.Context, e event.Event) context.Context {
	if _, ok := e.Extensions()[traceparent]; !ok {
		return ctx
	}
	found := propagation.TraceContext{}.Extract(ctx, carrier{&e})
	if trace.SpanContextFromContext(found).TraceID() == trace.SpanContextFromContext(ctx).TraceID() {
		return ctx
	}
	return found
}

// Header sets the trace context that e carries in the header of a request, so that a broker's own spans are in the same trace, and
// what it may put into the event in place of ours is, too.
func Header(e event.Event, h http.Header) {
	propagation.TraceContext{}.Inject(Extract(context.Background(), e), propagation.HeaderCarrier(h))
}

// carrier is an event as OpenTelemetry's propagators see it.
type carrier struct{ e *event.Event }

var _ propagation.TextMapCarrier = carrier{}

func (c carrier) Get(key string) string {
	s, _ := c.e.Extensions()[key].(string)
	return s
}

func (c carrier) Set(key, value string) {
	if value != "" { // an empty extension attribute is not valid
		c.e.SetExtension(key, value)
	}
}

func (c carrier) Keys() []string { return []string{traceparent, tracestate} }
