package worker_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/object"
	objectmem "github.com/bucketmesh/bucketmesh/pkg/object/mem"
	"github.com/bucketmesh/bucketmesh/pkg/serve"
)

// empty removes all that a bucket lists, our marker included, as a bucket that was removed and made again has it.
func (b *bench) empty(bucket string, keys ...string) {
	b.t.Helper()
	for _, key := range append(keys, object.IdentityKey) {
		if _, err := b.buckets[bucket].Delete(b.t.Context(), key, nil); err != nil {
			b.t.Fatal(err)
		}
	}
}

// TestTrapEmptyWrongOrRecreatedBucket: a bucket in the place of the one that was removes nothing elsewhere, neither while
// the worker runs nor at its next start. A user's delete in the right bucket still travels.
func TestTrapEmptyWrongOrRecreatedBucket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t).mustOpen()
		b.put("one", "k", "kept")
		b.put("one", "gone", "deleted by a user")
		if _, err := b.Backfill(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		if b.get("two", "k") != "kept" || b.get("two", "gone") == "" {
			t.Fatal("the backfill brought nothing to the second replica")
		}
		if _, err := b.buckets["two"].Delete(t.Context(), "gone", nil); err != nil {
			t.Fatal(err)
		}
		if _, err := b.Backfill(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		if b.get("one", "gone") != "" {
			t.Error("a user's delete did not travel")
		}

		b.empty("two", "k")
		for range 3 {
			_, _ = b.Backfill(t.Context(), nil) // it may well say that a replica was not compared
			pass(time.Hour)
			_ = b.Sweep(t.Context())
		}
		if b.get("one", "k") != "kept" {
			t.Fatal("an emptied bucket removed an object elsewhere while the worker ran")
		}

		b.swap("two", objectmem.New(objectmem.Config{Versioned: true}))
		if err := b.open(); !errkind.Is(err, errkind.Invalid) {
			t.Errorf("start on another bucket: %v (kind %s), want invalid", err, errkind.Of(err))
		}
		if b.get("one", "k") != "kept" {
			t.Fatal("another bucket removed an object elsewhere")
		}
	})
}

// TestTrapSwappedBucketLeavesTheOthersAtWork: a service starts with a replica that can't take part; nothing is written to it or
// taken from it, the others go on, and when it is mended it gets what it missed.
func TestTrapSwappedBucketLeavesTheOthersAtWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t).mustOpen()
		b.leaveOut = true
		b.put("one", "k", "kept")
		if _, err := b.Backfill(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		right := b.swap("two", objectmem.New(objectmem.Config{Versioned: true}))
		b.put("two", "stranger", "of another bucket")
		b.mustOpen()
		if h := b.Replicas()[1].Health(); h.OK || !strings.Contains(h.Message, object.IdentityKey) {
			t.Errorf("health of the swapped bucket: %+v", h)
		}
		b.put("one", "new", "1")
		for _, key := range []string{"new", "k", "stranger"} {
			if _, err := b.Engine().Reconcile(t.Context(), key, nil, 0); err != nil {
				t.Fatal(err)
			}
		}
		if b.get("one", "stranger") != "" || b.get("two", "new") != "" || b.get("one", "k") != "kept" {
			t.Error("the swapped bucket took part")
		}

		lingers := make(chan error, 1)
		go func() { lingers <- b.Linger(t.Context(), true) }()
		pass(10 * time.Minute)
		b.swap("two", right)
		if err := <-lingers; !errors.Is(err, serve.ErrReplace) {
			t.Fatalf("the process ended with %v", err)
		}
		b.mustOpen()
		pass(time.Hour)
		if err := b.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
		if b.get("two", "new") != "1" {
			t.Error("the replica did not get what it missed")
		}
		if h := b.Replicas()[1].Health(); !h.OK {
			t.Errorf("health of the mended replica: %+v", h)
		}
	})
}

