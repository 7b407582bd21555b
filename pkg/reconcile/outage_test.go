package reconcile_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/event"
	"github.com/bucketmesh/bucketmesh/pkg/object"
	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
	"github.com/bucketmesh/bucketmesh/pkg/reconcile"
	"github.com/bucketmesh/bucketmesh/pkg/state"
)

func denied(why string) error { return errkind.New(errkind.PermissionDenied, "%s", why) }

// again is the next try of a dirty key, when it is due.
func (r *rig) again() reconcile.Outcome {
	r.t.Helper()
	d := r.wantDirty(true)
	r.clock.advance(max(d.Due.Sub(r.clock.Now()), 0))
	out, err := r.engine.Reconcile(r.t.Context(), key, nil, d.Attempts)
	if err != nil {
		r.t.Fatalf("reconcile due key: %v", err)
	}
	return out
}

// A 403, a 5xx or a timeout says nothing about the object. The others go on; the key stays dirty, with back-off.
func TestUnknownReplicaIsNotAbsentAndHoldsNobodyUp(t *testing.T) {
	for name, err := range map[string]error{
		"403":       denied("no ListBucket permission"),
		"503":       unavailable(),
		"slow down": errkind.New(errkind.Throttled, "slow down"),
		"no kind":   errkind.New(errkind.Unknown, "what was that"),
	} {
		t.Run(name, func(t *testing.T) {
			everywhere(t, "abc", func(t *testing.T, r *rig) {
				r.everyone("base")
				r.sites["b"].before = func(object.Op, string) error { return err }
				r.wantSync(written("a", r.put("a", "new")), reconcile.Pending)
				r.want("c", "new")
				last := r.wantDirty(true)
				var delays []time.Duration
				for range 12 {
					r.again()
					d := r.wantDirty(true)
					if d.Attempts <= last.Attempts && last.Attempts > 1 {
						t.Fatalf("attempts do not grow: %+v after %+v", d, last)
					}
					delays, last = append(delays, d.Due.Sub(r.clock.Now())), d
				}
				if delays[0] >= delays[len(delays)-1] || delays[len(delays)-1] > 5*time.Minute {
					t.Errorf("the back-off is %v", delays)
				}
				r.want("b", "base")
				r.sites["b"].before = nil
				r.rest()
				r.wantAll("new")
				r.wantCopies()
			})
		})
	}
}

// A user's delete is not concluded from an error, and a delete does reach a replica that was away.
func TestDeleteReachesAReplicaThatWasAway(t *testing.T) {
	everywhere(t, "abc", func(t *testing.T, r *rig) {
		r.everyone("base")
		r.sites["c"].before = func(object.Op, string) error { return unavailable() }
		r.delete("a")
		r.wantSync(r.deleted("a"), reconcile.Pending)
		r.want("b", absent)
		r.clock.advance(30 * 24 * time.Hour)
		r.again()
		if r.row().Rev == 0 {
			t.Fatal("the tombstone is gone, and one replica still has the object")
		}
		r.sites["c"].before = nil
		r.rest()
		r.wantAll(absent)
		if r.row().Rev != 0 {
			t.Error("the row stays")
		}
	})
}

// A destination that wants to be left in peace is asked once in a call, and the source is read once.
func TestTroubledDestinationIsAskedOnce(t *testing.T) {
	for name, err := range map[string]error{
		"throttled":     errkind.New(errkind.Throttled, "slow down"),
		"no answer":     unavailable(),
		"refused":       errkind.New(errkind.Invalid, "the key is too long"),
		"no permission": denied("no PutObject permission"),
	} {
		t.Run(name, func(t *testing.T) {
			everywhere(t, "abc", func(t *testing.T, r *rig) {
				r.everyone("base")
				r.sites["b"].before = always(err, object.OpPut)
				h := written("a", r.put("a", "new"))
				cost := r.spent(func() { r.wantSync(h, reconcile.Pending) })
				if cost["b"].Put != 1 || cost["a"].Get != 1 || cost["c"].Put != 1 {
					t.Errorf("requests %+v", cost)
				}
				r.want("c", "new")
				r.want("b", "base")
				var waits []time.Duration
				for range 8 {
					r.again()
					waits = append(waits, r.wantDirty(true).Due.Sub(r.clock.Now()))
				}
				if waits[len(waits)-1] < time.Minute {
					t.Errorf("no back-off: %v", waits)
				}
				r.sites["b"].before = nil
				r.rest()
				r.wantAll("new")
				r.wantCopies()
				if n := len(r.row().Intents); n != 0 {
					t.Errorf("%d intents stay", n)
				}
			})
		})
	}
}

