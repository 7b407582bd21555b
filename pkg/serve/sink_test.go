package serve_test

import (
	"context"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"
	"go.opentelemetry.io/otel/trace"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/serve"
)

func newSink(t *testing.T, cfg serve.SinkConfig, broker http.HandlerFunc) *serve.HTTPSink {
	t.Helper()
	if broker != nil {
		s := httptest.NewServer(broker)
		t.Cleanup(s.Close)
		cfg.URL = s.URL
	}
	sink, err := serve.NewHTTPSink(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return sink
}

func sample(id string) event.Event {
	e := event.New()
	e.SetID(id)
	e.SetSource("https://s3.example/b")
	e.SetType("t")
	return e
}

func TestSinkTakesOnly2xxForKept(t *testing.T) {
	for status, want := range map[int]struct {
		kind  errkind.Kind
		tries int32
	}{
		300: {errkind.Unavailable, 1},
		301: {errkind.Unavailable, 1},
		400: {errkind.Unavailable, 1},
		401: {errkind.Unavailable, 1},
		403: {errkind.Unavailable, 1},
		404: {errkind.Unavailable, 2},
		408: {errkind.Unavailable, 2},
		409: {errkind.Unavailable, 2},
		413: {errkind.Unavailable, 1},
		429: {errkind.Throttled, 2},
		500: {errkind.Unavailable, 2},
		502: {errkind.Unavailable, 2},
		503: {errkind.Unavailable, 2},
	} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			t.Parallel()
			var tries atomic.Int32
			sink := newSink(t, serve.SinkConfig{Tries: 2}, func(w http.ResponseWriter, _ *http.Request) {
				tries.Add(1)
				w.Header().Set("Location", "/elsewhere")
				w.WriteHeader(status)
			})
			err := sink.Publish(t.Context(), sample("1"))
			if errkind.Of(err) != want.kind || err == nil {
				t.Errorf("error %v, want kind %v", err, want.kind)
			}
			if got, want := serve.Refused(fmt.Errorf("wrapped: %w", err)), status == 400 || status == 413; got != want {
				t.Errorf("because of what it is: %v, want %v", got, want)
			}
			if got := errkind.Of(err).HTTPStatus(); got != 503 && got != 429 {
				t.Errorf("the provider would get %d, and not try again", got)
			}
			if tries.Load() != want.tries {
				t.Errorf("%d tries, want %d", tries.Load(), want.tries)
			}
		})
	}
	for _, status := range []int{200, 202, 204} {
		sink := newSink(t, serve.SinkConfig{Tries: 1}, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) })
		if err := sink.Publish(t.Context(), sample("1")); err != nil {
			t.Errorf("%d: %v", status, err)
		}
	}
}

func TestSinkWithNobodyThere(t *testing.T) {
	s := httptest.NewServer(http.NotFoundHandler())
	url := strings.Replace(s.URL, "http://", "http://user:hush@", 1)
	s.Close()
	err := newSink(t, serve.SinkConfig{URL: url, Tries: 2}, nil).Publish(t.Context(), sample("1"))
	if !errkind.Is(err, errkind.Unavailable) || strings.Contains(err.Error(), "hush") {
		t.Errorf("error %v, want unavailable, without the password", err)
	}
}

