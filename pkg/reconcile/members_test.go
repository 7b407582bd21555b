package reconcile_test

import (
	"testing"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/reconcile"
)

// A replica that was added is filled, and what it does not have is no delete. What it has that differs is kept.
func TestTrapReplicaAdded(t *testing.T) {
	for name, has := range map[string]string{"empty": "", "the same": "one", "another": "other"} {
		t.Run(name, func(t *testing.T) {
			everywhere(t, "abc", func(t *testing.T, r *rig) {
				r.engine = r.newEngine("a", "b")
				r.sync(written("a", r.put("a", "one")))
				r.rest()
				if has != "" {
					r.put("c", has)
				}
				r.engine = r.newEngine(r.order...) // the process starts with the new document
				r.sync(nil)
				r.rest()
				if !r.somewhere("one") || has != "" && !r.somewhere(has) {
					t.Errorf("a content is lost: a holds %q, copies %q", r.get("a", key), r.copies())
				}
				got := r.get("a", key)
				if r.wantAll(got); got == absent {
					t.Error("a missing object was taken for deleted")
				}
			})
		})
	}
}

// A replica that was removed holds up nothing: what it has is left alone, and a write to it that was under way ends.
func TestTrapReplicaRemoved(t *testing.T) {
	everywhere(t, "abc", func(t *testing.T, r *rig) {
		r.everyone("one")
		r.sites["c"].before = always(unavailable(), "put")
		r.sync(written("a", r.put("a", "two")))
		r.engine = r.newEngine("a", "b") // the process starts with the new document
		r.clock.advance(time.Hour)       // whatever lease there was
		r.sync(nil)
		r.rest()
		if n := len(r.row().Intents); n != 0 {
			t.Errorf("%d intents are left", n)
		}
		r.delete("b")
		r.wantSync(r.deleted("b"), reconcile.Settled)
		r.want("a", absent)
		r.want("c", "one")
		if r.row().Rev != 0 {
			t.Errorf("the row waits for a replica that left: %+v", r.row())
		}
	})
}

// A bucket that was restored from a backup has older objects, some of which were deleted since, and lacks newer ones. What comes
// back is a user's write that followed what was there; nothing that was written elsewhere meanwhile is lost; and what is missing
// is a delete like any other, which the brake counts.
func TestTrapReplicaRestoredFromBackup(t *testing.T) {
	t.Run("an older object", func(t *testing.T) {
		everywhere(t, "ab", func(t *testing.T, r *rig) {
			r.everyone("one")
			r.everyone("two")
			r.put("a", "one") // restored, untold
			r.sync(nil)
			r.rest()
			r.wantAll("one")
			r.wantCopies()
		})
	})
	t.Run("an older object against an edit", func(t *testing.T) {
		everywhere(t, "ab", func(t *testing.T, r *rig) {
			r.everyone("one")
			r.everyone("two")
			r.put("a", "one")
			r.put("b", "three")
			r.sync(nil)
			r.rest()
			r.wantAll("three")
			r.wantCopies("one")
		})
	})
	t.Run("an object that was deleted since", func(t *testing.T) {
		everywhere(t, "ab", func(t *testing.T, r *rig) {
			r.everyone("one")
			r.delete("b")
			r.sync(r.deleted("b"))
			r.rest()
			r.put("a", "one")
			r.sync(nil)
			r.rest()
			r.wantAll("one")
		})
	})
	t.Run("objects that are missing", func(t *testing.T) {
		r := filled(t, options{names: "ab", brake: strict()})
		for i := range 8 {
			r.deleteKey("a", name(i))
		}
		for i := range 8 {
			r.syncKey(name(i), nil)
		}
		left := 0
		for i := range 8 {
			if r.get("b", name(i)) != absent {
				left++
			}
		}
		if left != 6 {
			t.Errorf("%d objects are left at b, want all but the two that are always let through", left)
		}
	})
}
