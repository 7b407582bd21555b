package serve_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"go.opentelemetry.io/otel/trace"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/serve"
)

const structured = `{"specversion":"1.0","id":"1","source":"https://s3.example/b","type":"t","subject":"a%20b","data":{"k":"v"}}`

func service(t *testing.T, o serve.Options, h serve.HandlerFunc) *httptest.Server {
	t.Helper()
	o.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	handler, err := serve.Events(h, o)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(handler)
	t.Cleanup(s.Close)
	return s
}

func TestErrorsBecomeAnswers(t *testing.T) {
	for _, tt := range []struct {
		name       string
		err        error
		status     int
		retryAfter string
	}{
		{"success, or a duplicate", nil, 202, ""},
		{"poison", errkind.New(errkind.Invalid, "poison"), 400, ""},
		{"not found", errkind.New(errkind.NotFound, "gone"), 400, ""},
		{"precondition failed", errkind.New(errkind.PreconditionFailed, "changed"), 400, ""},
		{"unsupported", errkind.New(errkind.Unsupported, "can't"), 400, ""},
		{"unauthenticated", errkind.New(errkind.Unauthenticated, "who"), 401, ""},
		{"permission denied", errkind.New(errkind.PermissionDenied, "no"), 403, ""},
		{"throttled", errkind.New(errkind.Throttled, "slow down"), 429, "1"},
		{"throttled, time known", errkind.After(2500*time.Millisecond, errkind.New(errkind.Throttled, "slow down")), 429, "3"},
		{"transient", errkind.New(errkind.Unavailable, "down"), 503, ""},
		{"transient, time known", errkind.After(7*time.Second, errkind.New(errkind.Unavailable, "down")), 503, "7"},
		{"a settled conflict is never 409", errkind.New(errkind.Conflict, "again"), 503, ""},
		{"canceled", context.Canceled, 503, ""},
		{"timed out", fmt.Errorf("copy: %w", context.DeadlineExceeded), 503, ""},
		{"unknown", errors.New("what"), 503, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := service(t, serve.Options{}, func(context.Context, event.Event) error { return tt.err })
			r, err := http.Post(s.URL, "application/cloudevents+json", strings.NewReader(structured))
			if err != nil {
				t.Fatal(err)
			}
			defer r.Body.Close()
			body, err := io.ReadAll(r.Body)
			if err != nil {
				t.Fatal(err)
			}
			if r.StatusCode != tt.status || r.Header.Get("Retry-After") != tt.retryAfter {
				t.Errorf("answer %d, Retry-After %q, want %d and %q", r.StatusCode, r.Header.Get("Retry-After"), tt.status, tt.retryAfter)
			}
			// A broker takes a body that is no event for a failure.
			if tt.err == nil && len(body) != 0 {
				t.Errorf("success has the body %q", body)
			}
		})
	}
}

func TestPanicIsTransient(t *testing.T) {
	s := service(t, serve.Options{}, func(context.Context, event.Event) error { panic("a mistake") })
	for range 2 { // the service lives on
		if got, err := post(s.URL, structured); got != 503 || err != nil {
			t.Errorf("answer %d, %v", got, err)
		}
	}
}

func TestEventIsReadInBothModes(t *testing.T) {
	got := make(chan event.Event, 1)
	s := service(t, serve.Options{}, func(_ context.Context, e event.Event) error {
		got <- e
		return nil
	})
	if status, err := post(s.URL, structured); status != 202 || err != nil {
		t.Fatalf("structured: %d, %v", status, err)
	}
	first := receive(t, got, "the structured one")
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL, strings.NewReader(`{"k":"v"}`))
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		"Ce-Specversion": "1.0", "Ce-Id": "1", "Ce-Source": "https://s3.example/b", "Ce-Type": "t", "Ce-Subject": "a%20b",
		"Content-Type": "application/json",
	} {
		r.Header.Set(name, value)
	}
	answer, err := s.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	second := receive(t, got, "the binary one")
	if first.Subject() != "a%20b" || second.Subject() != "a%20b" || first.ID() != second.ID() || string(first.Data()) != string(second.Data()) {
		t.Errorf("structured\n%s\nbinary\n%s", first, second)
	}
}

