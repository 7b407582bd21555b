package reconcile_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/config"
	"github.com/bucketmesh/bucketmesh/pkg/object"
	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
	"github.com/bucketmesh/bucketmesh/pkg/object/mem"
	"github.com/bucketmesh/bucketmesh/pkg/reconcile"
	"github.com/bucketmesh/bucketmesh/pkg/reconcile/plan"
)

// The faults that designs which looked right had. Each scenario says whether what must hold did hold, so that the same
// scenario also shows that the design with the fault fails in it.

// proves runs a scenario without a fault on every kind of bucket, where it must hold, and with the fault, where it must not.
func proves(t *testing.T, o options, fault plan.Mutant, scenario func(r *rig) bool) {
	t.Helper()
	for kind, cfg := range kinds() {
		t.Run(kind, func(t *testing.T) {
			o := o
			o.bucket = cfg
			if !scenario(newRig(t, o)) {
				t.Error("it does not hold")
			}
			if fault == plan.None || t.Failed() {
				return
			}
			o.mutant = fault
			if scenario(newRig(t, o)) {
				t.Errorf("it holds with the fault %s as well: this test proves nothing", fault)
			}
		})
	}
}

// Two users wrote the same bytes at a and at b. One of them deletes his object right after we saw it: the other one's is
// not his to delete.
func TestR1EagerJoinLetsADeleteKillAnIndependentWrite(t *testing.T) {
	proves(t, options{names: "ab"}, plan.EagerJoin, func(r *rig) bool {
		r.put("a", "same")
		r.put("b", "same")
		r.store.committed = func() {
			r.store.committed = nil
			r.delete("a")
		}
		r.sync(nil)
		r.sync(r.deleted("a"))
		r.rest()
		return r.somewhere("same")
	})
}

// Absence has no generation. A create of ours that was not acknowledged was deleted by a user, and the row still says
// that nothing was ever there: the object comes back. That is the documented residual; nothing is lost.
func TestR2AbsenceHasNoGeneration(t *testing.T) {
	everywhere(t, "ab", func(t *testing.T, r *rig) {
		a := r.put("a", "one")
		r.sites["b"].after = once(object.OpPut, crashed)
		r.untilCrash(func() { r.sync(written("a", a)) })
		r.want("b", "one")
		r.delete("b")
		r.rest()
		r.wantAll("one") // undone, not lost
		r.wantCopies()
	})
}

// If a notification tells of the delete while we look, it is seen.
func TestR2ADeleteThatIsSeenIsNotUndone(t *testing.T) {
	everywhere(t, "ab", func(t *testing.T, r *rig) {
		a := r.put("a", "one")
		r.sites["b"].after = once(object.OpPut, crashed)
		r.untilCrash(func() { r.sync(written("a", a)) })
		r.clock.advance(time.Minute)
		r.wantSync(written("b", r.stat("b")), reconcile.Known) // adopted
		r.delete("b")
		r.sync(r.deleted("b"))
		r.rest()
		r.wantAll(absent)
	})
}

// A user restores an old version of an object of ours, and with it our metadata: he wrote it, not we.
func TestR3NonceOfARestoredObjectIsNotTrusted(t *testing.T) {
	proves(t, options{names: "abc"}, plan.NonceForever, func(r *rig) bool {
		r.everyone("old")
		old := r.stat("b").Properties
		if old.Metadata[reconcile.MetaNonce] == "" {
			r.t.Fatal("our object carries no nonce")
		}
		r.sites["a"].before = always(unavailable(), object.OpStat, object.OpPut) // the row remembers the old version for it
		r.sync(written("b", r.put("b", "new")))
		r.want("c", "new")
		r.sync(written("b", r.put("b", "old", old)))
		r.sites["a"].before = nil
		r.rest()
		return r.get("a", key) == "old" && r.get("b", key) == "old" && r.get("c", key) == "old"
	})
}

// A nonce whose intent lives is not enough either: the object must be what we meant to write, in bytes and in metadata.
func TestR3AnEditThatKeepsOurNonceIsTheUsers(t *testing.T) {
	for name, edit := range map[string]struct {
		content string
		props   driver.Properties
	}{
		"content":  {"edited", driver.Properties{}},
		"metadata": {"one", driver.Properties{ContentType: "text/css"}},
	} {
		t.Run(name, func(t *testing.T) {
			everywhere(t, "ab", func(t *testing.T, r *rig) {
				a := r.put("a", "one")
				r.sites["b"].after = once(object.OpPut, crashed)
				r.untilCrash(func() { r.sync(written("a", a)) })
				props := edit.props
				props.Metadata = r.stat("b").Metadata
				r.put("b", edit.content, props)
				r.rest()
				r.wantAll(edit.content)
				if got := r.stat("a").ContentType; props.ContentType != "" && got != props.ContentType {
					t.Errorf("a has content type %q, the user set %q at b", got, props.ContentType)
				}
			})
		})
	}
}

