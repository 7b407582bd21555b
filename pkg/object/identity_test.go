package object_test

import (
	"strings"
	"testing"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/object"
	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
	"github.com/bucketmesh/bucketmesh/pkg/object/mem"
)

// TestTrapRecreatedBucketIsNotEmptyOfUsersObjects: absence in a bucket that lost its marker is no absence.
func TestTrapRecreatedBucketIsNotEmptyOfUsersObjects(t *testing.T) {
	ctx := t.Context()
	raw := mem.New(mem.Config{})
	id, err := object.GiveIdentity(ctx, raw)
	if err != nil || id == "" {
		t.Fatalf("give identity: %q, %v", id, err)
	}
	if again, err := object.GiveIdentity(ctx, raw); err != nil || again != id {
		t.Fatalf("a second process got %q, %v; want %q", again, err, id)
	}
	b := object.Identified(raw, id, true)
	put := &driver.PutOptions{Size: 1}
	if _, err := b.Put(ctx, "k", strings.NewReader("x"), put); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Stat(ctx, "missing", ""); !errkind.Is(err, errkind.NotFound) {
		t.Errorf("absence in the right bucket: %v", err)
	}
	if _, err := b.List(ctx, nil); err != nil {
		t.Errorf("listing of the right bucket: %v", err)
	}
	if _, err := raw.Delete(ctx, object.IdentityKey, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Stat(ctx, "missing", ""); !errkind.Is(err, errkind.Unavailable) {
		t.Errorf("absence in another bucket: %v (kind %s), want unavailable", err, errkind.Of(err))
	}
	if _, _, err := b.Open(ctx, "missing", nil); !errkind.Is(err, errkind.Unavailable) {
		t.Errorf("reading what is absent in another bucket: %v (kind %s), want unavailable", err, errkind.Of(err))
	}
	if _, err := b.List(ctx, nil); !errkind.Is(err, errkind.Unavailable) {
		t.Errorf("listing of another bucket: %v (kind %s), want unavailable", err, errkind.Of(err))
	}
	if _, err := b.Stat(ctx, "k", ""); err != nil {
		t.Errorf("what is there is there: %v", err)
	}
	if other, err := object.GiveIdentity(ctx, raw); err != nil || other == id {
		t.Errorf("a new identity: %q, %v", other, err)
	}
}
