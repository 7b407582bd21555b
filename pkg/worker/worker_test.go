package worker_test

import (
	"context"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	cloudevents "github.com/cloudevents/sdk-go/v2/event"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/trace"

	"github.com/bucketmesh/bucketmesh/pkg/config"
	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/event"
	"github.com/bucketmesh/bucketmesh/pkg/ledger"
	"github.com/bucketmesh/bucketmesh/pkg/object"
	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
	objectmem "github.com/bucketmesh/bucketmesh/pkg/object/mem"
	"github.com/bucketmesh/bucketmesh/pkg/reconcile"
	"github.com/bucketmesh/bucketmesh/pkg/serve"
	"github.com/bucketmesh/bucketmesh/pkg/serve/cetrace"
	"github.com/bucketmesh/bucketmesh/pkg/state"
	"github.com/bucketmesh/bucketmesh/pkg/state/mem"
	"github.com/bucketmesh/bucketmesh/pkg/worker"
)

const document = `apiVersion: bucketmesh.dev/v1alpha1
kind: SyncGroup
metadata: {name: g}
spec:
  replicas:
  - {name: a, url: "mem://one"}
  - {name: b, url: "mem://two"}
`

// sink keeps what was published; it fails as often as it is told to.
type sink struct {
	mu     sync.Mutex
	events []cloudevents.Event
	fail   []error
	during func(cloudevents.Event) error // what subscribers do before an event is answered; nil is nothing
}

func (s *sink) Publish(_ context.Context, events ...cloudevents.Event) error {
	if s.during != nil {
		for _, e := range events {
			if err := s.during(e); err != nil {
				return err
			}
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.fail) > 0 {
		err := s.fail[0]
		s.fail = s.fail[1:]
		if err != nil {
			return err
		}
	}
	s.events = append(s.events, events...)
	return nil
}

func (s *sink) types() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var types []string
	for _, e := range s.events {
		types = append(types, e.Type())
	}
	return types
}

// bench is a worker over buckets in memory. fault decides what requests to a bucket fail with.
type bench struct {
	probeEvery time.Duration
	program    string
	leaveOut   bool

	*worker.Worker
	t       *testing.T
	store   *mem.Store
	sink    *sink
	buckets map[string]*objectmem.Bucket
	metrics *sdkmetric.ManualReader
	mu      sync.Mutex
	fault   func(bucket string, op object.Op) error
	trace   func(reconcile.Point)
}

func (b *bench) failWith(f func(bucket string, op object.Op) error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fault = f
}

// failAt has all requests to one bucket fail.
func (b *bench) failAt(bucket string, kind errkind.Kind) {
	b.failWith(func(at string, _ object.Op) error {
		if at == bucket {
			return errkind.New(kind, "not now")
		}
		return nil
	})
}

// swap puts another bucket in the place of one, for who opens it from now on.
func (b *bench) swap(bucket string, d *objectmem.Bucket) (old *objectmem.Bucket) {
	b.mu.Lock()
	defer b.mu.Unlock()
	old, b.buckets[bucket] = b.buckets[bucket], d
	return old
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{t: t, store: mem.New(time.Now), sink: &sink{}, buckets: map[string]*objectmem.Bucket{}, metrics: sdkmetric.NewManualReader()}
	for _, name := range []string{"one", "two"} {
		b.buckets[name] = objectmem.New(objectmem.Config{Versioned: true})
	}
	return b
}

func (b *bench) open() error {
	g, err := config.Load([]byte(document), config.Options{})
	if err != nil {
		b.t.Fatal(err)
	}
	telemetry := serve.NoTelemetry()
	telemetry.Meter = sdkmetric.NewMeterProvider(sdkmetric.WithReader(b.metrics))
	b.Worker, err = worker.Open(b.t.Context(), worker.Options{
		Group: g, Store: b.store, Sink: b.sink, Ledger: ledger.New(b.store.Ledger(), g.Name, b.before), Telemetry: telemetry, Trace: b.trace, ProbeEvery: b.probeEvery, Program: b.program, LeaveOut: b.leaveOut, Probe: object.ProbeOptions{Writers: 2, Rounds: 1},
		Openers: worker.Openers{"mem": func(_ context.Context, r config.Replica, a worker.Access) (driver.Bucket, error) {
			hook := func(op object.Op, _ string) error {
				a.OnRequest("HeadObject")
				b.mu.Lock()
				defer b.mu.Unlock()
				if b.fault == nil {
					return nil
				}
				return b.fault(r.Bucket, op)
			}
			b.mu.Lock()
			defer b.mu.Unlock()
			return object.Fault(b.buckets[r.Bucket], object.Faults{Before: hook}), nil
		}},
	})
	return err
}

