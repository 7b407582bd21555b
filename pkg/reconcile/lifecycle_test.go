package reconcile_test

import (
	"testing"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/object"
	"github.com/bucketmesh/bucketmesh/pkg/object/mem"
	"github.com/bucketmesh/bucketmesh/pkg/reconcile"
	"github.com/bucketmesh/bucketmesh/pkg/reconcile/plan"
	"github.com/bucketmesh/bucketmesh/pkg/state"
)

// expired is the notification of an expiry by a lifecycle rule.
func (r *rig) expired(at string) *reconcile.Hint {
	h := r.deleted(at)
	h.Expired = true
	return h
}

func (r *rig) wantStatus(at string, want state.Status) {
	r.t.Helper()
	if got := r.row().Replicas[at]; got.Status != want {
		r.t.Errorf("status at %s is %q (%s), want %q", at, got.Status, got.Detail, want)
	}
}

// A lifecycle rule of one bucket is not a user who deletes. Under propagate it passes for one, because most providers don't tell
// them apart; under ignore the others keep the object, and nothing brings it back where it expired but a new version.
func TestTrapLifecycleExpiryAgainstUserDelete(t *testing.T) {
	t.Run("propagate", func(t *testing.T) {
		everywhere(t, "abc", func(t *testing.T, r *rig) {
			r.everyone("one")
			r.delete("a")
			r.sync(r.expired("a"))
			r.rest()
			r.wantAll(absent)
		})
	})
	ignore := func(t *testing.T, scenario func(t *testing.T, r *rig)) {
		t.Helper()
		everywhere(t, "abc", func(t *testing.T, r *rig) {
			r.o.keepExpired = true
			r.engine = r.newEngine(r.order...)
			r.everyone("one")
			r.delete("a")
			cost := r.spent(func() { r.wantSync(r.expired("a"), reconcile.Settled) })
			if want := (object.Snapshot{Head: 1}); cost["all"] != want {
				t.Errorf("an expiry costs %+v, want %+v", cost["all"], want)
			}
			r.wantDirty(false)
			r.wantStatus("a", state.StatusEvicted)
			scenario(t, r)
		})
	}
	t.Run("ignore/looked at again", func(t *testing.T) {
		ignore(t, func(t *testing.T, r *rig) {
			r.sync(nil)
			r.sync(r.expired("a")) // told again
			r.sync(r.deleted("a"))
			r.rest()
			r.want("a", absent)
			r.want("b", "one")
			r.want("c", "one")
			r.wantStatus("a", state.StatusEvicted)
		})
	})
	t.Run("ignore/a new version comes back", func(t *testing.T) {
		ignore(t, func(t *testing.T, r *rig) {
			r.sync(written("b", r.put("b", "two")))
			r.rest()
			r.wantAll("two")
			r.wantStatus("a", state.StatusOK)
		})
	})
	t.Run("ignore/a user writes where it expired", func(t *testing.T) {
		ignore(t, func(t *testing.T, r *rig) {
			r.sync(written("a", r.put("a", "two")))
			r.rest()
			r.wantAll("two")
			r.wantCopies()
			r.wantStatus("a", state.StatusOK)
		})
	})
	t.Run("ignore/a user deletes elsewhere", func(t *testing.T) {
		ignore(t, func(t *testing.T, r *rig) {
			r.delete("b")
			r.sync(r.deleted("b"))
			r.rest()
			r.wantAll(absent)
			if r.row().Rev != 0 {
				t.Errorf("the row stays: %+v", r.row())
			}
		})
	})
	t.Run("ignore/a conflict elsewhere", func(t *testing.T) {
		ignore(t, func(t *testing.T, r *rig) {
			r.put("b", "from b")
			r.put("c", "from c")
			r.sync(nil)
			r.rest()
			r.wantAll("from c")
			r.wantCopies("from b")
		})
	})
	t.Run("ignore/a conflict that its version wins", func(t *testing.T) {
		ignore(t, func(t *testing.T, r *rig) {
			d := &site{name: "d", Bucket: mem.New(mem.Config{Now: func() time.Time { return r.clock.Now().Add(-time.Hour) }})}
			r.sites["d"], r.order = d, append(r.order, "d")
			r.engine = r.newEngine(r.order...)
			r.put("d", "older")
			r.sync(nil)
			r.rest()
			r.want("a", absent)
			r.want("d", "one")
			r.wantCopies("older")
			r.wantStatus("a", state.StatusEvicted)
		})
	})
	t.Run("ignore/it expires everywhere", func(t *testing.T) {
		ignore(t, func(t *testing.T, r *rig) {
			for _, at := range []string{"b", "c"} {
				r.delete(at)
				r.sync(r.expired(at))
			}
			r.rest()
			r.wantAll(absent)
			if r.row().Rev != 0 {
				t.Errorf("the row stays: %+v", r.row())
			}
		})
	})
}

// A version that nobody else has yet is not kept by anybody: its expiry is a delete.
func TestExpiryOfWhatNobodyElseHas(t *testing.T) {
	r := newRig(t, options{names: "ab", keepExpired: true})
	r.everyone("one")
	r.sites["b"].before = always(unavailable(), object.OpPut)
	r.sync(written("a", r.put("a", "two")))
	r.want("b", "one")
	r.delete("a")
	r.sync(r.expired("a"))
	r.sites["b"].before = nil
	r.rest()
	r.wantAll(absent)
}

// Who still had what expired at the others may leave the group: then it is nowhere, which is a delete like any other, and the
// key is free again.
func TestExpiryOfWhatOnlyALeaverHad(t *testing.T) {
	r := newRig(t, options{names: "abc", keepExpired: true})
	r.sites["b"].before = always(errkind.New(errkind.Invalid, "key not taken"), object.OpPut)
	r.everyoneBut("b", "one")
	r.delete("a")
	r.sync(r.expired("a"))
	r.wantStatus("a", state.StatusEvicted)
	row := plan.Clone(r.row())
	delete(row.Replicas, "c")
	if _, err := r.store.Commit(t.Context(), row, state.Effects{}); err != nil {
		t.Fatal(err)
	}
	r.order = []string{"a", "b"}
	r.sites["b"].before = nil
	r.engine = r.newEngine(r.order...)
	r.sync(nil)
	r.rest()
	if r.row().Rev != 0 {
		t.Errorf("the row stays: %+v", r.row())
	}
	r.sync(written("a", r.put("a", "two")))
	r.rest()
	r.wantAll("two")
}
