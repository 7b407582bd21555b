package broker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/nats-io/nats-server/v2/server"
	"go.opentelemetry.io/otel/trace"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
)

func TestEveryTriggerGetsEveryEventOnceAndTheStoreEmpties(t *testing.T) {
	b := open(t, Config{})
	var one, two recorder
	subscribe(t, b, Trigger{Name: "one"}, one.Handle)
	subscribe(t, b, Trigger{Name: "two", Filters: []Filter{{Exact: map[string]string{"type": "x.odd"}}}}, two.Handle)
	const n = 1000 // several windows
	events := make([]event.Event, n)
	for i := range events {
		events[i] = newEvent(fmt.Sprint(i), map[bool]string{true: "x.odd", false: "x.even"}[i%2 == 1])
	}
	publish(t, b, events...)
	eventually(t, "all are handled and gone", func() bool {
		s, err := b.Status(t.Context())
		return err == nil && s.Events == 0 && one.distinct() == n && two.distinct() == n/2
	})
	for i := range n {
		if got := one.count(fmt.Sprint(i)); got != 1 {
			t.Errorf("event %d was handled %d times", i, got)
		}
	}
}

func TestEventArrivesAsItWasPublished(t *testing.T) {
	b := open(t, Config{})
	got := make(chan event.Event, 1)
	subscribe(t, b, Trigger{Name: "one"}, func(_ context.Context, e event.Event) error {
		got <- e
		return nil
	})
	want := newEvent("id with space\nand a newline", "any type > * é.", func(e *event.Event) {
		e.SetSubject("a%20b/%E6%97%A5")
		e.SetTime(time.Date(2026, 1, 2, 3, 4, 5, 678901234, time.UTC))
		e.SetExtension("objversion", "9007199254740993")
		e.SetDataSchema("https://bucketmesh.dev/schemas/object/v1")
	})
	publish(t, b, want)
	if e := receive(t, got, "delivery"); e.String() != want.String() {
		t.Errorf("got\n%s\nwant\n%s", e, want)
	}
}

func TestSameSourceAndIDIsKeptOnce(t *testing.T) {
	b := open(t, Config{})
	if err := b.Declare(t.Context(), Trigger{Name: "one"}); err != nil {
		t.Fatal(err)
	}
	other := newEvent("1", "x", func(e *event.Event) { e.SetSource("https://s3.example/other") })
	publish(t, b, newEvent("1", "x"))
	publish(t, b, newEvent("1", "x"), other, newEvent("2", "x"))
	s, err := b.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if s.Events != 3 {
		t.Errorf("%d events are in the store, want 3", s.Events)
	}
}

func TestPublishNeedsATrigger(t *testing.T) {
	b := open(t, Config{})
	err := b.Publish(t.Context(), newEvent("1", "x"))
	if !errkind.Is(err, errkind.Unavailable) {
		t.Errorf("an event that nobody keeps was taken: %v", err)
	}
}

func TestPublishRefusesWhatIsNoEvent(t *testing.T) {
	b := open(t, Config{})
	var got recorder
	subscribe(t, b, Trigger{Name: "one"}, got.Handle)
	bad := newEvent("", "x")
	if err := b.Publish(t.Context(), newEvent("1", "x"), bad); !errkind.Is(err, errkind.Invalid) {
		t.Errorf("error %v, want invalid", err)
	}
	huge := newEvent("3", "x", func(e *event.Event) { _ = e.SetData(event.TextPlain, strings.Repeat("x", maxPayload)) })
	if err := b.Publish(t.Context(), huge); !errkind.Is(err, errkind.Invalid) {
		t.Errorf("error %v, want invalid", err)
	}
	publish(t, b, newEvent("2", "x"))
	eventually(t, "the good one", func() bool { return got.count("2") == 1 })
	if got.count("1") != 0 {
		t.Error("an event beside an invalid one was published")
	}
}

func TestFullStoreRefusesAndKeepsWhatItHas(t *testing.T) {
	b := open(t, Config{MaxBytes: 64 << 10})
	if err := b.Declare(t.Context(), Trigger{Name: "one"}); err != nil {
		t.Fatal(err)
	}
	large := func(id string) event.Event {
		return newEvent(id, "x", func(e *event.Event) { _ = e.SetData(event.TextPlain, strings.Repeat("x", 8<<10)) })
	}
	var acked []string
	var err error
	for i := 0; err == nil; i++ {
		if i > 100 {
			t.Fatal("the store never got full")
		}
		if err = b.Publish(t.Context(), large(fmt.Sprint(i))); err == nil {
			acked = append(acked, fmt.Sprint(i))
		}
	}
	if !errkind.Is(err, errkind.Unavailable) {
		t.Errorf("error %v, want unavailable", err)
	}
	refused := fmt.Sprint(len(acked))
	var got recorder
	subscribe(t, b, Trigger{Name: "one"}, got.Handle)
	for _, id := range acked {
		eventually(t, "event "+id, func() bool { return got.count(id) == 1 })
	}
	if got.count(refused) != 0 {
		t.Error("the refused event is there")
	}
	// The id of a refused event must not be remembered: the sender's retry is not a duplicate.
	eventually(t, "room", func() bool { return b.Publish(t.Context(), large(refused)) == nil })
	eventually(t, "the retried event", func() bool { return got.count(refused) == 1 })
}

