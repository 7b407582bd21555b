package serve_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/serve"
)

func TestTheEndWaitsForTheBackground(t *testing.T) {
	release, told := make(chan struct{}), make(chan struct{})
	_, stop, done := run(t, serve.Config{Handler: http.NotFoundHandler(), QuietPeriod: time.Millisecond, Background: func(ctx context.Context) error {
		<-ctx.Done()
		close(told)
		<-release
		return nil
	}})
	stop()
	<-told
	select {
	case err := <-done:
		t.Fatalf("ended before its background: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	close(release)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestTheWaitForTheBackgroundIsBounded(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	_, stop, done := run(t, serve.Config{
		Handler: http.NotFoundHandler(), QuietPeriod: time.Millisecond, DrainTimeout: 100 * time.Millisecond,
		Background: func(context.Context) error { <-release; return nil },
	})
	stop()
	if err := <-done; !errkind.Is(err, errkind.Canceled) {
		t.Error(err)
	}
}

func TestAServiceEndsWithItsBackground(t *testing.T) {
	cause := errkind.New(errkind.PermissionDenied, "no way in")
	_, _, replaced := run(t, serve.Config{Handler: http.NotFoundHandler(), QuietPeriod: time.Millisecond, Background: func(context.Context) error {
		return fmt.Errorf("linger: %w", serve.ErrReplace)
	}})
	if err := <-replaced; err != nil {
		t.Errorf("one that is to be replaced ended with %v", err)
	}
	for name, test := range map[string]struct {
		gives error
		kind  errkind.Kind
	}{"with an error": {cause, errkind.PermissionDenied}, "without one": {nil, errkind.Unavailable}} {
		_, _, done := run(t, serve.Config{Handler: http.NotFoundHandler(), Background: func(context.Context) error { return test.gives }})
		if err := <-done; !errkind.Is(err, test.kind) || test.gives != nil && !errors.Is(err, cause) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWhatIsUnderWayEndsWhenTheBackgroundHasEnded(t *testing.T) {
	entered, leave, end := make(chan struct{}), make(chan struct{}), make(chan struct{})
	url, _, done := run(t, serve.Config{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			close(entered)
			<-leave
			w.WriteHeader(http.StatusAccepted)
		}),
		QuietPeriod: time.Millisecond,
		Background:  func(context.Context) error { <-end; return errkind.New(errkind.Unavailable, "enough") },
	})
	status := make(chan int, 1)
	go func() {
		a, err := http.Post(url, "", nil)
		if err != nil {
			t.Error(err)
			status <- 0
			return
		}
		_ = a.Body.Close()
		status <- a.StatusCode
	}()
	<-entered
	close(end)
	select {
	case err := <-done:
		t.Fatalf("ended before its request: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	close(leave)
	if got := <-status; got != http.StatusAccepted {
		t.Errorf("the request was answered with %d", got)
	}
	if err := <-done; !errkind.Is(err, errkind.Unavailable) {
		t.Error(err)
	}
}

func TestStrangersHaveNoSayInOurTraces(t *testing.T) {
	const parent = "00-0102030405060708090a0b0c0d0e0f10-0102030405060708-01"
	for public, same := range map[bool]bool{true: false, false: true} {
		telemetry := serve.NoTelemetry()
		telemetry.Tracer, telemetry.Propagator = sdktrace.NewTracerProvider(), propagation.TraceContext{}
		got := make(chan trace.SpanContext, 1)
		url, stop, done := run(t, serve.Config{Public: public, Telemetry: telemetry, QuietPeriod: time.Millisecond,
			Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got <- trace.SpanContextFromContext(r.Context()) }),
		})
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Traceparent", parent)
		a, err := new(http.Client).Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = a.Body.Close()
		if sc := receive(t, got, "request"); !sc.IsValid() || (sc.TraceID().String() == parent[3:35]) != same {
			t.Errorf("public %v: trace %v", public, sc.TraceID())
		}
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}