func TestSinkTriesAgain(t *testing.T) {
	var tries atomic.Int32
	var mu sync.Mutex
	var ids []string
	sink := newSink(t, serve.SinkConfig{}, func(w http.ResponseWriter, r *http.Request) {
		e, err := cehttp.NewEventFromHTTPRequest(r)
		if err != nil {
			t.Errorf("read event: %v", err)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		if ids = append(ids, e.ID()); tries.Add(1) == 1 {
			w.WriteHeader(500)
		}
	})
	if err := sink.Publish(t.Context(), sample("1")); err != nil {
		t.Fatal(err)
	}
	if len(ids) != 2 || ids[0] != ids[1] {
		t.Errorf("sent %v, want the same event twice", ids)
	}
}

func TestSinkHeedsRetryAfterWithinItsTime(t *testing.T) {
	var tries atomic.Int32
	sink := newSink(t, serve.SinkConfig{Timeout: 5 * time.Second}, func(w http.ResponseWriter, _ *http.Request) {
		tries.Add(1)
		w.Header().Set("Retry-After", "3600")
		w.WriteHeader(429)
	})
	err := sink.Publish(t.Context(), sample("1"))
	if !errkind.Is(err, errkind.Throttled) || errkind.Delay(err) != time.Hour || tries.Load() != 1 {
		t.Errorf("%v after %d tries, delay %v: want throttled after one, with an hour's delay", err, tries.Load(), errkind.Delay(err))
	}
}

func TestSinkIsBoundedInTime(t *testing.T) {
	release := make(chan struct{})
	sink := newSink(t, serve.SinkConfig{TryTimeout: 10 * time.Millisecond, Tries: 2}, func(http.ResponseWriter, *http.Request) { <-release })
	defer close(release)
	if err := sink.Publish(t.Context(), sample("1")); !errkind.Is(err, errkind.Unavailable) {
		t.Errorf("error %v, want unavailable", err)
	}
}

func TestSinkSendsAllOrFails(t *testing.T) {
	var mu sync.Mutex
	seen := map[string]int{}
	var now, most int
	broken := "77"
	sink := newSink(t, serve.SinkConfig{Parallel: 4, Tries: 1}, func(w http.ResponseWriter, r *http.Request) {
		e, err := cehttp.NewEventFromHTTPRequest(r)
		if err != nil {
			t.Errorf("read event: %v", err)
			return
		}
		mu.Lock()
		now++
		most = max(most, now)
		seen[e.ID()]++
		if e.ID() == broken {
			w.WriteHeader(503)
		}
		mu.Unlock()
		defer func() { mu.Lock(); now--; mu.Unlock() }()
	})
	events := make([]event.Event, 100)
	for i := range events {
		events[i] = sample(fmt.Sprint(i))
	}
	if err := sink.Publish(t.Context(), events...); !errkind.Is(err, errkind.Unavailable) {
		t.Errorf("one of them failed: %v, want unavailable", err)
	}
	mu.Lock()
	broken = ""
	mu.Unlock()
	if err := sink.Publish(t.Context(), events...); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(seen) != len(events) {
		t.Errorf("%d events arrived, want %d", len(seen), len(events))
	}
	if most > 4 {
		t.Errorf("%d at once, want at most 4", most)
	}
}

func TestSinkSendsNothingIfOneIsInvalid(t *testing.T) {
	sink := newSink(t, serve.SinkConfig{}, func(http.ResponseWriter, *http.Request) { t.Error("something was sent") })
	if err := sink.Publish(t.Context(), sample("1"), sample("")); !errkind.Is(err, errkind.Invalid) {
		t.Errorf("error %v, want invalid", err)
	}
}

func TestSinkCarriesAnyAttributeAndTheTrace(t *testing.T) {
	got := make(chan event.Event, 1)
	sink := newSink(t, serve.SinkConfig{Overrides: `{"extensions":{"cluster":"eu"}}`}, func(_ http.ResponseWriter, r *http.Request) {
		e, err := cehttp.NewEventFromHTTPRequest(r)
		if err != nil {
			t.Errorf("read event: %v", err)
			return
		}
		got <- *e
	})
	e := sample("line\nbreak ")
	e.SetSubject("é\x01")
	sc := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}})
	if err := sink.Publish(trace.ContextWithSpanContext(t.Context(), sc), e); err != nil {
		t.Fatal(err)
	}
	r := receive(t, got, "the event")
	if r.ID() != e.ID() || r.Subject() != e.Subject() || r.Extensions()["cluster"] != "eu" {
		t.Errorf("got %s", r)
	}
	if want := "00-01000000000000000000000000000000-0200000000000000-00"; r.Extensions()["traceparent"] != want {
		t.Errorf("traceparent %v, want %s", r.Extensions()["traceparent"], want)
	}
	if len(e.Extensions()) != 0 {
		t.Errorf("the caller's event was changed: %v", e.Extensions())
	}
}

// A broker with TLS is known by the certificates that a SinkBinding hands over, and by no others.
func TestSinkKnowsTheBrokersAuthority(t *testing.T) {
	broker := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusAccepted) }))
	defer broker.Close()
	broker.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	signed := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: broker.Certificate().Raw}))
	e := event.New()
	e.SetID("1")
	e.SetSource("s")
	e.SetType("t")
	for authority, trusted := range map[string]bool{signed: true, "": false} {
		sink, err := serve.NewHTTPSink(serve.SinkConfig{URL: broker.URL, Authority: authority, Tries: 1})
		if err != nil {
			t.Fatal(err)
		}
		if err := sink.Publish(t.Context(), e); trusted != (err == nil) || !trusted && !errkind.Is(err, errkind.Unavailable) {
			t.Errorf("trusted %v: %v", trusted, err)
		}
	}
}

