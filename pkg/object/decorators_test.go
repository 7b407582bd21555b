package object_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/object"
	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
	"github.com/bucketmesh/bucketmesh/pkg/object/mem"
)

func put(ctx context.Context, b driver.Bucket, key, content string, cond driver.Precondition) error {
	_, err := b.Put(ctx, key, strings.NewReader(content), &driver.PutOptions{Size: int64(len(content)), If: cond})
	return err
}

// failing fails the first n calls of op with a kind.
func failing(d driver.Bucket, op object.Op, n int, k errkind.Kind) driver.Bucket {
	return object.Fault(d, object.Faults{Before: func(o object.Op, _ string) error {
		if o == op && n > 0 {
			n--
			return errkind.New(k, "failure %d", n)
		}
		return nil
	}})
}

func TestRetry(t *testing.T) {
	for name, c := range map[string]struct {
		fails    int
		kind     errkind.Kind
		cond     driver.Precondition
		attempts int64
		want     errkind.Kind
		ok       bool
	}{
		"heals":                       {fails: 2, kind: errkind.Unavailable, attempts: 3, ok: true},
		"throttled":                   {fails: 1, kind: errkind.Throttled, attempts: 2, ok: true},
		"gives up":                    {fails: 99, kind: errkind.Unavailable, attempts: 4, want: errkind.Unavailable},
		"no retry of a denial":        {fails: 1, kind: errkind.PermissionDenied, attempts: 1, want: errkind.PermissionDenied},
		"no retry of invalid input":   {fails: 1, kind: errkind.Invalid, attempts: 1, want: errkind.Invalid},
		"no retry of a cancelled one": {fails: 1, kind: errkind.Canceled, attempts: 1, want: errkind.Canceled},
		"never with If-None-Match":    {fails: 1, kind: errkind.Unavailable, cond: driver.Precondition{NotExist: true}, attempts: 1, want: errkind.Unavailable},
		"never with If-Match":         {fails: 1, kind: errkind.Throttled, cond: driver.Precondition{Match: "tag"}, attempts: 1, want: errkind.Throttled},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var counter object.Counter
				m := mem.New(mem.Config{})
				d := object.Retry(object.Count(failing(m, object.OpPut, c.fails, c.kind), &counter), object.RetryOptions{})
				err := put(t.Context(), d, "k", "content", c.cond)
				if (err == nil) != c.ok || !c.ok && !errkind.Is(err, c.want) {
					t.Errorf("got %v (kind %s), want success %v or kind %s", err, errkind.Of(err), c.ok, c.want)
				}
				if n := counter.Snapshot().Put; n != c.attempts {
					t.Errorf("%d attempts, want %d", n, c.attempts)
				}
				if c.ok { // the body was sent from its start each time
					if a, err := m.Stat(t.Context(), "k", ""); err != nil || a.Size != int64(len("content")) {
						t.Errorf("stored %+v, %v", a, err)
					}
				}
			})
		})
	}
}

// TestRetryNeverRepeatsAGuardedRequest: each request that carries a condition or finishes an upload is sent once,
// even if its answer got lost after a success.
func TestRetryNeverRepeatsAGuardedRequest(t *testing.T) {
	ctx := t.Context()
	m := mem.New(mem.Config{})
	if err := put(ctx, m, "k", "x", driver.Precondition{}); err != nil {
		t.Fatal(err)
	}
	a, err := m.Stat(ctx, "k", "")
	if err != nil {
		t.Fatal(err)
	}
	id, err := m.Begin(ctx, "u", nil)
	if err != nil {
		t.Fatal(err)
	}
	part, err := m.PutPart(ctx, "u", id, 1, strings.NewReader("x"), 1)
	if err != nil {
		t.Fatal(err)
	}
	var counter object.Counter
	lost := object.Fault(object.Count(m, &counter), object.Faults{After: func(object.Op, string) error {
		return errkind.New(errkind.Unavailable, "the answer got lost")
	}})
	d := object.Retry(lost, object.RetryOptions{Initial: time.Nanosecond})
	for name, call := range map[string]func() error{
		"delete": func() error {
			_, err := d.Delete(ctx, "k", &driver.DeleteOptions{If: driver.Precondition{Match: a.Tag}})
			return err
		},
		"create": func() error { return put(ctx, d, "new", "x", driver.Precondition{NotExist: true}) },
		"complete without a condition": func() error {
			_, err := d.(driver.Multiparter).Complete(ctx, "u", id, []driver.Part{part}, &driver.PutOptions{Size: 1})
			return err
		},
	} {
		before := counter.Snapshot().Total()
		if err := call(); !errkind.Is(err, errkind.Unavailable) {
			t.Errorf("%s: got %v, want unavailable", name, err)
		}
		if n := counter.Snapshot().Total() - before; n != 1 {
			t.Errorf("%s was sent %d times", name, n)
		}
	}
}

