package reconcile_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/config"
	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/event"
	"github.com/bucketmesh/bucketmesh/pkg/object"
	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
	"github.com/bucketmesh/bucketmesh/pkg/object/mem"
	"github.com/bucketmesh/bucketmesh/pkg/reconcile"
	"github.com/bucketmesh/bucketmesh/pkg/state"
	"github.com/bucketmesh/bucketmesh/pkg/version"
)

func manualRule() config.ConflictRule {
	return config.ConflictRule{Policy: config.Manual, Fallback: config.KeepBoth, Deadline: 72 * time.Hour}
}

// waiting makes a conflict that waits for somebody's decision.
func waiting(r *rig) state.Conflict {
	r.t.Helper()
	clash(r)
	if out, err := r.engine.Resolve(r.t.Context(), key); err != nil || out != reconcile.Conflicted {
		r.t.Fatalf("resolve: %v, %v", out, err)
	}
	c := conflicts(r)[0]
	if c.State != state.ConflictPending || len(c.Losers) != 2 {
		r.t.Fatalf("record %+v", c)
	}
	return c
}

func TestManualConflictWaitsForItsDeadline(t *testing.T) {
	everywhere(t, "abc", func(t *testing.T, r *rig) {
		r.o.rule = manualRule()
		c := waiting(r)
		if want := c.Detected.Add(72 * time.Hour); !c.Deadline.Equal(want) || !r.wantDirty(true).Due.Equal(want) {
			t.Errorf("deadline %s, want %s; due %s", c.Deadline, want, r.wantDirty(true).Due)
		}
		if n := r.count(event.ConflictPending); n != 1 {
			t.Errorf("%d questions", n)
		}
		detected := r.count(event.ConflictDetected)
		r.clock.advance(time.Hour)
		r.wantSync(nil, reconcile.Conflicted) // a sweep or a scan before the deadline costs nobody anything
		r.resolve()                           // an event that comes again
		if r.count(event.ConflictDetected) != detected || r.count(event.ConflictPending) != 1 || !r.wantDirty(true).Due.Equal(c.Deadline) {
			t.Error("the question is asked again and again")
		}
		r.want("a", "earlier")
		r.want("b", "later")
		r.rest()
		r.wantAll("later")
		r.wantCopies("earlier")
		if done := conflicts(r)[0]; done.ID != c.ID || done.State != state.ConflictResolved || !strings.Contains(done.Reason, "nobody decided") {
			t.Errorf("record %+v", done)
		}
	})
}

func TestPersonPicksASide(t *testing.T) {
	everywhere(t, "abc", func(t *testing.T, r *rig) {
		r.o.rule = manualRule()
		c := waiting(r)
		var earlier version.ID
		for _, l := range c.Losers {
			if l.Replica == "a" {
				earlier = l.Version.ID
			}
		}
		for name, ch := range map[string]reconcile.Choice{"winner": {Winner: "nonsense"}, "replica": {Replica: "nonsense"}} {
			if _, err := r.engine.Choose(t.Context(), c.ID, ch); !errkind.Is(err, errkind.NotFound) || !strings.Contains(err.Error(), string(earlier)+" (at a") {
				t.Errorf("a %s that is none: %v", name, err)
			}
		}
		done, err := r.engine.Choose(t.Context(), c.ID, reconcile.Choice{Winner: earlier, By: "ann"})
		if err != nil || done.State != state.ConflictResolved || done.Winner.ID != earlier || !strings.Contains(done.Reason, "ann") {
			t.Fatalf("%+v, %v", done, err)
		}
		r.rest()
		r.wantAll("earlier")
		r.wantCopies("later")
		if _, err := r.engine.Choose(t.Context(), c.ID, reconcile.Choice{Winner: earlier}); !errkind.Is(err, errkind.Conflict) {
			t.Errorf("decided twice: %v", err)
		}
	})
}

// A side may be named by any replica that holds it.
func TestPersonPicksAReplica(t *testing.T) {
	for name, want := range map[string]string{"a": "earlier", "b": "later", "c": "later"} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, options{names: "abc", rule: manualRule()})
			r.everyone("base")
			r.sites["a"].before = func(object.Op, string) error { return unavailable() }
			r.put("b", "later")
			r.wantSync(nil, reconcile.Pending)
			r.want("c", "later") // one version, at two replicas
			r.sites["a"].before = nil
			r.put("a", "earlier")
			r.wantSync(nil, reconcile.Conflicted)
			r.resolve()
			c := conflicts(r)[0]
			if len(c.Losers) != 2 {
				t.Fatalf("record %+v", c)
			}
			if done, err := r.engine.Choose(t.Context(), c.ID, reconcile.Choice{Replica: name}); err != nil || done.State != state.ConflictResolved {
				t.Fatalf("%+v, %v", done, err)
			}
			r.rest()
			r.wantAll(want)
		})
	}
}

