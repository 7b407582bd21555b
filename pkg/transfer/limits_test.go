package transfer_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
	"github.com/bucketmesh/bucketmesh/pkg/transfer"
)

func TestPartsAreTriedAgain(t *testing.T) {
	for _, tc := range []struct {
		name     string
		failures int
		kind     errkind.Kind
		attempts int
		result   string
	}{
		{"works the second time", 1, errkind.Unavailable, 2, "ok, sent"},
		{"works the last time", 2, errkind.Throttled, 3, "ok, sent"},
		{"never works", 100, errkind.Throttled, 3, "throttled"},
		{"can't work", 100, errkind.PermissionDenied, 1, "permission denied"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, want := newFleet(1), data(30*kib)
				failures := tc.failures
				f.spies[0].before = func(_ context.Context, op string) error {
					if op == "part 2" && failures > 0 {
						failures--
						return errkind.New(tc.kind, "injected")
					}
					return nil
				}
				c := newCopier(t, transfer.Config{PartSize: 8 * kib, Parallel: 1, Attempts: 3, RetryDelay: 10 * time.Second})
				start := time.Now()
				_, results, err := c.Fan(t.Context(), bytes.NewReader(want), 30*kib, f.dests)
				if err != nil {
					t.Fatal(err)
				}
				wantKinds(t, results, tc.result)
				if n := f.log.count("a part 2"); n != tc.attempts {
					t.Errorf("%d attempts, want %d", n, tc.attempts)
				}
				// The bubble's clock: at least half the delay before each further attempt.
				if pause := time.Since(start); pause < time.Duration(tc.attempts-1)*5*time.Second {
					t.Errorf("%d attempts within %v", tc.attempts, pause)
				}
				f.clean(t, c)
			})
		})
	}
}

func TestAbortIsTriedAgainAndItsFailureTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(1)
		f.spies[0].before = func(_ context.Context, op string) error {
			switch op {
			case "complete":
				return errkind.New(errkind.PreconditionFailed, "somebody was faster")
			case "abort":
				return errkind.New(errkind.Unavailable, "abort does not answer")
			}
			return nil
		}
		c := newCopier(t, transfer.Config{PartSize: 8 * kib, Attempts: 3})
		_, results, err := c.Fan(t.Context(), bytes.NewReader(data(9*kib)), 9*kib, f.dests)
		if err != nil {
			t.Fatal(err)
		}
		wantKinds(t, results, "precondition failed, sent")
		if n := f.log.count("a abort"); n != 3 {
			t.Errorf("%d aborts", n)
		}
		for _, part := range []string{"somebody was faster", "abort does not answer"} {
			if !strings.Contains(results[0].Err.Error(), part) {
				t.Errorf("%q does not tell %q", results[0].Err, part)
			}
		}
	})
}

// hang waits for the end of the context, as a request does that gets no answer.
func hang(op string) func(context.Context, string) error {
	return func(ctx context.Context, got string) error {
		if got == op {
			<-ctx.Done()
			return ctx.Err()
		}
		return nil
	}
}

func TestCancelIsPromptAndCleansUp(t *testing.T) {
	errLost := errkind.New(errkind.Canceled, "lost the lease")
	for _, tc := range []struct {
		op     string
		size   int64
		source bool // the copy ends because the source could not be read on
		result string
	}{
		{"put", 10, false, "canceled, sent"},
		{"begin", 100 * kib, true, "canceled"},
		{"part 1", 100 * kib, true, "canceled"},
		{"part 13", 100 * kib, false, "canceled"},
		{"complete", 100 * kib, false, "canceled, sent"},
	} {
		t.Run(tc.op, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFleet(2)
				for _, s := range f.spies {
					s.before = hang(tc.op)
				}
				ctx, cancel := context.WithCancelCause(t.Context())
				c := newCopier(t, transfer.Config{PartSize: 8 * kib, Parallel: 1})
				start := time.Now()
				done := make(chan error, 1)
				var results []transfer.Result
				go func() {
					var err error
					_, results, err = c.Fan(ctx, bytes.NewReader(data(tc.size)), tc.size, f.dests)
					done <- err
				}()
				synctest.Wait() // everything hangs
				cancel(errLost)
				err := <-done
				if tc.source != (err != nil) || err != nil && !errors.Is(err, errLost) {
					t.Errorf("error %v", err)
				}
				wantKinds(t, results, tc.result, tc.result)
				if pause := time.Since(start); pause != 0 {
					t.Errorf("it took %v", pause)
				}
				f.clean(t, c)
				for _, s := range f.spies {
					holds(t, s, nil)
				}
			})
		})
	}
}

func TestCancelWhileWaitingForMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const part = 8 * kib
		c := newCopier(t, transfer.Config{PartSize: part, Memory: part})
		holder := newFleet(1)
		holder.spies[0].before = hang("put")
		holding, release := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			_, _, _ = c.Fan(holding, bytes.NewReader(data(part)), part, holder.dests) // it ends by release
		})
		synctest.Wait()
		if c.Buffered() != part {
			t.Fatalf("%d bytes are in use", c.Buffered())
		}
		for _, size := range []int64{part, 5 * part} {
			ctx, cancel := context.WithCancel(t.Context())
			f := newFleet(1)
			var err error
			var waiting sync.WaitGroup
			waiting.Go(func() { _, _, err = c.Fan(ctx, bytes.NewReader(data(size)), size, f.dests) })
			synctest.Wait()
			cancel()
			waiting.Wait()
			if !errkind.Is(err, errkind.Canceled) {
				t.Errorf("%d bytes: %v", size, err)
			}
			f.silent(t)
		}
		release()
		wg.Wait()
		holder.clean(t, c)
	})
}

// Many copies of all sizes at once: newCopier checks the bound at every change, here it must also have been reached.
func TestMemoryIsBoundedOverAllCopies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const part, memory = 16 * kib, 50 * kib
		c := newCopier(t, transfer.Config{PartSize: part, Parallel: 4, Memory: memory})
		var mu sync.Mutex
		var most, mostKept int64
		c.Observe(func(held, total int64) {
			mu.Lock()
			defer mu.Unlock()
			most, mostKept = max(most, held), max(mostKept, total)
		})
		var wg sync.WaitGroup
		for i := range 40 {
			size := []int64{0, 1, 4 * kib, 5 * kib, 9 * kib, part, 3 * part, 10*part + 1}[i%8]
			wg.Go(func() {
				f, want := newFleet(3), data(size)
				for _, s := range f.spies {
					s.before = func(context.Context, string) error {
						<-time.After(time.Duration(i+1) * time.Millisecond) // the bubble's clock: requests overlap
						return nil
					}
				}
				_, results, err := c.Fan(t.Context(), bytes.NewReader(want), size, f.dests)
				if err != nil {
					t.Error(err)
				}
				wantKinds(t, results, "ok, sent", "ok, sent", "ok, sent")
				for _, s := range f.spies {
					holds(t, s, want)
				}
			})
		}
		wg.Wait()
		if most > memory || mostKept > memory {
			t.Errorf("%d bytes in use, %d allocated, %d allowed", most, mostKept, memory)
		}
		if most < 3*part {
			t.Errorf("only %d bytes were ever in use: the copies did not overlap", most)
		}
		if c.Buffered() != 0 {
			t.Errorf("%d bytes are still in use", c.Buffered())
		}
	})
}

func TestSeveralPartsAreInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const part = 8 * kib
		f := newFleet(2)
		for _, s := range f.spies {
			s.before = func(ctx context.Context, op string) error {
				if strings.HasPrefix(op, "part") {
					<-ctx.Done()
					return ctx.Err()
				}
				return nil
			}
		}
		c := newCopier(t, transfer.Config{PartSize: part, Parallel: 3})
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, _, err := c.Fan(ctx, bytes.NewReader(data(10*part)), 10*part, f.dests); !errkind.Is(err, errkind.Canceled) {
				t.Error(err)
			}
		})
		synctest.Wait()
		for _, s := range []string{"a", "b"} {
			if n := f.log.count(s + " part"); n != 3 {
				t.Errorf("%s: %d parts in flight, want 3", s, n)
			}
		}
		if n := c.Buffered(); n != 3*part {
			t.Errorf("%d bytes are in use for 3 parts of %d bytes: a part has one buffer for all destinations", n, part)
		}
		cancel()
		wg.Wait()
		f.clean(t, c)
	})
}

// The clock is the bubble's: the limit holds over all copies together, to the byte.
func TestBandwidthIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCopier(t, transfer.Config{PartSize: mib, Bandwidth: mib})
		start := time.Now()
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				f := newFleet(2)
				if _, _, err := c.Fan(t.Context(), bytes.NewReader(data(2*mib)), 2*mib, f.dests); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		// 8 MiB at 1 MiB/s; the first quarter of a second is the burst.
		if d := time.Since(start).Round(time.Millisecond); d != 7750*time.Millisecond {
			t.Errorf("it took %v", d)
		}
	})
}

func TestBandwidthThatMissesTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCopier(t, transfer.Config{PartSize: mib, Bandwidth: kib})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		f := newFleet(1)
		_, _, err := c.Fan(ctx, bytes.NewReader(data(2*mib)), 2*mib, f.dests)
		if !errkind.Is(err, errkind.Unavailable) {
			t.Error(err)
		}
		f.silent(t)
		f.clean(t, c)
	})
}

// keeper is a driver whose transport holds on to a request body, as net/http may after a cancelled request.
type keeper struct {
	*spy
	mu   sync.Mutex
	kept []io.ReadSeeker
}

func (k *keeper) Put(ctx context.Context, key string, body io.ReadSeeker, opts *driver.PutOptions) (*driver.Attrs, error) {
	k.keep(body)
	return k.spy.Put(ctx, key, body, opts)
}

func (k *keeper) PutPart(ctx context.Context, key, id string, n int, body io.ReadSeeker, size int64) (driver.Part, error) {
	k.keep(body)
	return k.spy.PutPart(ctx, key, id, n, body, size)
}

func (k *keeper) keep(body io.ReadSeeker) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.kept = append(k.kept, body)
}

func TestBodiesCantBeReadAfterTheRequest(t *testing.T) {
	for _, size := range []int64{10, 20 * kib} {
		f := newFleet(1)
		k := &keeper{spy: f.spies[0]}
		f.dests[0].Bucket = k
		c := newCopier(t, transfer.Config{PartSize: 8 * kib})
		if _, _, err := c.Fan(t.Context(), bytes.NewReader(data(size)), size, f.dests); err != nil {
			t.Fatal(err)
		}
		if len(k.kept) == 0 {
			t.Fatal("no body was seen")
		}
		for _, body := range k.kept {
			if _, err := body.Seek(0, io.SeekStart); err == nil {
				t.Error("a body can be rewound after its request")
			}
			if n, err := body.Read(make([]byte, 1)); n != 0 || err == nil || errors.Is(err, io.EOF) {
				t.Errorf("a body can be read after its request: %d, %v", n, err)
			}
			if l, ok := body.(interface{ Len() int }); !ok || l.Len() != 0 {
				t.Errorf("a body of %d bytes after its request", l.Len())
			}
		}
	}
}

func TestBuffersAreUsedAgain(t *testing.T) {
	c := newCopier(t, transfer.Config{PartSize: 8 * kib, Memory: 24 * kib})
	var seen []string
	c.Observe(func(held, total int64) { seen = append(seen, fmt.Sprintf("%d/%d", held/kib, total/kib)) })
	for _, size := range []int64{kib, 4 * kib, 8 * kib, 5 * kib, 1} {
		f := newFleet(1)
		if _, _, err := c.Fan(t.Context(), bytes.NewReader(data(size)), size, f.dests); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{"4/4", "0/4", "4/4", "0/4", "8/12", "0/12", "8/12", "0/12", "4/12", "0/12"}
	if !slices.Equal(seen, want) {
		t.Errorf("in use/allocated %q, want %q", seen, want)
	}
}

// A part that arrives after the abort of its upload stays at the provider, and is paid for.
func TestAbortDoesNotOvertakeAPart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(1)
		sent, arrive := make(chan struct{}), make(chan struct{})
		f.spies[0].before = func(_ context.Context, op string) error {
			switch op {
			case "part 1":
				close(sent)
				<-arrive // a request that does not notice that it was cancelled
			case "part 2":
				<-sent
				return errkind.New(errkind.PermissionDenied, "injected")
			}
			return nil
		}
		c := newCopier(t, transfer.Config{PartSize: 8 * kib, Parallel: 2})
		var wg sync.WaitGroup
		wg.Go(func() {
			_, results, err := c.Fan(t.Context(), bytes.NewReader(data(20*kib)), 20*kib, f.dests)
			if err != nil {
				t.Error(err)
			}
			wantKinds(t, results, "permission denied")
		})
		synctest.Wait()
		if f.log.count("a part") != 2 || f.log.count("a abort") != 0 {
			t.Errorf("journal %q with a part in flight", f.log.lines)
		}
		close(arrive)
		wg.Wait()
		if n := f.log.count("a abort"); n != 1 {
			t.Errorf("%d aborts", n)
		}
		f.clean(t, c)
	})
}
