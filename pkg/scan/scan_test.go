package scan_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/object"
	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
	objectmem "github.com/bucketmesh/bucketmesh/pkg/object/mem"
	"github.com/bucketmesh/bucketmesh/pkg/reconcile"
	"github.com/bucketmesh/bucketmesh/pkg/scan"
	"github.com/bucketmesh/bucketmesh/pkg/state"
	"github.com/bucketmesh/bucketmesh/pkg/state/mem"
	"github.com/bucketmesh/bucketmesh/pkg/version"
)

const group = "g"

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// world is two buckets, a state and a record of what was looked at.
type world struct {
	t       *testing.T
	sites   []scan.Source
	store   state.Store
	mu      sync.Mutex
	looked  []string
	outcome func(key string) (reconcile.Outcome, error)
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, store: mem.New(func() time.Time { return start })}
	for _, name := range []string{"a", "b"} {
		w.sites = append(w.sites, scan.Source{Name: name, Bucket: objectmem.New(objectmem.Config{})})
	}
	w.outcome = func(string) (reconcile.Outcome, error) { return reconcile.Settled, nil }
	return w
}

func (w *world) put(site int, key string) *driver.Attrs {
	w.t.Helper()
	if _, err := w.sites[site].Bucket.Put(w.t.Context(), key, strings.NewReader(key), &driver.PutOptions{Size: int64(len(key))}); err != nil {
		w.t.Fatal(err)
	}
	a, err := w.sites[site].Bucket.Stat(w.t.Context(), key, "")
	if err != nil {
		w.t.Fatal(err)
	}
	return a
}

// known puts a key at both sites and remembers it; change spoils what is remembered.
func (w *world) known(key string, change func(r map[string]state.Replica)) {
	w.t.Helper()
	r := map[string]state.Replica{}
	for i, s := range w.sites {
		r[s.Name] = state.Replica{Version: "v", Print: reconcile.Observe(w.put(i, key)).Print}
	}
	if change != nil {
		change(r)
	}
	row := state.Row{Group: group, Key: key, Replicas: r, Versions: map[version.ID]*version.Version{"v": {ID: "v", Kind: version.Put}}}
	if _, err := w.store.Commit(w.t.Context(), row, state.Effects{}); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) config() scan.Config {
	return scan.Config{
		Group: group, Sources: w.sites, Store: w.store, Parallel: 4, Cursor: "c", Now: time.Now,
		Match: func(key string) bool { return !strings.HasPrefix(key, "tmp/") },
		Reconcile: func(_ context.Context, key string) (reconcile.Outcome, error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.looked = append(w.looked, key)
			return w.outcome(key)
		},
	}
}

func (w *world) run(c scan.Config) (scan.Progress, error) {
	w.t.Helper()
	w.looked = nil
	p, err := scan.Run(w.t.Context(), c)
	slices.Sort(w.looked)
	return p, err
}

func TestOnlyWhatDiffersIsLookedAt(t *testing.T) {
	w := newWorld(t)
	edit := func(f func(r *state.Replica)) func(map[string]state.Replica) {
		return func(m map[string]state.Replica) { r := m["b"]; f(&r); m["b"] = r }
	}
	w.known("equal", nil)
	w.known("tmp/filtered", edit(func(r *state.Replica) { r.Print.Tag = "other" }))
	w.put(0, "unknown")
	w.known("changed", edit(func(r *state.Replica) { r.Print.Tag = "other" }))
	w.known("touched", edit(func(r *state.Replica) { r.Print.ModTime += int64(time.Hour) }))
	w.known("time-not-told", edit(func(r *state.Replica) { r.Print.ModTime = 0 }))
	w.known("tentative", edit(func(r *state.Replica) { r.Tentative = "v" }))
	w.known("refused", edit(func(r *state.Replica) { r.Status = state.StatusRefused }))
	w.known("behind", edit(func(r *state.Replica) { r.Version = "" }))
	w.known("appeared", edit(func(r *state.Replica) { r.Print = state.Fingerprint{} }))
	w.known("gone", nil)
	if _, err := w.sites[1].Bucket.Delete(t.Context(), "gone", &driver.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	got, err := w.run(w.config())
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"appeared", "behind", "changed", "gone", "refused", "tentative", "time-not-told", "touched", "unknown"}
	if !slices.Equal(w.looked, want) {
		t.Errorf("looked at %q, want %q", w.looked, want)
	}
	if got.Keys != 10 || got.Equal != 1 || got.Verified != 2 || got.Differ != 7 || got.Settled != 7 || !got.Complete() {
		t.Errorf("%+v", got)
	}
	if a, err := w.sites[0].Bucket.Stat(t.Context(), "gone", ""); err != nil || a == nil {
		t.Errorf("the listing deleted something: %v", err)
	}
}

