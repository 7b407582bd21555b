package plan

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/bucketmesh/bucketmesh/pkg/version"
)

// Sources that are left out change no answer: whoever had seen one of them had seen one that is left.
func TestMinimalSourcesAnswerAsAllOfThem(t *testing.T) {
	vector := rapid.Custom(func(t *rapid.T) version.Vector {
		v := version.Vector{}
		for _, name := range []string{"a", "b", "c"} {
			if n := rapid.Uint64Range(0, 2).Draw(t, name); n > 0 {
				v[name] = n
			}
		}
		return v
	})
	rapid.Check(t, func(t *rapid.T) {
		all := rapid.SliceOfN(vector, 0, 6).Draw(t, "sources")
		writer := &version.Version{Vector: vector.Draw(t, "writer"), MayFollow: vector.Draw(t, "may follow")}
		merged := version.Version{Vector: version.Vector{"a": 9, "b": 9, "c": 9}, Sources: all}
		least := merged
		least.Sources = minimal(all)
		if writer.MayHaveSeen(&merged) != writer.MayHaveSeen(&least) {
			t.Fatalf("%v became %v", all, least.Sources)
		}
		for i, v := range least.Sources {
			for j, w := range least.Sources {
				if i != j && v.LessEqual(w) {
					t.Fatalf("%v follows %v", w, v)
				}
			}
		}
	})
}
