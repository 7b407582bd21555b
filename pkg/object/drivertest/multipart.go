package drivertest

import (
	"crypto/md5" // what S3 calls an ETag
	"encoding/hex"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
)

// upload begins an upload and stores its parts, numbered from 1.
func (f *fixture) upload(t *testing.T, key string, opts *driver.PutOptions, contents ...string) (string, []driver.Part) {
	t.Helper()
	id, err := f.parts.Begin(t.Context(), key, opts)
	if err != nil {
		t.Fatalf("begin: %v", err)
	}
	var parts []driver.Part
	for i, c := range contents {
		p, err := f.parts.PutPart(t.Context(), key, id, i+1, strings.NewReader(c), int64(len(c)))
		if err != nil {
			t.Fatalf("put part %d: %v", i+1, err)
		}
		if p.Number != i+1 || p.Size != int64(len(c)) || p.ETag == "" {
			t.Errorf("part %+v", p)
		}
		parts = append(parts, p)
	}
	return id, parts
}

func testMultipart(t *testing.T, f *fixture) {
	first := random(int(max(1, f.Capabilities().MinPart)))
	opts := &driver.PutOptions{Properties: properties()}
	id, parts := f.upload(t, "big é", opts, "to be replaced", "tail")
	f.absent(t, "big é") // nothing is there before the end
	again, err := f.parts.PutPart(t.Context(), "big é", id, 1, strings.NewReader(first), int64(len(first)))
	if err != nil {
		t.Fatalf("put part 1 again: %v", err)
	}
	parts[0] = again
	listed, err := f.parts.ListParts(t.Context(), "big é", id)
	if err != nil || !reflect.DeepEqual(listed, parts) {
		t.Fatalf("listed parts\n%+v, want\n%+v, %v", listed, parts, err)
	}
	opts.Size = int64(len(first) + len("tail"))
	a, err := f.parts.Complete(t.Context(), "big é", id, listed, opts)
	if err != nil {
		t.Fatalf("complete: %v", err)
	}
	got, b := f.read(t, "big é", nil)
	if got != first+"tail" {
		t.Errorf("%d bytes came back that are not the %d of the parts", len(got), opts.Size)
	}
	if a.Tag == "" || a.Tag != b.Tag || a.VersionID != b.VersionID || a.Size != opts.Size || b.Size != opts.Size {
		t.Errorf("complete answered %+v, open %+v", a, b)
	}
	if md := md5.Sum([]byte(first + "tail")); b.MD5 != "" && b.MD5 != hex.EncodeToString(md[:]) {
		t.Errorf("the driver vouches for MD5 %s of a multipart upload, it is %x", b.MD5, md)
	}
	if !reflect.DeepEqual(b.Properties, opts.Properties) {
		t.Errorf("properties\n%+v, want\n%+v", b.Properties, opts.Properties)
	}
	_, err = f.parts.ListParts(t.Context(), "big é", id)
	kind(t, err, errkind.NotFound, "parts of a finished upload")
}

// testMultipartManyParts: more parts than a provider joins at once (32 on GCS), of any size where it allows that. Their order
// is that of their numbers, not of their names nor of their arrival.
func testMultipartManyParts(t *testing.T, f *fixture) {
	if f.Capabilities().MinPart > 1 {
		return // the parts would be as large as the provider wants them, and it joins any number
	}
	id, err := f.parts.Begin(t.Context(), "many", nil)
	if err != nil {
		t.Fatalf("begin: %v", err)
	}
	const count = 70
	parts, want := make([]driver.Part, count), ""
	for i := range count {
		n := (i*37)%count + 1
		content := fmt.Sprintf("part %d;", n)
		if parts[n-1], err = f.parts.PutPart(t.Context(), "many", id, n, strings.NewReader(content), int64(len(content))); err != nil {
			t.Fatalf("put part: %v", err)
		}
		want += fmt.Sprintf("part %d;", i+1)
	}
	listed, err := f.parts.ListParts(t.Context(), "many", id)
	if err != nil || !reflect.DeepEqual(listed, parts) {
		t.Fatalf("listed parts\n%+v, want\n%+v, %v", listed, parts, err)
	}
	if _, err := f.parts.Complete(t.Context(), "many", id, parts, &driver.PutOptions{Size: int64(len(want))}); err != nil {
		t.Fatalf("complete: %v", err)
	}
	f.holds(t, "many", want)
	page, err := f.List(t.Context(), nil)
	if err != nil || len(page.Objects) != 1 {
		t.Errorf("listed %q, %v; want the object and nothing of the upload", keysOf(page), err)
	}
}

func testMultipartConditions(t *testing.T, f *fixture) {
	old := f.put(t, "cond", "old")
	cur := f.put(t, "cond", "current")
	finish := func(cond driver.Precondition) error {
		id, parts := f.upload(t, "cond", nil, "uploaded")
		_, err := f.parts.Complete(t.Context(), "cond", id, parts, &driver.PutOptions{Size: 8, If: cond})
		if aerr := f.parts.Abort(t.Context(), "cond", id); aerr != nil {
			t.Errorf("abort: %v", aerr)
		}
		return err
	}
	want := errkind.PreconditionFailed
	if f.h.Want.CompleteGuard == driver.GuardNone {
		want = errkind.Unsupported
	}
	kind(t, finish(driver.Precondition{Match: old.Tag, VersionID: old.VersionID}), want, "complete over a stale tag")
	kind(t, finish(driver.Precondition{NotExist: true}), want, "complete over what is there")
	f.holds(t, "cond", "current")
	err := finish(driver.Precondition{Match: cur.Tag, VersionID: cur.VersionID})
	if want == errkind.Unsupported {
		kind(t, err, want, "complete over the expected tag")
		return
	}
	if err != nil {
		t.Fatalf("complete over the expected tag: %v", err)
	}
	f.holds(t, "cond", "uploaded")
	if _, err := f.Delete(t.Context(), "cond", nil); err != nil {
		t.Fatalf("delete: %v", err)
	}
	kind(t, finish(driver.Precondition{Match: cur.Tag, VersionID: cur.VersionID}), errkind.PreconditionFailed, "complete over a missing key")
	f.absent(t, "cond")
}

func testMultipartAbort(t *testing.T, f *fixture) {
	id, parts := f.upload(t, "abort", nil, "x")
	for range 2 { // the second time it is gone already
		if err := f.parts.Abort(t.Context(), "abort", id); err != nil {
			t.Fatalf("abort: %v", err)
		}
	}
	_, err := f.parts.Complete(t.Context(), "abort", id, parts, &driver.PutOptions{Size: 1})
	kind(t, err, errkind.NotFound, "complete of an aborted upload")
	_, err = f.parts.PutPart(t.Context(), "abort", id, 1, strings.NewReader("x"), 1)
	kind(t, err, errkind.NotFound, "part of an aborted upload")
	f.absent(t, "abort")
	id, parts = f.upload(t, "abort", nil, "x")
	parts[0].ETag = strings.Repeat("0", 32)
	_, err = f.parts.Complete(t.Context(), "abort", id, parts, &driver.PutOptions{Size: 1})
	kind(t, err, errkind.Invalid, "complete with a part that was never stored")
	if err := f.parts.Abort(t.Context(), "abort", id); err != nil {
		t.Errorf("abort: %v", err)
	}
	f.absent(t, "abort")
}