// before: nothing is ever under way.
func (*bench) before(context.Context) (time.Time, error) { return time.Now(), nil }

func (b *bench) mustOpen() *bench {
	b.t.Helper()
	if err := b.open(); err != nil {
		b.t.Fatal(err)
	}
	return b
}

func (b *bench) put(bucket, key, content string) {
	b.t.Helper()
	if _, err := b.buckets[bucket].Put(b.t.Context(), key, strings.NewReader(content), &driver.PutOptions{Size: int64(len(content))}); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) get(bucket, key string) string {
	b.t.Helper()
	r, _, err := b.buckets[bucket].Open(b.t.Context(), key, nil)
	if errkind.Is(err, errkind.NotFound) {
		return ""
	}
	if err != nil {
		b.t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	content, err := io.ReadAll(r)
	if err != nil {
		b.t.Fatal(err)
	}
	return string(content)
}

// run has the worker run for the rest of a synctest bubble.
func (b *bench) run() (stop func()) {
	ctx, cancel := context.WithCancel(b.t.Context())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			b.t.Error(err)
		}
	}
}

// pass lets time go by, by the clock of a synctest bubble.
func pass(d time.Duration) { <-time.After(d) }

func down(string, object.Op) error { return errkind.New(errkind.Unavailable, "it is down") }

func TestEventsArePublishedRightAfterTheCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t).mustOpen()
		defer b.run()()
		synctest.Wait()
		begin := time.Now()
		b.put("one", "k", "1")
		if out, err := b.Engine().Reconcile(t.Context(), "k", nil, 0); err != nil || out != reconcile.Settled {
			t.Fatal(out, err)
		}
		synctest.Wait()
		if got := b.sink.types(); !slices.Equal(got, []string{event.SyncApplied}) {
			t.Errorf("published %q", got)
		}
		if waited := time.Since(begin); waited != 0 {
			t.Errorf("it took %v", waited)
		}
		if left, err := b.store.Outbox(t.Context(), 10); err != nil || len(left) != 0 {
			t.Errorf("the outbox holds %d, %v", len(left), err)
		}
	})
}

func TestOutboxOutlivesAnOutageOfTheBroker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t).mustOpen()
		unavailable := errkind.New(errkind.Unavailable, "no broker")
		b.sink.fail = []error{unavailable, unavailable, unavailable}
		defer b.run()()
		b.put("one", "k", "1")
		if _, err := b.Engine().Reconcile(t.Context(), "k", nil, 0); err != nil {
			t.Fatal(err)
		}
		pass(20 * time.Second)
		synctest.Wait()
		if got := b.sink.types(); !slices.Equal(got, []string{event.SyncApplied}) {
			t.Errorf("published %q", got)
		}
	})
}

// What a process of a service left to be done is done by the next one that lives, or by itself: nobody waits for a timer.
func TestAProcessThatLingersLooksAtWhatIsDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t).mustOpen()
		b.failAt("two", errkind.Unavailable)
		b.put("one", "k", "1")
		if out, err := b.Engine().Reconcile(t.Context(), "k", nil, 0); err != nil || out != reconcile.Pending {
			t.Fatal(out, err)
		}
		b.failWith(nil)
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- b.Linger(ctx, true) }()
		pass(time.Minute)
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if got := b.get("two", "k"); got != "1" {
			t.Errorf("two holds %q", got)
		}
		if got := b.sink.types(); !slices.Contains(got, event.SyncApplied) {
			t.Errorf("published %q", got)
		}
	})
}

