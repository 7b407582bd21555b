package reconcile_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/event"
	"github.com/bucketmesh/bucketmesh/pkg/guard"
	"github.com/bucketmesh/bucketmesh/pkg/reconcile"
	"github.com/bucketmesh/bucketmesh/pkg/state"
)

// strict lets two deletes through, and waits for none.
func strict() *guard.Limits { return &guard.Limits{Keys: 2, Percent: 25, Within: time.Hour} }

// filled is a rig with eight keys beside the one of all scenarios, everywhere.
func filled(t *testing.T, o options) *rig {
	t.Helper()
	r := newRig(t, o)
	r.everyone("one")
	for i := range 8 {
		r.syncKey(name(i), written("a", r.putKey("a", name(i), name(i))))
	}
	return r
}

func name(i int) string { return fmt.Sprintf("k%d", i) }

func (r *rig) syncKey(k string, h *reconcile.Hint) reconcile.Outcome {
	r.t.Helper()
	out, err := r.engine.Reconcile(r.t.Context(), k, h, 0)
	if err != nil {
		r.t.Fatalf("reconcile %s: %v", k, err)
	}
	return out
}

func (r *rig) deleteKey(at, k string) {
	r.t.Helper()
	r.clock.advance(time.Second)
	if _, err := r.sites[at].Delete(r.t.Context(), k, nil); err != nil {
		r.t.Fatal(err)
	}
}

// trip deletes three keys at a, the third of which is too many.
func trip(t *testing.T, r *rig) {
	t.Helper()
	for i := range 3 {
		r.deleteKey("a", name(i))
		r.syncKey(name(i), r.deleted("a"))
	}
}

func (r *rig) weighed() state.Brake {
	r.t.Helper()
	b, err := r.store.Brake(r.t.Context(), group)
	if err != nil {
		r.t.Fatal(err)
	}
	return b
}

func (r *rig) change(f func(b *state.Brake)) {
	r.t.Helper()
	err := r.store.Weigh(r.t.Context(), group, "", func(w *state.Weighing) error { f(&w.Brake); return nil })
	if err != nil {
		r.t.Fatal(err)
	}
}

// wake looks at all keys whose deletes are held, as approve and resume have it.
func (r *rig) wake() {
	r.t.Helper()
	all, err := r.store.Deletions(r.t.Context(), group, "", 0)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, d := range all {
		r.syncKey(d.Key, nil)
	}
}

func TestBrakeHoldsDeletesAndNothingElse(t *testing.T) {
	r := filled(t, options{names: "abc", brake: strict()})
	trip(t, r)
	for i, want := range []string{absent, absent, "k2", "k3"} {
		if got := r.get("b", name(i)); got != want {
			t.Errorf("b holds %q of %s, want %q", got, name(i), want)
		}
	}
	r.delete("a")
	r.wantSync(r.deleted("a"), reconcile.Pending)
	d := r.wantDirty(true)
	if !strings.Contains(d.Reason, "3 deletes within 1h, more than 2 of 9 keys") || !strings.Contains(d.Reason, "bucketmesh brake approve") ||
		!d.Due.After(r.clock.Now().Add(time.Hour)) {
		t.Errorf("dirty entry %+v", d)
	}
	if b := r.weighed(); b.State != state.Tripped || b.Waiting != 2 || r.count(event.GuardTripped) != 1 {
		t.Errorf("brake %+v, %d announcements", b, r.count(event.GuardTripped))
	}
	before := r.row().Rev
	cost := r.spent(func() { r.sync(r.deleted("a")) })
	if cost["all"].Total() != 0 || r.row().Rev < before { // told again: an echo
		t.Errorf("an echo of a held delete cost %+v", cost["all"])
	}
	r.putKey("b", "another", "put")
	r.syncKey("another", nil)
	if got := r.get("c", "another"); got != "put" {
		t.Errorf("puts are held: c holds %q", got)
	}
	// Asked again, by another process: still held, counted once.
	r.engine = r.newEngine(r.order...)
	r.wantSync(nil, reconcile.Pending)
	r.want("b", "one")
	if b := r.weighed(); b.Waiting != 2 || r.count(event.GuardTripped) != 1 {
		t.Errorf("brake %+v, %d announcements", b, r.count(event.GuardTripped))
	}
}

func TestApprovedDeletesGoAndTheBrakeIsArmedAgain(t *testing.T) {
	r := filled(t, options{names: "ab", brake: strict()})
	trip(t, r)
	r.change(func(b *state.Brake) { guard.Approve(b, r.clock.Now(), 0, 0) })
	r.wake()
	if got := r.get("b", "k2"); got != absent {
		t.Errorf("b holds %q", got)
	}
	if b := r.weighed(); b.State != state.Armed || b.Waiting != 0 {
		t.Errorf("brake %+v", b)
	}
	for i := 3; i < 6; i++ {
		r.deleteKey("a", name(i))
		r.syncKey(name(i), r.deleted("a"))
	}
	if got := r.get("b", "k5"); got != "k5" || r.count(event.GuardTripped) != 2 {
		t.Errorf("the brake is not armed: b holds %q, %d announcements", got, r.count(event.GuardTripped))
	}
}

func TestPausedDeletesWaitForTheEndOfThePause(t *testing.T) {
	for kind, limits := range map[string]*guard.Limits{"armed": strict(), "off": {Keys: 0, Percent: 100, Within: time.Hour}} {
		t.Run(kind, func(t *testing.T) {
			r := filled(t, options{names: "ab", brake: limits})
			r.change(func(b *state.Brake) { guard.Pause(b, r.clock.Now()) })
			r.delete("a")
			r.wantSync(r.deleted("a"), reconcile.Pending)
			r.want("b", "one")
			if d := r.wantDirty(true); !strings.Contains(d.Reason, "resume") {
				t.Errorf("dirty entry %+v", d)
			}
			r.change(func(b *state.Brake) {
				if err := guard.Resume(b, *limits, r.clock.Now()); err != nil {
					t.Error(err)
				}
			})
			r.wake()
			r.wantAll(absent)
			if b := r.weighed(); b.Waiting != 0 {
				t.Errorf("brake %+v", b)
			}
		})
	}
}

