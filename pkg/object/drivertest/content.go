package drivertest

import (
	"bytes"
	"context"
	"crypto/md5" // what S3 calls an ETag
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
)

// NastyKeys break programs that escape once too often or too rarely.
func NastyKeys() []string {
	long := strings.Repeat(strings.Repeat("k", 127)+"/", 8)
	return []string{
		"a b", "a+b", "a%2Bb", "100%25", "é", "日本", "e\u0301", "trailing ", " leading", "a//b", "dir/", "line\nbreak", "tab\tkey",
		"q?uestion#hash&amp=1", "quote\"'<>", "back\\slash", "dots/../up", "dots/./here", "*star", "~tilde:colon|pipe",
		"emoji-\U0001F600", long[:1023] + "k",
	}
}

func random(n int) string {
	r := rand.New(rand.NewPCG(1, uint64(n))) // contents of a test
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32()) // the low byte is wanted
	}
	return string(b)
}

func testBytes(t *testing.T, f *fixture) {
	for _, size := range []int{0, 1, 4096, 1<<20 + 1} {
		content := random(size)
		sum := sha256.Sum256([]byte(content))
		a := f.put(t, "bytes", content, driver.PutOptions{SHA256: hex.EncodeToString(sum[:])})
		got, b := f.read(t, "bytes", nil)
		if got != content {
			t.Errorf("%d bytes came back as %d other ones", size, len(got))
		}
		if b.Size != int64(size) || b.Tag != a.Tag || b.Key != "bytes" || b.VersionID != a.VersionID || b.ModTime.IsZero() {
			t.Errorf("%d bytes: put answered %+v, open %+v", size, a, b)
		}
		s := f.stat(t, "bytes")
		if s.Size != b.Size || s.Tag != b.Tag || s.ETag != b.ETag || s.VersionID != b.VersionID || !s.ModTime.Equal(b.ModTime) {
			t.Errorf("%d bytes: stat answered %+v, open %+v", size, s, b)
		}
		if md := md5.Sum([]byte(content)); s.MD5 != "" && s.MD5 != hex.EncodeToString(md[:]) {
			t.Errorf("%d bytes: the driver vouches for MD5 %s, it is %x", size, s.MD5, md)
		}
		if s.SHA256 != "" && s.SHA256 != hex.EncodeToString(sum[:]) {
			t.Errorf("%d bytes: the driver vouches for SHA-256 %s, it is %x", size, s.SHA256, sum)
		}
		if strings.Contains(s.ETag, `"`) || s.VersionID == "null" {
			t.Errorf("etag %q, version %q", s.ETag, s.VersionID)
		}
		if (s.RequestID == "" || s.RequestID == b.RequestID) != f.h.NoRequestIDs {
			t.Errorf("request ids %q and %q", s.RequestID, b.RequestID)
		}
		if (s.VersionID != "") != (f.h.Want.Versioned || f.h.Generations) {
			t.Errorf("version id %q on a bucket with versioned=%v", s.VersionID, f.h.Want.Versioned)
		}
	}
}

func testNastyKeys(t *testing.T, f *fixture) {
	var stored []string
	for _, key := range NastyKeys() {
		err := f.tryPut(t.Context(), key, "content of "+key, driver.Precondition{})
		if f.refused(key) {
			kind(t, err, errkind.Invalid, "put of a key that the server can't store: "+key)
			continue
		}
		if err != nil {
			t.Errorf("put %q: %v (kind %s)", key, err, errkind.Of(err))
			continue
		}
		stored = append(stored, key)
		f.holds(t, key, "content of "+key)
		if a := f.stat(t, key); a.Key != key {
			t.Errorf("stat of %q answers key %q", key, a.Key)
		}
	}
	slices.Sort(stored)
	page, err := f.List(t.Context(), nil)
	if err != nil {
		t.Fatalf("list: %v", err)
	}
	if got := keysOf(page); !slices.Equal(got, stored) {
		t.Errorf("listed\n%q, want\n%q", got, stored)
	}
	for _, key := range stored {
		vs, err := f.vers.Versions(t.Context(), key)
		if err != nil || len(vs) != 1 || vs[0].Key != key {
			t.Errorf("versions of %q: %+v, %v", key, vs, err)
		}
		if _, err := f.Delete(t.Context(), key, nil); err != nil {
			t.Errorf("delete %q: %v", key, err)
		}
		f.absent(t, key)
	}
}

