package gcs_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/object"
	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
	"github.com/bucketmesh/bucketmesh/pkg/object/gcs"
	"github.com/bucketmesh/bucketmesh/pkg/object/gcs/gcsdoc"
)

func uploadOne(t *testing.T, b *gcs.Bucket, key, content string) (string, driver.Part) {
	t.Helper()
	id, err := b.Begin(t.Context(), key, nil)
	if err != nil {
		t.Fatalf("begin: %v", err)
	}
	p, err := b.PutPart(t.Context(), key, id, 1, strings.NewReader(content), int64(len(content)))
	if err != nil {
		t.Fatalf("put part: %v", err)
	}
	return id, p
}

// TestTrapGzipIsCopiedAsItIsStored: GCS decompresses what is stored with Content-Encoding gzip for clients that don't ask for
// gzip. The copy would have other bytes under the same headers.
func TestTrapGzipIsCopiedAsItIsStored(t *testing.T) {
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	_, _ = io.WriteString(w, strings.Repeat("a", 1000))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	s := document(t, gcsdoc.Lies{})
	endpoint := fake(t)
	for name, b := range map[string]*gcs.Bucket{
		"documented": open(t, s.url, s.bucket(false)), "fake-gcs-server": open(t, endpoint, makeBucket(t, endpoint, false)),
	} {
		mustPut(t, b, "k", packed.String(), driver.PutOptions{Properties: driver.Properties{ContentEncoding: "gzip", ContentType: "text/plain"}})
		content, a := mustRead(t, b, "k", nil)
		if content != packed.String() || a.Size != int64(packed.Len()) || a.ContentEncoding != "gzip" {
			t.Errorf("%s: %d bytes came back of %d, %+v", name, len(content), packed.Len(), a)
		}
		if part, _ := mustRead(t, b, "k", &driver.ReadOptions{Offset: 4, Length: 8}); part != packed.String()[4:12] {
			t.Errorf("%s: the range holds %q, want %q", name, part, packed.String()[4:12])
		}
	}
	liar := document(t, gcsdoc.Lies{Decompress: true})
	b := open(t, liar.url, liar.bucket(false))
	mustPut(t, b, "k", packed.String(), driver.PutOptions{Properties: driver.Properties{ContentEncoding: "gzip"}})
	if err := read(t.Context(), b, driver.Precondition{}); !errkind.Is(err, errkind.Unavailable) {
		t.Errorf("a server that decompresses all the same: %v (kind %s), want unavailable", err, errkind.Of(err))
	}
}

// TestTrapForeignMetadata: other tools write what S3's headers can't carry. It is read, or refused; never lost.
func TestTrapForeignMetadata(t *testing.T) {
	s := document(t, gcsdoc.Lies{})
	for name, c := range map[string]struct {
		metadata string
		want     map[string]string // nil: refused
	}{
		"upper case":           {`{"Owner":"x"}`, map[string]string{"owner": "x"}},
		"text":                 {`{"who":"é 日本"}`, map[string]string{"who": "é 日本"}},
		"percent":              {`{"who":"%C3%A9"}`, map[string]string{"who": "%C3%A9"}},
		"looks encoded":        {`{"who":"=?UTF-8?Q?abc?="}`, map[string]string{"who": "=?UTF-8?Q?abc?="}},
		"empty value":          {`{"who":""}`, map[string]string{"who": ""}},
		"spaces at the ends":   {`{"who":" x "}`, map[string]string{"who": " x "}},
		"both cases":           {`{"Owner":"x","owner":"y"}`, nil},
		"no header name":       {`{"a b":"x"}`, nil},
		"a letter of its own":  {`{"größe":"x"}`, nil},
		"an empty name":        {`{"":"x"}`, nil},
		"tags that are broken": {`{"bucketmesh-tags":"%zz"}`, nil},
	} {
		t.Run(name, func(t *testing.T) {
			bucket := s.bucket(false)
			b := open(t, s.url, bucket)
			mustPut(t, b, "k", "x", driver.PutOptions{})
			call(t, "PATCH", s.url+"/storage/v1/b/"+bucket+"/o/k", `{"metadata":`+c.metadata+`}`)
			a, err := b.Stat(t.Context(), "k", "")
			rerr := read(t.Context(), b, driver.Precondition{})
			if c.want == nil {
				if !errkind.Is(err, errkind.Invalid) || !errkind.Is(rerr, errkind.Invalid) {
					t.Errorf("stat: %v (kind %s), open: %v (kind %s); want invalid", err, errkind.Of(err), rerr, errkind.Of(rerr))
				}
				return
			}
			if err != nil || rerr != nil {
				t.Fatalf("stat: %v, open: %v", err, rerr)
			}
			if _, o := mustRead(t, b, "k", nil); fmt.Sprint(a.Metadata) != fmt.Sprint(c.want) || fmt.Sprint(o.Metadata) != fmt.Sprint(c.want) {
				t.Errorf("stat: %q, open: %q, want %q", a.Metadata, o.Metadata, c.want)
			}
		})
	}
}

