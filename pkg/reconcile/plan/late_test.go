package plan

import (
	"testing"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/state"
	"github.com/bucketmesh/bucketmesh/pkg/version"
)

// A copy of b's content to a was conditional on a state that a user's write has ended. It may land all the same: where absence comes back, where
// bytes that are put back have the same tag, where a driver stands in for the condition. Then it counts as a user's write, but whoever
// overwrote that content at b is known to have seen it.
func TestLateWriteOfOursHasTheLineageOfWhatItBrings(t *testing.T) {
	one, two := version.Content{Size: 1, MD5: "1"}, version.Content{Size: 1, MD5: "2"}
	ours := &version.Version{ID: "b.1", Kind: version.Put, Vector: version.Vector{"b": 1}, Content: one, MetaHash: "m", Origin: "b"}
	before := state.Row{
		Group: "g", Key: "k", Versions: map[version.ID]*version.Version{ours.ID: ours}, Counters: version.Vector{"b": 1},
		Replicas: map[string]state.Replica{"b": {Version: ours.ID, Print: state.Fingerprint{Present: true, Tag: "t1", MetaHash: "m"}}},
		Intents:  []state.Intent{{Nonce: "n", Replica: "a", Version: ours.ID, LeaseUntil: epoch.Add(30 * time.Second)}},
	}
	holds := func(tag, nonce, meta string, c version.Content) Observation {
		return Observation{Print: state.Fingerprint{Present: true, Tag: tag, Nonce: nonce, MetaHash: meta}, Content: c}
	}
	look := func(row state.Row, at time.Time, o Observation) state.Row {
		return Plan(row, View{
			Members: []Member{{Name: "a", Writable: true}, {Name: "b", Writable: true}},
			Seen:    map[string]Observation{"a": o}, LookedAt: at, Now: at,
		}).Row
	}
	users := holds("t2", "", "m", two)
	for name, tt := range map[string]struct {
		seen   time.Duration // of the user's write, after the intent was made
		landed Observation
		want   bool
	}{
		"landed":                      {0, holds("t1", "n", "m", one), true},
		"landed, digest unknown":      {0, holds("t1", "n", "m", version.Content{Size: 1}), true},
		"the lease had ended":         {time.Minute, holds("t1", "n", "m", one), false},
		"another nonce":               {0, holds("t1", "o", "m", one), false},
		"a user edited its metadata":  {0, holds("t1", "n", "x", one), false},
		"a user edited what it holds": {0, holds("t3", "n", "m", two), false},
	} {
		row := look(before, epoch.Add(tt.seen), users)
		if len(row.Intents) != 0 {
			t.Errorf("%s: the user's write did not end the intent: %+v", name, row.Intents)
		}
		row = look(row, epoch.Add(tt.seen), tt.landed)
		v := Lookup(&row, row.Replicas["a"].Version)
		if v.Origin != "a" || ours.Vector.LessEqual(v.Vector) {
			t.Errorf("%s: %+v counts as our write", name, v)
		}
		successor := &version.Version{Vector: version.Vector{"b": 2}}
		if seen := successor.MayHaveSeen(v); seen != tt.want {
			t.Errorf("%s: the successor of the content is known to have seen it: %t, want %t", name, seen, tt.want)
		}
	}

	row := look(before, epoch, users)
	row = look(row, epoch.Add(time.Minute), users)
	if len(row.Late) != 0 {
		t.Errorf("what can't land any more is remembered: %+v", row.Late)
	}
	for range 2 * maxLate {
		row.Intents = append(row.Intents, state.Intent{Nonce: "n", Replica: "a", Version: ours.ID, LeaseUntil: epoch.Add(time.Hour)})
	}
	row.Versions[ours.ID] = ours
	if row = look(row, epoch, holds("t4", "", "m", version.Content{Size: 1, MD5: "4"})); len(row.Late) != maxLate {
		t.Errorf("%d late writes are remembered, want %d", len(row.Late), maxLate)
	}
}
