package reconcile_test

import (
	"testing"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/object"
	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
	"github.com/bucketmesh/bucketmesh/pkg/object/mem"
	"github.com/bucketmesh/bucketmesh/pkg/policy"
	"github.com/bucketmesh/bucketmesh/pkg/reconcile"
	"github.com/bucketmesh/bucketmesh/pkg/reconcile/plan"
)

// A conflict copy is an object like any other: it is told of, and it comes everywhere, once.
func TestConflictCopiesTravelAsObjectsDo(t *testing.T) {
	everywhere(t, "ab", func(t *testing.T, r *rig) {
		clash(r)
		name := copyOf(r)
		r.rest()
		a, err := r.sites["a"].Stat(t.Context(), name, "")
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if _, err := r.engine.Reconcile(t.Context(), name, written("a", a), 0); err != nil {
				t.Fatal(err)
			}
		}
		r.rest()
		if got := r.get("b", name); got != "earlier" {
			t.Errorf("b holds %q under %s", got, name)
		}
		if page, err := r.sites["b"].List(t.Context(), &driver.ListOptions{Prefix: policy.CopyPrefix}); err != nil || len(page.Objects) != 1 {
			t.Errorf("copies at b: %+v, %v", page, err)
		}
	})
}

// An encrypted bucket gives the same bytes another tag with each write: no reason to copy them.
func TestSameBytesUnderANewTagAreNotCopied(t *testing.T) {
	r := newRig(t, options{names: "abc", bucket: mem.Config{UniqueTags: true}})
	r.everyone("same")
	h := written("a", r.put("a", "same"))
	cost := r.spent(func() { r.sync(h); r.rest() })
	if cost["all"].Put != 0 {
		t.Errorf("requests %+v", cost["all"])
	}
	r.wantAll("same")
	r.wantCopies()
}

// To remove the current version for good uncovers the one below it: that is what users see from then on.
func TestRemovingTheCurrentVersionBringsTheOlderOneEverywhere(t *testing.T) {
	r := newRig(t, options{names: "ab", bucket: mem.Config{Versioned: true}})
	r.everyone("older")
	a := r.put("a", "newer")
	r.sync(written("a", a))
	r.rest()
	r.wantAll("newer")
	if _, err := r.sites["a"].Delete(t.Context(), key, &driver.DeleteOptions{VersionID: a.VersionID}); err != nil {
		t.Fatal(err)
	}
	r.sync(r.deleted("a")) // some servers tell of it as of a delete
	r.rest()
	r.wantAll("older")
}

func TestVersioningThatIsSuspended(t *testing.T) {
	r := newRig(t, options{names: "ab", bucket: mem.Config{Versioned: true}})
	r.everyone("before")
	for _, at := range r.order {
		r.sites[at].SetVersioned(false)
	}
	r.sync(written("a", r.put("a", "after")))
	r.rest()
	r.wantAll("after")
	r.sync(written("b", r.put("b", "again")))
	r.rest()
	r.wantAll("again")
	r.delete("a")
	r.sync(r.deleted("a"))
	r.rest()
	r.wantAll(absent)
	r.wantCopies()
}

func TestReplicaThatIsAddedGetsEverything(t *testing.T) {
	everywhere(t, "abc", func(t *testing.T, r *rig) {
		r.order = []string{"a", "b"}
		r.engine = r.newEngine(r.order...)
		r.everyone("one")
		r.order = []string{"a", "b", "c"}
		r.engine = r.newEngine(r.order...)
		r.sync(nil)
		r.rest()
		r.wantAll("one")
		r.wantCopies()
	})
}

// An old content that comes back by a restore of the whole bucket looks like a user's write, nonce or not. It goes
// everywhere: nothing tells a restore from a wish. What it replaced was known to the bucket, so it is no conflict.
func TestReplicaThatIsRestoredFromABackup(t *testing.T) {
	everywhere(t, "ab", func(t *testing.T, r *rig) {
		r.everyone("old")
		backup := r.stat("b").Properties
		r.sync(written("a", r.put("a", "new")))
		r.rest()
		r.put("b", "old", backup)
		r.sync(nil)
		r.rest()
		r.wantAll("old")
		r.wantCopies()
	})
}

// The read is pinned: whatever happens to the source while it is copied, no mixture arrives.
func TestSourceThatIsReplacedWhileItIsCopied(t *testing.T) {
	for name, op := range map[string]object.Op{"before the read": object.OpOpen, "between parts": object.OpPutPart, "before the end": object.OpComplete} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, options{names: "ab", part: 4})
			r.everyone("base of some size")
			change := once(op, func() error {
				r.put("a", "NEWER CONTENT OF SOME SIZE")
				return nil
			})
			r.sites["a"].before, r.sites["b"].before = change, nil
			if op != object.OpOpen {
				r.sites["a"].before, r.sites["b"].before = nil, change
			}
			r.sync(written("a", r.put("a", "newer content of some size")))
			if got := r.get("b", key); got != "newer content of some size" && got != "NEWER CONTENT OF SOME SIZE" {
				t.Errorf("b holds %q", got)
			}
			r.sync(written("a", r.stat("a")))
			r.rest()
			r.wantAll("NEWER CONTENT OF SOME SIZE")
			r.wantCopies()
			if n := r.sites["b"].Uploads(); n != 0 {
				t.Errorf("%d uploads stay open", n)
			}
		})
	}
}