// TestTrapOwnMetadataKeysAreRefused: a user's key that would be read back as tags.
func TestTrapOwnMetadataKeysAreRefused(t *testing.T) {
	s := document(t, gcsdoc.Lies{})
	b := open(t, s.url, s.bucket(false))
	for _, key := range []string{"bucketmesh-tags", "bucketmesh-expires"} {
		opts := driver.PutOptions{Size: 1, Properties: driver.Properties{Metadata: map[string]string{key: "x"}}}
		if _, err := b.Put(t.Context(), "k", strings.NewReader("x"), &opts); !errkind.Is(err, errkind.Invalid) {
			t.Errorf("%s: %v (kind %s), want invalid", key, err, errkind.Of(err))
		}
		if _, err := b.Begin(t.Context(), "k", &opts); !errkind.Is(err, errkind.Invalid) {
			t.Errorf("%s: %v (kind %s), want invalid", key, err, errkind.Of(err))
		}
	}
}

// TestTrapCacheControlOfObjectsThatHaveNone: GCS answers one, which nobody set. Copied, it would look like an edit.
func TestTrapCacheControlOfObjectsThatHaveNone(t *testing.T) {
	s := document(t, gcsdoc.Lies{})
	b := open(t, s.url, s.bucket(false))
	for _, set := range []string{"", "private, max-age=0", "public, max-age=3600", "no-cache"} {
		mustPut(t, b, "k", "x", driver.PutOptions{Properties: driver.Properties{CacheControl: set}})
		if _, a := mustRead(t, b, "k", nil); a.CacheControl != set {
			t.Errorf("set %q, read %q", set, a.CacheControl)
		}
	}
}

// TestTrapNames: names that GCS takes nowhere cost no request.
func TestTrapNames(t *testing.T) {
	b := open(t, "http://127.0.0.1:1", "bucket")
	for _, key := range []string{".", "..", "a\nb", "a\rb", ".well-known/acme-challenge/x"} {
		for op, err := range map[string]error{
			"put": func() error {
				_, err := b.Put(t.Context(), key, strings.NewReader(""), &driver.PutOptions{})
				return err
			}(),
			"stat": func() error { _, err := b.Stat(t.Context(), key, ""); return err }(),
			"open": func() error { _, _, err := b.Open(t.Context(), key, nil); return err }(),
			"del":  func() error { _, err := b.Delete(t.Context(), key, nil); return err }(),
			"beg":  func() error { _, err := b.Begin(t.Context(), key, nil); return err }(),
		} {
			if !errkind.Is(err, errkind.Invalid) {
				t.Errorf("%s %q: %v (kind %s), want invalid", op, key, err, errkind.Of(err))
			}
		}
	}
}

// TestTrapUploadsLeaveNothing: what was temporary is removed for good, on versioned buckets too, after success, after a failed
// condition and by an abort; a part that arrives after the abort as well.
func TestTrapUploadsLeaveNothing(t *testing.T) {
	for _, versioned := range []bool{true, false} {
		s := document(t, gcsdoc.Lies{})
		name := s.bucket(versioned)
		b := open(t, s.url, name, keeps)
		left := func(what string) {
			t.Helper()
			if names := s.Names(name); slices.ContainsFunc(names, func(n string) bool { return strings.HasPrefix(n, gcs.PartsPrefix) }) {
				t.Errorf("versioned %v, %s: left %q", versioned, what, names)
			}
		}
		id, _ := uploadOne(t, b, "k", "x")
		if p, err := b.PutPart(t.Context(), "k", id, 1, strings.NewReader("y"), 1); err != nil || p.Number != 1 {
			t.Fatalf("put part again: %v", err)
		}
		if err := b.Abort(t.Context(), "k", id); err != nil {
			t.Fatalf("abort: %v", err)
		}
		left("abort")
		if _, err := b.PutPart(t.Context(), "k", id, 2, strings.NewReader("late"), 4); !errkind.Is(err, errkind.NotFound) {
			t.Errorf("a part after the abort: %v (kind %s), want not found", err, errkind.Of(err))
		}
		left("a late part")
		id, p := uploadOne(t, b, "k", "x")
		if _, err := b.Complete(t.Context(), "k", id, []driver.Part{p}, &driver.PutOptions{Size: 1}); err != nil {
			t.Fatalf("complete: %v", err)
		}
		left("complete")
		id, p = uploadOne(t, b, "k", "x")
		_, err := b.Complete(t.Context(), "k", id, []driver.Part{p}, &driver.PutOptions{Size: 1, If: driver.Precondition{NotExist: true}})
		if !errkind.Is(err, errkind.PreconditionFailed) {
			t.Errorf("complete over what is there: %v", err)
		}
		if err := b.Abort(t.Context(), "k", id); err != nil {
			t.Fatalf("abort: %v", err)
		}
		left("abort after a failed complete")
	}
}

