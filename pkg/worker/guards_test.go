package worker_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/object"
	"github.com/bucketmesh/bucketmesh/pkg/policy"
	"github.com/bucketmesh/bucketmesh/pkg/state"
	"github.com/bucketmesh/bucketmesh/pkg/version"
	"github.com/bucketmesh/bucketmesh/pkg/worker"
)

// A delete reaches a replica with the newest version, and another one, which was out of reach and has an old version, with it or later.
// What comes back is the newest version, whatever the order of the records and of the deletes.
func TestUndeleteTakesTheNewestVersion(t *testing.T) {
	at := time.Unix(1_800_000_000, 0)
	removed := func(id string, after time.Duration, hlc version.Timestamp, v version.Vector) state.Removed {
		return state.Removed{ID: id, Key: "k", When: at.Add(after), Version: version.Version{ID: version.ID(id), HLC: hlc, Vector: v}}
	}
	for name, c := range map[string]struct {
		all  []state.Removed
		want string
	}{
		"in one step": {[]state.Removed{removed("old", 0, 1, version.Vector{"a": 1}), removed("new", 0, 2, version.Vector{"a": 2})}, "new"},
		"the old one later": {[]state.Removed{
			removed("new", 0, 2, version.Vector{"a": 2}), removed("old", time.Hour, 1, version.Vector{"a": 1}),
		}, "new"},
		"another one between them": {[]state.Removed{
			removed("new", 0, 2, version.Vector{"a": 2}), removed("other", time.Minute, 1, version.Vector{"b": 1}),
			removed("old", time.Hour, 1, version.Vector{"a": 1}),
		}, "other"},
		"two lives of a key": {[]state.Removed{removed("second", time.Hour, 1, version.Vector{"b": 9}), removed("first", 0, 5, version.Vector{"a": 1})}, "second"},
	} {
		t.Run(name, func(t *testing.T) {
			for range 2 {
				if got := worker.Newest(c.all).ID; got != c.want {
					t.Errorf("%s comes back, want %s", got, c.want)
				}
				c.all[0], c.all[len(c.all)-1] = c.all[len(c.all)-1], c.all[0]
			}
		})
	}
}

// Many copies of a replica that does not answer come first: what is kept elsewhere expires all the same, however much it is.
func TestReplicaThatDoesNotAnswerHoldsUpNoExpiry(t *testing.T) {
	b := newBench(t).mustOpen()
	const each = 150
	for i := range 2 * each {
		key, replica := fmt.Sprintf("k%03d", i), "a"
		if i >= each {
			replica = "b"
		}
		removed := state.Removed{
			ID: key, Group: "g", Key: key, Replica: replica, Copy: policy.QuarantineKey(key, "a.1"), Version: version.Version{ID: "a.1", Kind: version.Put},
			When: time.Now().Add(-2 * time.Hour), Expires: time.Now().Add(-time.Hour),
		}
		if _, err := b.store.Commit(t.Context(), state.Row{Group: "g", Key: key}, state.Effects{Remove: true, Removed: []state.Removed{removed}}); err != nil {
			t.Fatal(err)
		}
	}
	b.failWith(func(bucket string, op object.Op) error {
		if bucket == "one" {
			return down(bucket, op)
		}
		return nil
	})
	if err := b.Tidy(t.Context()); err == nil {
		t.Error("it says nothing of the replica that does not answer")
	}
	kept, err := b.store.Removed(t.Context(), "g", state.RemovedQuery{Kept: true, Limit: 1000})
	if err != nil || len(kept) != each {
		t.Errorf("%d are kept, want the %d of the replica that does not answer, %v", len(kept), each, err)
	}
}
