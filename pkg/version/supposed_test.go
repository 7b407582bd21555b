package version_test

import (
	"testing"

	"github.com/bucketmesh/bucketmesh/pkg/version"
)

// An object with our nonce may be our own late write of an old content, or what a user restored. A delete that a user's restore follows
// was not made by somebody who had seen the restored object.
func TestAGuessGivesWayToWhatIsKnown(t *testing.T) {
	old := version.Vector{"a": 1}
	deleted := version.Vector{"b": 2}
	// The delete won a conflict against a's content: the resolution has both in its past.
	resolution := &version.Version{Kind: version.Delete, Vector: version.Vector{"a": 1, "b": 2, "~": 3}, Lineage: deleted}
	restored := &version.Version{Kind: version.Put, Vector: version.Vector{"b": 4}, Lineage: old, Supposed: true} // at b, after the delete
	late := &version.Version{Kind: version.Put, Vector: version.Vector{"c": 4}, Lineage: old, Supposed: true}     // where nobody saw the delete
	if resolution.MayHaveSeen(restored) {
		t.Error("the delete is supposed to have seen what followed it")
	}
	if !restored.MayHaveSeen(resolution) {
		t.Error("the restore follows the delete")
	}
	// Two users wrote the same; only one of them was seen.
	joined := &version.Version{Kind: version.Put, Vector: version.Vector{"a": 2, "b": 2, "~": 3}, Lineage: deleted, Joined: true}
	if !joined.MayHaveSeen(restored) {
		t.Error("the other user, who had overwritten the content, is forgotten")
	}
	if !resolution.MayHaveSeen(late) {
		t.Error("a late write wins over what had overwritten its content")
	}
}