// A replica that can't hold a key is no trouble for the others. It is said once per change, for each that refuses.
func TestRefusedKeysAreAnnounced(t *testing.T) {
	r := newRig(t, options{names: "abcd"})
	for _, at := range []string{"b", "d"} {
		r.sites[at].before = always(errkind.New(errkind.Invalid, "the key is too long"), object.OpPut)
	}
	r.sync(written("a", r.put("a", "one")))
	r.want("c", "one")
	var refused []string
	for _, e := range r.events {
		if s, ok := e.data.(event.Sync); ok && e.typ == event.SyncFailed {
			refused = append(refused, s.Replicas...)
			if !strings.Contains(s.Reason, "too long") {
				t.Errorf("reason %q", s.Reason)
			}
		}
	}
	if !slices.Equal(refused, []string{"b", "d"}) {
		t.Errorf("announced for %v", refused)
	}
	for range 5 {
		r.again()
	}
	if n := r.count(event.SyncFailed); n != 2 {
		t.Errorf("announced %d times", n)
	}
	if rep := r.row().Replicas["b"]; rep.Status != state.StatusRefused || rep.Detail == "" {
		t.Errorf("b is %+v", rep)
	}
	r.sync(written("a", r.put("a", "two")))
	if n := r.count(event.SyncFailed); n != 4 {
		t.Errorf("after another change announced %d times", n)
	}
	r.delete("a") // what is refused there need not be deleted there
	r.sync(r.deleted("a"))
	r.rest()
	r.wantAll(absent)
	if row := r.row(); row.Rev != 0 {
		t.Errorf("the row stays: %+v", row.Replicas)
	}
}

// A key that no object of a replica can have, so that a look fails there as well: the others have it, and when it is deleted
// nothing is left to do. Where the row says that there was an object, such a look proves nothing.
func TestTrapKeyThatNoObjectCanHave(t *testing.T) {
	r := newRig(t, options{names: "abc"})
	r.sites["b"].before = always(driver.RefuseKey("the key ends with a dot"), object.OpPut, object.OpStat, object.OpOpen)
	r.sync(written("a", r.put("a", "one")))
	r.want("c", "one")
	for range 3 {
		r.again()
	}
	if n := r.count(event.SyncFailed); n != 1 {
		t.Errorf("announced %d times", n)
	}
	if rep := r.row().Replicas["b"]; rep.Status != state.StatusRefused || !strings.Contains(rep.Detail, "ends with a dot") {
		t.Errorf("b is %+v", rep)
	}
	r.delete("a")
	r.sync(r.deleted("a"))
	r.rest()
	r.wantAll(absent)
	if row := r.row(); row.Rev != 0 {
		t.Errorf("the row stays: %+v", row.Replicas)
	}

	r = newRig(t, options{names: "abc"})
	r.sync(written("a", r.put("a", "one")))
	r.rest()
	r.sites["b"].before = always(driver.RefuseKey("a newer version is stricter"), object.OpStat, object.OpOpen)
	r.sync(nil)
	r.want("a", "one")
	r.want("c", "one")
}

// An object with something that can't be carried anywhere (metadata that collides, say) blocks nothing else, and is announced
// once, until its owner mends it.
func TestObjectThatCantBeCarriedIsAnnounced(t *testing.T) {
	r := newRig(t, options{names: "abc"})
	h := written("a", r.put("a", "one"))
	r.sites["a"].before = always(errkind.New(errkind.Invalid, "two metadata names differ by case only"), object.OpOpen, object.OpStat)
	r.wantSync(h, reconcile.Pending)
	r.want("b", absent)
	for range 3 {
		r.again()
	}
	if n := r.count(event.SyncFailed); n != 1 {
		t.Errorf("announced %d times", n)
	}
	if rep := r.row().Replicas["a"]; rep.Status != state.StatusUnreadable || !strings.Contains(rep.Detail, "differ by case") {
		t.Errorf("a is %+v", rep)
	}
	r.sites["a"].before = nil
	r.rest()
	r.wantAll("one")
}

