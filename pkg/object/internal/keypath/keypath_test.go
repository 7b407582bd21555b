package keypath_test

import (
	"testing"

	"github.com/bucketmesh/bucketmesh/pkg/object/internal/keypath"
)

func TestUnclean(t *testing.T) {
	for key, want := range map[string]bool{
		"a": false, "a/b": false, "a/": false, "a./b": false, ".a/..b": false, "...": false,
		"/a": true, "a//b": true, "a//": true, "./a": true, "a/./b": true, "a/..": true, ".": true, "../": true,
	} {
		if got := keypath.Unclean(key); got != want {
			t.Errorf("%q: %v", key, got)
		}
	}
}