func TestPersonBringsAMergedFile(t *testing.T) {
	everywhere(t, "abc", func(t *testing.T, r *rig) {
		r.o.rule = manualRule()
		c := waiting(r)
		if _, err := r.engine.Choose(t.Context(), c.ID, reconcile.Choice{Merged: []byte("both"), By: "ann"}); err != nil {
			t.Fatal(err)
		}
		r.rest()
		r.wantAll("both")
		r.wantCopies("earlier", "later")
	})
}

// A decision about versions that are gone is refused: the person has not seen what is there now.
func TestDecisionThatComesTooLate(t *testing.T) {
	everywhere(t, "ab", func(t *testing.T, r *rig) {
		r.o.rule = manualRule()
		c := waiting(r)
		r.put("a", "latest")
		if _, err := r.engine.Choose(t.Context(), c.ID, reconcile.Choice{Winner: c.Losers[0].Version.ID}); !errkind.Is(err, errkind.Conflict) {
			t.Errorf("decided: %v", err)
		}
		r.want("a", "latest")
		r.want("b", "later")
		r.rest()
		for _, content := range []string{"latest", "later"} {
			if !r.somewhere(content) {
				t.Errorf("%q is lost", content)
			}
		}
	})
}

// A loser comes back as a user's write; what was there is kept first.
func TestLoserIsRestored(t *testing.T) {
	everywhere(t, "abc", func(t *testing.T, r *rig) {
		clash(r)
		r.rest()
		r.wantAll("later")
		c := conflicts(r)[0]
		for lost, kind := range map[version.ID]errkind.Kind{"nonsense": errkind.NotFound, c.Winner.ID: errkind.NotFound} {
			if _, err := r.engine.Restore(t.Context(), c.ID, lost); !errkind.Is(err, kind) {
				t.Errorf("restored %q: %v", lost, err)
			}
		}
		got, err := r.engine.Restore(t.Context(), c.ID, "") // there is one only
		if err != nil || got.Key != key || got.Copy == "" || got.Version != c.Losers[0].Version.ID || got.Was == nil || got.Was.Size != int64(len("later")) || got.Pending {
			t.Fatalf("%+v, %v", got, err)
		}
		r.wantAll("earlier")
		r.rest()
		r.wantAll("earlier")
		r.wantCopies("earlier", "later")
		if r.stat("c").ContentType != "text/css" {
			t.Error("the properties did not come back")
		}
		if n := len(conflicts(r)); n != 1 {
			t.Errorf("%d conflicts: to restore is no conflict", n)
		}
		r.delete("a")
		r.sync(r.deleted("a"))
		r.rest()
		if _, err := r.engine.Restore(t.Context(), c.ID, c.Losers[0].Version.ID); err != nil {
			t.Fatal(err)
		}
		r.rest()
		r.wantAll("earlier")
	})
}

// A user who writes at the moment of a restore is not overwritten.
func TestRestoreIsConditional(t *testing.T) {
	everywhere(t, "ab", func(t *testing.T, r *rig) {
		clash(r)
		r.rest()
		c := conflicts(r)[0]
		r.sites["a"].before = once(object.OpPut, func() error { r.put("a", "just now"); return nil })
		if _, err := r.engine.Restore(t.Context(), c.ID, c.Losers[0].Version.ID); !errkind.Is(err, errkind.PreconditionFailed) {
			t.Errorf("restored: %v", err)
		}
		r.sync(nil)
		r.rest()
		r.wantAll("just now")
	})
}

// A bucket in the group whose loss window is accepted keeps no condition: a look right before the write stands in.
func TestRestoreAtABucketThatKeepsNoConditions(t *testing.T) {
	lies := mem.Lies{IgnorePutMatch: true, IgnorePutNotExist: true, IgnoreComplete: true}
	r := newRig(t, options{names: "ab", bucket: mem.Config{Lies: lies}})
	clash(r)
	r.rest()
	if _, err := r.engine.Restore(t.Context(), conflicts(r)[0].ID, ""); err != nil {
		t.Fatal(err)
	}
	r.rest()
	r.wantAll("earlier")
}

// judge is a webhook.
type judge struct {
	asked  []event.Conflict
	winner func(c event.Conflict) version.ID
	err    error
}

func (j *judge) Ask(_ context.Context, _ config.ConflictRule, c event.Conflict) (version.ID, string, error) {
	j.asked = append(j.asked, c)
	if j.winner == nil {
		return "", "", j.err
	}
	return j.winner(c), "it says so", j.err
}