// An object lock refuses our delete; the others are deleted, and the key comes to rest when the lock ends.
func TestObjectLockRefusesOurDelete(t *testing.T) {
	everywhere(t, "abc", func(t *testing.T, r *rig) {
		r.everyone("one")
		r.sites["b"].before = always(denied("object lock"), object.OpDelete)
		r.delete("a")
		r.wantSync(r.deleted("a"), reconcile.Pending)
		r.want("c", absent)
		r.want("b", "one")
		if r.count(event.SyncFailed) != 1 {
			t.Error("nobody was told")
		}
		r.sites["b"].before = nil
		r.rest()
		r.wantAll(absent)
	})
}

// One of two replicas that hold the version can't be read.
func TestUnreadableSourceLeavesTheTurnToAnother(t *testing.T) {
	everywhere(t, "abc", func(t *testing.T, r *rig) {
		r.sites["c"].before = always(unavailable(), object.OpStat, object.OpPut)
		r.everyoneBut("c", "one")
		r.sites["c"].before = nil
		r.sites["a"].before = always(denied("archived"), object.OpOpen)
		r.rest()
		r.wantAll("one")
		r.wantDirty(false)
	})
}

// The only one who holds it can't be read: the key waits and says why.
func TestUnreadableSourceWaits(t *testing.T) {
	r := newRig(t, options{names: "ab"})
	r.put("a", "one")
	r.sites["a"].before = always(denied("archived"), object.OpOpen)
	r.wantSync(nil, reconcile.Pending)
	if rep := r.row().Replicas["a"]; rep.Status != state.StatusUnreadable {
		t.Errorf("a is %+v", rep)
	}
	if d := r.wantDirty(true); !strings.Contains(d.Reason, "archived") {
		t.Errorf("reason %q", d.Reason)
	}
	r.sites["a"].before = nil
	r.rest()
	r.wantAll("one")
}

// A 412 after a success of ours, because somebody below sent the request twice, concludes nothing.
func TestPreconditionFailedAfterOurOwnSuccess(t *testing.T) {
	for name, op := range map[string]object.Op{"put": object.OpPut, "delete": object.OpDelete} {
		t.Run(name, func(t *testing.T) {
			everywhere(t, "ab", func(t *testing.T, r *rig) {
				r.everyone("base")
				r.sites["b"].after = once(op, func() error { return errkind.New(errkind.PreconditionFailed, "412") })
				want := "new"
				if op == object.OpPut {
					r.sync(written("a", r.put("a", want)))
				} else {
					want = absent
					r.delete("a")
					r.sync(r.deleted("a"))
				}
				r.rest()
				r.wantAll(want)
				r.wantCopies()
				if n := r.count(event.ConflictDetected); n != 0 {
					t.Errorf("%d conflicts", n)
				}
			})
		})
	}
}

// A write that was carried out and whose answer got lost is ours all the same.
func TestTimeoutAfterCommitIsAdopted(t *testing.T) {
	for name, op := range map[string]object.Op{"put": object.OpPut, "delete": object.OpDelete} {
		t.Run(name, func(t *testing.T) {
			everywhere(t, "ab", func(t *testing.T, r *rig) {
				r.everyone("base")
				r.sites["b"].after = once(op, unavailable)
				want := "new"
				cost := r.spent(func() {
					if op == object.OpPut {
						r.wantSync(written("a", r.put("a", want)), reconcile.Settled)
					} else {
						want = absent
						r.delete("a")
						r.wantSync(r.deleted("a"), reconcile.Settled)
					}
				})
				if cost["b"].Put+cost["b"].Delete != 1 {
					t.Errorf("requests to b: %+v", cost["b"])
				}
				r.wantAll(want)
				r.rest()
				r.wantCopies()
			})
		})
	}
}