// TestTrapUploadIDsAreBoundToTheirKey: an id names a folder; nobody can be led elsewhere by one.
func TestTrapUploadIDsAreBoundToTheirKey(t *testing.T) {
	s := document(t, gcsdoc.Lies{})
	b := open(t, s.url, s.bucket(false))
	id, p := uploadOne(t, b, "k", "x")
	for _, c := range []struct{ key, id string }{{"other", id}, {"k", "../../k"}, {"k", ""}, {"k", id + "/"}} {
		if _, err := b.Complete(t.Context(), c.key, c.id, []driver.Part{p}, &driver.PutOptions{Size: 1}); !errkind.Is(err, errkind.NotFound) {
			t.Errorf("%q of %q: %v (kind %s), want not found", c.id, c.key, err, errkind.Of(err))
		}
	}
}

// TestTrapRequestsPerOperation: what each call costs. What a GET's headers can't be trusted with costs a second request.
func TestTrapRequestsPerOperation(t *testing.T) {
	s := document(t, gcsdoc.Lies{})
	var counter object.Counter
	b := open(t, s.url, s.bucket(true), keeps, func(c *gcs.Config) { c.OnRequest = counter.Request })
	cached := driver.PutOptions{Properties: driver.Properties{CacheControl: "no-cache", Metadata: map[string]string{"a": "b"}}}
	var a *driver.Attrs
	for _, step := range []struct {
		name string
		do   func() error
		want object.Snapshot
	}{
		{"put", func() error { a = mustPut(t, b, "k", "x", cached); return nil }, object.Snapshot{Put: 1}},
		{"conditional put", func() error {
			cached.If = driver.Precondition{Match: a.Tag}
			a = mustPut(t, b, "k", "x", cached)
			return nil
		}, object.Snapshot{Put: 1}},
		{"stat", func() error { return stat(t.Context(), b, driver.Precondition{}) }, object.Snapshot{Head: 1}},
		{"open", func() error { return read(t.Context(), b, driver.Precondition{}) }, object.Snapshot{Get: 1, Head: 1}},
		{"list", func() error { _, err := b.List(t.Context(), nil); return err }, object.Snapshot{List: 1}},
		{"versions", func() error { _, err := b.Versions(t.Context(), "k"); return err }, object.Snapshot{List: 1}},
		{"conditional delete", func() error { return remove(t.Context(), b, driver.Precondition{Match: a.Tag}) }, object.Snapshot{Delete: 1}},
		{"delete", func() error { return remove(t.Context(), b, driver.Precondition{}) }, object.Snapshot{Delete: 1}},
		{"delete of what is gone", func() error { return remove(t.Context(), b, driver.Precondition{}) }, object.Snapshot{Delete: 1}},
	} {
		before := counter.Snapshot()
		if err := step.do(); err != nil {
			t.Errorf("%s: %v", step.name, err)
		}
		if got := counter.Snapshot().Sub(before); got != step.want {
			t.Errorf("%s cost %+v, want %+v", step.name, got, step.want)
		}
	}
}

// TestTrapEnvironmentOfAnEmulator: STORAGE_EMULATOR_HOST is for other programs; a replica is where its configuration says.
func TestTrapEnvironmentOfAnEmulator(t *testing.T) {
	s := document(t, gcsdoc.Lies{})
	t.Setenv("STORAGE_EMULATOR_HOST", "127.0.0.1:1")
	b := open(t, s.url, s.bucket(false))
	if err := put(t.Context(), b, driver.Precondition{}); err != nil {
		t.Errorf("put: %v", err)
	}
	if err := read(t.Context(), b, driver.Precondition{}); err != nil {
		t.Errorf("read: %v", err)
	}
}

// TestTrapStoredOtherBytes: the server says that all went well and tells another checksum. Nothing is removed.
func TestTrapStoredOtherBytes(t *testing.T) {
	s := document(t, gcsdoc.Lies{StoreOtherBytes: true})
	name := s.bucket(false)
	b := open(t, s.url, name)
	if err := put(t.Context(), b, driver.Precondition{}); !errkind.Is(err, errkind.Unavailable) || !strings.Contains(err.Error(), "other bytes") {
		t.Errorf("put: %v (kind %s), want unavailable", err, errkind.Of(err))
	}
	if names := s.Names(name); len(names) != 1 {
		t.Errorf("the server has %q", names)
	}
}

