package worker_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/object"
	objectmem "github.com/bucketmesh/bucketmesh/pkg/object/mem"
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
		if err := <-lingers; !errkind.Is(err, errkind.Unavailable) || !strings.Contains(err.Error(), "replica b") {
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

// A service that has no replica to work with refuses to start, and so does one whose state does not answer.
func TestSomebodyHasToBeLeft(t *testing.T) {
	b := newBench(t)
	b.leaveOut = true
	b.failWith(func(string, object.Op) error { return errkind.New(errkind.PermissionDenied, "not you") })
	if err := b.open(); !errkind.Is(err, errkind.PermissionDenied) {
		t.Errorf("opened without any bucket: %v", err)
	}
}
