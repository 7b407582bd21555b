package reconcile_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/config"
	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/event"
	"github.com/bucketmesh/bucketmesh/pkg/object"
	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
	"github.com/bucketmesh/bucketmesh/pkg/policy"
	"github.com/bucketmesh/bucketmesh/pkg/reconcile"
	"github.com/bucketmesh/bucketmesh/pkg/state"
)

// clash makes a conflict between "earlier" at a and "later" at b, and leaves it to the resolver.
func clash(r *rig) {
	r.t.Helper()
	r.everyone("base")
	r.put("a", "earlier", driver.Properties{ContentType: "text/css", Metadata: map[string]string{"by": "user"}})
	r.put("b", "later")
	r.wantSync(nil, reconcile.Conflicted)
}

// copyOf is the key of the copy that the one conflict of the group made or would make.
func copyOf(r *rig) string {
	r.t.Helper()
	c := conflicts(r)
	for _, l := range c[0].Losers {
		if l.Replica == "a" {
			return policy.CopyKey(key, l.Version.ID)
		}
	}
	r.t.Fatalf("a is no loser in %+v", c[0])
	return ""
}

func conflicts(r *rig) []state.Conflict {
	r.t.Helper()
	all, err := r.store.Conflicts(r.t.Context(), group, "", 10)
	if err != nil || len(all) == 0 {
		r.t.Fatalf("conflict records: %v, %v", all, err)
	}
	return all
}

func TestConflictKeepsTheLoserAndSaysWhatHappened(t *testing.T) {
	everywhere(t, "ab", func(t *testing.T, r *rig) {
		clash(r)
		found := conflicts(r)[0]
		if found.State != "detected" || len(found.Losers) != 2 || found.Key != key || !found.Detected.Equal(r.clock.Now()) {
			t.Errorf("found: %+v", found)
		}
		r.clock.advance(time.Hour)
		r.wantSync(nil, reconcile.Conflicted) // still there
		r.rest()
		r.wantAll("later")
		r.wantCopies("earlier")
		done := conflicts(r)[0]
		if done.ID != found.ID || done.State != "resolved" || !done.Detected.Equal(found.Detected) || !done.Resolved.After(done.Detected) ||
			done.WinnerAt != "b" || done.Winner.Origin != "b" || done.Policy != "keep-both" || done.Reason == "" || len(done.Losers) != 1 {
			t.Errorf("resolved: %+v", done)
		}
		l := done.Losers[0]
		if l.Replica != "a" || l.Copy != policy.CopyKey(key, l.Version.ID) || l.Version.Content.Size != int64(len("earlier")) {
			t.Errorf("loser: %+v", l)
		}
		kept, err := r.sites["a"].Stat(t.Context(), l.Copy, "")
		if err != nil || kept.ContentType != "text/css" || kept.Metadata["by"] != "user" || kept.Metadata[reconcile.MetaPreserves] != string(l.Version.ID) {
			t.Errorf("the copy: %+v, %v", kept, err)
		}
		if got := r.events[len(r.events)-1]; got.typ != event.SyncApplied {
			t.Errorf("last event %+v", got)
		}
	})
}

func TestDiscardKeepsNoCopy(t *testing.T) {
	r := newRig(t, options{names: "ab", rule: config.ConflictRule{Policy: config.LastWriterWins, Discard: true}})
	clash(r)
	r.rest()
	r.wantAll("later")
	r.wantCopies()
}

// The resolver may die at each of its lines, and be sent the same event again and again: there is one copy, and one end.
func TestConflictCopiesAreIdempotent(t *testing.T) {
	for _, line := range []string{"4a", "4c"} {
		t.Run("crash at "+line, func(t *testing.T) {
			everywhere(t, "ab", func(t *testing.T, r *rig) {
				clash(r)
				r.trace = func(p reconcile.Point) {
					if p.Line == line {
						panic(crash{})
					}
				}
				r.untilCrash(r.resolve)
				r.trace = nil
				r.want("a", "earlier")
				r.resolve()
				r.resolve()
				r.rest()
				r.resolve()
				r.wantAll("later")
				r.wantCopies("earlier")
				if n := r.count(event.ConflictResolved); n != 1 {
					t.Errorf("resolved %d times", n)
				}
			})
		})
	}
}

