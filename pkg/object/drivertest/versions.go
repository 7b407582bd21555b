package drivertest

import (
	"slices"
	"testing"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/object"
	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
)

func testVersions(t *testing.T, f *fixture) {
	ctx := t.Context()
	v1 := f.put(t, "key", "one")
	v2 := f.put(t, "key", "two")
	f.put(t, "key-longer", "a longer key with the same beginning")
	if f.h.Want.Versioned && f.h.NoMarkers {
		f.versionsWithoutMarkers(t, v1, v2)
		return
	}
	if !f.h.Want.Versioned {
		vs, err := f.vers.Versions(ctx, "key")
		if err != nil || len(vs) != 1 || (vs[0].VersionID != "") != f.h.Generations || vs[0].Tag != v2.Tag || !vs[0].IsLatest {
			t.Errorf("versions of an unversioned key: %+v, %v", vs, err)
		}
		return
	}
	del, err := f.Delete(ctx, "key", nil)
	if err != nil {
		t.Fatalf("delete: %v", err)
	}
	v3 := f.put(t, "key", "three")
	del2, err := f.Delete(ctx, "key", nil)
	if err != nil {
		t.Fatalf("delete: %v", err)
	}
	vs, err := f.vers.Versions(ctx, "key")
	if err != nil {
		t.Fatalf("versions: %v", err)
	}
	// All within one second: only the provider's own order tells what covers what.
	var got []string
	for i, v := range vs {
		got = append(got, v.VersionID)
		marker := v.VersionID == del.VersionID || v.VersionID == del2.VersionID
		if v.Key != "key" || v.DeleteMarker != marker || v.IsLatest != (i == 0) {
			t.Errorf("version %d is %+v", i, v)
		}
	}
	if want := []string{del2.VersionID, v3.VersionID, del.VersionID, v2.VersionID, v1.VersionID}; !slices.Equal(got, want) {
		t.Fatalf("versions %q, want %q", got, want)
	}
	below, err := object.Predecessor(ctx, f.vers, "key", v3.VersionID)
	if err != nil || below == nil || below.VersionID != del.VersionID || !below.DeleteMarker {
		t.Errorf("below version three is %+v, %v", below, err)
	}
	if below, err := object.Predecessor(ctx, f.vers, "key", v1.VersionID); err != nil || below != nil {
		t.Errorf("below version one is %+v, %v", below, err)
	}
	_, err = f.Stat(ctx, "key", del2.VersionID)
	kind(t, err, errkind.NotFound, "stat of a delete marker")
	_, _, err = f.Open(ctx, "key", &driver.ReadOptions{VersionID: del2.VersionID})
	kind(t, err, errkind.NotFound, "open of a delete marker")
	if s, err := f.Stat(ctx, "key", v1.VersionID); err != nil || s.Size != 3 || s.VersionID != v1.VersionID {
		t.Errorf("stat of version one: %+v, %v", s, err)
	}
	if _, err := f.Delete(ctx, "key", &driver.DeleteOptions{VersionID: del2.VersionID}); err != nil {
		t.Fatalf("remove the delete marker: %v", err)
	}
	f.holds(t, "key", "three")
	if _, err := f.Delete(ctx, "key", &driver.DeleteOptions{VersionID: v3.VersionID}); err != nil {
		t.Fatalf("remove version three: %v", err)
	}
	f.absent(t, "key")
}

// versionsWithoutMarkers: a delete makes the current version a former one, and nothing else.
func (f *fixture) versionsWithoutMarkers(t *testing.T, v1, v2 *driver.Attrs) {
	t.Helper()
	ctx := t.Context()
	want := []string{v2.VersionID, v1.VersionID}
	for _, deleted := range []bool{false, true} {
		if deleted {
			if _, err := f.Delete(ctx, "key", nil); err != nil {
				t.Fatalf("delete: %v", err)
			}
			f.absent(t, "key")
		}
		vs, err := f.vers.Versions(ctx, "key")
		if err != nil || len(vs) != len(want) {
			t.Fatalf("versions %+v, %v; want %q", vs, err, want)
		}
		for i, v := range vs {
			if v.Key != "key" || v.VersionID != want[i] || v.DeleteMarker || v.IsLatest != (i == 0 && !deleted) {
				t.Errorf("deleted %v: version %d is %+v", deleted, i, v)
			}
		}
	}
	if got, _ := f.read(t, "key", &driver.ReadOptions{VersionID: v1.VersionID}); got != "one" {
		t.Errorf("version one is %q", got)
	}
	if below, err := object.Predecessor(ctx, f.vers, "key", v2.VersionID); err != nil || below == nil || below.VersionID != v1.VersionID {
		t.Errorf("below version two is %+v, %v", below, err)
	}
	v3 := f.put(t, "key", "three")
	for _, id := range []string{v2.VersionID, v3.VersionID} {
		if _, err := f.Delete(ctx, "key", &driver.DeleteOptions{VersionID: id}); err != nil {
			t.Fatalf("remove version: %v", err)
		}
		_, err := f.Stat(ctx, "key", id)
		kind(t, err, errkind.NotFound, "stat of a removed version")
	}
	if vs, err := f.vers.Versions(ctx, "key"); err != nil || len(vs) != 1 || vs[0].VersionID != v1.VersionID {
		t.Errorf("versions %+v, %v; want version one only", vs, err)
	}
}
