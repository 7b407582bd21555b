package worker_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
	"github.com/bucketmesh/bucketmesh/pkg/policy"
	"github.com/bucketmesh/bucketmesh/pkg/reconcile"
	"github.com/bucketmesh/bucketmesh/pkg/state"
)

type crash struct{}

// The resolver dies between the copy of a loser and the resolution, and a user settles the conflict before anybody comes back to
// it. No resolution ever names that copy, and its notification may be lost: it must be everywhere all the same.
func TestCopyOfAConflictThatNobodyResolvedIsCarried(t *testing.T) {
	b := newBench(t)
	b.trace = func(p reconcile.Point) {
		if p.Line == "4c" {
			panic(crash{})
		}
	}
	b.mustOpen()
	b.put("one", "k", "of one")
	b.put("two", "k", "of two")
	if _, err := b.Engine().Reconcile(t.Context(), "k", nil, 0); err != nil {
		t.Fatal(err)
	}
	func() {
		defer func() {
			if _, ok := recover().(crash); !ok {
				t.Fatal("the resolver did not come to line 4c")
			}
		}()
		_, _ = b.Engine().Resolve(t.Context(), "k")
	}()
	if len(b.copies("one"))+len(b.copies("two")) != 1 {
		t.Fatalf("copies %v and %v, want one", b.copies("one"), b.copies("two"))
	}
	b.put("one", "k", "settled")
	b.put("two", "k", "settled")
	if _, err := b.Engine().Reconcile(t.Context(), "k", nil, 0); err != nil {
		t.Fatal(err)
	}
	if err := b.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if one, two := b.copies("one"), b.copies("two"); len(one) != 1 || len(two) != 1 || one[0] != two[0] {
		t.Errorf("copies %v and %v, want the same one", one, two)
	}
}

// What a restore replaces is kept at one replica, and the notification of that copy may be lost as well.
func TestCopyOfWhatARestoreReplacedIsCarried(t *testing.T) {
	b := newBench(t).mustOpen()
	b.put("one", "k", "of one")
	b.put("two", "k", "of two")
	if _, err := b.Engine().Reconcile(t.Context(), "k", nil, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Engine().Resolve(t.Context(), "k"); err != nil {
		t.Fatal(err)
	}
	decided, err := b.store.Conflicts(t.Context(), "g", state.ConflictResolved, 10)
	if err != nil || len(decided) != 1 {
		t.Fatalf("conflicts %+v, %v", decided, err)
	}
	if _, err := b.Engine().Restore(t.Context(), decided[0].ID, ""); err != nil {
		t.Fatal(err)
	}
	if err := b.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if one, two := b.copies("one"), b.copies("two"); len(one) != 2 || !slices.Equal(one, two) {
		t.Errorf("copies %v and %v, want the same two", one, two)
	}
}

func (b *bench) copies(bucket string) (keys []string) {
	b.t.Helper()
	page, err := b.buckets[bucket].List(b.t.Context(), &driver.ListOptions{Prefix: policy.CopyPrefix})
	if err != nil {
		b.t.Fatal(err)
	}
	for _, o := range page.Objects {
		keys = append(keys, strings.TrimPrefix(o.Key, policy.CopyPrefix))
	}
	return keys
}

// A conflict that no event settles is settled by the sweep in the end.
func TestSweepSettlesWhatTheResolverDoesNot(t *testing.T) {
	b := newBench(t).mustOpen()
	b.put("one", "k", "of one")
	b.put("two", "k", "of two")
	for attempt := 1; b.get("one", "k") != b.get("two", "k"); attempt++ {
		if attempt > 8 {
			t.Fatal("nobody settles it")
		}
		if err := b.store.MarkDirty(t.Context(), "g", []string{"k"}, time.Now(), "it is time"); err != nil {
			t.Fatal(err)
		}
		if err := b.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if len(b.copies("one")) != 1 {
		t.Errorf("copies %v, want one", b.copies("one"))
	}
}