func TestDirectoryIsUsedByOneBrokerOnly(t *testing.T) {
	dir := t.TempDir()
	b := open(t, Config{Dir: dir})
	if second, err := Open(t.Context(), Config{Dir: dir}); err == nil {
		closeNow(t, second)
		t.Fatal("two brokers share a directory")
	}
	closeNow(t, b)
	open(t, Config{Dir: dir})
}

func TestEmbeddedServerListensOnNoPort(t *testing.T) {
	b := open(t, Config{})
	if a := b.server.Addr(); a != nil {
		t.Errorf("the embedded server listens on %v", a)
	}
}

func TestOutsideServer(t *testing.T) {
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoSigs: true})
	if err != nil {
		t.Fatal(err)
	}
	go s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(patience) {
		t.Fatal("outside server is not ready")
	}
	b := open(t, Config{URL: s.ClientURL()})
	publisher := open(t, Config{URL: s.ClientURL()})
	var got recorder
	subscribe(t, b, Trigger{Name: "one"}, got.Handle)
	publish(t, publisher, newEvent("1", "x"))
	eventually(t, "delivery", func() bool { return got.count("1") == 1 })

	// A broker of another name on the same server has events of its own.
	apart := open(t, Config{URL: s.ClientURL(), Name: "apart"})
	var other recorder
	subscribe(t, apart, Trigger{Name: "one"}, other.Handle)
	publish(t, apart, newEvent("2", "x"))
	publish(t, publisher, newEvent("3", "x"))
	eventually(t, "delivery", func() bool { return got.count("3") == 1 && other.count("2") == 1 })
	if got.count("2") != 0 || other.count("3") != 0 {
		t.Error("the brokers share events")
	}
}

func TestOpenKeepsThePasswordOfTheURLToItself(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close() // nobody listens there now
	url := "nats://user:hush@" + l.Addr().String()
	b, err := Open(t.Context(), Config{URL: url})
	if err == nil {
		closeNow(t, b)
		t.Fatal("connected to nobody")
	}
	if strings.Contains(err.Error(), "hush") {
		t.Errorf("the password is in the error: %v", err)
	}
}

func TestOpenNeedsOnePlace(t *testing.T) {
	for _, cfg := range []Config{{}, {Dir: "x", URL: "y"}, {Dir: "x", MaxBytes: -1}, {Dir: "x", Name: "a.b"}} {
		if _, err := Open(t.Context(), cfg); !errkind.Is(err, errkind.Invalid) {
			t.Errorf("%+v: error %v, want invalid", cfg, err)
		}
	}
}

func TestCloseWaitsForHandlers(t *testing.T) {
	dir := t.TempDir()
	b := open(t, Config{Dir: dir})
	started, release := make(chan struct{}), make(chan struct{})
	subscribe(t, b, Trigger{Name: "one"}, func(ctx context.Context, _ event.Event) error {
		close(started)
		<-release
		return ctx.Err()
	})
	publish(t, b, newEvent("1", "x"))
	receive(t, started, "the handler starts")
	closed := make(chan error, 1)
	go func() { closed <- b.Close(t.Context()) }()
	receive(t, b.fetching.Done(), "fetching ends")
	close(release)
	if err := receive(t, closed, "close returns"); err != nil {
		t.Errorf("close: %v", err)
	}
	if err := b.Publish(t.Context(), newEvent("2", "x")); !errkind.Is(err, errkind.Unavailable) {
		t.Errorf("publish after close: %v, want unavailable", err)
	}
}

func TestCloseCancelsHandlersAndTheirEventsComeBack(t *testing.T) {
	cfg := Config{Dir: t.TempDir(), AckWait: 300 * time.Millisecond} // which the restarted server waits for
	b := open(t, cfg)
	started := make(chan struct{})
	tr := Trigger{Name: "one", Retry: -1} // the interruption must not count as a failed try
	subscribe(t, b, tr, func(ctx context.Context, _ event.Event) error {
		close(started)
		<-ctx.Done()
		return errors.New("stopped half-way")
	})
	publish(t, b, newEvent("1", "x"))
	receive(t, started, "the handler starts")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.Close(ctx); !errkind.Is(err, errkind.Canceled) {
		t.Errorf("close: %v, want canceled", err)
	}
	b = open(t, cfg)
	var got recorder
	subscribe(t, b, tr, got.Handle)
	eventually(t, "the interrupted event", func() bool { return got.count("1") == 1 })
	if l := letters(t, b); len(l) != 0 {
		t.Errorf("dead letters: %+v", l)
	}
}

