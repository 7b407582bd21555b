package reconcile_test

import (
	"testing"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/object"
	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
	"github.com/bucketmesh/bucketmesh/pkg/object/mem"
	"github.com/bucketmesh/bucketmesh/pkg/reconcile"
)

func TestFastPathCostsOneGetAndAPutPerReplica(t *testing.T) {
	everywhere(t, "abc", func(t *testing.T, r *rig) {
		r.everyone("before")
		h := written("a", r.put("a", "after"))
		cost := r.spent(func() { r.wantSync(h, reconcile.Settled) })
		r.wantAll("after")
		for name, want := range map[string]object.Snapshot{"a": {Get: 1}, "b": {Put: 1}, "c": {Put: 1}} {
			if cost[name] != want {
				t.Errorf("requests to %s: %+v, want %+v", name, cost[name], want)
			}
		}
		r.wantDirty(false)
	})
}

// Our own writes come back as notifications, in whatever form the provider tells of them, and more than once.
func TestEchoesCostNoRequest(t *testing.T) {
	for name, c := range map[string]struct {
		bucket mem.Config
		tell   func(h *reconcile.Hint)
	}{
		"by version id":                    {mem.Config{Versioned: true}, func(h *reconcile.Hint) { h.RequestID, h.Seq = "", "" }},
		"by version id, with a request id": {mem.Config{Versioned: true}, func(*reconcile.Hint) {}},
		"by request id":                    {mem.Config{}, func(h *reconcile.Hint) { h.Seq = "" }},
		"by tag":                           {mem.Config{}, func(h *reconcile.Hint) { h.RequestID = "" }},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, options{names: "abc", bucket: c.bucket})
			r.everyone("before")
			user := written("a", r.put("a", "after"))
			r.wantSync(user, reconcile.Settled)
			cost := r.spent(func() {
				for range 3 { // each is brought three times
					for _, at := range []string{"b", "c"} {
						h := written(at, r.stat(at))
						h.RequestID, h.Seq = r.row().Replicas[at].RequestID, "echo-"+at
						c.tell(h)
						r.wantSync(h, reconcile.Echo)
					}
					r.wantSync(user, reconcile.Echo)
				}
			})
			if n := cost["all"].Total(); n != 0 {
				t.Errorf("echoes cost %d requests: %+v", n, cost["all"])
			}
			r.wantDirty(false)
		})
	}
}

func TestEchoesOfDeletesCostNoRequest(t *testing.T) {
	everywhere(t, "abc", func(t *testing.T, r *rig) {
		r.everyone("one")
		r.delete("a")
		r.wantSync(r.deleted("a"), reconcile.Settled)
		r.wantAll(absent)
		cost := r.spent(func() {
			for _, at := range []string{"b", "c", "a", "b"} {
				r.wantSync(r.deleted(at), reconcile.Echo)
			}
		})
		if n := cost["all"].Total(); n != 0 {
			t.Errorf("echoes cost %d requests", n)
		}
	})
}

// An S3 ETag stays the same when a user edits the metadata or puts the same bytes again: only one event with our tag is ours.
func TestMetadataEditWithTheSameETagIsNotAnEcho(t *testing.T) {
	for name, hint := range map[string]func(h *reconcile.Hint){
		"with a request id":                   func(*reconcile.Hint) {},
		"without":                             func(h *reconcile.Hint) { h.RequestID = "" },
		"a copy onto itself, before the echo": func(h *reconcile.Hint) { h.RequestID, h.Copied = "", true },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, options{names: "ab"})
			r.everyone("same")
			echo := written("b", r.stat("b"))
			echo.RequestID, echo.Seq = "", "echo"
			edit := written("b", r.put("b", "same", driver.Properties{ContentType: "text/css", Metadata: map[string]string{"by": "user"}}))
			hint(edit)
			if !edit.Copied {
				r.wantSync(echo, reconcile.Echo)
			}
			r.sync(edit)
			r.rest()
			if a := r.stat("a"); a.ContentType != "text/css" || a.Metadata["by"] != "user" {
				t.Errorf("a has type %q and metadata %v", a.ContentType, a.Metadata)
			}
		})
	}
}

