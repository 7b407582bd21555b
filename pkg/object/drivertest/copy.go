package drivertest

import (
	"reflect"
	"testing"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
)

// testCopy: a copy at the provider is a write like any other. A driver that can't do it, or that can't keep its condition,
// says so and writes nothing.
func testCopy(t *testing.T, f *fixture) {
	c, ok := f.Driver().(driver.Copier)
	if !ok {
		return // an optional interface
	}
	ctx := t.Context()
	src := f.put(t, "source é", "content", driver.PutOptions{Properties: driver.Properties{Metadata: map[string]string{"of": "the source"}}})
	store, bucket := c.Location()
	from := driver.Source{Store: store, Bucket: bucket, Key: "source é", Tag: src.Tag}
	opts := &driver.PutOptions{Properties: properties(), Size: int64(len("content")), If: driver.Precondition{NotExist: true}}
	_, err := c.Copy(ctx, driver.Source{Store: "https://elsewhere.example", Bucket: bucket, Key: "source é", Tag: src.Tag}, "target", opts)
	kind(t, err, errkind.Unsupported, "copy from another store")
	a, err := c.Copy(ctx, from, "target", opts)
	if errkind.Is(err, errkind.Unsupported) {
		f.absent(t, "target")
		return
	}
	if err != nil {
		t.Fatalf("copy: %v", err)
	}
	got, o := f.read(t, "target", nil)
	if got != "content" || a.Tag != o.Tag || !reflect.DeepEqual(o.Properties, opts.Properties) {
		t.Errorf("the copy holds %q, answered %+v, is %+v", got, a, o)
	}
	_, err = c.Copy(ctx, from, "target", opts)
	kind(t, err, errkind.PreconditionFailed, "copy over what is there")
	opts.If = driver.Precondition{Match: a.Tag, VersionID: a.VersionID}
	b, err := c.Copy(ctx, from, "target", opts)
	if err != nil {
		t.Fatalf("copy over the expected tag: %v", err)
	}
	if f.h.UniqueTags {
		_, err = c.Copy(ctx, from, "target", opts)
		kind(t, err, errkind.PreconditionFailed, "copy over a stale tag")
	}
	opts.If = driver.Precondition{Match: b.Tag, VersionID: b.VersionID}
	f.put(t, "source é", "changed")
	_, err = c.Copy(ctx, from, "target", opts)
	gone(t, err, "copy of a source that was replaced")
	if _, err := f.Delete(ctx, "source é", nil); err != nil {
		t.Fatalf("delete: %v", err)
	}
	_, err = c.Copy(ctx, from, "target", opts)
	gone(t, err, "copy of a source that was deleted")
	f.holds(t, "target", "content")
	f.raceCopy(t, c)
}

func gone(t *testing.T, err error, what string) {
	t.Helper()
	if !errkind.Is(err, errkind.PreconditionFailed) && !errkind.Is(err, errkind.NotFound) {
		t.Errorf("%s: got error %v (kind %s), want precondition failed or not found", what, err, errkind.Of(err))
	}
}

// raceCopy: copies at once to one key.
func (f *fixture) raceCopy(t *testing.T, c driver.Copier) {
	t.Helper()
	src := f.put(t, "source", "content")
	store, bucket := c.Location()
	for range f.h.Rounds {
		results := race(f.h.Writers, func(int) error {
			_, err := c.Copy(t.Context(), driver.Source{Store: store, Bucket: bucket, Key: "source", Tag: src.Tag}, "race",
				&driver.PutOptions{Properties: properties(), Size: src.Size, If: driver.Precondition{NotExist: true}})
			return err
		})
		if won := winners(t, results); len(won) != 1 {
			t.Fatalf("copies %v won, want exactly one", won)
		}
		f.holds(t, "race", "content")
		f.forget(t, "race")
	}
}