// GCS takes one write a second to a name, and says so: three quick tries would all be in vain.
func TestRetryWaitsAsLongAsTheProviderAsks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		left := 3
		d := object.Retry(object.Fault(mem.New(mem.Config{}), object.Faults{Before: func(object.Op, string) error {
			if left--; left >= 0 {
				return errkind.After(time.Second, errkind.New(errkind.Throttled, "one write a second"))
			}
			return nil
		}}), object.RetryOptions{})
		if err := put(t.Context(), d, "k", "content", driver.Precondition{}); err != nil {
			t.Errorf("put: %v", err)
		}
		if took := time.Since(start); took < 3*time.Second || took > 5*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

func TestRetryIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var pauses []time.Duration
		d := object.Retry(failing(mem.New(mem.Config{}), object.OpStat, 1000, errkind.Throttled), object.RetryOptions{
			Attempts: 1000, Initial: time.Second, Max: 2 * time.Second, MaxElapsed: 10 * time.Second,
			OnRetry: func(op object.Op, key string, err error, pause time.Duration) {
				if op != object.OpStat || key != "k" || !errkind.Is(err, errkind.Throttled) {
					t.Errorf("told of %s %q %v", op, key, err)
				}
				pauses = append(pauses, pause)
			},
		})
		start := time.Now()
		if _, err := d.Stat(t.Context(), "k", ""); !errkind.Is(err, errkind.Throttled) {
			t.Errorf("got %v, want throttled", err)
		}
		if took := time.Since(start); took > 10*time.Second || len(pauses) < 3 {
			t.Errorf("%d pauses in %v", len(pauses), took)
		}
		for _, p := range pauses {
			if p > 3*time.Second { // the longest pause and its jitter
				t.Errorf("a pause of %v", p)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
		defer cancel()
		if _, err := d.Stat(ctx, "k", ""); !errkind.Is(err, errkind.Unavailable) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v (kind %s) at the caller's deadline", err, errkind.Of(err))
		}
	})
}

func TestLimitBandwidth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := object.Limit(mem.New(mem.Config{}), object.LimitOptions{BytesPerSecond: 1000})
		start := time.Now()
		if err := put(t.Context(), d, "k", strings.Repeat("x", 3000), driver.Precondition{}); err != nil {
			t.Fatal(err)
		}
		r, _, err := d.Open(t.Context(), "k", nil)
		if err != nil {
			t.Fatal(err)
		}
		if data, err := io.ReadAll(r); err != nil || len(data) != 3000 {
			t.Errorf("%d bytes, %v", len(data), err)
		}
		if took := time.Since(start); took < 5*time.Second || took > 7*time.Second { // of the bubble's own clock
			t.Errorf("6,000 bytes at 1,000 per second took %v", took)
		}
	})
}

func TestLimitRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := object.Limit(mem.New(mem.Config{}), object.LimitOptions{RequestsPerSecond: 10, Burst: 2})
		start := time.Now()
		for range 22 {
			_, _ = d.Stat(t.Context(), "k", "")
		}
		if took := time.Since(start); took != 2*time.Second {
			t.Errorf("22 requests at 10 per second took %v", took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if _, err := d.Stat(ctx, "k", ""); !errkind.Is(err, errkind.Throttled) {
			t.Errorf("a request that can't have its turn in time: %v", err)
		}
	})
}

// TestLimitConcurrent: at most so many calls at once.
func TestLimitConcurrent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var under atomic.Int32
		gate := make(chan struct{})
		d := object.Limit(object.Fault(mem.New(mem.Config{}), object.Faults{Before: func(object.Op, string) error {
			under.Add(1)
			<-gate
			return nil
		}}), object.LimitOptions{Concurrent: 3})
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() { _, _ = d.Stat(t.Context(), "k", "") })
		}
		synctest.Wait() // all that can run are at the gate
		if n := under.Load(); n != 3 {
			t.Errorf("%d calls at once, want 3", n)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := d.Stat(ctx, "k", ""); !errkind.Is(err, errkind.Unavailable) {
			t.Errorf("a call that gets no slot in time: %v", err)
		}
		close(gate)
		wg.Wait()
		if n := under.Load(); n != 10 {
			t.Errorf("%d calls in all, want 10", n)
		}
	})
}

