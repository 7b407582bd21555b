package reconcile_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/object"
	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
	"github.com/bucketmesh/bucketmesh/pkg/object/mem"
	"github.com/bucketmesh/bucketmesh/pkg/policy"
	"github.com/bucketmesh/bucketmesh/pkg/reconcile"
	"github.com/bucketmesh/bucketmesh/pkg/state"
)

const week = 7 * 24 * time.Hour

// kept is what the quarantines hold, as replica and content.
func (r *rig) kept() (all []string) {
	r.t.Helper()
	for _, name := range r.order {
		page, err := r.sites[name].List(r.t.Context(), &driver.ListOptions{Prefix: policy.QuarantinePrefix})
		if err != nil {
			r.t.Fatal(err)
		}
		for _, o := range page.Objects {
			all = append(all, name+" "+r.get(name, o.Key))
		}
	}
	return all
}

func (r *rig) removed() state.Removed {
	r.t.Helper()
	all, err := r.store.Removed(r.t.Context(), group, state.RemovedQuery{})
	if err != nil || len(all) != 1 {
		r.t.Fatalf("removed objects %+v, %v", all, err)
	}
	return all[0]
}

func (r *rig) undelete(want string) {
	r.t.Helper()
	u, err := r.engine.Undelete(r.t.Context(), r.removed(), false)
	if err != nil || u.What != want {
		r.t.Fatalf("undelete: %+v, %v, want %s", u, err, want)
	}
}

// What a delete takes away comes back with all that it had, as a user's write that travels.
func TestUndeleteBringsBackWhatADeleteTookAway(t *testing.T) {
	for kind, bucket := range kinds() {
		t.Run(kind, func(t *testing.T) {
			r := newRig(t, options{names: "aBc", bucket: bucket, quarantine: week})
			props := driver.Properties{ContentType: "text/plain", Metadata: map[string]string{"color": "blue"}}
			r.sync(written("a", r.put("a", "one", props)))
			r.rest()
			r.delete("a")
			r.sync(r.deleted("a"))
			r.rest()
			r.wantAll(absent)
			x := r.removed()
			if bucket.Versioned == (len(r.kept()) > 0) || bucket.Versioned == (x.VersionID == "") || bucket.Versioned == (x.Copy != "") {
				t.Fatalf("kept as %+v, quarantine %q", x, r.kept())
			}
			if !bucket.Versioned && !slices.Equal(r.kept(), []string{"b one"}) {
				t.Errorf("quarantine %q, want one copy, at the first replica that is written", r.kept())
			}
			if u, err := r.engine.Undelete(t.Context(), x, true); err != nil || u.What != reconcile.EndRestored || r.removed().End != "" {
				t.Errorf("dry run: %+v, %v", u, err)
			}
			r.wantAll(absent)
			r.undelete(reconcile.EndRestored)
			r.want("a", "one") // b is for reading only
			r.rest()
			r.wantAll("one")
			r.wantCopies()
			if got := r.stat("c"); got.ContentType != "text/plain" || got.Metadata["color"] != "blue" || got.Metadata[reconcile.MetaPreserves] != "" {
				t.Errorf("properties %+v", got.Properties)
			}
			if x := r.removed(); x.End != reconcile.EndRestored {
				t.Errorf("record %+v", x)
			}
		})
	}
}

func TestUndeleteNeverWritesOverAnything(t *testing.T) {
	for name, told := range map[string]bool{"told": true, "untold": false} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, options{names: "ab", quarantine: week})
			r.everyone("one")
			r.delete("a")
			r.sync(r.deleted("a"))
			a := r.put("b", "new")
			if told {
				r.sync(written("b", a))
			}
			r.undelete("exists")
			r.rest()
			r.wantAll("new")
		})
	}
}

// A delete whose object can't be kept is not carried on.
func TestDeleteWaitsUntilWhatItTakesAwayIsKept(t *testing.T) {
	r := newRig(t, options{names: "ab", quarantine: week})
	r.everyone("one")
	r.delete("a")
	full := true
	r.sites["b"].before = func(op object.Op, k string) error {
		if full && op == object.OpPut && strings.HasPrefix(k, policy.QuarantinePrefix) {
			return unavailable()
		}
		return nil
	}
	r.wantSync(r.deleted("a"), reconcile.Pending)
	r.want("b", "one")
	r.wantDirty(true)
	full = false
	r.rest()
	r.want("b", absent)
	if !slices.Equal(r.kept(), []string{"b one"}) {
		t.Errorf("quarantine %q", r.kept())
	}
}