func properties() driver.Properties {
	return driver.Properties{
		ContentType: "text/html; charset=utf-8", ContentEncoding: "gzip", ContentLanguage: "de-AT",
		ContentDisposition: `attachment; filename="a b.html"`, CacheControl: "max-age=60, public",
		Expires: "Thu, 01 Dec 2033 16:00:00 GMT",
		Metadata: map[string]string{
			"plain": "value", "with-dash": "a b  c", "accent": "é", "japanese": "日本語", "looks-encoded": "=?UTF-8?Q?abc?=",
			"percent": "100%25+1", "long": strings.Repeat("ü", 200),
		},
		Tags:  map[string]string{"team": "a b", "cost+center": "1/2:3=4"},
		Extra: map[string]string{"gcs-custom-time": "2031-02-03T04:05:06.789Z", "s3-website-redirect": "/index.html"},
	}
}

// testProperties: what is set must be read back the same, and setting what was read must change nothing. A difference here
// makes two replicas edit each other's metadata for ever.
func testProperties(t *testing.T, f *fixture) {
	want := properties()
	f.put(t, "properties", "<html>", driver.PutOptions{Properties: want})
	for round := range 2 {
		s := f.stat(t, "properties")
		content, o := f.read(t, "properties", nil)
		if content != "<html>" {
			t.Errorf("round %d: the bytes changed to %q (decompressed on the way?)", round, content)
		}
		if !reflect.DeepEqual(s.Properties, want) {
			t.Errorf("round %d: stat answers\n%+v, want\n%+v", round, s.Properties, want)
		}
		if !reflect.DeepEqual(o.Properties, s.Properties) {
			t.Errorf("round %d: open answers\n%+v, stat\n%+v", round, o.Properties, s.Properties)
		}
		f.put(t, "properties", "<html>", driver.PutOptions{Properties: s.Properties})
	}
	f.put(t, "bare", "x")
	if s := f.stat(t, "bare"); len(s.Metadata) != 0 || len(s.Tags) != 0 || s.CacheControl != "" || s.ContentEncoding != "" {
		t.Errorf("an object without properties has %+v", s.Properties)
	}
}

// testDefaultContentType: providers disagree on what an object has whose writer named no type. Ours have the same on all, and
// what a user names is kept, even if it is a provider's own default.
func testDefaultContentType(t *testing.T, f *fixture) {
	for i, c := range []struct{ given, want string }{
		{"", driver.DefaultContentType}, {"binary/octet-stream", "binary/octet-stream"}, {"text/plain", "text/plain"},
	} {
		whole, joined := fmt.Sprint("whole-", i), fmt.Sprint("joined-", i)
		opts := driver.PutOptions{Properties: driver.Properties{ContentType: c.given}}
		f.put(t, whole, "x", opts)
		id, parts := f.upload(t, joined, &opts, "x")
		if _, err := f.parts.Complete(t.Context(), joined, id, parts, &driver.PutOptions{Properties: opts.Properties, Size: 1}); err != nil {
			t.Fatalf("complete: %v", err)
		}
		for _, key := range []string{whole, joined} {
			_, a := f.read(t, key, nil)
			if s := f.stat(t, key); s.ContentType != c.want || a.ContentType != c.want {
				t.Errorf("%s of type %q: stat answers %q, open %q, want %q", key, c.given, s.ContentType, a.ContentType, c.want)
			}
		}
	}
}

// testMetadataOnlyEdit: the same bytes with other metadata. On buckets whose tags are made of the content the tag stays: a
// change is detected by more than the tag.
func testMetadataOnlyEdit(t *testing.T, f *fixture) {
	before := f.put(t, "edit", "same", driver.PutOptions{Properties: driver.Properties{Metadata: map[string]string{"v": "1"}}})
	edit := driver.PutOptions{Properties: driver.Properties{Metadata: map[string]string{"v": "2"}}}
	if f.h.Want.PutMatch != driver.GuardNone {
		edit.If = driver.Precondition{Match: before.Tag, VersionID: before.VersionID}
	}
	after := f.put(t, "edit", "same", edit)
	if s := f.stat(t, "edit"); !maps.Equal(s.Metadata, map[string]string{"v": "2"}) {
		t.Errorf("metadata %v after the edit", s.Metadata)
	}
	if (before.Tag != after.Tag) != f.h.UniqueTags {
		t.Errorf("tags %s and %s of the same bytes, on a bucket with unique tags: %v", before.Tag, after.Tag, f.h.UniqueTags)
	}
	if f.h.Want.Versioned && before.VersionID == after.VersionID {
		t.Errorf("both writes are version %s", before.VersionID)
	}
}

