package azblob_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/object"
	"github.com/bucketmesh/bucketmesh/pkg/object/azblob"
	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
	"github.com/bucketmesh/bucketmesh/pkg/object/drivertest"
)

// TestVersions on the server after the documents: no delete markers, and a current version that can't be removed by its id.
func TestVersions(t *testing.T) {
	s, name := documented(t)
	b := s.open(t, name, conditions)
	v1 := write(t, b, "key", "one", driver.Properties{})
	v2 := write(t, b, "key", "two", driver.Properties{})
	write(t, b, "key-longer", "x", driver.Properties{})
	ids := func() (got []string) {
		vs, err := b.Versions(t.Context(), "key")
		if err != nil {
			t.Fatalf("versions: %v", err)
		}
		for i, v := range vs {
			if v.Key != "key" || v.DeleteMarker || v.IsLatest && i > 0 {
				t.Errorf("version %d is %+v", i, v)
			}
			got = append(got, v.VersionID)
		}
		return got
	}
	if got := ids(); !slices.Equal(got, []string{v2.VersionID, v1.VersionID}) || v1.VersionID == "" {
		t.Fatalf("versions %q, want %q over %q", got, v2.VersionID, v1.VersionID)
	}
	for id, want := range map[string]string{v1.VersionID: "one", v2.VersionID: "two"} {
		r, a, err := b.Open(t.Context(), "key", &driver.ReadOptions{VersionID: id})
		if err != nil || a.VersionID != id || a.Size != 3 {
			t.Fatalf("open version %s (%s): %+v, %v", id, want, a, err)
		}
		_ = r.Close()
		if a, err := b.Stat(t.Context(), "key", id); err != nil || a.VersionID != id {
			t.Errorf("stat version %s: %+v, %v", id, a, err)
		}
	}
	if _, err := b.Delete(t.Context(), "key", &driver.DeleteOptions{If: driver.Precondition{Match: v2.Tag, VersionID: v2.VersionID}}); err != nil {
		t.Fatalf("delete: %v", err)
	}
	_, err := b.Stat(t.Context(), "key", "")
	kind(t, err, errkind.NotFound, "stat of a key without a current version")
	if got := ids(); len(got) != 2 {
		t.Errorf("versions %q after the delete", got)
	}
	v3 := write(t, b, "key", "three", driver.Properties{})
	for _, id := range []string{v1.VersionID, v3.VersionID, v3.VersionID, v2.VersionID} { // older, current, gone, older
		if _, err := b.Delete(t.Context(), "key", &driver.DeleteOptions{VersionID: id}); err != nil {
			t.Fatalf("remove version %s: %v", id, err)
		}
	}
	if got := ids(); len(got) != 0 {
		t.Errorf("versions %q are left", got)
	}
}

// TestNastyKeysOfVersions: a version's id is added to a URL that is taken apart for it.
func TestNastyKeysOfVersions(t *testing.T) {
	s, name := documented(t)
	b := s.open(t, name, conditions)
	for _, key := range append(drivertest.NastyKeys(), "/lead", "//", "a?versionid=x", "snapshot=1") {
		if _, err := b.Stat(t.Context(), key, ""); errkind.Is(err, errkind.Invalid) {
			continue // no key of Azure's
		}
		a := write(t, b, key, "content of "+key, driver.Properties{})
		got, err := b.Stat(t.Context(), key, a.VersionID)
		if err != nil || got.Tag != a.Tag {
			t.Errorf("stat of the version of %q: %+v, %v", key, got, err)
		}
	}
}

// TestProbeOfAVersionedAccount leaves no version behind.
func TestProbeOfAVersionedAccount(t *testing.T) {
	s, d := documentedWith(t)
	report, err := object.Probe(t.Context(), s.open(t, "container"), object.ProbeOptions{})
	if err != nil {
		t.Fatalf("probe: %v", err)
	}
	c := report.Capabilities
	if c.Level != driver.C3 || !c.Versioned || c.PutMatch != driver.GuardNative || c.PutNotExist != driver.GuardNative ||
		c.CompleteGuard != driver.GuardNative || c.DeleteGuard != driver.GuardNative || c.ReadMatch != driver.GuardNative {
		t.Errorf("the probe found %+v: %q", c, report.Findings)
	}
	for key, versions := range d.blobs {
		if len(versions) > 0 {
			t.Errorf("the probe left %d versions of %q", len(versions), key)
		}
	}
}

