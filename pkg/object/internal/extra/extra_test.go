package extra_test

import (
	"maps"
	"testing"

	"github.com/bucketmesh/bucketmesh/pkg/object/internal/extra"
)

func TestWhatIsPackedComesBack(t *testing.T) {
	metadata, extras := map[string]string{"a": "b"}, map[string]string{extra.CustomTime: "x", extra.WebsiteRedirect: "/y"}
	rest, got := extra.Unpack(extra.Pack(metadata, extras))
	if !maps.Equal(rest, metadata) || !maps.Equal(got, extras) {
		t.Errorf("%v and %v", rest, got)
	}
	if len(metadata) != 1 {
		t.Errorf("the caller's metadata changed: %v", metadata)
	}
	if rest, got := extra.Unpack(extra.Pack(nil, nil)); rest != nil || got != nil {
		t.Errorf("of nothing: %v and %v", rest, got)
	}
}