// TestTrapLostAnswerOfAnUpload: the connection breaks after the write. The SDK must not send it again: the second would answer
// 412 for our own write.
func TestTrapLostAnswer(t *testing.T) {
	s := document(t, gcsdoc.Lies{})
	var requests atomic.Int32
	lost := func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodGet {
			return false
		}
		requests.Add(1)
		if r.Method == http.MethodPost {
			_, _ = io.Copy(io.Discard, r.Body)
		}
		panic(http.ErrAbortHandler)
	}
	b := open(t, s.url, s.bucket(false), keeps)
	a := mustPut(t, b, "k", "x", driver.PutOptions{})
	id, p := uploadOne(t, b, "k", "x")
	store, in := b.Location()
	s.Instead(lost)
	for name, write := range map[string]func(cond driver.Precondition) error{
		"put":    func(cond driver.Precondition) error { return put(t.Context(), b, cond) },
		"delete": func(cond driver.Precondition) error { return remove(t.Context(), b, cond) },
		"complete": func(cond driver.Precondition) error {
			_, err := b.Complete(t.Context(), "k", id, []driver.Part{p}, &driver.PutOptions{Size: 1, If: cond})
			return err
		},
		"copy": func(cond driver.Precondition) error {
			_, err := b.Copy(t.Context(), driver.Source{Store: store, Bucket: in, Key: "k", Tag: a.Tag}, "k2", &driver.PutOptions{If: cond})
			return err
		},
	} {
		requests.Store(0)
		if err := write(driver.Precondition{Match: a.Tag}); !errkind.Is(err, errkind.Unavailable) {
			t.Errorf("%s: %v (kind %s), want unavailable", name, err, errkind.Of(err))
		}
		if n := requests.Load(); n != 1 {
			t.Errorf("%s was sent %d times", name, n)
		}
	}
}

// TestTrapReplacedWhileOpened: the bytes are on their way, and the metadata that belongs to them is gone. NotFound would claim
// that somebody deleted the object.
func TestTrapReplacedWhileOpened(t *testing.T) {
	s := document(t, gcsdoc.Lies{})
	b := open(t, s.url, s.bucket(false))
	other := open(t, s.url, in(b))
	mustPut(t, b, "k", "one", driver.PutOptions{})
	var replaced atomic.Bool
	s.Instead(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.URL.Query().Has("generation") && !replaced.Swap(true) {
			mustPut(t, other, "k", "two", driver.PutOptions{})
		}
		return false
	})
	if err := read(t.Context(), b, driver.Precondition{}); !errkind.Is(err, errkind.Conflict) || !replaced.Load() {
		t.Errorf("got %v (kind %s), want conflict", err, errkind.Of(err))
	}
	if content, _ := mustRead(t, b, "k", nil); content != "two" {
		t.Errorf("then it holds %q", content)
	}
}

// in is the bucket's name.
func in(b *gcs.Bucket) string {
	_, name := b.Location()
	return name
}

// TestTrapTreeOfComposes: 32 sources are the most that GCS composes at once, so that 1,025 parts take three levels.
func TestTrapTreeOfComposes(t *testing.T) {
	s := document(t, gcsdoc.Lies{})
	name := s.bucket(true)
	b := open(t, s.url, name)
	id, err := b.Begin(t.Context(), "k", &driver.PutOptions{Properties: driver.Properties{ContentType: "text/plain"}})
	if err != nil {
		t.Fatalf("begin: %v", err)
	}
	const count = 32*32 + 1
	parts, want := make([]driver.Part, count), ""
	for i := range count {
		content := fmt.Sprint(i, ";")
		want += content
		if parts[i], err = b.PutPart(t.Context(), "k", id, i+1, strings.NewReader(content), int64(len(content))); err != nil {
			t.Fatalf("put part: %v", err)
		}
	}
	if _, err := b.Complete(t.Context(), "k", id, parts, &driver.PutOptions{Size: int64(len(want))}); err != nil {
		t.Fatalf("complete: %v", err)
	}
	if content, a := mustRead(t, b, "k", nil); content != want || a.ContentType != "text/plain" || a.MD5 != "" {
		t.Errorf("%d bytes came back of %d, %+v", len(content), len(want), a)
	}
	if names := s.Names(name); len(names) != 1 {
		t.Errorf("%d objects are left", len(names))
	}
}