func TestWebhookDecides(t *testing.T) {
	at := func(replica string) func(event.Conflict) version.ID {
		return func(c event.Conflict) version.ID {
			i := slices.IndexFunc(c.Versions, func(v event.ConflictVersion) bool { return v.Replica == replica })
			return version.ID(c.Versions[i].ID)
		}
	}
	for name, c := range map[string]struct {
		judge *judge
		want  string
		why   string
	}{
		"a":          {&judge{winner: at("a")}, "earlier", "it says so"},
		"b":          {&judge{winner: at("b")}, "later", "it says so"},
		"undecided":  {&judge{}, "later", "nobody decided"},
		"down":       {&judge{err: errors.New("down")}, "later", "nobody decided"},
		"a stranger": {&judge{winner: func(event.Conflict) version.ID { return "x.1" }}, "later", "nobody decided"},
		"nobody":     {nil, "later", "nobody decided"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, options{names: "ab", bucket: mem.Config{Versioned: true}, rule: config.ConflictRule{Policy: config.Webhook, Fallback: config.KeepBoth, Deadline: time.Minute}})
			if c.judge != nil {
				r.judge = c.judge
				r.engine = r.newEngine(r.order...)
			}
			clash(r)
			r.rest()
			r.wantAll(c.want)
			rec := conflicts(r)[0]
			if !strings.Contains(rec.Reason, c.why) || rec.State != state.ConflictResolved {
				t.Errorf("record %+v", rec)
			}
			if last := lastTold(r); c.why == "nobody decided" && last.Again.IsZero() { // a broker would drop it: the same was told at first
				t.Errorf("the conflict was not announced again: %+v", last)
			}
			if c.judge != nil && (len(c.judge.asked) == 0 || len(c.judge.asked) > 6 || len(c.judge.asked[0].Versions) != 2) {
				t.Errorf("asked %d times", len(c.judge.asked))
			}
		})
	}
}

// lastTold is what was announced last of a conflict that waits.
func lastTold(r *rig) (last event.Conflict) {
	for _, e := range r.events {
		if e.typ == event.ConflictDetected {
			last = e.data.(event.Conflict)
		}
	}
	return last
}

// Tried on paper, nothing changes.
func TestTryChangesNothing(t *testing.T) {
	t.Run("a conflict", func(t *testing.T) {
		r := newRig(t, options{names: "ab", bucket: mem.Config{Versioned: true}, rule: mergeRule()})
		edits(r)
		before := r.row()
		cost := r.spent(func() {
			p, err := r.engine.Try(t.Context(), key)
			if err != nil || !p.Real || string(p.Merged) != union || p.Policy != "merge" || len(p.Keep) != 2 {
				t.Errorf("%+v, %v", p, err)
			}
		})
		if cost["all"].Put != 0 || cost["all"].Delete != 0 || r.row().Rev != before.Rev {
			t.Errorf("cost %+v", cost["all"])
		}
	})
	t.Run("no conflict", func(t *testing.T) {
		r := newRig(t, options{names: "abc"})
		r.put("a", "one")
		r.put("b", "two", driver.Properties{ContentType: "text/plain"})
		r.put("c", "one")
		p, err := r.engine.Try(t.Context(), key)
		if err != nil || len(p.Heads) != 3 || !p.Real || p.Winner == "" || p.Reason == "" {
			t.Errorf("%+v, %v", p, err)
		}
		r.sync(nil)
		r.rest()
		if p, err = r.engine.Try(t.Context(), key); err != nil || p.Winner != "" || !strings.Contains(p.Reason, "nothing to decide") {
			t.Errorf("%+v, %v", p, err)
		}
	})
}

// A side without a content says why, or a diff would show that its writer had removed everything.
func TestSideAtAReplicaThatLeft(t *testing.T) {
	r := newRig(t, options{names: "abc", rule: mergeRule()})
	r.put("a", "of a")
	r.put("c", "of c")
	r.wantSync(nil, reconcile.Conflicted)
	all, err := r.newEngine("a", "b").Sides(t.Context(), conflicts(r)[0].ID, 1<<20)
	if err != nil || len(all.Sides) != 2 {
		t.Fatalf("%+v, %v", all, err)
	}
	for _, s := range all.Sides {
		if (s.Content == nil) != (s.Why != "") {
			t.Errorf("%s at %s: %q, %q", s.Version.ID, s.Replica, s.Content, s.Why)
		}
	}
}

func TestSidesOfAConflict(t *testing.T) {
	keepers(t, "ab", func(t *testing.T, r *rig) {
		edits(r)
		contents := func() (base string, sides []string) {
			id := conflicts(r)[0].ID
			all, err := r.engine.Sides(t.Context(), id, 1<<20)
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range all.Sides {
				if s.Why != "" {
					t.Errorf("%s: %s", s.Version.ID, s.Why)
				}
				sides = append(sides, string(s.Content))
			}
			slices.Sort(sides)
			return string(all.Base.Content), sides
		}
		if base, sides := contents(); base != baseJSON || !slices.Equal(sides, []string{editB, editA}) {
			t.Errorf("open: base %q, sides %q", base, sides)
		}
		r.rest()
		if base, sides := contents(); base != baseJSON || !slices.Equal(sides, []string{editB, editA, union}) {
			t.Errorf("resolved: base %q, sides %q", base, sides)
		}
		r.sync(written("a", r.put("a", `{"d":4}`)))
		r.rest()
		if base, sides := contents(); base != baseJSON || !slices.Equal(sides, []string{editB, editA, union}) {
			t.Errorf("overwritten since then: base %q, sides %q", base, sides)
		}
	})
}