// TestOpenBodyHoldsNoSlot: or two copies in opposite directions would wait for each other for ever.
func TestOpenBodyHoldsNoSlot(t *testing.T) {
	d := object.Limit(mem.New(mem.Config{}), object.LimitOptions{Concurrent: 1})
	if err := put(t.Context(), d, "k", "x", driver.Precondition{}); err != nil {
		t.Fatal(err)
	}
	r, _, err := d.Open(t.Context(), "k", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := put(t.Context(), d, "l", "x", driver.Precondition{}); err != nil {
		t.Errorf("put while a body is open: %v", err)
	}
	_ = r.Close()
}

func TestCounter(t *testing.T) {
	ctx := t.Context()
	var c object.Counter
	d := object.Count(mem.New(mem.Config{Versioned: true}), &c)
	_ = put(ctx, d, "k", "x", driver.Precondition{})
	_, _ = d.Stat(ctx, "k", "")
	_, _ = d.Stat(ctx, "missing", "") // failures are requests too
	_, _, _ = d.Open(ctx, "k", nil)
	_, _ = d.List(ctx, nil)
	_, _ = d.(driver.Versioner).Versions(ctx, "k")
	_, _ = d.Delete(ctx, "k", nil)
	m := d.(driver.Multiparter)
	id, _ := m.Begin(ctx, "u", nil)
	p, _ := m.PutPart(ctx, "u", id, 1, strings.NewReader("x"), 1)
	_, _ = m.ListParts(ctx, "u", id)
	_, _ = m.Complete(ctx, "u", id, []driver.Part{p}, nil)
	_ = m.Abort(ctx, "u", id)
	want := object.Snapshot{Get: 1, Put: 4, Head: 2, List: 3, Delete: 2, Multipart: 5}
	if got := c.Snapshot(); got != want || got.Total() != 12 {
		t.Errorf("counted %+v, want %+v", got, want)
	}
	c.Request("SomethingNew")
	if got := c.Snapshot().Sub(want); got != (object.Snapshot{Other: 1}) {
		t.Errorf("difference %+v", got)
	}
	if got := want.Add(want); got.Put != 8 || got.Total() != 24 {
		t.Errorf("sum %+v", got)
	}
}

// TestFaultAfterSuccess: the answer is lost, the write isn't; an open body is closed.
func TestFaultAfterSuccess(t *testing.T) {
	m := mem.New(mem.Config{})
	boom := errors.New("boom")
	d := object.Fault(m, object.Faults{After: func(_ object.Op, key string) error {
		if key == "k" {
			return boom
		}
		return nil
	}})
	if err := put(t.Context(), d, "k", "x", driver.Precondition{}); !errors.Is(err, boom) {
		t.Errorf("got %v", err)
	}
	if _, err := m.Stat(t.Context(), "k", ""); err != nil {
		t.Errorf("the write is lost: %v", err)
	}
	if r, a, err := d.Open(t.Context(), "k", nil); r != nil || a != nil || !errors.Is(err, boom) {
		t.Errorf("open: %v %v %v", r, a, err)
	}
	if err := put(t.Context(), d, "other", "x", driver.Precondition{}); err != nil {
		t.Errorf("got %v", err)
	}
}

// TestChecked: a driver that refuses what can't work, through all its interfaces.
func TestChecked(t *testing.T) {
	d := object.Checked(mem.New(mem.Config{}))
	_, err := d.(driver.Versioner).Versions(t.Context(), "")
	_, err2 := d.(driver.Multiparter).Begin(t.Context(), "", nil)
	_, err3 := d.Stat(t.Context(), "", "")
	for _, err := range []error{err, err2, err3} {
		if !errkind.Is(err, errkind.Invalid) {
			t.Errorf("got %v, want invalid", err)
		}
	}
	caps := d.Capabilities()
	caps.DeleteGuard = driver.GuardNone
	if got := d.(object.Capable).WithCapabilities(caps).Capabilities(); got != caps {
		t.Errorf("capabilities %+v, want %+v", got, caps)
	}
}

func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []string
		slow := object.Fault(mem.New(mem.Config{}), object.Faults{Before: func(object.Op, string) error {
			<-time.After(time.Second)
			return nil
		}})
		d := object.Watch(slow, func(op object.Op, key string, took time.Duration, err error) {
			got = append(got, fmt.Sprint(op, " ", key, " ", took, " ", err == nil))
		})
		_ = put(t.Context(), d, "k", "x", driver.Precondition{})
		_, _ = d.Stat(t.Context(), "missing", "")
		if fmt.Sprint(got) != "[put k 1s true stat missing 1s false]" {
			t.Errorf("told %v", got)
		}
	})
}

