package s3_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/object"
	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
	"github.com/bucketmesh/bucketmesh/pkg/object/s3"
)

// The tests in this file are facts about the real servers on which docs/capabilities.md and the driver rely. If a newer
// server behaves better, the test fails, and the document and the driver can be simplified.

func servers(t *testing.T) []server { return []server{minio(t), versitygw(t)} }

func mustPut(t *testing.T, b driver.Bucket, key, content string, p driver.Properties) *driver.Attrs {
	t.Helper()
	a, err := b.Put(t.Context(), key, strings.NewReader(content), &driver.PutOptions{Properties: p, Size: int64(len(content))})
	if err != nil {
		t.Fatalf("put: %v", err)
	}
	return a
}

// TestFactMissingBucket: an error about the bucket is never an answer about a key.
func TestFactMissingBucket(t *testing.T) {
	for _, s := range servers(t) {
		caps := native(false)
		b := s.open(t, "no-such-bucket-"+s.bucket(t, false), func(c *s3.Config) { c.Capabilities = &caps })
		match := driver.Precondition{Match: "tag"}
		for name, err := range map[string]error{
			"stat": stat(t.Context(), b, match), "open": open(t.Context(), b, match), "put": put(t.Context(), b, driver.Precondition{}),
			"put if-match": put(t.Context(), b, match), "delete": remove(t.Context(), b, driver.Precondition{}),
			"delete if-match": remove(t.Context(), b, match),
		} {
			if !errkind.Is(err, errkind.Unavailable) {
				t.Errorf("%s, %s: got %v (kind %s), want unavailable", s.name, name, err, errkind.Of(err))
			}
		}
		if _, err := b.List(t.Context(), nil); !errkind.Is(err, errkind.Unavailable) {
			t.Errorf("%s, list: got %v, want unavailable", s.name, err)
		}
		if _, err := object.Probe(t.Context(), b, object.ProbeOptions{}); !errkind.Is(err, errkind.Unavailable) {
			t.Errorf("%s, probe: got %v, want unavailable", s.name, err)
		}
	}
}

// TestFactBucketDeletedWhileInUse: all keys are gone, and none of them was deleted by a user.
func TestFactBucketDeletedWhileInUse(t *testing.T) {
	for _, s := range servers(t) {
		name := s.bucket(t, false)
		b := s.open(t, name, func(c *s3.Config) { c.BucketCheckEvery = -1 })
		mustPut(t, b, "k", "x", driver.Properties{})
		if err := remove(t.Context(), b, driver.Precondition{}); err != nil {
			t.Fatalf("delete: %v", err)
		}
		if err := stat(t.Context(), b, driver.Precondition{}); !errkind.Is(err, errkind.NotFound) {
			t.Errorf("%s: got %v, want not found", s.name, err)
		}
		if _, err := s.sdk().DeleteBucket(t.Context(), &awss3.DeleteBucketInput{Bucket: &name}); err != nil {
			t.Fatalf("delete bucket: %v", err)
		}
		if err := stat(t.Context(), b, driver.Precondition{}); !errkind.Is(err, errkind.Unavailable) {
			t.Errorf("%s: got %v, want unavailable", s.name, err)
		}
	}
}

// TestFactWrongKeys: no permission is never "not there".
func TestFactWrongKeys(t *testing.T) {
	for _, s := range servers(t) {
		name := s.bucket(t, false)
		s.secret = "wrong-secret"
		b := s.open(t, name)
		for op, err := range map[string]error{
			"stat": stat(t.Context(), b, driver.Precondition{}), "open": open(t.Context(), b, driver.Precondition{}),
			"put": put(t.Context(), b, driver.Precondition{}), "delete": remove(t.Context(), b, driver.Precondition{}),
		} {
			if !errkind.Is(err, errkind.PermissionDenied) || strings.Contains(err.Error(), s.secret) {
				t.Errorf("%s, %s: got %v (kind %s), want permission denied without the secret", s.name, op, err, errkind.Of(err))
			}
		}
	}
}

// TestFactMinIOIgnoresIfMatchOnDelete: asked directly, without the driver.
func TestFactMinIOIgnoresIfMatchOnDelete(t *testing.T) {
	for _, c := range []struct {
		s       server
		ignores bool
	}{{minio(t), true}, {versitygw(t), false}} {
		name := c.s.bucket(t, false)
		mustPut(t, c.s.open(t, name), "k", "x", driver.Properties{})
		_, err := c.s.sdk().DeleteObject(t.Context(), &awss3.DeleteObjectInput{Bucket: &name, Key: aws.String("k"), IfMatch: aws.String(`"stale"`)})
		if (err == nil) != c.ignores {
			t.Errorf("%s: a delete with a stale tag answers %v", c.s.name, err)
		}
	}
}

