package reconcile_test

import (
	"fmt"
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

func mergeRule() config.ConflictRule {
	return config.ConflictRule{Policy: config.Merge, Format: config.FormatJSON, Fallback: config.KeepBoth, MaxSize: 1 << 10}
}

const (
	baseJSON = `{"a":1,"b":1,"c":1}`
	editA    = `{"a":2,"b":1,"c":1}`
	editB    = `{"a":1,"b":1,"c":3}`
	union    = `{"a":2,"b":1,"c":3}`
)

// keepers are the kinds of buckets that keep versions, where the base of a merge is found.
func keepers(t *testing.T, names string, scenario func(t *testing.T, r *rig)) {
	t.Helper()
	for kind, cfg := range kinds() {
		if cfg.Versioned {
			t.Run(kind, func(t *testing.T) {
				scenario(t, newRig(t, options{names: names, bucket: cfg, rule: mergeRule()}))
			})
		}
	}
}

// edits makes a conflict of two edits of one base.
func edits(r *rig) {
	r.t.Helper()
	r.everyone(baseJSON)
	r.put("a", editA, driver.Properties{ContentType: "application/json", Metadata: map[string]string{"by": "a"}})
	r.put("b", editB, driver.Properties{ContentType: "application/json", Metadata: map[string]string{"of": "b"}})
	r.wantSync(nil, reconcile.Conflicted)
}

func TestMergeBringsBothEditsEverywhere(t *testing.T) {
	keepers(t, "abc", func(t *testing.T, r *rig) {
		edits(r)
		r.rest()
		r.wantAll(union)
		r.wantCopies(editB, editA)
		for _, name := range r.order {
			if p := reconcile.UserProperties(r.stat(name).Properties); p.ContentType != "application/json" || p.Metadata["by"] != "a" || p.Metadata["of"] != "b" {
				t.Errorf("%s has the properties %+v", name, p)
			}
		}
		c := conflicts(r)[0]
		if c.State != state.ConflictResolved || c.Policy != "merge" || len(c.Losers) != 2 || c.Base.Size != int64(len(baseJSON)) || !strings.Contains(c.Reason, "merged") {
			t.Errorf("record %+v", c)
		}
		if n := r.count(event.ConflictResolved); n != 1 {
			t.Errorf("resolved %d times", n)
		}
		// What follows the merge follows all that is in it.
		r.sync(written("c", r.put("c", `{"a":5}`)))
		r.rest()
		r.wantAll(`{"a":5}`)
		if n := len(conflicts(r)); n != 1 {
			t.Errorf("%d conflicts", n)
		}
	})
}

// Three regions edit at once: the merge has all three.
func TestMergeOfThree(t *testing.T) {
	keepers(t, "abc", func(t *testing.T, r *rig) {
		r.everyone(baseJSON)
		r.put("a", editA)
		r.put("b", editB)
		r.put("c", `{"a":1,"b":7,"c":1}`)
		r.wantSync(nil, reconcile.Conflicted)
		r.rest()
		r.wantAll(`{"a":2,"b":7,"c":3}`)
	})
}

// A field that both changed, a base that nobody has any more, contents that are too large or encoded, and a delete: the fallback
// decides, both are kept, and the record says why.
func TestMergeThatFailsKeepsBoth(t *testing.T) {
	for name, c := range map[string]struct {
		make func(r *rig)
		why  string
	}{
		"clash":     {func(r *rig) { r.put("a", `{"a":2}`); r.put("b", `{"a":3}`) }, "/a"},
		"too large": {func(r *rig) { r.put("a", editA); r.put("b", `{"b":"`+strings.Repeat("x", 2000)+`"}`) }, "larger than"},
		"encoded":   {func(r *rig) { r.put("a", editA); r.put("b", editB, driver.Properties{ContentEncoding: "gzip"}) }, "gzip"},
		"no JSON":   {func(r *rig) { r.put("a", editA); r.put("b", "{") }, ""},
		"a delete":  {func(r *rig) { r.put("a", editA); r.delete("b"); r.clock.advance(time.Second) }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			keepers(t, "ab", func(t *testing.T, r *rig) {
				r.everyone(`{"a":1,"b":1,"c":1}`)
				c.make(r)
				held := []string{r.get("a", key), r.get("b", key)}
				r.wantSync(nil, reconcile.Conflicted)
				r.rest()
				if r.get("a", key) != r.get("b", key) {
					t.Errorf("a holds %q and b %q", r.get("a", key), r.get("b", key))
				}
				for _, h := range held {
					if h != absent && !r.somewhere(h) {
						t.Errorf("%q is lost", h)
					}
				}
				if rec := conflicts(r)[0]; rec.State != state.ConflictResolved || !strings.Contains(rec.Reason, c.why) {
					t.Errorf("record %+v", rec)
				}
			})
		})
	}
}

