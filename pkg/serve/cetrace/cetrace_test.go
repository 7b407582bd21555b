package cetrace_test

import (
	"net/http"
	"testing"

	"github.com/cloudevents/sdk-go/v2/event"
	"go.opentelemetry.io/otel/trace"

	"github.com/bucketmesh/bucketmesh/pkg/serve/cetrace"
)

func newEvent() event.Event {
	e := event.New()
	e.SetID("1")
	e.SetSource("s")
	e.SetType("t")
	return e
}

func TestThereAndBack(t *testing.T) {
	state, err := trace.ParseTraceState("vendor=value")
	if err != nil {
		t.Fatal(err)
	}
	want := trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, TraceFlags: trace.FlagsSampled, TraceState: state,
	})
	before := newEvent()
	e := cetrace.Inject(trace.ContextWithSpanContext(t.Context(), want), before)
	if err := e.Validate(); err != nil {
		t.Fatalf("the event is not valid any more: %v", err)
	}
	if got := trace.SpanContextFromContext(cetrace.Extract(t.Context(), e)); !got.Equal(want.WithRemote(true)) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if len(before.Extensions()) != 0 {
		t.Errorf("the caller's event was changed: %v", before.Extensions())
	}
}

func TestTheEventsOwnTraceStays(t *testing.T) {
	first := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{1}})
	second := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{2}, SpanID: trace.SpanID{2}})
	e := cetrace.Inject(trace.ContextWithSpanContext(t.Context(), first), newEvent())
	e = cetrace.Inject(trace.ContextWithSpanContext(t.Context(), second), e)
	ctx := cetrace.Extract(trace.ContextWithSpanContext(t.Context(), second), e)
	if got := trace.SpanContextFromContext(ctx).TraceID(); got != first.TraceID() {
		t.Errorf("trace %v, want that of the event, %v", got, first.TraceID())
	}
}

func TestWithoutTrace(t *testing.T) {
	e := cetrace.Inject(t.Context(), newEvent())
	if len(e.Extensions()) != 0 {
		t.Errorf("extensions %v, want none", e.Extensions())
	}
	sc := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{1}})
	if got := trace.SpanContextFromContext(cetrace.Extract(trace.ContextWithSpanContext(t.Context(), sc), e)); !got.Equal(sc) {
		t.Errorf("an event without a trace changed that of the request to %+v", got)
	}
	e.SetExtension("traceparent", "nonsense")
	if got := trace.SpanContextFromContext(cetrace.Extract(t.Context(), e)); got.IsValid() {
		t.Errorf("nonsense became %+v", got)
	}
}

// A request whose headers carry the trace of the event has the nearer span: the broker's, or that of the request itself.
func TestTheNearerSpanOfATraceStays(t *testing.T) {
	made := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{1}, TraceFlags: trace.FlagsSampled})
	e := cetrace.Inject(trace.ContextWithSpanContext(t.Context(), made), newEvent())
	h := http.Header{}
	cetrace.Header(e, h)
	if got := h.Get("traceparent"); got != e.Extensions()["traceparent"] {
		t.Errorf("the header has %q, the event %v", got, e.Extensions())
	}
	broker := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, TraceFlags: trace.FlagsSampled})
	ctx := cetrace.Extract(trace.ContextWithSpanContext(t.Context(), broker), e)
	if got := trace.SpanContextFromContext(ctx).SpanID(); got != broker.SpanID() {
		t.Errorf("span %v, want that of the broker", got)
	}
	cetrace.Header(newEvent(), h)
	if len(h) != 1 {
		t.Errorf("an event without a trace set %v", h)
	}
}
