package reconcile_test

import (
	"strings"
	"testing"

	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
)

// multipart finishes a user's upload of an object in parts, whose ETag is no digest of its bytes.
func multipart(t *testing.T, r *rig, at, upload string, parts ...string) *driver.Attrs {
	t.Helper()
	s := r.sites[at]
	var done []driver.Part
	for i, content := range parts {
		p, err := s.PutPart(t.Context(), key, upload, i+1, strings.NewReader(content), int64(len(content)))
		if err != nil {
			t.Fatalf("put part: %v", err)
		}
		done = append(done, p)
	}
	a, err := s.Complete(t.Context(), key, upload, done, &driver.PutOptions{})
	if err != nil {
		t.Fatalf("complete: %v", err)
	}
	return a
}

// putInParts is a user's multipart upload from its begin to its end.
func putInParts(t *testing.T, r *rig, at string, parts ...string) *driver.Attrs {
	t.Helper()
	id, err := r.sites[at].Begin(t.Context(), key, nil)
	if err != nil {
		t.Fatalf("begin upload: %v", err)
	}
	return multipart(t, r, at, id, parts...)
}
