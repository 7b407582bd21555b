package object_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

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

// A tool that copies buckets may leave out metadata: what is left of the marker tells nothing, and must not be taken for an identity.
func TestAMarkerWithoutAnIdentityIsRefused(t *testing.T) {
	raw := mem.New(mem.Config{Versioned: true})
	if _, err := raw.Put(t.Context(), object.IdentityKey, strings.NewReader("x"), &driver.PutOptions{Size: 1}); err != nil {
		t.Fatal(err)
	}
	if id, err := object.GiveIdentity(t.Context(), raw); !errkind.Is(err, errkind.Invalid) || !strings.Contains(err.Error(), "remove that object") {
		t.Errorf("identity %q, %v", id, err)
	}
}

// Nothing is sent to a bucket before its marker was read.
func TestABucketThatWasNotReadIsAskedForItsMarkerFirst(t *testing.T) {
	raw := mem.New(mem.Config{Versioned: true})
	id, err := object.GiveIdentity(t.Context(), raw)
	if err != nil {
		t.Fatal(err)
	}
	var asked []string
	watched := object.Watch(raw, func(op object.Op, key string, _ time.Duration, _ error) { asked = append(asked, string(op)+" "+key) })
	put := func(b driver.Bucket) error {
		_, err := b.Put(t.Context(), "k", strings.NewReader("x"), &driver.PutOptions{Size: 1})
		return err
	}
	if err := put(object.Identified(watched, "another", false)); !errkind.Is(err, errkind.Unavailable) || len(asked) != 1 {
		t.Errorf("%v, asked %q", err, asked)
	}
	asked = nil
	b := object.Identified(watched, id, false)
	if err := errors.Join(put(b), put(b)); err != nil {
		t.Fatal(err)
	}
	if want := []string{"stat " + object.IdentityKey, "put k", "put k"}; !slices.Equal(asked, want) {
		t.Errorf("asked %q, want %q", asked, want)
	}
}