// TestFactVersitygwMarkerBlocksCreate: a versioned bucket on which a deleted key can't be created again is not fit.
func TestFactVersitygwMarkerBlocksCreate(t *testing.T) {
	s := versitygw(t)
	r, err := object.Probe(t.Context(), s.open(t, s.bucket(t, true)), object.ProbeOptions{})
	if err != nil {
		t.Fatalf("probe: %v", err)
	}
	if !r.MarkerBlocksCreate || !r.Capabilities.Versioned {
		t.Errorf("report %+v", r)
	}
	if err := object.Fit(r, true, true); !errkind.Is(err, errkind.Invalid) || !strings.Contains(err.Error(), "versioning off") {
		t.Errorf("fit for ReadWrite: %v", err)
	}
	if err := object.Fit(r, false, false); err != nil {
		t.Errorf("fit for ReadOnly: %v", err)
	}
}

// TestFactKeyBelowAnotherKey: what the probe says of a and a/b.
func TestFactKeyBelowAnotherKey(t *testing.T) {
	for s, want := range map[server]string{minio(t): "listings show only the shorter one", versitygw(t): "is refused by the server"} {
		b := s.open(t, s.bucket(t, false))
		r, err := object.Probe(t.Context(), b, object.ProbeOptions{})
		if err != nil || !slices.ContainsFunc(r.Findings, func(f string) bool { return strings.Contains(f, want) }) {
			t.Errorf("%s: findings %q, %v; want one that says %q", s.name, r.Findings, err, want)
		}
		if r.Capabilities.KeysAsPaths != (s.name == "versitygw") {
			t.Errorf("%s: keys as paths: %v", s.name, r.Capabilities.KeysAsPaths)
		}
		if _, err := b.Stat(t.Context(), "a", ""); !errkind.Is(err, errkind.NotFound) {
			t.Errorf("%s: stat: %v", s.name, err)
		}
	}
}

// TestFactMinIOVersioningSuspended: counts as unversioned, and a guard that relies on versions concludes nothing.
func TestFactMinIOVersioningSuspended(t *testing.T) {
	s := minio(t)
	name := s.bucket(t, true)
	caps := native(true)
	caps.DeleteGuard = driver.GuardMarker
	b := s.open(t, name, func(c *s3.Config) { c.Capabilities = &caps })
	a := mustPut(t, b, "k", "x", driver.Properties{})
	s.versioning(t, name, types.BucketVersioningStatusSuspended)
	err := remove(t.Context(), b, driver.Precondition{Match: a.Tag, VersionID: a.VersionID})
	if !errkind.Is(err, errkind.Unavailable) {
		t.Errorf("conditional delete: got %v (kind %s), want unavailable", err, errkind.Of(err))
	}
	if _, err := b.Stat(t.Context(), "k", a.VersionID); err != nil {
		t.Errorf("the version is lost: %v", err)
	}
	r, err := object.Probe(t.Context(), b, object.ProbeOptions{})
	if err != nil || r.Capabilities.Versioned || r.Capabilities.Level != driver.C0 ||
		!slices.ContainsFunc(r.Findings, func(f string) bool { return strings.Contains(f, "suspended") }) {
		t.Errorf("report %+v, %v", r, err)
	}
}

// TestFactMetadataEditKeepsETag: a copy onto itself, as tools do it. Only time (and version) show the change.
func TestFactMetadataEditKeepsETag(t *testing.T) {
	for _, s := range servers(t) {
		name := s.bucket(t, false)
		b := s.open(t, name)
		mustPut(t, b, "k", "x", driver.Properties{Metadata: map[string]string{"v": "1"}})
		before, err := b.Stat(t.Context(), "k", "")
		if err != nil {
			t.Fatalf("stat: %v", err)
		}
		_, err = s.sdk().CopyObject(t.Context(), &awss3.CopyObjectInput{
			Bucket: &name, Key: aws.String("k"), CopySource: aws.String(name + "/k"),
			MetadataDirective: types.MetadataDirectiveReplace, Metadata: map[string]string{"V": "2"},
		})
		if err != nil {
			t.Fatalf("copy: %v", err)
		}
		after, err := b.Stat(t.Context(), "k", "")
		if err != nil || after.Tag != before.Tag || !maps.Equal(after.Metadata, map[string]string{"v": "2"}) {
			t.Errorf("%s: before %+v, after %+v, %v", s.name, before, after, err)
		}
	}
}