// A delete waits a moment, and then the look is repeated: the object may be there again, unnoticed.
func TestHeldDeleteIsLookedAtAgain(t *testing.T) {
	for name, back := range map[string]string{"it is gone": absent, "it is back": "again"} {
		t.Run(name, func(t *testing.T) {
			limits := strict()
			limits.Hold = 5 * time.Second
			r := filled(t, options{names: "ab", brake: limits})
			r.delete("a")
			r.wantSync(r.deleted("a"), reconcile.Pending)
			r.want("b", "one")
			if d := r.wantDirty(true); d.Due.Sub(r.clock.Now()) > limits.Hold {
				t.Errorf("dirty entry %+v", d)
			}
			if back != absent {
				r.put("a", back)
			}
			r.clock.advance(limits.Hold)
			// An event about another replica must not let the delete go without a look at this one.
			r.sync(&reconcile.Hint{Replica: "b", Kind: reconcile.Changed})
			r.want("b", back)
			r.rest()
			r.wantAll(back)
			if b := r.weighed(); b.Waiting != 0 || r.row().Held {
				t.Errorf("brake %+v, row held: %v", b, r.row().Held)
			}
			if len(r.copies()) != 0 {
				t.Errorf("copies %q", r.copies())
			}
		})
	}
}

func TestUndoneDeleteBringsTheObjectBack(t *testing.T) {
	everywhere(t, "abc", func(t *testing.T, r *rig) {
		r.o.brake = &guard.Limits{Within: time.Hour} // every delete is too many
		r.engine = r.newEngine(r.order...)
		r.everyone("one")
		r.delete("b")
		r.wantSync(r.deleted("b"), reconcile.Pending)
		r.want("a", "one")
		if done, err := r.engine.Undo(t.Context(), key); err != nil || !done {
			t.Fatalf("undo: %v, %v", done, err)
		}
		r.rest()
		r.wantAll("one")
		r.wantCopies()
		if b := r.weighed(); b.Waiting != 0 || r.row().Held {
			t.Errorf("brake %+v, row held: %v", b, r.row().Held)
		}
		if done, err := r.engine.Undo(t.Context(), key); err != nil || done {
			t.Errorf("undo of what is there: %v, %v", done, err)
		}
	})
}

// A user writes the key again while its delete is undone, whether or not we have heard of it: the new content wins, as it
// followed, and the old one does not come over it.
func TestUndoIsSafeAgainstAUserWhoWritesAgain(t *testing.T) {
	for name, when := range map[string]struct{ before, told bool }{
		"before, told":   {true, true},
		"before, untold": {true, false},
		"after":          {false, false},
	} {
		t.Run(name, func(t *testing.T) {
			everywhere(t, "ab", func(t *testing.T, r *rig) {
				r.o.brake = &guard.Limits{Within: time.Hour}
				r.engine = r.newEngine(r.order...)
				r.everyone("one")
				r.delete("a")
				r.sync(r.deleted("a"))
				if when.before {
					a := r.put("a", "two")
					if when.told {
						r.sync(written("a", a))
					}
				}
				done, err := r.engine.Undo(t.Context(), key)
				if err != nil || done == when.told {
					t.Fatalf("undo: %v, %v", done, err)
				}
				if !when.before {
					r.put("a", "two")
				}
				r.rest()
				r.wantAll("two")
			})
		})
	}
}

// The edit of another replica takes the place of a held delete: they conflict, and the edit is not lost.
func TestHeldDeleteAgainstAnEdit(t *testing.T) {
	r := newRig(t, options{names: "ab", brake: &guard.Limits{Within: time.Hour}})
	r.everyone("one")
	r.delete("a")
	r.sync(r.deleted("a"))
	r.sync(written("b", r.put("b", "edit")))
	r.rest()
	r.wantAll("edit")
	if b := r.weighed(); b.Waiting != 0 || r.row().Held {
		t.Errorf("brake %+v, row held: %v", b, r.row().Held)
	}
}

// What users deleted everywhere needs nobody's approval.
func TestHeldDeleteThatUsersDidEverywhere(t *testing.T) {
	r := newRig(t, options{names: "ab", brake: &guard.Limits{Within: time.Hour}})
	r.everyone("one")
	r.delete("a")
	r.sync(r.deleted("a"))
	r.delete("b")
	r.sync(r.deleted("b"))
	r.rest()
	if b := r.weighed(); b.Waiting != 0 || r.row().Rev != 0 {
		t.Errorf("brake %+v, revision %d", b, r.row().Rev)
	}
}

// A user who writes the key again where it was deleted ends the hold, and nothing says "held" any more.
func TestHeldDeleteThatAUserTookBack(t *testing.T) {
	r := newRig(t, options{names: "ab", brake: &guard.Limits{Within: time.Hour}})
	r.everyone("one")
	r.delete("a")
	r.wantSync(r.deleted("a"), reconcile.Pending)
	if d := r.wantDirty(true); !strings.Contains(d.Reason, "held by the delete brake") {
		t.Errorf("dirty entry %+v", d)
	}
	r.wantSync(written("a", r.put("a", "again")), reconcile.Settled)
	r.wantDirty(false)
	r.wantAll("again")
	if b := r.weighed(); b.Waiting != 0 || r.row().Held {
		t.Errorf("brake %+v, row held: %v", b, r.row().Held)
	}
}