// An edit of the metadata leaves an S3 ETag as it is: what is copied is what was looked at, or the destinations hold
// something that the row doesn't know, and the user's next edit is in conflict with his last one.
func TestMetadataThatIsEditedBetweenLookAndRead(t *testing.T) {
	everywhere(t, "abc", func(t *testing.T, r *rig) {
		edit := func(to string) { r.put("a", "content", driver.Properties{Metadata: map[string]string{"k": to}}) }
		edit("first")
		r.sites["a"].before = once(object.OpOpen, func() error { edit("second"); return nil })
		r.sync(nil)
		edit("third")
		r.sync(nil)
		r.rest()
		for name, s := range r.sites {
			if a, err := s.Stat(t.Context(), key, ""); err != nil || a.Metadata["k"] != "third" {
				t.Errorf("%s holds %+v, %v", name, a, err)
			}
		}
		r.wantCopies()
	})
}

// A process read "no row" and looked at one replica, and stood still while the key came and went everywhere. What it would commit then is long
// gone, and its disappearance would be taken for a delete: it is refused, and looks again.
func TestR8AKeyWithoutARowHasNoRevision(t *testing.T) {
	everywhere(t, "ab", func(t *testing.T, r *rig) {
		stale, other := r.engine, r.newEngine(r.order...)
		r.sites["a"].skew = time.Hour // what was at a outranks what comes
		r.put("a", "gone")
		r.sites["b"].before = once(object.OpStat, func() error {
			r.engine = other
			r.sync(nil)
			r.rest()
			r.wantAll("gone")
			r.delete("a")
			r.sync(r.deleted("a"))
			r.rest()
			r.wantAll(absent)
			if row := r.row(); row.Rev != 0 {
				t.Fatalf("the row is still there: %+v", row)
			}
			r.put("b", "new")
			return nil
		})
		r.engine = stale
		r.sync(nil)
		r.rest()
		r.wantAll("new")
		r.wantCopies()
	})
}

// S3 dates an upload in parts by its beginning. What it replaced is younger by that date, and still it comes after it.
func TestUploadThatBeganBeforeWhatItReplaced(t *testing.T) {
	everywhere(t, "ab", func(t *testing.T, r *rig) {
		r.everyone("written meanwhile")
		r.sites["a"].skew = -time.Hour
		r.put("a", "begun long ago")
		r.sites["a"].skew = 0
		r.sync(nil) // no notification: nothing is known but the date
		r.rest()
		r.wantAll("begun long ago")
		r.wantCopies()
		r.sync(written("b", r.put("b", "next")))
		r.rest()
		r.wantAll("next")
		r.wantCopies()
	})
}

// A notification knows when the upload ended: that is what counts in a conflict.
func TestUploadIsAsLateAsItsEnd(t *testing.T) {
	everywhere(t, "ab", func(t *testing.T, r *rig) {
		r.put("b", "earlier")
		r.sites["a"].skew = -time.Hour
		h := written("a", r.put("a", "begun first, ended last"))
		r.sites["a"].skew, h.Time = 0, r.clock.Now()
		r.sync(h)
		r.sync(nil)
		r.rest()
		r.wantAll("begun first, ended last")
		r.wantCopies("earlier")
	})
}

// An upload may take hours. Its condition counts when it is completed, not when it begins.
func TestDestinationThatChangesDuringAnUpload(t *testing.T) {
	for name, change := range map[string]struct {
		op     object.Op
		delete bool
	}{"written between parts": {op: object.OpPutPart}, "written at the end": {op: object.OpComplete}, "deleted at the end": {op: object.OpComplete, delete: true}} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, options{names: "ab", part: 4})
			r.everyone("base of some size")
			r.sites["b"].before = once(change.op, func() error {
				if change.delete {
					r.delete("b")
				} else {
					r.put("b", "a user's, hours later")
				}
				return nil
			})
			r.sync(written("a", r.put("a", "newer content of some size")))
			r.sync(nil)
			r.rest()
			if change.delete {
				r.wantAll("newer content of some size")
			} else {
				r.wantAll("a user's, hours later")
				r.wantCopies("newer content of some size")
			}
			if n := r.sites["b"].Uploads(); n != 0 {
				t.Errorf("%d uploads stay open", n)
			}
		})
	}
}

func TestWhatCanNotWorkIsRefused(t *testing.T) {
	r := newRig(t, options{names: "ab"})
	if out, err := r.engine.Reconcile(t.Context(), key, &reconcile.Hint{Replica: "zz", Kind: reconcile.Written, Tag: "t"}, 0); !errkind.Is(err, errkind.Invalid) {
		t.Errorf("a hint of an unknown replica ended as %v, %v", out, err)
	}
	for name, cfg := range map[string]reconcile.Config{
		"no group":   {},
		"no sites":   {Group: group},
		"one site":   {Group: group, Sites: []reconcile.Site{{Member: plan.Member{Name: "a", Writable: true}}}},
		"no writers": {Group: group, Sites: []reconcile.Site{{Member: plan.Member{Name: "a"}}, {Member: plan.Member{Name: "b"}}}},
	} {
		if _, err := reconcile.New(cfg); !errkind.Is(err, errkind.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A bucket that says once that a key is not there, while a notification says that it was written, is asked again: nobody else
// would come back to the key.
func TestAbsenceThatANotificationContradictsIsLookedAtTwice(t *testing.T) {
	everywhere(t, "ab", func(t *testing.T, r *rig) {
		h := written("b", r.put("b", "new"))
		lies := map[object.Op]int{object.OpOpen: 1, object.OpStat: 1}
		r.sites["b"].before = func(o object.Op, k string) error {
			if k == key && lies[o] > 0 {
				lies[o]--
				return errkind.New(errkind.NotFound, "no such key, it says")
			}
			return nil
		}
		r.sync(h)
		r.rest()
		r.wantAll("new")
	})
}