// A user's edit between the copy and the delete is not deleted, as ever.
func TestEditAfterTheCopyToQuarantineSurvives(t *testing.T) {
	r := newRig(t, options{names: "ab", quarantine: week})
	r.everyone("one")
	r.delete("a")
	r.sites["b"].before = once(object.OpDelete, func() error { r.put("b", "edit"); return nil })
	r.sync(r.deleted("a"))
	r.rest()
	r.wantAll("edit")
}

// An edit between the look and the copy is not kept as what the delete takes away.
func TestEditBeforeTheCopyToQuarantineIsSeen(t *testing.T) {
	r := newRig(t, options{names: "ab", quarantine: week})
	r.everyone("one")
	r.delete("a")
	r.sites["b"].before = once(object.OpOpen, func() error { r.put("b", "edit"); return nil })
	r.sync(r.deleted("a"))
	r.rest()
	r.wantAll("edit")
	if len(r.kept()) != 0 {
		t.Errorf("quarantine %q", r.kept())
	}
}

// A crash right after the delete, before anything is noted of it: the object can be brought back all the same.
func TestWhatWasTakenAwayIsKnownAfterACrash(t *testing.T) {
	everywhere(t, "ab", func(t *testing.T, r *rig) {
		r.o.quarantine = week
		r.engine = r.newEngine(r.order...)
		r.everyone("one")
		r.delete("a")
		r.sites["b"].after = once(object.OpDelete, crashed)
		r.untilCrash(func() { r.sync(r.deleted("a")) })
		r.rest()
		r.wantAll(absent)
		r.undelete(reconcile.EndRestored)
		r.rest()
		r.wantAll("one")
	})
}

func TestExpiredCopiesGo(t *testing.T) {
	r := newRig(t, options{names: "ab", quarantine: week})
	r.everyone("one")
	r.delete("a")
	r.sync(r.deleted("a"))
	x := r.removed()
	if x.Expires.Sub(x.When) != week {
		t.Errorf("expires %v after %v", x.Expires, x.When)
	}
	// What is elsewhere is not ours to remove, whatever it says: a user may have copied it there.
	foreign := x
	foreign.Copy = "a users object"
	r.putKey("b", foreign.Copy, "precious", driver.Properties{Metadata: map[string]string{reconcile.MetaPreserves: string(x.Version.ID)}})
	if err := r.engine.Expire(t.Context(), foreign); err != nil {
		t.Fatal(err)
	}
	if got := r.get("b", foreign.Copy); got != "precious" || r.removed().End != reconcile.EndLost {
		t.Errorf("b holds %q, record %+v", got, r.removed())
	}
	if err := r.engine.Expire(t.Context(), x); err != nil {
		t.Fatal(err)
	}
	if len(r.kept()) != 0 || r.removed().End != reconcile.EndExpired {
		t.Errorf("quarantine %q, record %+v", r.kept(), r.removed())
	}
	r.undelete(reconcile.EndLost)
}

// On versioned buckets a delete that can be brought back costs what a delete costs; elsewhere one copy for the group.
func TestQuarantineCost(t *testing.T) {
	cost := func(bucket mem.Config, keep time.Duration) object.Snapshot {
		r := newRig(t, options{names: "abc", bucket: bucket, quarantine: keep})
		r.everyone("one")
		r.delete("a")
		return r.spent(func() { r.sync(r.deleted("a")) })["all"]
	}
	for kind, bucket := range kinds() {
		want := cost(bucket, 0)
		if !bucket.Versioned {
			want = want.Add(object.Snapshot{Get: 1, Put: 1, Head: 1})
		}
		if got := cost(bucket, week); got != want {
			t.Errorf("%s: a delete costs %+v, want %+v", kind, got, want)
		}
	}
}

// A bucket that takes no condition when an upload in parts is completed is in a group as a ReadOnly replica, or because its loss
// window is accepted. What is large goes there, too, and can be deleted and brought back.
func TestQuarantineOfABucketThatKeepsNoConditions(t *testing.T) {
	for name, lies := range map[string]mem.Lies{
		"on completing an upload": {IgnoreComplete: true},
		"at all":                  {IgnoreComplete: true, IgnorePutMatch: true, IgnorePutNotExist: true, IgnoreDelete: true},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, options{names: "ab", bucket: mem.Config{Lies: lies}, quarantine: week, part: 8})
			large := strings.Repeat("large ", 10)
			r.everyone(large)
			r.delete("a")
			r.sync(r.deleted("a"))
			r.rest()
			r.wantAll(absent)
			r.undelete(reconcile.EndRestored)
			r.rest()
			r.wantAll(large)
		})
	}
}