func TestWhatIsNoEventIsPoison(t *testing.T) {
	s := service(t, serve.Options{}, func(context.Context, event.Event) error {
		t.Error("the handler was called")
		return nil
	})
	for name, tt := range map[string]struct{ contentType, body string }{
		"no JSON":      {"application/cloudevents+json", "{"},
		"no id":        {"application/cloudevents+json", `{"specversion":"1.0","source":"s","type":"t"}`},
		"no event":     {"application/json", "{}"},
		"a batch":      {"application/cloudevents-batch+json", "[" + structured + "]"},
		"nothing":      {"", ""},
		"old version":  {"application/cloudevents+json", `{"specversion":"9.9","id":"1","source":"s","type":"t"}`},
		"no media":     {"image/png", "x"},
		"empty source": {"application/cloudevents+json", `{"specversion":"1.0","id":"1","source":"","type":"t"}`},
	} {
		r, err := http.Post(s.URL, tt.contentType, strings.NewReader(tt.body))
		if err != nil {
			t.Fatal(err)
		}
		r.Body.Close()
		if r.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: %d, want 400", name, r.StatusCode)
		}
	}
	if got := get(t, s.URL); got != http.StatusMethodNotAllowed {
		t.Errorf("GET: %d, want 405", got)
	}
}

func TestBodyIsBounded(t *testing.T) {
	const limit = 1000
	s := service(t, serve.Options{Limits: serve.Limits{MaxBody: limit}}, func(context.Context, event.Event) error { return nil })
	fill := func(size int) string {
		return structured + strings.Repeat(" ", size-len(structured))
	}
	for size, want := range map[int]int{limit: 202, limit + 1: 413, 100 * limit: 413} {
		if got, err := post(s.URL, fill(size)); got != want || err != nil {
			t.Errorf("%d bytes: %d, %v, want %d", size, got, err, want)
		}
		// The length of a chunked body is known only at its end.
		r, err := http.Post(s.URL, "application/cloudevents+json", io.MultiReader(strings.NewReader(fill(size))))
		if err != nil {
			t.Fatal(err)
		}
		r.Body.Close()
		if r.StatusCode != want {
			t.Errorf("%d bytes, chunked: %d, want %d", size, r.StatusCode, want)
		}
	}
}

func TestConcurrencyIsBounded(t *testing.T) {
	const limit = 3
	started, release := make(chan struct{}, limit+1), make(chan struct{})
	s := service(t, serve.Options{Limits: serve.Limits{Concurrency: limit}}, func(context.Context, event.Event) error {
		started <- struct{}{}
		<-release
		return nil
	})
	answers := make(chan int, limit)
	for range limit {
		go func() {
			status, _ := post(s.URL, structured) // 0 fails the test below
			answers <- status
		}()
	}
	for range limit {
		receive(t, started, "a handler")
	}
	r, err := http.Post(s.URL, "application/cloudevents+json", strings.NewReader(structured))
	if err != nil {
		t.Fatal(err)
	}
	r.Body.Close()
	if r.StatusCode != http.StatusTooManyRequests || r.Header.Get("Retry-After") == "" {
		t.Errorf("one too many: %d, Retry-After %q", r.StatusCode, r.Header.Get("Retry-After"))
	}
	close(release)
	for range limit {
		if got := receive(t, answers, "an answer"); got != http.StatusAccepted {
			t.Errorf("answer %d", got)
		}
	}
	if got, err := post(s.URL, structured); got != http.StatusAccepted || err != nil {
		t.Errorf("afterwards: %d, %v", got, err)
	}
}

func TestTimeIsBounded(t *testing.T) {
	s := service(t, serve.Options{Limits: serve.Limits{Timeout: 10 * time.Millisecond}}, func(ctx context.Context, _ event.Event) error {
		<-ctx.Done()
		return ctx.Err()
	})
	if got, err := post(s.URL, structured); got != http.StatusServiceUnavailable || err != nil {
		t.Errorf("answer %d, %v, want 503", got, err)
	}
}

func TestTraceOfTheEventGoesOn(t *testing.T) {
	got := make(chan trace.SpanContext, 1)
	s := service(t, serve.Options{}, func(ctx context.Context, _ event.Event) error {
		got <- trace.SpanContextFromContext(ctx)
		return nil
	})
	const parent = "00-0102030405060708090a0b0c0d0e0f10-0102030405060708-01"
	body := strings.Replace(structured, `"id"`, `"traceparent":"`+parent+`","id"`, 1)
	if status, err := post(s.URL, body); status != 202 || err != nil {
		t.Fatalf("answer %d, %v", status, err)
	}
	if sc := receive(t, got, "delivery"); sc.TraceID().String() != "0102030405060708090a0b0c0d0e0f10" {
		t.Errorf("trace %v", sc.TraceID())
	}
}
