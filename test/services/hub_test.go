package services_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	cloudevents "github.com/cloudevents/sdk-go/v2/event"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/bucketmesh/bucketmesh/pkg/broker"
	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/event"
	"github.com/bucketmesh/bucketmesh/pkg/serve"
	"github.com/bucketmesh/bucketmesh/pkg/state/postgres"
	"github.com/bucketmesh/bucketmesh/pkg/subscriber"
	"github.com/bucketmesh/bucketmesh/test/cluster"
)

// hub does for the services what a Knative Broker does: it takes events over HTTP and posts them to subscribers.
type hub struct {
	*broker.Broker

	url string // of the ingress

	mu      sync.Mutex
	taken   map[string]time.Time
	down    bool
	refused map[string]int // events while it was down, by provider
	lose    func(trigger string, e cloudevents.Event) bool
	give    func(trigger string, e cloudevents.Event) bool

	again   atomic.Int64 // answers of subscribers that asked for another try
	letters string       // URL of the dead-letter sink
	retrace bool         // puts a span of its own into events, in the trace of the request, as a broker with tracing does
}

func newHub(t *testing.T) *hub {
	t.Helper()
	b, err := broker.Open(t.Context(), broker.Config{Dir: t.TempDir(), Dedupe: dedupe})
	must(t, err)
	h := &hub{Broker: b, taken: map[string]time.Time{}}
	ingress, err := serve.Events(serve.HandlerFunc(func(ctx context.Context, e cloudevents.Event) error {
		if h.refuse(e) {
			return errkind.New(errkind.Unavailable, "the broker is down")
		}
		if h.tooSoon(e) {
			return errkind.New(errkind.Unavailable, "the broker would not tell this event from the one before")
		}
		if h.retrace {
			e = retraced(ctx, e)
		}
		return b.Publish(ctx, e)
	}), serve.Options{})
	must(t, err)
	server := httptest.NewServer(otelhttp.NewHandler(ingress, "ingress", otelhttp.WithPropagators(propagation.TraceContext{})))
	t.Cleanup(func() {
		server.Close()
		if err := b.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	h.url = server.URL
	return h
}

// retraced is e with another span in the place of its own: of the trace of the request, or of a new one if the request has none.
func retraced(ctx context.Context, e cloudevents.Event) cloudevents.Event {
	sc := trace.SpanContextFromContext(ctx)
	if !sc.HasTraceID() {
		sc = sc.WithTraceID(trace.TraceID{0xbe, 0xef})
	}
	e = e.Clone()
	e.SetExtension("traceparent", fmt.Sprintf("00-%s-%s-01", sc.TraceID(), trace.SpanID{0xb0, 0x0c}))
	return e
}

// dedupe is the least for which the store of the hub can be made to take an event for a repetition.
const dedupe = 100 * time.Millisecond

// tooSoon refuses an event that the store would drop: a Knative Broker takes an event twice, if it is sent twice.
func (h *hub) tooSoon(e cloudevents.Event) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	name := e.Source() + " " + e.ID()
	if last, ok := h.taken[name]; ok && time.Since(last) < 3*dedupe {
		return true
	}
	h.taken[name] = time.Now()
	return false
}

// refuse says whether the ingress is down, and counts what it did not take.
func (h *hub) refuse(e cloudevents.Event) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.down {
		provider, _ := e.Extensions()[event.ExtProvider].(string)
		h.refused[provider]++
	}
	return h.down
}

// setLose has events lost on their way to a subscriber: acknowledged, and not delivered.
func (h *hub) setLose(lose func(trigger string, e cloudevents.Event) bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lose = lose
}

// setGiveUp has the hub give events up as if their subscriber had not been reached for all tries.
func (h *hub) setGiveUp(give func(trigger string, e cloudevents.Event) bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.give = give
}

func (h *hub) givesUp(trigger string, e cloudevents.Event) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.give != nil && h.give(trigger, e)
}

func (h *hub) loses(trigger string, e cloudevents.Event) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.lose != nil && h.lose(trigger, e)
}