// A bucket without versions forgets the base, unless another replica still holds it. Without it only what does not differ can be
// united.
func TestMergeFindsItsBase(t *testing.T) {
	t.Run("nowhere", func(t *testing.T) {
		r := newRig(t, options{names: "ab", rule: mergeRule()})
		edits(r)
		r.rest()
		r.wantAll(editB)
		r.wantCopies(editA)
	})
	t.Run("at a third replica", func(t *testing.T) {
		r := newRig(t, options{names: "abc", rule: mergeRule()})
		edits(r)
		r.rest()
		r.wantAll(union)
	})
	t.Run("further back", func(t *testing.T) { // a was edited twice before anybody looked at b
		r := newRig(t, options{names: "ab", bucket: mem.Config{Versioned: true}, rule: mergeRule()})
		r.everyone(baseJSON)
		r.sites["b"].before = func(object.Op, string) error { return unavailable() }
		r.sync(written("a", r.put("a", `{"a":9,"b":1,"c":1}`)))
		r.sync(written("a", r.put("a", editA)))
		r.sites["b"].before = nil
		r.put("b", editB)
		r.rest()
		r.wantAll(union)
	})
}

// The side that has everything wins as it is: nothing new is written.
// One side went back to an older content on its way. The base is the version that both sides followed, not the one whose bytes one
// of them had again: against that the way back would be no edit, and would be undone.
func TestMergeBaseIsTheVersionThatAllFollowed(t *testing.T) {
	keepers(t, "ab", func(t *testing.T, r *rig) {
		r.everyone(`{"a":1}`)
		r.everyone(`{"a":2}`)
		r.put("b", `{"a":2,"b":1}`)
		r.wantSync(written("a", r.put("a", `{"a":1}`)), reconcile.Conflicted)
		r.put("a", `{"a":1,"c":1}`)
		r.wantSync(nil, reconcile.Conflicted)
		r.rest()
		for _, member := range []string{`"a":1`, `"b":1`, `"c":1`} {
			if got := r.get("a", key); !strings.Contains(got, member) {
				t.Errorf("merged to %s, without the edit %s", got, member)
			}
		}
	})
}

func TestMergeThatIsOneOfTheSides(t *testing.T) {
	keepers(t, "ab", func(t *testing.T, r *rig) {
		r.everyone(baseJSON)
		r.put("a", editA)
		r.put("b", union)
		r.wantSync(nil, reconcile.Conflicted)
		r.rest()
		r.wantAll(union)
		r.wantCopies(editA)
		if c := conflicts(r)[0]; c.WinnerAt != "b" || c.Policy != "merge" {
			t.Errorf("record %+v", c)
		}
	})
}