// A broker may answer only after all subscribers have handled the event, and one of them may be this process, whose handler
// publishes what it committed. Nobody waits for anybody, and nothing is published twice at the same time.
func TestOutboxIsPublishedWithinItsPublication(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t).mustOpen()
		commit := func(key string) {
			e, err := worker.Announce(t.Context(), event.SyncApplied, event.Sync{Group: "g", Key: key, Version: "v"})
			if err != nil {
				t.Fatal(err)
			}
			row := state.Row{Group: "g", Key: key, Replicas: map[string]state.Replica{"a": {}}}
			if _, err := b.store.Commit(t.Context(), row, state.Effects{Events: []state.OutboxEvent{e}}); err != nil {
				t.Fatal(err)
			}
		}
		commit("outer")
		b.sink.during = func(e cloudevents.Event) error {
			if e.Subject() != "outer" {
				return nil
			}
			commit("inner")
			return b.Publish(t.Context())
		}
		if err := b.Publish(t.Context()); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, e := range b.sink.events {
			got = append(got, e.Subject())
		}
		if !slices.Equal(got, []string{"inner", "outer"}) {
			t.Errorf("published %q", got)
		}
		if left, err := b.store.Outbox(t.Context(), 10); err != nil || len(left) != 0 {
			t.Errorf("the outbox holds %d, %v", len(left), err)
		}
	})
}

// An event that the broker never takes must not hold up those behind it.
func TestOutboxDropsWhatCanNeverBePublished(t *testing.T) {
	b := newBench(t).mustOpen()
	good, err := worker.Announce(t.Context(), event.SyncApplied, event.Sync{Group: "g", Key: "good", Version: "v"})
	if err != nil {
		t.Fatal(err)
	}
	refused, err := worker.Announce(t.Context(), event.SyncApplied, event.Sync{Group: "g", Key: "refused", Version: "v"})
	if err != nil {
		t.Fatal(err)
	}
	row := state.Row{Group: "g", Key: "k", Replicas: map[string]state.Replica{"a": {}}}
	broken := state.OutboxEvent{ID: "broken", JSON: []byte(`{`)}
	if _, err := b.store.Commit(t.Context(), row, state.Effects{Events: []state.OutboxEvent{broken, refused, good}}); err != nil {
		t.Fatal(err)
	}
	invalid := errkind.New(errkind.Invalid, "refused")
	b.sink.fail = []error{invalid, nil, invalid, nil} // all three, broken (nothing of it is left), refused, good
	if err := b.Publish(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := len(b.sink.events); n != 1 || b.sink.events[0].Subject() != "good" {
		t.Errorf("published %v", b.sink.events)
	}
	if left, err := b.store.Outbox(t.Context(), 10); err != nil || len(left) != 0 {
		t.Errorf("the outbox holds %d, %v", len(left), err)
	}
}

// A key that a replica's outage left over is brought together when the replica is back; until then it costs a look now
// and then, and nothing while there is nothing to do.
func TestSweepFollowsAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t).mustOpen()
		defer b.run()()
		b.failWith(func(bucket string, _ object.Op) error {
			if bucket == "two" {
				return errkind.New(errkind.Unavailable, "it is down")
			}
			return nil
		})
		b.put("one", "k", "1")
		if out, err := b.Engine().Reconcile(t.Context(), "k", nil, 0); err != nil || out != reconcile.Pending {
			t.Fatal(out, err)
		}
		pass(10 * time.Minute)
		b.failWith(nil)
		pass(10 * time.Minute)
		synctest.Wait()
		if got := b.get("two", "k"); got != "1" {
			t.Errorf("the replica that is back has %q", got)
		}
		before := b.Requests()["a"].Total() + b.Requests()["b"].Total()
		pass(48 * time.Hour)
		if after := b.Requests()["a"].Total() + b.Requests()["b"].Total(); after != before {
			t.Errorf("two idle days cost %d requests", after-before)
		}
	})
}

func TestSweepOutlivesTroubleWithTheStore(t *testing.T) {
	b := newBench(t).mustOpen()
	b.put("one", "k", "1")
	if err := b.Store().MarkDirty(t.Context(), "g", []string{"k"}, time.Now(), "test"); err != nil {
		t.Fatal(err)
	}
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.Sweep(canceled); err == nil {
		t.Error("a sweep that was canceled says that it is complete")
	}
	if err := b.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := b.get("two", "k"); got != "1" {
		t.Errorf("%q", got)
	}
}

