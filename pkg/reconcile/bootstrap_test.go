package reconcile_test

import (
	"testing"

	"github.com/bucketmesh/bucketmesh/pkg/event"
	"github.com/bucketmesh/bucketmesh/pkg/object"
	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
	"github.com/bucketmesh/bucketmesh/pkg/reconcile"
)

// Without state nobody knows what was deleted: everything that is somewhere comes everywhere.
func TestBootstrapIsAUnionWithoutDeletes(t *testing.T) {
	everywhere(t, "abc", func(t *testing.T, r *rig) {
		r.put("b", "only here")
		cost := r.spent(func() { r.sync(nil) })
		r.rest()
		r.wantAll("only here")
		r.wantCopies()
		if cost["all"].Delete != 0 || cost["all"].List != 0 {
			t.Errorf("requests %+v", cost["all"])
		}
	})
}

// Equal contents are joined: a look finds them, a second look proves it. Nothing is read or written.
func TestBootstrapJoinsEqualContentsInTwoPasses(t *testing.T) {
	everywhere(t, "abc", func(t *testing.T, r *rig) {
		for _, at := range r.order {
			r.put(at, "same")
		}
		cost := r.spent(func() { r.wantSync(nil, reconcile.Settled) })
		for _, at := range r.order {
			if want := (object.Snapshot{Head: 2}); cost[at] != want {
				t.Errorf("requests to %s: %+v, want %+v", at, cost[at], want)
			}
		}
		row := r.row()
		for _, at := range r.order {
			if rep := row.Replicas[at]; rep.Tentative != "" || rep.Version != row.Replicas["a"].Version {
				t.Errorf("%s is not joined: %+v", at, rep)
			}
		}
		r.wantDirty(false)
		r.delete("c") // from now on it speaks for all of them
		r.sync(r.deleted("c"))
		r.rest()
		r.wantAll(absent)
		r.wantCopies()
	})
}

func TestBootstrapKeepsBothOfUnequalContents(t *testing.T) {
	everywhere(t, "abc", func(t *testing.T, r *rig) {
		r.put("a", "older")
		r.put("b", "newer")
		r.wantSync(nil, reconcile.Conflicted)
		r.rest()
		r.wantAll("newer")
		r.wantCopies("older")
		if r.count(event.ConflictDetected) != 1 || r.count(event.ConflictResolved) != 1 {
			t.Errorf("events %v", r.events)
		}
	})
}

// The ETag of a multipart upload is no digest: the bytes have to be read to know that they are the same. They are read
// once, and never copied.
func TestBootstrapReadsWhatItCanNotCompare(t *testing.T) {
	for name, c := range map[string]struct {
		whole string
		equal bool
	}{"equal": {"hello world", true}, "unequal of equal size": {"HELLO WORLD", false}} {
		t.Run(name, func(t *testing.T) {
			everywhere(t, "ab", func(t *testing.T, r *rig) {
				putInParts(t, r, "a", "hello ", "world")
				r.put("b", c.whole)
				cost := r.spent(func() { r.sync(nil) })
				if cost["a"].Get != 1 || cost["b"].Get != 1 || cost["all"].Put != 0 {
					t.Errorf("requests %+v", cost)
				}
				r.rest()
				if got := r.copies(); (len(got) == 0) != c.equal {
					t.Errorf("conflict copies %q", got)
				}
				r.wantAll(r.get("a", key))
				cost = r.spent(func() { r.sync(nil) })
				if cost["all"].Get != 0 {
					t.Errorf("what was read once is read again: %+v", cost["all"])
				}
			})
		})
	}
}

// Two uploads in the same parts have the same ETag: nothing needs to be read.
func TestBootstrapComparesEqualUploadsByTheirETag(t *testing.T) {
	r := newRig(t, options{names: "ab"})
	putInParts(t, r, "a", "hello ", "world")
	putInParts(t, r, "b", "hello ", "world")
	cost := r.spent(func() { r.wantSync(nil, reconcile.Settled) })
	if cost["all"].Get != 0 || cost["all"].Put != 0 {
		t.Errorf("requests %+v", cost["all"])
	}
}

// The same bytes with other metadata are another object.
func TestBootstrapOfEqualBytesWithOtherMetadataIsAConflict(t *testing.T) {
	r := newRig(t, options{names: "ab"})
	r.put("a", "same", driver.Properties{ContentType: "text/css"})
	r.put("b", "same", driver.Properties{ContentType: "text/html"})
	r.wantSync(nil, reconcile.Conflicted)
	r.rest()
	if r.stat("a").ContentType != "text/html" || r.stat("b").ContentType != "text/html" {
		t.Error("the later metadata did not win")
	}
	r.wantCopies("same")
}

// An object that answers to a look and not to a read, as an archived one, can't be compared: it is tried again with
// back-off, once per try, and copied nowhere meanwhile.
func TestWhatCanNotBeReadToCompareWaits(t *testing.T) {
	r := newRig(t, options{names: "ab"})
	putInParts(t, r, "a", "hello ", "world")
	r.put("b", "hello world")
	r.sites["a"].before = always(denied("archived"), object.OpOpen)
	cost := r.spent(func() { r.wantSync(nil, reconcile.Pending) })
	if cost["a"].Get != 1 {
		t.Errorf("it was read %d times in one call", cost["a"].Get)
	}
	d := r.wantDirty(true)
	r.clock.advance(d.Due.Sub(r.clock.Now()))
	if _, err := r.engine.Reconcile(t.Context(), key, nil, d.Attempts); err != nil {
		t.Fatal(err)
	}
	if again := r.wantDirty(true); again.Attempts <= d.Attempts || !again.Due.After(d.Due) {
		t.Errorf("no back-off: %+v after %+v", again, d)
	}
	r.sites["a"].before = nil
	r.rest()
	r.wantAll("hello world")
	r.wantCopies()
}
