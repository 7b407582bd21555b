package worker_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/config"
	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/object"
	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
	objectmem "github.com/bucketmesh/bucketmesh/pkg/object/mem"
	"github.com/bucketmesh/bucketmesh/pkg/state"
	"github.com/bucketmesh/bucketmesh/pkg/state/mem"
	"github.com/bucketmesh/bucketmesh/pkg/version"
	"github.com/bucketmesh/bucketmesh/pkg/worker"
)

// failing is a store whose commits fail from one on.
type failing struct {
	*mem.Store
	left int
}

func (f *failing) Commit(ctx context.Context, row state.Row, fx state.Effects) (int64, error) {
	if f.left--; f.left < 0 {
		return 0, errkind.New(errkind.Unavailable, "injected")
	}
	return f.Store.Commit(ctx, row, fx)
}

// A replica that left is forgotten once, at the next start, by whoever works and not by whoever looks; an interrupted run is
// finished before anything else, also if the replica is back by then.
func TestReplicaThatLeftIsForgotten(t *testing.T) {
	const keys = 600 // several pages
	buckets := map[string]*objectmem.Bucket{}
	for _, name := range []string{"a", "b", "c", "d"} { // made before, because they are opened at the same time
		buckets["bucket-"+name] = objectmem.New(objectmem.Config{Versioned: true})
	}
	store := &failing{Store: mem.New(time.Now), left: 1 << 30}
	open := func(look bool, names ...string) error {
		text := strings.Split(document, "replicas:\n")[0] + "replicas:\n"
		for _, name := range names {
			text += fmt.Sprintf("  - {name: %s, url: \"mem://bucket-%s\"}\n", name, name)
		}
		g, err := config.Load([]byte(text), config.Options{})
		if err != nil {
			t.Fatal(err)
		}
		w, err := worker.Open(t.Context(), worker.Options{
			Group: g, Store: store, Sink: &sink{}, Look: look, Probe: object.ProbeOptions{Writers: 2, Rounds: 1},
			Openers: worker.Openers{"mem": func(_ context.Context, r config.Replica, _ worker.Access) (driver.Bucket, error) {
				return buckets[r.Bucket], nil
			}},
		})
		if err == nil {
			err = w.Close()
		}
		return err
	}
	mustOpen := func(look bool, names ...string) {
		t.Helper()
		if err := open(look, names...); err != nil {
			t.Fatal(err)
		}
	}
	remembered := func() (n int) {
		t.Helper()
		rows, err := store.Rows(t.Context(), "g", "", 2*keys)
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range rows {
			if _, ok := row.Replicas["c"]; ok || len(row.Told) > 0 {
				n++
			}
		}
		return n
	}
	mustOpen(false, "a", "b", "c")
	for i := range keys {
		row := state.Row{Group: "g", Key: fmt.Sprintf("k%03d", i), Replicas: map[string]state.Replica{}, Told: []state.Told{{Replica: "c", VersionID: "1"}}}
		v := &version.Version{ID: "a.1", Kind: version.Put, Vector: version.Vector{"a": 1}}
		row.Versions = map[version.ID]*version.Version{v.ID: v}
		for _, name := range []string{"a", "b", "c"} {
			row.Replicas[name] = state.Replica{Version: v.ID, Print: state.Fingerprint{Present: true, Tag: "t"}}
		}
		if _, err := store.Commit(t.Context(), row, state.Effects{}); err != nil {
			t.Fatal(err)
		}
	}
	mustOpen(true, "a", "b")
	if n := remembered(); n != keys {
		t.Errorf("who only looked forgot %d rows", keys-n)
	}
	store.left = 400
	if err := open(false, "a", "b"); !errkind.Is(err, errkind.Unavailable) {
		t.Fatalf("an outage of the store: %v", err)
	}
	if n := remembered(); n != keys-400 {
		t.Errorf("%d rows remember the replica, want %d", n, keys-400)
	}
	store.left = 1 << 30
	buckets["bucket-c"] = objectmem.New(objectmem.Config{Versioned: true}) // it comes back as another bucket
	mustOpen(false, "a", "b", "c")
	if n := remembered(); n != 0 {
		t.Errorf("%d rows remember what the replica held before it left", n)
	}
}