func testRangeRead(t *testing.T, f *fixture) {
	f.put(t, "range", "0123456789")
	for _, c := range []struct {
		offset, length int64
		want           string
	}{{0, 4, "0123"}, {4, 3, "456"}, {7, 0, "789"}, {9, 1, "9"}, {5, 100, "56789"}, {0, 0, "0123456789"}} {
		got, a := f.read(t, "range", &driver.ReadOptions{Offset: c.offset, Length: c.length})
		if got != c.want || a.Size != 10 {
			t.Errorf("%d bytes from %d: %q of an object of %d bytes, want %q of 10", c.length, c.offset, got, a.Size, c.want)
		}
	}
	_, _, err := f.Open(t.Context(), "range", &driver.ReadOptions{Offset: 10, Length: 1})
	kind(t, err, errkind.Invalid, "a range behind the end")
}

func testPinnedRead(t *testing.T, f *fixture) {
	v1 := f.put(t, "pinned", "one")
	if got, _ := f.read(t, "pinned", &driver.ReadOptions{IfMatch: v1.Tag}); got != "one" {
		t.Errorf("pinned read: %q", got)
	}
	v2 := f.put(t, "pinned", "two")
	_, _, err := f.Open(t.Context(), "pinned", &driver.ReadOptions{IfMatch: v1.Tag})
	kind(t, err, errkind.PreconditionFailed, "a read pinned to what was replaced")
	_, _, err = f.Open(t.Context(), "pinned", &driver.ReadOptions{IfMatch: v1.Tag, Offset: 1, Length: 1})
	kind(t, err, errkind.PreconditionFailed, "a ranged read pinned to what was replaced")
	_, _, err = f.Open(t.Context(), "pinned-missing", &driver.ReadOptions{IfMatch: v1.Tag})
	if !errkind.Is(err, errkind.PreconditionFailed) { // of a server that looks at the condition first
		kind(t, err, errkind.NotFound, "a pinned read of a missing key")
	}
	if f.h.Want.Versioned {
		for id, want := range map[string]string{v1.VersionID: "one", v2.VersionID: "two"} {
			got, a := f.read(t, "pinned", &driver.ReadOptions{VersionID: id})
			if got != want || a.VersionID != id {
				t.Errorf("version %s: %q of version %s, want %q", id, got, a.VersionID, want)
			}
		}
	}
}

func testErrorKinds(t *testing.T, f *fixture) {
	ctx := t.Context()
	_, err := f.Stat(ctx, "missing", "")
	kind(t, err, errkind.NotFound, "stat of a missing key")
	_, _, err = f.Open(ctx, "missing", nil)
	kind(t, err, errkind.NotFound, "open of a missing key")
	_, err = f.Delete(ctx, "missing", nil)
	if err != nil {
		t.Errorf("delete of a missing key: %v", err)
	}
	_, err = f.Stat(ctx, "", "")
	kind(t, err, errkind.Invalid, "stat of an empty key")
	_, err = f.Stat(ctx, strings.Repeat("k", 1025), "")
	kind(t, err, errkind.Invalid, "stat of a key of 1,025 bytes")
	_, err = f.Put(ctx, "short", bytes.NewReader([]byte("abc")), &driver.PutOptions{Size: 4})
	kind(t, err, errkind.Invalid, "put of a body that is shorter than announced")
	f.absent(t, "short")
	_, err = f.parts.ListParts(ctx, "missing", "no-such-upload")
	kind(t, err, errkind.NotFound, "parts of an upload that is not there")
}

func testWrongSums(t *testing.T, f *fixture) {
	other := sha256.Sum256([]byte("other"))
	_, err := f.Put(t.Context(), "sums", strings.NewReader("content"), &driver.PutOptions{Size: 7, SHA256: hex.EncodeToString(other[:])})
	kind(t, err, errkind.Invalid, "put with the SHA-256 of another body")
	md := md5.Sum([]byte("other"))
	_, err = f.Put(t.Context(), "sums", strings.NewReader("content"), &driver.PutOptions{Size: 7, MD5: hex.EncodeToString(md[:])})
	kind(t, err, errkind.Invalid, "put with the MD5 of another body")
	f.absent(t, "sums")
}

func testContexts(t *testing.T, f *fixture) {
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	expired, cancel2 := context.WithDeadline(t.Context(), time.Unix(1, 0))
	defer cancel2()
	for ctx, want := range map[context.Context]errkind.Kind{canceled: errkind.Canceled, expired: errkind.Unavailable} {
		_, err := f.Stat(ctx, "k", "")
		kind(t, err, want, "stat")
		_, _, err = f.Open(ctx, "k", nil)
		kind(t, err, want, "open")
		kind(t, f.tryPut(ctx, "k", "x", driver.Precondition{}), want, "put")
		_, err = f.Delete(ctx, "k", nil)
		kind(t, err, want, "delete")
		_, err = f.List(ctx, nil)
		kind(t, err, want, "list")
	}
	f.absent(t, "k")
}