func TestSinkConfigRefusals(t *testing.T) {
	for _, cfg := range []serve.SinkConfig{{}, {URL: "/path"}, {URL: "ftp://x"}, {URL: "http://x", Tries: -1}, {URL: "http://x", Overrides: "{"}, {URL: "https://x", Authority: "no PEM"}} {
		if _, err := serve.NewHTTPSink(cfg); !errkind.Is(err, errkind.Invalid) {
			t.Errorf("%+v: %v, want invalid", cfg, err)
		}
	}
}

func TestTelemetryOverOTLP(t *testing.T) {
	paths := make(chan string, 100)
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { paths <- r.URL.Path }))
	defer collector.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.URL)
	telemetry, err := serve.NewTelemetry(t.Context(), serve.TelemetryConfig{Service: "sync", OTLP: true})
	if err != nil {
		t.Fatal(err)
	}
	s := service(t, serve.Options{Telemetry: telemetry}, func(context.Context, event.Event) error { return nil })
	if status, err := post(s.URL, structured); status != 202 || err != nil {
		t.Fatalf("answer %d, %v", status, err)
	}
	if err := telemetry.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := map[string]bool{}
	for len(paths) > 0 {
		got[<-paths] = true
	}
	if !got["/v1/traces"] || !got["/v1/metrics"] {
		t.Errorf("the collector got %v", got)
	}
}

// Trap: spans wait in memory until they are exported, with what strangers wrote.
func TestTrapSpansDoNotKeepWhatStrangersWrote(t *testing.T) {
	sent := make(chan int64, 100)
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if n, err := io.Copy(io.Discard, r.Body); err == nil && r.URL.Path == "/v1/traces" {
			sent <- n
		}
	}))
	defer collector.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.URL)
	telemetry, err := serve.NewTelemetry(t.Context(), serve.TelemetryConfig{Service: "sync", OTLP: true})
	if err != nil {
		t.Fatal(err)
	}
	url, stop, done := run(t, serve.Config{
		Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), QuietPeriod: time.Millisecond, Telemetry: telemetry,
	})
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/"+strings.Repeat("p", 200_000), http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("User-Agent", strings.Repeat("u", 200_000))
	answer, err := (&http.Client{Timeout: patience}).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	stop()
	receive(t, done, "run returns")
	if err := telemetry.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := receive(t, sent, "the span"); n > 64<<10 {
		t.Errorf("a span of %d bytes", n)
	}
}

func TestTelemetryForPrometheus(t *testing.T) {
	telemetry, err := serve.NewTelemetry(t.Context(), serve.TelemetryConfig{Service: "sync", MetricsAddr: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := telemetry.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	}()
	s := service(t, serve.Options{Telemetry: telemetry}, func(context.Context, event.Event) error {
		return errkind.New(errkind.Throttled, "slow down")
	})
	if status, err := post(s.URL, structured); status != 429 || err != nil {
		t.Fatalf("answer %d, %v", status, err)
	}
	r, err := http.Get("http://" + telemetry.MetricsAddr.String() + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), `bucketmesh_event_duration_seconds_count{`) || !strings.Contains(string(text), `outcome="throttled"`) {
		t.Errorf("metrics:\n%s", text)
	}
}

func TestTelemetryRefusals(t *testing.T) {
	for _, addr := range []string{"127.0.0.1:9090", "127.0.0.1:9091", "x"} {
		if _, err := serve.NewTelemetry(t.Context(), serve.TelemetryConfig{MetricsAddr: addr}); !errkind.Is(err, errkind.Invalid) {
			t.Errorf("%s: %v, want invalid", addr, err)
		}
	}
	t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
	if _, err := serve.NewTelemetry(t.Context(), serve.TelemetryConfig{OTLP: true}); !errkind.Is(err, errkind.Invalid) {
		t.Errorf("grpc: %v, want invalid", err)
	}
}
