package reconcile_test

import (
	"strings"
	"testing"

	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
)

// putInParts is a user's multipart upload, whose ETag is no digest of its bytes.
func putInParts(t *testing.T, r *rig, at string, parts ...string) *driver.Attrs {
	t.Helper()
	s := r.sites[at]
	id, err := s.Begin(t.Context(), key, nil)
	if err != nil {
		t.Fatalf("begin upload: %v", err)
	}
	var done []driver.Part
	for i, content := range parts {
		p, err := s.PutPart(t.Context(), key, id, i+1, strings.NewReader(content), int64(len(content)))
		if err != nil {
			t.Fatalf("put part: %v", err)
		}
		done = append(done, p)
	}
	a, err := s.Complete(t.Context(), key, id, done, &driver.PutOptions{})
	if err != nil {
		t.Fatalf("complete: %v", err)
	}
	return a
}