// Nothing is known of a replica that never answered; one that did is taken at its word.
func TestReplicaThatDoesNotAnswerAtStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.failWith(down)
		if err := b.open(); !errkind.Is(err, errkind.Unavailable) || !strings.Contains(err.Error(), "replica b") {
			t.Errorf("first start: %v", err)
		}
		b.failWith(nil)
		b.mustOpen()
		want := b.Replicas()[1].Report.Capabilities
		b.failWith(down)
		if err := b.open(); err != nil {
			t.Fatalf("second start: %v", err)
		}
		if got := b.Replicas()[1].Report.Capabilities; got != want {
			t.Errorf("capabilities %+v, were %+v", got, want)
		}
		if h := b.Replicas()[1].Health(); h.OK || !strings.Contains(h.Message, "down") {
			t.Errorf("health %+v", h)
		}
		b.failWith(func(string, object.Op) error { return errkind.New(errkind.PermissionDenied, "no") })
		if err := b.open(); !errkind.Is(err, errkind.PermissionDenied) {
			t.Errorf("a replica that refuses us: %v", err)
		}
	})
}

func TestBackfillOneAtATime(t *testing.T) {
	b := newBench(t).mustOpen()
	entered, leave := make(chan struct{}), make(chan struct{})
	b.failWith(func(_ string, op object.Op) error {
		if op == object.OpList {
			select {
			case entered <- struct{}{}:
			default:
			}
			<-leave
		}
		return nil
	})
	result := make(chan error, 1)
	go func() {
		_, err := b.Backfill(t.Context(), nil)
		result <- err
	}()
	<-entered
	if _, err := b.Backfill(t.Context(), nil); !errkind.Is(err, errkind.Conflict) {
		t.Errorf("a second backfill: %v", err)
	}
	close(leave)
	if err := <-result; err != nil {
		t.Error(err)
	}
}

func TestAnnounceRefusesWhatItDoesNotKnow(t *testing.T) {
	if _, err := worker.Announce(t.Context(), event.SyncApplied, "text"); !errkind.Is(err, errkind.Invalid) {
		t.Errorf("%v", err)
	}
	if _, err := worker.Announce(t.Context(), event.ConflictDetected, event.Sync{Group: "g"}); !errkind.Is(err, errkind.Invalid) {
		t.Errorf("%v", err)
	}
}

// Who publishes an event may be another process, after a crash: the trace must be in the outbox.
func TestAnOutboxEventHasTheTraceOfTheWorkThatItTellsOf(t *testing.T) {
	sc := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, TraceFlags: trace.FlagsSampled})
	o, err := worker.Announce(trace.ContextWithSpanContext(t.Context(), sc), event.SyncApplied, event.Sync{Group: "g", Key: "k", Version: "v"})
	if err != nil {
		t.Fatal(err)
	}
	e, err := event.Decode(o.JSON)
	if err != nil {
		t.Fatal(err)
	}
	if got := trace.SpanContextFromContext(cetrace.Extract(t.Context(), e)); got.TraceID() != sc.TraceID() || got.SpanID() != sc.SpanID() {
		t.Errorf("the event is in trace %v", got)
	}
}

func TestRequestsAreMetrics(t *testing.T) {
	b := newBench(t).mustOpen()
	want := map[string]int64{}
	for name, n := range b.Requests() {
		want[name] = n.Total()
	}
	var all metricdata.ResourceMetrics
	if err := b.metrics.Collect(t.Context(), &all); err != nil {
		t.Fatal(err)
	}
	got := map[string]int64{}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			sum, ok := m.Data.(metricdata.Sum[int64])
			if m.Name != "bucketmesh.bucket.requests" || !ok {
				continue
			}
			for _, p := range sum.DataPoints {
				replica, _ := p.Attributes.Value("replica")
				got[replica.AsString()] += p.Value
			}
		}
	}
	if len(want) != 2 || want["a"] == 0 || !maps.Equal(got, want) {
		t.Errorf("metrics say %v, the counters %v", got, want)
	}
}