// A user at b overwrites what we wrote there and did not get acknowledged. The clock of b is behind, so by the provider's
// time his write is the older one.
func TestR4RankByTheProvidersClockRollsBack(t *testing.T) {
	proves(t, options{names: "ab", rule: config.ConflictRule{Policy: config.LastWriterWins}}, plan.ProviderClockRank, func(r *rig) bool {
		r.sites["b"].skew = -time.Hour
		a := r.put("a", "one")
		r.sites["b"].after = once(object.OpPut, crashed)
		r.untilCrash(func() { r.sync(written("a", a)) })
		r.put("b", "two")
		r.rest()
		return r.get("a", key) == "two" && r.get("b", key) == "two"
	})
}

// resolvedThenEdited is a conflict in which "winner" of b and c wins over "loser" of a, and a user at b who overwrites the
// winner before the resolution is known to be there. The clock of b stands still.
func resolvedThenEdited(r *rig) {
	r.everyone("base")
	r.sites["a"].before = always(unavailable(), object.OpStat, object.OpOpen, object.OpPut)
	r.put("a", "loser")
	r.put("b", "winner")
	r.sync(nil) // a is not written to, as it does not answer
	r.want("c", "winner")
	r.sites["a"].before = nil
	r.clock.advance(time.Minute)
	r.wantSync(nil, reconcile.Conflicted)
	r.resolve()
	r.sites["b"].skew = -time.Hour
	r.put("b", "edit")
	r.rest()
}

func TestR5ResolutionThatRanksAboveItsWinnerRollsBack(t *testing.T) {
	proves(t, options{names: "abc", rule: config.ConflictRule{Policy: config.KeepBoth}}, plan.RankUp, func(r *rig) bool {
		resolvedThenEdited(r)
		if r.o.mutant == plan.None {
			r.wantCopies("loser", "winner") // of the winner, because nothing proves that the user at b saw it resolved
		}
		return r.get("a", key) == "edit" && r.get("c", key) == "edit"
	})
}

// On buckets that know nothing but ETags, a user who puts back the very bytes that our condition names is not seen by
// it. Where the bucket keeps versions, what was replaced is found below our write and kept.
func TestR6IdenticalBytesInsideAnUnacknowledgedWrite(t *testing.T) {
	for kind, cfg := range map[string]struct {
		bucket mem.Config
		copies []string
		final  string
	}{
		"unversioned": {bucket: mem.Config{}, final: "new"}, // the documented residual: his put counts as not made
		"versioned":   {bucket: mem.Config{Versioned: true}, copies: []string{"base"}, final: "new"},
	} {
		t.Run(kind, func(t *testing.T) {
			r := newRig(t, options{names: "ab", bucket: cfg.bucket})
			r.everyone("base")
			var back *driver.Attrs
			r.sites["b"].before = once(object.OpPut, func() error {
				r.put("b", "other")
				back = r.put("b", "base")
				return nil
			})
			r.sync(written("a", r.put("a", "new")))
			r.sync(written("b", back))
			r.rest()
			r.wantAll(cfg.final)
			r.wantCopies(cfg.copies...)
		})
	}
}

// The notification of a write that ours has hidden may come when its key is busy, its bucket is down, or more was written on top.
// Nothing else tells of that write: what the notification said must not be forgotten.
func TestR6WhatANotificationToldIsNotForgotten(t *testing.T) {
	for name, handle := range map[string]func(r *rig, h *reconcile.Hint){
		"the key is busy": func(r *rig, h *reconcile.Hint) {
			if err := r.engine.Defer(r.t.Context(), key, h, r.clock.Now(), "busy"); err != nil {
				r.t.Fatal(err)
			}
		},
		"the bucket is down": func(r *rig, h *reconcile.Hint) {
			r.sites["b"].before = func(object.Op, string) error { return unavailable() }
			r.wantSync(h, reconcile.Pending)
			r.sites["b"].before = nil
		},
		"versions can't be listed": func(r *rig, h *reconcile.Hint) {
			r.sites["b"].before = func(o object.Op, _ string) error {
				if o == object.OpVersions {
					return unavailable()
				}
				return nil
			}
			r.wantSync(h, reconcile.Pending)
			r.sites["b"].before = nil
		},
	} {
		for _, final := range []string{"new", "newer", absent} {
			t.Run(fmt.Sprintf("%s/at last %s", name, final), func(t *testing.T) {
				r := newRig(t, options{names: "ab", bucket: mem.Config{Versioned: true}})
				r.everyone("base")
				var hidden *driver.Attrs
				r.sites["b"].before = once(object.OpPut, func() error {
					hidden = r.put("b", "base", driver.Properties{Metadata: map[string]string{"color": "blue"}})
					return nil
				})
				r.sync(written("a", r.put("a", "new")))
				r.sites["b"].before = nil
				switch final {
				case "newer":
					r.sync(written("a", r.put("a", final)))
				case absent: // and the row goes
					r.delete("a")
					r.sync(r.deleted("a"))
				}
				handle(r, written("b", hidden))
				r.wantDirty(true)
				r.rest()
				r.wantAll(final)
				r.wantCopies("base")
				if n := len(r.row().Told); n != 0 {
					t.Errorf("%d versions still wait", n)
				}
			})
		}
	}
}