// An answer about the copy that got lost is not taken for a copy that is there, nor for one that is not.
func TestConflictCopyIsVerified(t *testing.T) {
	for name, fault := range map[string]func(r *rig){
		"the put fails":             func(r *rig) { r.sites["a"].before = onCopies(object.OpPut) },
		"the answer is lost":        func(r *rig) { r.sites["a"].after = onCopies(object.OpPut) },
		"the verification fails":    func(r *rig) { r.sites["a"].before = onCopies(object.OpStat) },
		"the loser can not be read": func(r *rig) { r.sites["a"].before = always(unavailable(), object.OpOpen) },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, options{names: "ab"})
			clash(r)
			fault(r)
			_, err := r.engine.Resolve(t.Context(), key)
			if err == nil || !errkind.Of(err).Retryable() {
				t.Errorf("resolve ended with %v, want an error that a broker repeats", err)
			}
			r.want("a", "earlier")
			if r.count(event.ConflictResolved) != 0 {
				t.Error("it was resolved")
			}
			r.sites["a"].before, r.sites["a"].after = nil, nil
			r.rest()
			r.wantAll("later")
			r.wantCopies("earlier")
		})
	}
}

// onCopies makes every call of op on a conflict copy fail.
func onCopies(op object.Op) object.Hook {
	return func(o object.Op, k string) error {
		if o == op && strings.HasPrefix(k, policy.CopyPrefix) {
			return unavailable()
		}
		return nil
	}
}

func TestForeignObjectUnderTheCopysKeyIsNotOverwritten(t *testing.T) {
	everywhere(t, "ab", func(t *testing.T, r *rig) {
		clash(r)
		r.putKey("a", copyOf(r), "a user's")
		_, err := r.engine.Resolve(t.Context(), key)
		if !errkind.Is(err, errkind.Invalid) || !strings.Contains(err.Error(), "another object") {
			t.Errorf("resolve ended with %v", err)
		}
		r.want("a", "earlier")
		r.want("b", "later")
		r.wantCopies("a user's")
		before := r.count(event.ConflictDetected)
		for range 6 { // it is found again, with back-off
			r.again()
		}
		if n := r.count(event.ConflictDetected) - before; n != 6 {
			t.Errorf("announced %d times in 6 tries", n)
		}
		if d := r.wantDirty(true); d.Due.Sub(r.clock.Now()) < time.Minute {
			t.Errorf("no back-off: %+v", d)
		}
	})
}

// The resolver made the copy at b, from the same version there, and died. The copy travelled to a, and its mark did not.
func TestTrapACopyThatTravelledHereHasNoMark(t *testing.T) {
	everywhere(t, "ab", func(t *testing.T, r *rig) {
		clash(r)
		name := copyOf(r)
		user := driver.Properties{ContentType: "text/css", Metadata: map[string]string{"by": "user"}}
		made := user
		made.Metadata = map[string]string{"by": "user", reconcile.MetaPreserves: name[strings.LastIndexByte(name, '/')+1:]}
		r.putKey("b", name, "earlier", made)
		r.putKey("a", name, "earlier", user)
		r.wantSync(nil, reconcile.Conflicted)
		if _, err := r.engine.Resolve(t.Context(), key); err != nil {
			t.Errorf("resolve ended with %v", err)
		}
		r.rest()
		r.wantAll("later")
		r.wantCopies("earlier")
	})
}

