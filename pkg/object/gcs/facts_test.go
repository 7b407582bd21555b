package gcs_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/object"
	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
	"github.com/bucketmesh/bucketmesh/pkg/object/gcs"
	"github.com/bucketmesh/bucketmesh/pkg/object/gcs/gcsdoc"
)

// TestFakeGCSServerIsRefusedAsReadWrite: the emulator ignores the conditions of deletes and of compose; a replica on it can only
// be ReadWrite if its operator accepts the window.
func TestFakeGCSServerIsRefusedAsReadWrite(t *testing.T) {
	endpoint := fake(t)
	r, err := object.Probe(t.Context(), open(t, endpoint, makeBucket(t, endpoint, false)), object.ProbeOptions{})
	if err != nil {
		t.Fatalf("probe: %v", err)
	}
	if r.Capabilities.Level != driver.C0 {
		t.Errorf("level %s, findings %q", r.Capabilities.Level, r.Findings)
	}
	err = object.Fit(r, true, false)
	if !errkind.Is(err, errkind.Invalid) {
		t.Fatalf("fit for ReadWrite: %v", err)
	}
	for _, reason := range []string{"If-Match on delete", "conditions on completing a multipart upload", "level C0"} {
		if !strings.Contains(err.Error(), reason) {
			t.Errorf("%q does not say %q", err, reason)
		}
	}
	if err := object.Fit(r, false, false); err != nil {
		t.Errorf("fit for ReadOnly: %v", err)
	}
	if err := object.Fit(r, true, true); err != nil {
		t.Errorf("fit with acceptLossWindow: %v", err)
	}
}

// TestFakeGCSServerIgnores: asked beside the driver. If a newer emulator behaves better, this fails and fakeKeeps can say more.
func TestFakeGCSServerIgnores(t *testing.T) {
	endpoint := fake(t)
	bucket := makeBucket(t, endpoint, false)
	b := open(t, endpoint, bucket)
	base := endpoint + "/storage/v1/b/" + bucket + "/o/"
	a := mustPut(t, b, "k", "x", driver.PutOptions{Properties: driver.Properties{ContentType: "text/plain"}})
	call(t, "PATCH", base+"k", `{"metadata":{"by":"a user"}}`)
	if s, err := b.Stat(t.Context(), "k", ""); err != nil || s.Metageneration != a.Metageneration || s.Metadata["by"] == "" {
		t.Errorf("an edit gives %+v, %v: the emulator counts metagenerations now", s, err)
	}
	call(t, "POST", base+"k/compose?ifGenerationMatch=1", `{"sourceObjects":[{"name":"k"}],"destination":{"contentType":"text/html"}}`)
	if s, err := b.Stat(t.Context(), "k", ""); err != nil || s.Tag == a.Tag || s.ContentType != "text/plain" {
		t.Errorf("after a compose with a stale generation: %+v, %v; want a new generation that kept the old one's type", s, err)
	}
	call(t, "POST", base+"k/rewriteTo/b/"+bucket+"/o/k2?ifGenerationMatch=1", `{}`)
	call(t, "DELETE", base+"k?ifGenerationMatch=1", "")
	if err := stat(t.Context(), b, driver.Precondition{}); !errkind.Is(err, errkind.NotFound) {
		t.Errorf("after a delete with a stale generation: %v, want not found", err)
	}
}

// TestUnversionedBucketIsNotTakenForVersioned: every write on GCS has a generation, and only a versioned bucket keeps what it
// replaces. The probe pays one listing for knowing.
func TestUnversionedBucketIsNotTakenForVersioned(t *testing.T) {
	for _, versioned := range []bool{true, false} {
		s := document(t, gcsdoc.Lies{})
		name := s.bucket(versioned)
		var counter object.Counter
		r, err := object.Probe(t.Context(), open(t, s.url, name, func(c *gcs.Config) { c.OnRequest = counter.Request }), object.ProbeOptions{})
		if err != nil || r.Capabilities.Versioned != versioned || r.Capabilities.Level != driver.C3 || r.MarkerBlocksCreate {
			t.Errorf("versioned %v: report %+v, %v", versioned, r, err)
		}
		if slices.ContainsFunc(r.Findings, func(f string) bool { return strings.Contains(f, "uspended") }) {
			t.Errorf("versioned %v: findings %q", versioned, r.Findings)
		}
		if left := s.Names(name); len(left) > 0 {
			t.Errorf("versioned %v: the probe left %q behind", versioned, left)
		}
	}
}

// TestDroppedConditionsAreNoticed: for each condition that a server could ignore (or a driver could forget to send), the probe,
// or the driver itself, notices.
func TestDroppedConditionsAreNoticed(t *testing.T) {
	for name, c := range map[string]struct {
		lies  gcsdoc.Lies
		level driver.Level
		says  string
	}{
		"put":     {gcsdoc.Lies{IgnorePut: true}, driver.C0, "put-if-match is not kept"},
		"compose": {gcsdoc.Lies{IgnoreCompose: true}, driver.C0, "complete-if-match is not kept"},
		"delete":  {gcsdoc.Lies{IgnoreDelete: true}, driver.C0, "If-Match on delete is ignored"},
		"read":    {gcsdoc.Lies{IgnoreRead: true}, driver.C3, ""}, // the driver looks at what came
	} {
		for _, versioned := range []bool{true, false} {
			s := document(t, c.lies)
			r, err := object.Probe(t.Context(), open(t, s.url, s.bucket(versioned)), object.ProbeOptions{})
			if err != nil || r.Capabilities.Level != c.level || !strings.Contains(strings.Join(r.Findings, "\n"), c.says) {
				t.Errorf("%s, versioned %v: level %s, findings %q, %v; want %s and %q", name, versioned, r.Capabilities.Level, r.Findings, err, c.level, c.says)
			}
		}
	}
}