// TestListingContinuesByMarker: a listing in pages costs one request per page; one that was interrupted starts from its key.
func TestListingContinuesByMarker(t *testing.T) {
	s, d := documentedWith(t)
	b := s.open(t, "container", conditions)
	var want []string
	for k := range strings.SplitSeq("abcdefghij", "") {
		write(t, b, "p/"+k, "x", driver.Properties{})
		want = append(want, "p/"+k)
	}
	list := func(b driver.Bucket) (got []string) {
		opts := driver.ListOptions{Prefix: "p/", Limit: 3}
		for {
			page, err := b.List(t.Context(), &opts)
			if err != nil {
				t.Fatalf("list: %v", err)
			}
			for _, o := range page.Objects {
				got = append(got, o.Key)
			}
			if page.Next == "" {
				return got
			}
			opts.After = page.Next
		}
	}
	if got := list(b); !slices.Equal(got, want) || len(d.queries) != 4 {
		t.Errorf("listed %q in %d requests, want %q in 4", got, len(d.queries), want)
	}
	for i, q := range d.queries {
		if (q.Get("marker") != "") != (i > 0) || q.Get("startFrom") != "" || q.Get("include") != "" {
			t.Errorf("request %d asks %v", i, q)
		}
	}
	d.queries = nil
	page, err := s.open(t, "container", conditions).List(t.Context(), &driver.ListOptions{Prefix: "p/", After: "p/c", Limit: 3})
	if err != nil || len(page.Objects) != 2 || page.Objects[0].Key != "p/d" || d.queries[0].Get("startFrom") != "p/c" {
		t.Errorf("after p/c: %+v, %v, asked %v", page, err, d.queries)
	}
	d.queries, d.emptyAt = nil, 2 // Azure may answer with a marker and nothing else
	if got := list(s.open(t, "container", conditions)); !slices.Equal(got, want) {
		t.Errorf("with empty pages: listed %q, want %q", got, want)
	}
}

// TestCopy: the source is pinned and authorized, the properties are the caller's own, and nothing travels through this process.
func TestCopy(t *testing.T) {
	s, d := documentedWith(t)
	var told []string
	b := s.open(t, "container", conditions, func(c *azblob.Config) { c.OnRequest = func(op string) { told = append(told, op) } })
	a := write(t, b, "from é?", "content", driver.Properties{ContentType: "text/a", Metadata: map[string]string{"source": "1"}})
	store, bucket := b.Location()
	src := driver.Source{Store: store, Bucket: bucket, Key: "from é?", Tag: a.Tag}
	p := driver.Properties{ContentType: "text/b", CacheControl: "no-cache", Expires: "never", Metadata: map[string]string{"own-key": "ü"}}
	opts := &driver.PutOptions{Size: 7, Properties: p, If: driver.Precondition{NotExist: true}}
	copied, err := b.Copy(t.Context(), src, "to", opts)
	if err != nil {
		t.Fatalf("copy: %v", err)
	}
	if told[len(told)-1] != "CopyObject" || d.source.Get("X-Ms-Copy-Source-Blob-Properties") != "false" {
		t.Errorf("requests %q, headers %v", told, d.source)
	}
	if got, r := read(t, b, "to"); got != "content" || r.Tag != copied.Tag || r.ContentType != "text/b" || r.CacheControl != "no-cache" ||
		r.Expires != "never" || len(r.Metadata) != 1 || r.Metadata["own-key"] != "ü" {
		t.Errorf("the copy is %q, %+v", got, r)
	}
	_, err = b.Copy(t.Context(), src, "to", opts)
	kind(t, err, errkind.PreconditionFailed, "copy onto what is there")
	stale := src
	stale.Tag = "0xSTALE"
	opts.If = driver.Precondition{}
	_, err = b.Copy(t.Context(), stale, "to", opts)
	kind(t, err, errkind.PreconditionFailed, "copy of a source that changed")
	gone := src
	gone.Key = "gone"
	_, err = b.Copy(t.Context(), gone, "to", opts)
	kind(t, err, errkind.NotFound, "copy of a source that is gone")
	old := src
	old.VersionID = a.VersionID
	write(t, b, src.Key, "newer", driver.Properties{})
	if _, err := b.Copy(t.Context(), old, "to", opts); err != nil {
		t.Errorf("copy of an older version: %v", err)
	}
	for name, change := range map[string]func(*driver.Source, *driver.PutOptions){
		"another account": func(s *driver.Source, _ *driver.PutOptions) { s.Store = "https://other.blob.core.windows.net" },
		"too large":       func(_ *driver.Source, o *driver.PutOptions) { o.Size = 5000<<20 + 1 },
		"no metadata":     func(_ *driver.Source, o *driver.PutOptions) { o.Properties = driver.Properties{} },
	} {
		src, opts := src, *opts
		change(&src, &opts)
		_, err := b.Copy(t.Context(), src, "to", &opts)
		kind(t, err, errkind.Unsupported, name)
	}
}

// TestCopyOfASilentServer: a copy inside of Azure has a time of its own.
func TestCopyOfASilentServer(t *testing.T) {
	s, name := documented(t)
	b := s.open(t, name, conditions, func(c *azblob.Config) { c.CompleteTimeout = time.Nanosecond })
	store, bucket := b.Location()
	_, err := b.Copy(context.WithoutCancel(t.Context()), driver.Source{Store: store, Bucket: bucket, Key: "k"}, "to", &driver.PutOptions{
		Size: 1, Properties: driver.Properties{Metadata: map[string]string{"k": "v"}},
	})
	kind(t, err, errkind.Unavailable, "copy")
}