func TestConflictsOfLongKeys(t *testing.T) {
	long := strings.Repeat("é", 512)
	for name, k := range map[string]string{"1,024 bytes": long, "a folder": "dir/", "dots": "a/../b", "a copy": ".conflicts/x/y"} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, options{names: "ab"})
			r.putKey("a", k, "earlier")
			r.putKey("b", k, "later")
			for range 2 {
				if _, err := r.engine.Reconcile(t.Context(), k, nil, 0); err != nil {
					t.Fatal(err)
				}
				if _, err := r.engine.Resolve(t.Context(), k); err != nil {
					t.Fatal(err)
				}
			}
			if got := r.get("a", k); got != "later" {
				t.Errorf("a holds %q", got)
			}
			if got := r.copies(); !slices.Contains(got, "earlier") {
				t.Errorf("copies %q", got)
			}
		})
	}
}

// A loser that a user changes while it is being preserved: what was decided is decided again.
func TestResolveWithAChangedLoserDecidesAgain(t *testing.T) {
	for name, when := range map[string]struct {
		op      object.Op
		decided bool
	}{
		"before it is read": {object.OpOpen, false}, // the row does not know: line 1 has to look
		// Of the copy, to verify it. The row knows, from another worker, and another decision is made at once.
		"after it is copied": {object.OpStat, true},
	} {
		t.Run(name, func(t *testing.T) {
			everywhere(t, "ab", func(t *testing.T, r *rig) {
				clash(r)
				done := false
				r.sites["a"].before = func(op object.Op, _ string) error {
					if op == when.op && !done {
						done = true
						h := written("a", r.put("a", "edited"))
						if op == object.OpStat { // and somebody tells of it at once
							other := r.newEngine(r.order...)
							r.sites["a"].before = nil
							if _, err := other.Reconcile(t.Context(), key, h, 0); err != nil {
								return err
							}
						}
					}
					return nil
				}
				out, err := r.engine.Resolve(t.Context(), key)
				if want := map[bool]reconcile.Outcome{true: reconcile.Settled, false: reconcile.Conflicted}[when.decided]; err != nil || out != want {
					t.Errorf("resolve ended as %v, %v", out, err)
				}
				if (r.count(event.ConflictResolved) != 0) != when.decided {
					t.Error("it was resolved, or was not")
				}
				r.wantDirty(true)
				r.sites["a"].before = nil
				r.rest()
				if !r.somewhere("edited") || !r.somewhere("later") {
					t.Errorf("lost: a %q, b %q, copies %q", r.get("a", key), r.get("b", key), r.copies())
				}
				r.wantAll(r.get("a", key))
			})
		})
	}
}

func TestResolveWithoutAConflictDoesNothing(t *testing.T) {
	r := newRig(t, options{names: "ab"})
	r.everyone("one")
	cost := r.spent(func() {
		if out, err := r.engine.Resolve(context.Background(), key); out != reconcile.Settled || err != nil {
			t.Errorf("%v, %v", out, err)
		}
	})
	if cost["all"].Total() != 0 {
		t.Errorf("requests %+v", cost["all"])
	}
}

// Users may not write at C: what is written there loses, and is kept; what is deleted there comes back.
func TestReadOnlyReplicaDriftLosesAndIsKept(t *testing.T) {
	everywhere(t, "abC", func(t *testing.T, r *rig) {
		r.everyone("base")
		r.clock.advance(time.Hour)
		r.sync(written("c", r.put("c", "drift")))
		r.rest()
		r.wantAll("base")
		r.wantCopies("drift")
	})
}

func TestReadOnlyReplicaDeleteIsUndone(t *testing.T) {
	everywhere(t, "abC", func(t *testing.T, r *rig) {
		r.everyone("base")
		r.delete("c")
		r.sync(r.deleted("c"))
		r.rest()
		r.wantAll("base")
		r.wantCopies()
	})
}

// What is only at a replica where users may not write is left alone, until somebody writes the key where he may.
func TestReadOnlyReplicaAloneIsLeftAlone(t *testing.T) {
	everywhere(t, "abC", func(t *testing.T, r *rig) {
		r.sync(written("c", r.put("c", "drift")))
		r.rest()
		r.want("a", absent)
		r.want("c", "drift")
		r.sync(written("a", r.put("a", "one")))
		r.rest()
		r.wantAll("one")
		r.wantCopies("drift")
	})
}