func TestMetadataOnlyChangesPropagate(t *testing.T) {
	for name, props := range map[string]driver.Properties{
		"content type": {ContentType: "text/css"},
		"headers":      {CacheControl: "no-store", ContentDisposition: "inline", ContentLanguage: "de", Expires: "Thu, 01 Dec 2030 16:00:00 GMT"},
		"metadata":     {Metadata: map[string]string{"color": "blue"}},
		"tags":         {Tags: map[string]string{"team": "blue"}},
	} {
		t.Run(name, func(t *testing.T) {
			everywhere(t, "abc", func(t *testing.T, r *rig) {
				r.everyone("same")
				r.sync(&reconcile.Hint{Replica: "c", Kind: reconcile.Changed}) // some other change: no harm
				r.put("c", "same", props)
				r.sync(&reconcile.Hint{Replica: "c", Kind: reconcile.Changed})
				r.rest()
				for _, at := range []string{"a", "b"} {
					if got, want := reconcile.MetaHash(r.stat(at).Properties), reconcile.MetaHash(r.stat("c").Properties); got != want {
						t.Errorf("%s has other properties: %+v", at, r.stat(at).Properties)
					}
				}
				r.wantCopies()
			})
		})
	}
}

// What is ours in the metadata never travels, and what users set keeps its place beside it.
func TestReservedMetadataStaysWhereItIs(t *testing.T) {
	r := newRig(t, options{names: "ab"})
	r.sync(written("a", r.put("a", "one", driver.Properties{Metadata: map[string]string{
		"color": "blue", reconcile.MetaNonce: "stolen", reconcile.MetaPreserves: "x",
	}})))
	got := r.stat("b").Metadata
	if len(got) != 2 || got["color"] != "blue" || got[reconcile.MetaNonce] == "stolen" || got[reconcile.MetaNonce] == "" {
		t.Errorf("b has metadata %v", got)
	}
}

// A put that is told of twelve hours late, after the object was deleted and made again.
func TestLateEventsChangeNothing(t *testing.T) {
	everywhere(t, "ab", func(t *testing.T, r *rig) {
		r.everyone("first")
		old := written("a", r.put("a", "late"))
		r.sync(old)
		late := *old
		late.Seq, late.RequestID = "another", ""
		r.delete("a")
		gone := r.deleted("a")
		r.sync(gone)
		r.sync(written("a", r.put("a", "again")))
		r.rest()
		r.wantAll("again")
		r.clock.advance(12 * time.Hour)
		cost := r.spent(func() {
			r.sync(&late)
			r.sync(gone)
			r.sync(written("b", r.stat("b")))
		})
		r.rest()
		r.wantAll("again")
		r.wantCopies()
		if cost["all"].Put != 0 || cost["all"].Delete != 0 {
			t.Errorf("late events wrote: %+v", cost["all"])
		}
	})
}

// Events in any order end in the same place as events in order.
func TestEventOrderDoesNotMatter(t *testing.T) {
	for name, order := range map[string][]int{"forward": {0, 1, 2}, "backward": {2, 1, 0}, "mixed": {1, 2, 0}} {
		t.Run(name, func(t *testing.T) {
			everywhere(t, "abc", func(t *testing.T, r *rig) {
				r.everyone("base")
				var events []*reconcile.Hint
				for _, content := range []string{"one", "two"} {
					events = append(events, written("b", r.put("b", content)))
				}
				r.delete("b")
				events = append(events, r.deleted("b"))
				for _, i := range order {
					r.sync(events[i])
				}
				r.rest()
				r.wantAll(absent)
				r.wantCopies()
			})
		})
	}
}