// setDown begins an outage, in which every event is answered with 503, or ends it.
func (h *hub) setDown(down bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.down, h.refused = down, map[string]int{}
}

// refusedFrom says whether an event of the provider came since the outage began.
func (h *hub) refusedFrom(provider string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.refused[provider] > 0
}

// subscribers launches the services that events are posted to, the dead-letter sink among them.
func (h *hub) subscribers(t *testing.T, settings []string) {
	t.Helper()
	triggers, err := broker.ParseTriggers(strings.NewReader(subscriber.Triggers()))
	must(t, err)
	must(t, h.Declare(t.Context(), triggers...))
	h.letters = launch(t, subscriber.NameDeadLetters, "", settings...)
	for _, tr := range triggers {
		url := h.letters
		if tr.Subscriber != subscriber.NameDeadLetters {
			url = launch(t, tr.Subscriber, "", settings...)
		}
		must(t, h.Subscribe(t.Context(), tr, broker.HandlerFunc(func(ctx context.Context, e cloudevents.Event) error {
			return h.deliver(ctx, tr.Name, url, e)
		})))
	}
}

// deliver posts an event to a subscriber, and to the dead-letter sink if an answer says that another try is useless.
func (h *hub) deliver(ctx context.Context, trigger, url string, e cloudevents.Event) error {
	if h.loses(trigger, e) {
		return nil
	}
	if h.givesUp(trigger, e) {
		return h.bury(ctx, trigger, e)
	}
	status, answer, err := postEvent(ctx, url, e)
	switch {
	case err != nil:
		return err
	case status < 300:
		return nil
	case status >= 500, status == http.StatusNotFound, status == http.StatusRequestTimeout, status == http.StatusConflict, status == http.StatusTooManyRequests:
		h.again.Add(1)
		return errkind.New(errkind.Unavailable, "answered %d: %s", status, answer)
	}
	e = e.Clone()
	e.SetExtension("knativeerrordest", url+"/")
	e.SetExtension("knativeerrorcode", status)
	e.SetExtension("knativeerrordata", base64.StdEncoding.EncodeToString(answer[:min(len(answer), 768)]))
	return h.bury(ctx, trigger, e)
}

// bury gives an event to the dead-letter sink of a trigger.
func (h *hub) bury(ctx context.Context, trigger string, e cloudevents.Event) error {
	status, answer, err := postEvent(ctx, h.letters+"/"+trigger, e)
	if err == nil && status >= 300 {
		err = errkind.New(errkind.Unavailable, "dead-letter sink answered %d: %s", status, answer)
	}
	return err
}

// deliverer keeps its connections, as a dispatcher does; the trigger bounds its time.
var deliverer = &http.Client{}

// postEvent posts an event.
func postEvent(ctx context.Context, url string, e cloudevents.Event) (status int, answer []byte, err error) {
	body, err := e.MarshalJSON()
	if err != nil {
		return 0, nil, errkind.New(errkind.Invalid, "encode event: %w", err)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return 0, nil, errkind.New(errkind.Invalid, "make request: %w", err)
	}
	r.Header.Set("Content-Type", cloudevents.ApplicationCloudEventsJSON)
	a, err := deliverer.Do(r)
	if err != nil {
		return 0, nil, errkind.New(errkind.Unavailable, "post event: %w", err)
	}
	defer a.Body.Close()
	answer, err = io.ReadAll(a.Body)
	if err != nil {
		return 0, nil, errkind.New(errkind.Unavailable, "read answer: %w", err)
	}
	return a.StatusCode, answer, nil
}

// idle waits until every event is handled.
func (h *hub) idle(t *testing.T, store *postgres.Store) {
	t.Helper()
	cluster.Eventually(t, "every event is handled", func() bool {
		s, err := h.Status(t.Context())
		stats, serr := store.Stats(t.Context(), "test")
		if err != nil || serr != nil {
			t.Fatal(err, serr)
		}
		return s.Events == 0 && stats.Outbox == 0
	})
}