// A key that had to be looked at is verified only if the look changed nothing.
func TestVerifiedIsWhatWasEqual(t *testing.T) {
	w := newWorld(t)
	untold := func(m map[string]state.Replica) { r := m["b"]; r.Print.ModTime = 0; m["b"] = r }
	w.known("same", untold)
	w.known("edited", untold)
	w.put(0, "new")
	w.put(1, "new")
	w.put(0, "only-a")
	w.outcome = func(key string) (reconcile.Outcome, error) {
		if key == "edited" { // the look found metadata that no listing shows
			row, err := w.store.Get(t.Context(), group, key)
			if err != nil {
				return reconcile.Pending, err
			}
			for name, r := range row.Replicas {
				r.Version = "edit"
				row.Replicas[name] = r
			}
			row.Versions["edit"] = &version.Version{ID: "edit", Kind: version.Put}
			if _, err := w.store.Commit(t.Context(), row, state.Effects{}); err != nil {
				return reconcile.Pending, err
			}
		}
		return reconcile.Settled, nil
	}
	got, err := w.run(w.config())
	if err != nil || got.Keys != 4 || got.Verified != 2 || got.Differ != 2 || got.Settled != 2 || !slices.Equal(got.Answered, []string{"a", "b"}) {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestOutcomesAreCountedAndLeftOversStayDirty(t *testing.T) {
	w := newWorld(t)
	for _, key := range []string{"clash", "fail", "pending", "settled"} {
		w.put(0, key)
	}
	w.outcome = func(key string) (reconcile.Outcome, error) {
		switch key {
		case "clash":
			return reconcile.Conflicted, nil
		case "fail":
			return reconcile.Pending, errors.New("the store is away")
		case "pending":
			return reconcile.Pending, nil
		}
		return reconcile.Settled, nil
	}
	got, err := w.run(w.config())
	if err != nil || got.Clashes != 1 || got.Pending != 2 || got.Settled != 1 || got.Complete() || !got.Done {
		t.Errorf("%+v, %v", got, err)
	}
	due, err := w.store.Due(t.Context(), group, time.Now().Add(time.Hour), 10)
	if err != nil || len(due) != 4 { // the engine takes them off, which is not at work here
		t.Errorf("dirty keys %v, %v", due, err)
	}
}

// A replica that can't be listed is left out; what the others say still counts, and nothing looks absent.
func TestReplicaThatCannotBeListedIsLeftOut(t *testing.T) {
	for _, c := range []struct {
		name string
		list func(n int, page *driver.Page) (*driver.Page, error)
		says string
	}{
		{"down", func(int, *driver.Page) (*driver.Page, error) {
			return nil, errkind.New(errkind.Unavailable, "it is down")
		}, "down"},
		{"not sorted", func(_ int, page *driver.Page) (*driver.Page, error) { slices.Reverse(page.Objects); return page, nil }, "byte order"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.known("k1", nil)
			w.known("k2", nil)
			w.put(0, "new")
			w.sites[1].Bucket = lister{w.sites[1].Bucket, c.list}
			got, err := w.run(w.config())
			if err != nil || !strings.Contains(got.Skipped["b"], c.says) || got.Complete() || !got.Done {
				t.Errorf("%+v, %v", got, err)
			}
			if !slices.Equal(w.looked, []string{"new"}) {
				t.Errorf("looked at %q", w.looked)
			}
		})
	}
	w := newWorld(t)
	down := func(int, *driver.Page) (*driver.Page, error) {
		return nil, errkind.New(errkind.Unavailable, "it is down")
	}
	for i := range w.sites {
		w.sites[i].Bucket = lister{w.sites[i].Bucket, down}
	}
	if _, err := w.run(w.config()); !errkind.Is(err, errkind.Unavailable) {
		t.Errorf("no replica can be listed: %v", err)
	}
}

type lister struct {
	driver.Bucket
	list func(n int, page *driver.Page) (*driver.Page, error)
}

func (l lister) List(ctx context.Context, o *driver.ListOptions) (*driver.Page, error) {
	page, err := l.Bucket.List(ctx, o)
	if err != nil {
		return nil, err
	}
	return l.list(0, page)
}

// An interrupted scan goes on behind the last batch that was finished, and every key is looked at.
func TestInterruptedScanGoesOn(t *testing.T) {
	w := newWorld(t)
	want := map[string]bool{}
	for i := range 3000 {
		key := fmt.Sprintf("k%05d", i)
		w.put(i%2, key)
		want[key] = true
	}
	ctx, cancel := context.WithCancel(t.Context())
	w.outcome = func(key string) (reconcile.Outcome, error) {
		if key == "k01500" {
			cancel()
		}
		return reconcile.Settled, nil
	}
	first, err := scan.Run(ctx, w.config())
	if !errkind.Is(err, errkind.Canceled) || first.Done {
		t.Fatalf("%+v, %v", first, err)
	}
	seen := map[string]bool{}
	for _, key := range w.looked {
		seen[key] = true
	}
	second, err := w.run(w.config())
	if err != nil || !second.Complete() {
		t.Fatalf("%+v, %v", second, err)
	}
	if second.Resumed == "" || second.Keys >= 3000 {
		t.Errorf("it began anew: %+v", second)
	}
	for _, key := range w.looked {
		if key <= second.Resumed {
			t.Fatalf("%s was looked at again, after %s was reached", key, second.Resumed)
		}
		seen[key] = true
	}
	if !maps.Equal(seen, want) {
		t.Errorf("%d of %d keys were looked at", len(seen), len(want))
	}
	third, err := w.run(w.config())
	if err != nil || third.Resumed != "" || third.Keys != 3000 {
		t.Errorf("the next scan is not from the beginning: %+v, %v", third, err)
	}
}

// The pages of a listing are read one at a time.
func TestConstantMemory(t *testing.T) {
	w := newWorld(t)
	for i := range 2500 {
		w.put(0, fmt.Sprintf("k%05d", i))
	}
	var counter object.Counter
	w.sites[0].Bucket = object.Count(w.sites[0].Bucket, &counter)
	if _, err := w.run(w.config()); err != nil {
		t.Fatal(err)
	}
	if n := counter.Snapshot().List; n != 3 {
		t.Errorf("%d pages for 2,500 keys, want 3", n)
	}
}