// TestFactForeignMetadata: another tool wrote raw UTF-8. MinIO answers it encoded, versitygw as it was sent; both are read
// as what the user meant, and copying it between them changes nothing.
func TestFactForeignMetadata(t *testing.T) {
	for _, s := range servers(t) {
		name := s.bucket(t, false)
		want := map[string]string{"accent": "é", "japanese": "日本"}
		_, err := s.sdk().PutObject(t.Context(), &awss3.PutObjectInput{
			Bucket: &name, Key: aws.String("k"), Body: strings.NewReader("x"), Metadata: map[string]string{"Accent": "é", "Japanese": "日本"},
		})
		if err != nil {
			t.Fatalf("put on %s: %v", s.name, err)
		}
		b := s.open(t, name)
		a, err := b.Stat(t.Context(), "k", "")
		if err != nil || !maps.Equal(a.Metadata, want) {
			t.Errorf("%s: metadata %q, %v; want %q", s.name, a.Metadata, err, want)
		}
		mustPut(t, b, "k", "x", a.Properties)
		if a, err = b.Stat(t.Context(), "k", ""); err != nil || !maps.Equal(a.Metadata, want) {
			t.Errorf("%s: metadata %q after writing it back, %v", s.name, a.Metadata, err)
		}
	}
}

// TestFactOddExpires: what users put into Expires often isn't a date. MinIO drops it, so it can't be carried there.
func TestFactOddExpires(t *testing.T) {
	for s, want := range map[server]string{minio(t): "", versitygw(t): "0"} {
		b := s.open(t, s.bucket(t, false))
		mustPut(t, b, "k", "x", driver.Properties{Expires: "0"})
		a, err := b.Stat(t.Context(), "k", "")
		if err != nil || a.Expires != want {
			t.Errorf("%s: expires %q, %v, want %q", s.name, a.Expires, err, want)
		}
	}
}

// TestFactManyVersions: more versions than one page of the listing, all within a second or two.
func TestFactManyVersions(t *testing.T) {
	for _, s := range servers(t) {
		b := s.open(t, s.bucket(t, true))
		var want []string
		for i := range 20 {
			a := mustPut(t, b, "k", fmt.Sprint(i), driver.Properties{})
			want = append(want, a.VersionID)
		}
		slices.Reverse(want)
		vs, err := b.Versions(t.Context(), "k")
		var got []string
		for i := range vs {
			got = append(got, vs[i].VersionID)
		}
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: versions %q, want %q, %v", s.name, got, want, err)
		}
	}
}

// TestRequestsPerOperation: what each call costs, as docs/capabilities.md says.
func TestRequestsPerOperation(t *testing.T) {
	s := minio(t)
	var counter object.Counter
	caps := native(true)
	caps.DeleteGuard = driver.GuardMarker
	b := s.open(t, s.bucket(t, true), func(c *s3.Config) {
		c.OnRequest, c.Capabilities, c.BucketCheckEvery = counter.Request, &caps, time.Hour
	})
	var plain *driver.Attrs
	for _, step := range []struct {
		name string
		do   func() error
		want object.Snapshot
	}{
		{"put", func() (err error) { plain = mustPut(t, b, "k", "x", driver.Properties{}); return nil }, object.Snapshot{Put: 1}},
		{"put with tags", func() error {
			mustPut(t, b, "t", "x", driver.Properties{Tags: map[string]string{"a": "b"}})
			return nil
		}, object.Snapshot{Put: 1}},
		{"stat", func() error { return stat(t.Context(), b, driver.Precondition{}) }, object.Snapshot{Head: 1}},
		{"open", func() error { return open(t.Context(), b, driver.Precondition{}) }, object.Snapshot{Get: 1}},
		{"stat with tags", func() error { _, err := b.Stat(t.Context(), "t", ""); return err }, object.Snapshot{Head: 1, Get: 1}},
		{"conditional put", func() error { return put(t.Context(), b, driver.Precondition{Match: plain.Tag}) }, object.Snapshot{Put: 1}},
		{"guarded delete", func() error { return remove(t.Context(), b, driver.Precondition{Match: plain.Tag}) }, object.Snapshot{Head: 1, Delete: 1, List: 1}},
		{"list", func() error { _, err := b.List(t.Context(), nil); return err }, object.Snapshot{List: 1}},
		{"plain delete", func() error { return remove(t.Context(), b, driver.Precondition{}) }, object.Snapshot{Delete: 1}},
	} {
		before := counter.Snapshot()
		if err := step.do(); err != nil {
			t.Errorf("%s: %v", step.name, err)
		}
		if got := counter.Snapshot().Sub(before); got != step.want {
			t.Errorf("%s cost %+v, want %+v", step.name, got, step.want)
		}
	}
	before := counter.Snapshot()
	for range 5 { // the bucket has answered within the hour: a 404 is believed
		if err := stat(t.Context(), b, driver.Precondition{}); !errkind.Is(err, errkind.NotFound) {
			t.Errorf("stat: %v", err)
		}
	}
	if got := counter.Snapshot().Sub(before); got != (object.Snapshot{Head: 5}) {
		t.Errorf("five looks at a missing key cost %+v", got)
	}
}
