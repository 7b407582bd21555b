package worker_test

import (
	"testing"
	"time"

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