func TestPruneRemovesWhatIsPendingForForgottenTriggers(t *testing.T) {
	b := open(t, Config{})
	if err := b.Declare(t.Context(), Trigger{Name: "kept"}, Trigger{Name: "gone"}); err != nil {
		t.Fatal(err)
	}
	var got recorder
	subscribe(t, b, Trigger{Name: "kept"}, got.Handle)
	publish(t, b, newEvent("1", "x"))
	eventually(t, "delivery", func() bool { return got.count("1") == 1 })
	if err := b.Prune(t.Context(), "kept"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the store is empty", func() bool {
		s, err := b.Status(t.Context())
		return err == nil && s.Events == 0 && len(s.Triggers) == 1
	})
}

func TestSubscribeRefusals(t *testing.T) {
	b := open(t, Config{})
	h := HandlerFunc(func(context.Context, event.Event) error { return nil })
	subscribe(t, b, Trigger{Name: "taken"}, h)
	for name, tr := range map[string]Trigger{
		"taken":       {Name: "taken"},
		"bad name":    {Name: "a.b"},
		"no name":     {},
		"bad policy":  {Name: "a", BackoffPolicy: "random"},
		"negative":    {Name: "a", Timeout: -1},
		"concurrency": {Name: "a", Concurrency: maxConcurrency + 1},
		"filter":      {Name: "a", Filters: []Filter{{CESQL: "((("}}},
	} {
		if err := b.Subscribe(t.Context(), tr, h); !errkind.Is(err, errkind.Invalid) {
			t.Errorf("%s: error %v, want invalid", name, err)
		}
	}
}

func TestTraceContextTravels(t *testing.T) {
	b := open(t, Config{})
	got := make(chan trace.SpanContext, 1)
	subscribe(t, b, Trigger{Name: "one"}, func(ctx context.Context, _ event.Event) error {
		got <- trace.SpanContextFromContext(ctx)
		return nil
	})
	want := trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: trace.TraceID{1, 2, 3}, SpanID: trace.SpanID{4, 5, 6}, TraceFlags: trace.FlagsSampled,
	})
	e := newEvent("1", "x")
	if err := b.Publish(trace.ContextWithSpanContext(t.Context(), want), e); err != nil {
		t.Fatal(err)
	}
	if sc := receive(t, got, "delivery"); sc.TraceID() != want.TraceID() || sc.SpanID() != want.SpanID() || !sc.IsRemote() {
		t.Errorf("handler's parent is %+v, want %+v", sc, want)
	}
	if len(e.Extensions()) != 0 {
		t.Errorf("the caller's event was changed: %v", e.Extensions())
	}
}

// BenchmarkPublishToHandler measures one event from Publish to the start of its handler, on the file store, and the
// return of Publish.
func BenchmarkPublishToHandler(b *testing.B) {
	br, err := Open(b.Context(), Config{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer func() {
		if err := br.Close(b.Context()); err != nil {
			b.Fatal(err)
		}
	}()
	var handled atomic.Int64
	arrived := make(chan time.Time, 1)
	if err := br.Subscribe(b.Context(), Trigger{Name: "one"}, HandlerFunc(func(context.Context, event.Event) error {
		handled.Add(1)
		arrived <- time.Now()
		return nil
	})); err != nil {
		b.Fatal(err)
	}
	data := strings.Repeat("x", 1<<10)
	latency := make([]time.Duration, 0, b.N)
	for i := 0; b.Loop(); i++ {
		e := newEvent(fmt.Sprint(i), "x", func(e *event.Event) { _ = e.SetData(event.TextPlain, data) })
		begin := time.Now()
		if err := br.Publish(b.Context(), e); err != nil {
			b.Fatal(err)
		}
		latency = append(latency, (<-arrived).Sub(begin))
	}
	report(b, latency)
}

// BenchmarkThroughput publishes in batches while four triggers handle everything.
func BenchmarkThroughput(b *testing.B) {
	br, err := Open(b.Context(), Config{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer func() {
		if err := br.Close(b.Context()); err != nil {
			b.Fatal(err)
		}
	}()
	const triggers, batch = 4, 100
	var handled atomic.Int64
	for i := range triggers {
		if err := br.Subscribe(b.Context(), Trigger{Name: fmt.Sprint("t", i)}, HandlerFunc(func(context.Context, event.Event) error {
			handled.Add(1)
			return nil
		})); err != nil {
			b.Fatal(err)
		}
	}
	published := 0
	for b.Loop() {
		events := make([]event.Event, batch)
		for i := range events {
			events[i] = newEvent(fmt.Sprint(published+i), "x")
		}
		if err := br.Publish(b.Context(), events...); err != nil {
			b.Fatal(err)
		}
		published += batch
	}
	for handled.Load() < int64(published*triggers) {
		runtime.Gosched()
	}
	b.ReportMetric(float64(published)/b.Elapsed().Seconds(), "events/s")
}