// TestMetagenerationIsPartOfTheCondition: a user edits the metadata between our look and our write. On a server that ignores the
// metageneration, each of these writes goes through: the test proves that it is sent.
func TestMetagenerationIsPartOfTheCondition(t *testing.T) {
	for _, ignored := range []bool{false, true} {
		s := document(t, gcsdoc.Lies{IgnoreMetageneration: ignored})
		bucket := s.bucket(true)
		b := open(t, s.url, bucket, keeps)
		for name, write := range map[string]func(cond driver.Precondition) error{
			"put":    func(cond driver.Precondition) error { return put(t.Context(), b, cond) },
			"delete": func(cond driver.Precondition) error { return remove(t.Context(), b, cond) },
			"complete": func(cond driver.Precondition) error {
				id, part := uploadOne(t, b, "k", "x")
				_, err := b.Complete(t.Context(), "k", id, []driver.Part{part}, &driver.PutOptions{Size: 1, If: cond})
				return err
			},
			"copy": func(cond driver.Precondition) error {
				src := mustPut(t, b, "source", "x", driver.PutOptions{})
				store, in := b.Location()
				_, err := b.Copy(t.Context(), driver.Source{Store: store, Bucket: in, Key: "source", Tag: src.Tag}, "k", &driver.PutOptions{Size: 1, If: cond})
				return err
			},
		} {
			seen := mustPut(t, b, "k", "x", driver.PutOptions{})
			call(t, "PATCH", s.url+"/storage/v1/b/"+bucket+"/o/k", `{"metadata":{"by":"a user"}}`)
			err := write(driver.Precondition{Match: seen.Tag, VersionID: seen.VersionID, Metageneration: seen.Metageneration})
			if ignored && err != nil || !ignored && !errkind.Is(err, errkind.PreconditionFailed) {
				t.Errorf("%s, metageneration ignored: %v: %v (kind %s)", name, ignored, err, errkind.Of(err))
			}
			if now, err := b.Stat(t.Context(), "k", ""); !ignored && (err != nil || now.Metageneration != "2" || now.Tag != seen.Tag || now.Metadata["by"] == "") {
				t.Errorf("%s: the edit is lost: %+v, %v", name, now, err)
			}
		}
	}
}

// TestRewriteConditionIsSent: a copy whose target was replaced. On a server that ignores the condition it goes through.
func TestRewriteConditionIsSent(t *testing.T) {
	for _, ignored := range []bool{false, true} {
		s := document(t, gcsdoc.Lies{IgnoreRewrite: ignored})
		b := open(t, s.url, s.bucket(false), keeps)
		src := mustPut(t, b, "source", "x", driver.PutOptions{})
		seen := mustPut(t, b, "k", "old", driver.PutOptions{})
		mustPut(t, b, "k", "newer", driver.PutOptions{})
		store, in := b.Location()
		_, err := b.Copy(t.Context(), driver.Source{Store: store, Bucket: in, Key: "source", Tag: src.Tag}, "k",
			&driver.PutOptions{Size: 1, If: driver.Precondition{Match: seen.Tag}})
		if ignored && err != nil || !ignored && !errkind.Is(err, errkind.PreconditionFailed) {
			t.Errorf("rewrite conditions ignored: %v: %v (kind %s)", ignored, err, errkind.Of(err))
		}
	}
}

// TestMissingBucket: an error about the bucket is never an answer about a key.
func TestMissingBucket(t *testing.T) {
	endpoints := map[string]string{"documented": document(t, gcsdoc.Lies{}).url, "fake-gcs-server": fake(t)}
	for name, endpoint := range endpoints {
		b := open(t, endpoint, "no-such-bucket", keeps)
		match := driver.Precondition{Match: "17"}
		for op, err := range map[string]error{
			"stat": stat(t.Context(), b, match), "open": read(t.Context(), b, match), "put": put(t.Context(), b, driver.Precondition{}),
			"put if-match": put(t.Context(), b, match), "delete": remove(t.Context(), b, driver.Precondition{}),
			"delete if-match": remove(t.Context(), b, match),
		} {
			if !errkind.Is(err, errkind.Unavailable) {
				t.Errorf("%s, %s: got %v (kind %s), want unavailable", name, op, err, errkind.Of(err))
			}
		}
		_, err := b.Begin(t.Context(), "k", nil)
		_, verr := b.Versions(t.Context(), "k")
		_, lerr := b.List(t.Context(), nil)
		_, perr := object.Probe(t.Context(), b, object.ProbeOptions{})
		for op, err := range map[string]error{"begin": err, "versions": verr, "list": lerr, "probe": perr} {
			if !errkind.Is(err, errkind.Unavailable) {
				t.Errorf("%s, %s: got %v (kind %s), want unavailable", name, op, err, errkind.Of(err))
			}
		}
	}
}

// TestBucketDeletedWhileInUse: all keys are gone, and none of them was deleted by a user.
func TestBucketDeletedWhileInUse(t *testing.T) {
	s := document(t, gcsdoc.Lies{})
	name := s.bucket(false)
	b := open(t, s.url, name, func(c *gcs.Config) { c.BucketCheckEvery = -1 })
	if err := stat(t.Context(), b, driver.Precondition{}); !errkind.Is(err, errkind.NotFound) {
		t.Errorf("got %v, want not found", err)
	}
	s.Drop(name)
	if err := stat(t.Context(), b, driver.Precondition{}); !errkind.Is(err, errkind.Unavailable) {
		t.Errorf("got %v, want unavailable", err)
	}
}
