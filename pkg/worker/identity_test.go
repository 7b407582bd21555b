package worker_test

import (
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

		b.buckets["two"] = objectmem.New(objectmem.Config{Versioned: true})
		if err := b.open(); !errkind.Is(err, errkind.Invalid) {
			t.Errorf("start on another bucket: %v (kind %s), want invalid", err, errkind.Of(err))
		}
		if b.get("one", "k") != "kept" {
			t.Fatal("another bucket removed an object elsewhere")
		}
	})
}