// The resolver may die at every line and after every commit, and the answer to its write may be lost.
func TestMergeSurvivesCrashes(t *testing.T) {
	check := func(t *testing.T, r *rig) {
		t.Helper()
		r.rest()
		r.wantAll(union)
		r.wantCopies(editB, editA)
		if n := len(r.row().Intents); n != 0 {
			t.Errorf("%d intents stay", n)
		}
		for _, c := range conflicts(r) {
			if c.Open() {
				t.Errorf("an open record stays: %+v", c)
			}
		}
	}
	for _, line := range []string{"4a", "5a", "5c", "5e"} {
		t.Run("crash at "+line, func(t *testing.T) {
			keepers(t, "abc", func(t *testing.T, r *rig) {
				edits(r)
				r.trace = func(p reconcile.Point) {
					if p.Line == line {
						panic(crash{})
					}
				}
				r.untilCrash(r.resolve)
				r.trace = nil
				check(t, r)
			})
		})
	}
	for n := 1; n <= 2; n++ {
		t.Run(fmt.Sprintf("crash after commit %d", n), func(t *testing.T) {
			keepers(t, "abc", func(t *testing.T, r *rig) {
				edits(r)
				commits := 0
				r.store.committed = func() {
					if commits++; commits == n {
						panic(crash{})
					}
				}
				r.untilCrash(r.resolve)
				r.store.committed = nil
				r.wantDirty(true)
				check(t, r)
			})
		})
	}
	for name, hook := range map[string]func(s *site){
		"the answer is lost":  func(s *site) { s.after = once(object.OpPut, unavailable) },
		"the request is lost": func(s *site) { s.before = once(object.OpPut, unavailable) },
		"it asks for patience": func(s *site) {
			s.before = once(object.OpPut, func() error { return errkind.New(errkind.Throttled, "slow down") })
		},
	} {
		t.Run(name, func(t *testing.T) {
			keepers(t, "abc", func(t *testing.T, r *rig) {
				edits(r)
				hook(r.sites["b"]) // where the fallback's winner is
				if _, err := r.engine.Resolve(t.Context(), key); err == nil || !errkind.Of(err).Retryable() {
					t.Errorf("resolve: %v", err)
				}
				check(t, r)
			})
		})
	}
}

// A 412 after a merge of ours landed, because somebody below sent the request twice, does not make a user's write of it.
func TestTrap412AfterAMergeThatLanded(t *testing.T) {
	keepers(t, "abc", func(t *testing.T, r *rig) {
		edits(r)
		refused := func() error { return errkind.New(errkind.PreconditionFailed, "412") }
		merges := 0
		for _, s := range r.sites {
			s.after = func(op object.Op, k string) error {
				if op != object.OpPut || k != key || merges > 0 {
					return nil
				}
				merges++
				return refused()
			}
		}
		r.resolve()
		r.rest()
		r.wantAll(union)
		if all := conflicts(r); merges != 1 || len(all) != 1 || all[0].State != state.ConflictResolved || all[0].Policy != "merge" {
			t.Errorf("after %d merges: %+v", merges, all)
		}
		for _, v := range r.row().Versions {
			if v.Origin != version.Synchronizer {
				t.Errorf("%s is taken for a write of %s", v.ID, v.Origin)
			}
		}
	})
}

// Users write on while the merge is made: at the replica that it is written to, and at another one.
func TestUsersWriteDuringAMerge(t *testing.T) {
	for _, at := range []string{"a", "b", "c"} {
		for _, line := range []string{"4a", "5c"} {
			t.Run(at+" at "+line, func(t *testing.T) {
				keepers(t, "abc", func(t *testing.T, r *rig) {
					edits(r)
					late := `{"a":1,"b":8,"c":1}`
					done := false
					r.trace = func(p reconcile.Point) {
						if p.Line == line && !done {
							done = true
							r.put(at, late)
						}
					}
					r.resolve()
					r.trace = nil
					r.sync(nil)
					r.rest()
					r.wantAll(r.get("a", key))
					kept := append(r.copies(), r.get("a", key))
					for _, content := range []string{late, editA, editB} {
						overwritten := at == "a" && content == editA || at == "b" && content == editB // by the user, who saw it
						if !overwritten && !slices.Contains(kept, content) && !containsEdit(r.get("a", key), content) {
							t.Errorf("%s is lost; there are %q", content, kept)
						}
					}
				})
			})
		}
	}
}

// containsEdit reports that a merged content has the edit of another.
func containsEdit(merged, edit string) bool {
	for _, member := range []string{`"a":2`, `"c":3`, `"b":8`} {
		if strings.Contains(edit, member) {
			return strings.Contains(merged, member)
		}
	}
	return false
}
