package reconcile_test

import (
	"testing"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/object"
	"github.com/bucketmesh/bucketmesh/pkg/reconcile"
)

func TestDeletesPropagateAndTheirRowGoes(t *testing.T) {
	for name, tell := range map[string]func(r *rig) *reconcile.Hint{
		"notification": func(r *rig) *reconcile.Hint { return r.deleted("b") },
		"look":         func(*rig) *reconcile.Hint { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			everywhere(t, "abc", func(t *testing.T, r *rig) {
				r.everyone("one")
				r.delete("b")
				r.wantSync(tell(r), reconcile.Settled)
				r.rest()
				r.wantAll(absent)
				if row := r.row(); row.Rev != 0 {
					t.Errorf("the row stays: %+v", row)
				}
				r.wantDirty(false)
			})
		})
	}
}

// What a notification tells of is not taken for gone because of one "not found", which may be an answer that is not true: the
// event does not come again, and nothing else tells of a key that the row does not know.
func TestWhatANotificationTellsOfIsLookedForTwice(t *testing.T) {
	r := newRig(t, options{names: "abC"})
	r.sync(written("c", r.put("c", "where users may not write"))) // so that there is a row
	other := r.newEngine(r.order...)
	hint := written("a", r.put("a", "one"))
	lies := 0
	r.sites["a"].before = func(o object.Op, _ string) error {
		switch {
		case o == object.OpOpen && lies == 0:
			lies++
			if _, err := other.Reconcile(t.Context(), key, written("c", r.put("c", "again")), 0); err != nil { // the row changes meanwhile
				t.Error(err)
			}
			return unavailable()
		case o == object.OpStat && lies == 1:
			lies++
			return errkind.New(errkind.NotFound, "a node that lags behind")
		}
		return nil
	}
	r.sync(hint)
	r.rest()
	r.wantAll("one")
}

// One "not found" may be an answer that is not true. A notification counts as a look.
func TestDeleteNeedsTwoLooks(t *testing.T) {
	missing := errkind.New(errkind.NotFound, "a node that lags behind")
	for name, c := range map[string]struct {
		lies int
		hint func(r *rig) *reconcile.Hint
		gone bool
	}{
		"one look":                   {1, func(*rig) *reconcile.Hint { return nil }, false},
		"two looks":                  {2, func(*rig) *reconcile.Hint { return nil }, true},
		"a hint of something":        {1, func(*rig) *reconcile.Hint { return &reconcile.Hint{Replica: "b", Kind: reconcile.Changed} }, false},
		"a notification and a look":  {1, func(r *rig) *reconcile.Hint { return r.deleted("b") }, true},
		"a notification without any": {0, func(r *rig) *reconcile.Hint { return r.deleted("b") }, false},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, options{names: "abc"})
			r.everyone("one")
			lies := c.lies
			r.sites["b"].before = func(op object.Op, _ string) error {
				if op == object.OpStat && lies > 0 {
					lies--
					return missing
				}
				return nil
			}
			r.sync(c.hint(r))
			if gone := r.get("a", key) == absent; gone != c.gone {
				t.Errorf("deleted at a: %v, want %v", gone, c.gone)
			}
		})
	}
}

func TestDeletesThatAreNotPropagatedLeaveTheOthersAlone(t *testing.T) {
	r := newRig(t, options{names: "abc", noDeletes: true})
	r.everyone("one")
	r.delete("b")
	r.sync(r.deleted("b"))
	r.rest()
	r.want("a", "one")
	r.want("b", absent)
	r.want("c", "one")
	r.sync(written("b", r.put("b", "again")))
	r.rest()
	r.wantAll("again")
}

// A user's edit and another one's delete at the same time: the edit is not lost, whichever is later.
func TestDeleteAgainstEditKeepsTheEdit(t *testing.T) {
	for name, wait := range map[string]time.Duration{"delete is later": time.Minute, "edit is later": -time.Minute} {
		t.Run(name, func(t *testing.T) {
			everywhere(t, "ab", func(t *testing.T, r *rig) {
				r.everyone("base")
				r.put("a", "edit")
				r.sites["b"].skew = wait
				r.clock.advance(time.Minute)
				r.delete("b")
				h := r.deleted("b")
				h.Time = h.Time.Add(wait)
				r.sync(h)
				r.sync(nil)
				r.rest()
				if !r.somewhere("edit") {
					t.Error("the edit is lost")
				}
				if r.get("a", key) != r.get("b", key) {
					t.Errorf("a holds %q, b holds %q", r.get("a", key), r.get("b", key))
				}
			})
		})
	}
}

// The delete that tells of an object of ours which nobody acknowledged must not be taken for an echo.
func TestDeleteWhileOurCreateIsNotAcknowledgedIsNotLost(t *testing.T) {
	everywhere(t, "ab", func(t *testing.T, r *rig) {
		a := r.put("a", "one")
		other := r.newEngine(r.order...)
		r.sites["b"].after = once(object.OpPut, func() error {
			r.delete("b")
			_, err := other.Reconcile(t.Context(), key, r.deleted("b"), 0)
			if !errkind.Is(err, errkind.Conflict) || errkind.Delay(err) <= 0 {
				t.Errorf("the event ended with %v, want to be brought again later", err)
			}
			return nil
		})
		r.sync(written("a", a))
		r.sync(r.deleted("b")) // brought again
		r.rest()
		r.wantAll(absent)
	})
}

// A process looks at an object, a user deletes it, and another process is told of the delete before the first one has
// stored what it saw. The row must not say in the end that the object is there, with nobody left to tell.
func TestStaleLookLosesToAnEchoOfADelete(t *testing.T) {
	for kind, bucket := range kinds() {
		t.Run(kind, func(t *testing.T) {
			r := newRig(t, options{names: "ab", bucket: bucket, noDeletes: true}) // so that the row of a deleted key stays
			r.everyone("base")
			r.delete("a")
			r.sync(r.deleted("a"))
			r.rest()
			other := r.newEngine(r.order...)
			a := r.put("a", "short-lived")
			r.sites["a"].after = once(object.OpOpen, func() error {
				r.delete("a")
				_, err := other.Reconcile(t.Context(), key, r.deleted("a"), 0)
				return err
			})
			r.sync(written("a", a))
			r.rest()
			if r.row().Replicas["a"].Print.Present {
				t.Error("the row says that a has the object")
			}
			if got := r.get("b", key); got != "base" {
				t.Errorf("b holds %q", got)
			}
		})
	}
}