func TestTrace(t *testing.T) {
	rec := tracetest.NewSpanRecorder()
	tp := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(rec))
	d := object.Trace(failing(mem.New(mem.Config{}), object.OpList, 1, errkind.Unavailable), tp.Tracer("test"), "eu")
	_, _ = d.Stat(t.Context(), "missing", "")
	_, _ = d.List(t.Context(), nil)
	_ = put(t.Context(), d, "k", "x", driver.Precondition{NotExist: true})
	var got []string
	for _, s := range rec.Ended() {
		kind := ""
		for _, a := range s.Attributes() {
			if a.Key == "bucketmesh.error.kind" {
				kind = a.Value.AsString()
			}
		}
		got = append(got, fmt.Sprintf("%s %s %v", s.Name(), kind, s.Status().Code == codes.Error))
	}
	want := "[bucket.stat not found false bucket.list unavailable true bucket.put  false]"
	if fmt.Sprint(got) != want {
		t.Errorf("spans %v, want %s", got, want)
	}
}

// bare is a driver without any optional interface.
type bare struct{ driver.Bucket }

// TestDecoratorsKeepOptionalInterfaces: a decorated driver can do what the driver can, and no more.
func TestDecoratorsKeepOptionalInterfaces(t *testing.T) {
	m := mem.New(mem.Config{})
	type withParts struct {
		driver.Bucket
		driver.Multiparter
	}
	type withVersions struct {
		driver.Bucket
		driver.Versioner
	}
	for _, d := range []driver.Bucket{m, bare{m}, withParts{m, m}, withVersions{m, m}} {
		_, parts := d.(driver.Multiparter)
		_, vers := d.(driver.Versioner)
		for name, decorated := range map[string]driver.Bucket{
			"prefix": object.WithPrefix(d, "p/"), "retry": object.Retry(d, object.RetryOptions{}),
			"limit": object.Limit(d, object.LimitOptions{}), "count": object.Count(d, &object.Counter{}),
			"fault": object.Fault(object.New(d), object.Faults{}), "checked": object.Checked(d),
			"watch": object.Watch(d, func(object.Op, string, time.Duration, error) {}),
		} {
			if _, ok := decorated.(driver.Multiparter); ok != parts {
				t.Errorf("%s of %T: multipart %v, want %v", name, d, ok, parts)
			}
			if _, ok := decorated.(driver.Versioner); ok != vers {
				t.Errorf("%s of %T: versions %v, want %v", name, d, ok, vers)
			}
			if _, ok := object.New(decorated).Multipart(); ok != parts {
				t.Errorf("%s of %T: portable multipart %v, want %v", name, d, ok, parts)
			}
			if _, ok := object.New(decorated).Versions(); ok != vers {
				t.Errorf("%s of %T: portable versions %v, want %v", name, d, ok, vers)
			}
		}
	}
}

// TestCapabilitiesThroughDecorators: what a probe found reaches the driver through any number of decorators.
func TestCapabilitiesThroughDecorators(t *testing.T) {
	m := mem.New(mem.Config{})
	d := object.WithPrefix(object.Retry(object.Count(m, &object.Counter{}), object.RetryOptions{}), "p/")
	caps := d.Capabilities()
	caps.PutNotExist = driver.GuardNone
	b := object.New(d).WithCapabilities(caps)
	if got := b.Capabilities(); got != caps {
		t.Errorf("capabilities %+v, want %+v", got, caps)
	}
	if err := put(t.Context(), b, "k", "x", driver.Precondition{NotExist: true}); !errkind.Is(err, errkind.Unsupported) {
		t.Errorf("got %v, want unsupported", err)
	}
}
