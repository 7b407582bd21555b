package plan

import (
	"testing"

	"github.com/bucketmesh/bucketmesh/pkg/state"
	"github.com/bucketmesh/bucketmesh/pkg/version"
)

// GCS counts a metageneration also for what is not synchronized: a lifecycle rule that changes the storage class, a hold, an
// ACL. Had that been a user's write, it would compete with the writes of users, and composed objects, of which GCS tells no
// digest that others know, would be copied again. What is written next is conditional on the new count.
func TestTrapMetagenerationAloneIsNoEdit(t *testing.T) {
	members := []Member{{Name: "a", Writable: true}, {Name: "b", Writable: true}}
	composed := Observation{
		Print:   state.Fingerprint{Present: true, Tag: "17", VersionID: "17", Metageneration: "1", MetaHash: "m", ModTime: 1},
		Content: version.Content{Size: 5},
	}
	settled := Plan(state.Row{}, View{
		Members: members, Seen: map[string]Observation{"a": composed, "b": {}}, LookedAt: epoch, Now: epoch,
	})
	if settled.Action != Propagate {
		t.Fatalf("the first plan is %v", settled.Action)
	}
	counted := composed
	counted.Print.Metageneration, counted.Print.ModTime = "2", 2
	next := Plan(settled.Row, View{
		Members: members, Seen: map[string]Observation{"a": counted, "b": {}}, LookedAt: epoch, Now: epoch,
	})
	was, is := settled.Row.Replicas["a"], next.Row.Replicas["a"]
	if is.Version != was.Version {
		t.Errorf("a holds the new version %s", is.Version)
	}
	if !next.Changed || is.Print != counted.Print {
		t.Errorf("the row says %+v of a", is.Print)
	}
	edited := counted
	edited.Print.Metageneration, edited.Print.MetaHash = "3", "n"
	last := Plan(next.Row, View{
		Members: members, Seen: map[string]Observation{"a": edited, "b": {}}, LookedAt: epoch, Now: epoch,
	})
	if last.Row.Replicas["a"].Version == was.Version {
		t.Error("an edit of the metadata is not seen")
	}
}