// TestTrapSwappedBucketThatIsSilentIsNotTakenIn: what does not answer is not recognised, neither by who waits for it nor by who starts
// meanwhile, and nothing that it holds passes for what users wrote.
func TestTrapSwappedBucketThatIsSilentIsNotTakenIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.probeEvery = 24 * time.Hour
		b.mustOpen()
		b.leaveOut = true
		b.put("one", "k", "kept")
		if _, err := b.Backfill(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		b.swap("two", objectmem.New(objectmem.Config{Versioned: true}))
		b.put("two", "stranger", "of another bucket")
		b.put("two", "k", "of another bucket")
		b.mustOpen()
		ctx, stop := context.WithCancel(t.Context())
		lingers := make(chan error, 1)
		go func() { lingers <- b.Linger(ctx, true) }()
		pass(10 * time.Minute)
		b.failAt("two", errkind.Unavailable)
		pass(30 * time.Minute)
		stop()
		if err := <-lingers; err != nil {
			t.Errorf("the process ended with %v", err)
		}
		b.mustOpen()
		b.failWith(nil)
		pass(time.Minute)
		b.put("one", "new", "1")
		for _, key := range []string{"stranger", "k", "new"} {
			if _, err := b.Engine().Reconcile(t.Context(), key, nil, 0); err != nil {
				t.Fatal(err)
			}
		}
		if b.get("one", "stranger") != "" || b.get("one", "k") != "kept" || b.get("two", "new") != "" {
			t.Errorf("the swapped bucket took part: k=%q stranger=%q", b.get("one", "k"), b.get("one", "stranger"))
		}
	})
}

// Nothing is written into another bucket, and what it promises is not noted for the one whose place it takes.
func TestASwappedBucketIsNotProbed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.probeEvery = 24 * time.Hour
		b.mustOpen()
		b.leaveOut = true
		b.swap("two", objectmem.New(objectmem.Config{}))
		b.failWith(func(bucket string, op object.Op) error {
			if bucket == "two" && op != object.OpStat {
				t.Errorf("%s in the swapped bucket", op)
			}
			return nil
		})
		pass(48 * time.Hour)
		b.mustOpen()
		ctx, stop := context.WithTimeout(t.Context(), 48*time.Hour)
		defer stop()
		if err := b.Linger(ctx, true); err != nil && !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	})
}

// A replica whose url was changed has no probe on record; it is known all the same, and what is at the new place is not touched before it
// was recognised.
func TestASilentBucketAtANewPlaceIsNotProbed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t).mustOpen()
		b.leaveOut = true
		if err := b.store.SetCursor(t.Context(), "g", b.ProbeCursor(1), ""); err != nil {
			t.Fatal(err)
		}
		b.failWith(func(bucket string, op object.Op) error {
			if bucket == "two" && op != object.OpStat {
				t.Errorf("%s before it was recognised", op)
			}
			if bucket == "two" {
				return down(bucket, op)
			}
			return nil
		})
		b.mustOpen()
		if b.Replicas()[1].Health().OK {
			t.Error("it is not left out")
		}
	})
}

func TestAnUnfitBucketThatIsMendedIsTakenIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.probeEvery, b.leaveOut = 24*time.Hour, true
		unfit := objectmem.Config{Lies: objectmem.Lies{IgnorePutMatch: true, IgnorePutNotExist: true}}
		b.swap("two", objectmem.New(unfit))
		b.mustOpen()
		if b.Replicas()[1].Health().OK {
			t.Fatal("it is fit")
		}
		lingers := make(chan error, 1)
		begin := time.Now()
		go func() { lingers <- b.Linger(t.Context(), true) }()
		pass(5 * time.Minute)
		b.swap("two", objectmem.New(objectmem.Config{Versioned: true}))
		if err := <-lingers; !errors.Is(err, serve.ErrReplace) || time.Since(begin) > 20*time.Minute {
			t.Errorf("it ended with %v after %v", err, time.Since(begin))
		}
		if b.mustOpen(); !b.Replicas()[1].Health().OK {
			t.Errorf("it is left out: %+v", b.Replicas()[1].Health())
		}
	})
}

// A bucket that swallows requests does not keep a service from starting.
func TestASilentBucketDoesNotHoldUpTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.probeEvery = 24 * time.Hour
		b.mustOpen()
		b.leaveOut = true
		b.failAt("two", errkind.Unavailable)
		for _, later := range []time.Duration{time.Hour, 48 * time.Hour} { // with a probe that is good, and with an old one
			pass(later)
			begin := time.Now()
			if b.mustOpen(); time.Since(begin) > 10*time.Second {
				t.Errorf("%v after the probe it took %v", later, time.Since(begin))
			}
		}
	})
}

// A service that has no replica to work with refuses to start, and so does one whose state does not answer.
func TestSomebodyHasToBeLeft(t *testing.T) {
	b := newBench(t)
	b.leaveOut = true
	b.failWith(func(string, object.Op) error { return errkind.New(errkind.PermissionDenied, "not you") })
	if err := b.open(); !errkind.Is(err, errkind.PermissionDenied) {
		t.Errorf("opened without any bucket: %v", err)
	}
}