// Tags that name the write and not the content close the gap.
func TestR6UniqueTagsSeeIdenticalBytes(t *testing.T) {
	r := newRig(t, options{names: "ab", bucket: mem.Config{UniqueTags: true}})
	r.everyone("base")
	r.sites["b"].before = once(object.OpPut, func() error {
		r.put("b", "other")
		r.put("b", "base")
		return nil
	})
	r.sync(written("a", r.put("a", "new")))
	r.rest()
	if !r.somewhere("new") || !r.somewhere("base") {
		t.Errorf("a user's content is nowhere: current %q, copies %q", r.get("a", key), r.copies())
	}
	r.wantAll(r.get("a", key))
}

// The replica that the policy prefers holds a resolution, another one an edit of the content that the resolution took.
func TestR7PrimaryDoesNotBringBackAnOldContent(t *testing.T) {
	rule := config.ConflictRule{Policy: config.Primary, Order: []string{"c", "b", "a"}}
	proves(t, options{names: "abc", rule: rule}, plan.RankUp, func(r *rig) bool {
		resolvedThenEdited(r)
		return r.get("a", key) == "edit" && r.get("c", key) == "edit"
	})
}

// An intent of ours whose content nobody could know before it was written: a bucket that tells no digest. Our object,
// taken for a user's, must not win over the edit of its original.
func TestR7DoubtfulContentDoesNotOutrankItsSuccessor(t *testing.T) {
	r := newRig(t, options{names: "ab", part: 4}) // parts: the ETag tells no digest
	r.sites["b"].skew = time.Hour
	original := putInParts(t, r, "a", "ori", "ginal") // not our parts, so the ETags differ
	r.sites["b"].after = once(object.OpComplete, crashed)
	r.untilCrash(func() { r.sync(written("a", original)) })
	r.want("b", "original")
	r.put("a", "edit")
	r.rest()
	r.wantAll("edit")
}

// Two replicas have objects with our nonces, and nobody knows what we had written there. One is a user's edit of it: once the contents
// were read, only the other one is supposed to be ours.
func TestR7AnEditOfDoubtfulContentOutranksIt(t *testing.T) {
	r := newRig(t, options{names: "abc", part: 4})
	r.sites["b"].skew = time.Hour
	original := putInParts(t, r, "c", "ori", "ginal")
	r.sites["b"].after = once(object.OpComplete, crashed)
	r.untilCrash(func() { r.sync(written("c", original)) })
	r.want("a", "original")
	r.want("b", "original")
	nonce := r.stat("a").Metadata[reconcile.MetaNonce]
	r.put("a", "editedit", driver.Properties{Metadata: map[string]string{reconcile.MetaNonce: nonce}})
	r.rest()
	r.wantAll("editedit")
}

// The version that a notification told of was seen, but the row changed before that was stored, and the write that changed it hid the
// version: it was not looked up.
func TestR6WhatWasSeenAndNotStoredIsNotLookedUp(t *testing.T) {
	r := newRig(t, options{names: "ab", bucket: mem.Config{Versioned: true}})
	r.everyone("base")
	other := written("b", r.put("b", "new"))
	hidden := written("a", r.put("a", "base", driver.Properties{Metadata: map[string]string{"color": "blue"}}))
	second := r.newEngine(r.order...)
	r.sites["a"].after = once(object.OpOpen, func() error {
		_, err := second.Reconcile(t.Context(), key, other, 0)
		return err
	})
	fails := 1
	r.sites["a"].before = func(o object.Op, _ string) error {
		if o == object.OpVersions && fails > 0 {
			fails--
			return unavailable()
		}
		return nil
	}
	r.wantSync(hidden, reconcile.Pending)
	r.want("a", "new")
	r.rest()
	r.wantAll("new")
	r.wantCopies("base")
}
