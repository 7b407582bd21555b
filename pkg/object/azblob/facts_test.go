package azblob_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/lease"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/object/azblob"
	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
)

// The tests in this file hold the driver to what Azurite really does, with a user beside it who has other tools.

func conditions(c *azblob.Config) {
	caps := native()
	caps.MaxPut, caps.MinPart, caps.MaxParts, caps.MaxKey = 5000<<20, 1, 50_000, 3072
	c.Capabilities = &caps
}

func write(t *testing.T, b driver.Bucket, key, content string, p driver.Properties) *driver.Attrs {
	t.Helper()
	a, err := b.Put(t.Context(), key, strings.NewReader(content), &driver.PutOptions{Size: int64(len(content)), Properties: p})
	if err != nil {
		t.Fatalf("put %q: %v", key, err)
	}
	return a
}

func read(t *testing.T, b driver.Bucket, key string) (string, *driver.Attrs) {
	t.Helper()
	r, a, err := b.Open(t.Context(), key, nil)
	if err != nil {
		t.Fatalf("open %q: %v", key, err)
	}
	data, err := io.ReadAll(r)
	if err = errors.Join(err, r.Close()); err != nil {
		t.Fatalf("read %q: %v", key, err)
	}
	return string(data), a
}

func upload(t *testing.T, b *azblob.Bucket, key string, contents ...string) (string, []driver.Part) {
	t.Helper()
	id, err := b.Begin(t.Context(), key, nil)
	if err != nil {
		t.Fatalf("begin: %v", err)
	}
	var parts []driver.Part
	for i, c := range contents {
		p, err := b.PutPart(t.Context(), key, id, i+1, strings.NewReader(c), int64(len(c)))
		if err != nil {
			t.Fatalf("put part: %v", err)
		}
		parts = append(parts, p)
	}
	return id, parts
}

func kind(t *testing.T, err error, want errkind.Kind, what string) {
	t.Helper()
	if !errkind.Is(err, want) {
		t.Errorf("%s: got %v (kind %s), want kind %s", what, err, errkind.Of(err), want)
	}
}

// corrupting changes the first byte of every body on its way.
type corrupting struct{ next http.RoundTripper }

func (c corrupting) RoundTrip(r *http.Request) (*http.Response, error) {
	data, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	data[0] ^= 1
	r = r.Clone(r.Context())
	r.Body = io.NopCloser(bytes.NewReader(data))
	return c.next.RoundTrip(r)
}

// TestTrapCorruptedBodyIsRefusedByTheServer: the sum goes with the body, and the server holds it to it.
func TestTrapCorruptedBodyIsRefusedByTheServer(t *testing.T) {
	s := azurite(t)
	name := s.container(t)
	b := s.open(t, name, conditions)
	broken := s.open(t, name, conditions, func(c *azblob.Config) { c.Transport = corrupting{&http.Transport{}} })
	if _, err := broken.Put(t.Context(), "k", strings.NewReader("content"), &driver.PutOptions{Size: 7}); err == nil {
		t.Error("the server took a body that was changed on its way")
	}
	_, err := b.Stat(t.Context(), "k", "")
	kind(t, err, errkind.NotFound, "stat after a put that was refused")
	id, err := broken.Begin(t.Context(), "k", nil)
	if err != nil {
		t.Fatalf("begin: %v", err)
	}
	if _, err := broken.PutPart(t.Context(), "k", id, 1, strings.NewReader("content"), 7); err == nil {
		t.Error("the server took a part that was changed on its way")
	}
	_, err = b.ListParts(t.Context(), "k", id)
	kind(t, err, errkind.NotFound, "parts after a part that was refused")
}

// TestTrapTwoUploadsToOneKey: the first commit discards the other's parts.
func TestTrapTwoUploadsToOneKey(t *testing.T) {
	s := azurite(t)
	b := s.open(t, s.container(t), conditions)
	one, onesParts := upload(t, b, "k", "one")
	two, twosParts := upload(t, b, "k", "two")
	if got, err := b.ListParts(t.Context(), "k", one); err != nil || len(got) != 1 || got[0] != onesParts[0] {
		t.Errorf("upload one has %+v, %v", got, err)
	}
	if _, err := b.Complete(t.Context(), "k", two, twosParts, &driver.PutOptions{Size: 3}); err != nil {
		t.Fatalf("complete: %v", err)
	}
	_, err := b.Complete(t.Context(), "k", one, onesParts, &driver.PutOptions{Size: 3})
	kind(t, err, errkind.Conflict, "complete of the other upload")
	if got, _ := read(t, b, "k"); got != "two" {
		t.Errorf("the key holds %q", got)
	}
}

// TestTrapForeignBlocksAreNotParts: a user's blocks wait at the same key, with ids of our length.
func TestTrapForeignBlocksAreNotParts(t *testing.T) {
	s := azurite(t)
	name := s.container(t)
	b := s.open(t, name, conditions)
	foreign := strings.Repeat("A", 56) + "AAA="
	if _, err := s.sdk(t, name).NewBlockBlobClient("k").StageBlock(t.Context(), foreign, streaming.NopCloser(strings.NewReader("user's")), nil); err != nil {
		t.Fatalf("user's block: %v", err)
	}
	id, parts := upload(t, b, "k", "ours")
	if got, err := b.ListParts(t.Context(), "k", id); err != nil || len(got) != 1 || got[0] != parts[0] {
		t.Errorf("parts %+v, %v", got, err)
	}
	if _, err := b.Stat(t.Context(), "k", ""); !errkind.Is(err, errkind.NotFound) {
		t.Errorf("a key with blocks that wait is there: %v", err)
	}
	if page, err := b.List(t.Context(), nil); err != nil || len(page.Objects) > 0 {
		t.Errorf("a key with blocks that wait is listed: %+v, %v", page, err)
	}
}

// TestTrapSnapshotsAreKept: a delete would take a user's snapshots along.
func TestTrapSnapshotsAreKept(t *testing.T) {
	s := azurite(t)
	name := s.container(t)
	b := s.open(t, name, conditions)
	a := write(t, b, "k", "x", driver.Properties{})
	if _, err := s.sdk(t, name).NewBlobClient("k").CreateSnapshot(t.Context(), nil); err != nil {
		t.Fatalf("snapshot: %v", err)
	}
	for _, cond := range []driver.Precondition{{}, {Match: a.Tag}} {
		_, err := b.Delete(t.Context(), "k", &driver.DeleteOptions{If: cond})
		kind(t, err, errkind.Unsupported, "delete of a blob with a snapshot")
	}
	if got, _ := read(t, b, "k"); got != "x" {
		t.Errorf("the key holds %q", got)
	}
}

// TestTrapLeaseIsNoFailedPrecondition: it is a 412, and looking again would find the tag that was expected.
func TestTrapLeaseIsNoFailedPrecondition(t *testing.T) {
	s := azurite(t)
	name := s.container(t)
	b := s.open(t, name, conditions)
	a := write(t, b, "k", "x", driver.Properties{})
	l, err := lease.NewBlobClient(s.sdk(t, name).NewBlobClient("k"), nil)
	if err != nil {
		t.Fatalf("make lease: %v", err)
	}
	if _, err := l.AcquireLease(t.Context(), 60, nil); err != nil {
		t.Fatalf("lease: %v", err)
	}
	_, err = b.Put(t.Context(), "k", strings.NewReader("y"), &driver.PutOptions{Size: 1, If: driver.Precondition{Match: a.Tag}})
	kind(t, err, errkind.Conflict, "put of a blob under a lease")
	if errkind.Delay(err) <= 0 {
		t.Errorf("nothing says when to come back: %v", err)
	}
	_, err = b.Delete(t.Context(), "k", &driver.DeleteOptions{If: driver.Precondition{Match: a.Tag}})
	kind(t, err, errkind.Conflict, "delete of a blob under a lease")
}

// TestOtherTypesOfBlobs: an append blob is read as it is, replaced by a put, and not by an upload in parts.
func TestOtherTypesOfBlobs(t *testing.T) {
	s := azurite(t)
	name := s.container(t)
	b := s.open(t, name, conditions)
	user := s.sdk(t, name)
	wrong := make([]byte, 16)
	appended := user.NewAppendBlobClient("log")
	if _, err := appended.Create(t.Context(), nil); err != nil {
		t.Fatalf("create append blob: %v", err)
	}
	if _, err := appended.AppendBlock(t.Context(), streaming.NopCloser(strings.NewReader("line")), nil); err != nil {
		t.Fatalf("append: %v", err)
	}
	if _, err := appended.SetHTTPHeaders(t.Context(), blob.HTTPHeaders{BlobContentMD5: wrong}, nil); err != nil {
		t.Fatalf("set headers: %v", err)
	}
	got, a := read(t, b, "log")
	if got != "line" || a.Size != 4 || a.MD5 != "" {
		t.Errorf("%q, %+v", got, a)
	}
	if page, err := b.List(t.Context(), nil); err != nil || len(page.Objects) != 1 || page.Objects[0].Tag != a.Tag {
		t.Errorf("listed %+v, %v; want tag %s", page, err, a.Tag)
	}
	id, err := b.Begin(t.Context(), "log", nil)
	if err != nil {
		t.Fatalf("begin: %v", err)
	}
	_, err = b.PutPart(t.Context(), "log", id, 1, strings.NewReader("x"), 1)
	kind(t, err, errkind.Unsupported, "part of an upload over an append blob")
	if _, err := b.Put(t.Context(), "log", strings.NewReader("new"), &driver.PutOptions{Size: 3, If: driver.Precondition{Match: a.Tag}}); err != nil {
		t.Fatalf("put over an append blob: %v", err)
	}
	if got, _ := read(t, b, "log"); got != "new" {
		t.Errorf("the key holds %q", got)
	}
}

// TestTrapContentMD5OfAUser: anybody can set it, to anything. It is never an answer to "are these equal".
func TestTrapContentMD5OfAUser(t *testing.T) {
	s := azurite(t)
	name := s.container(t)
	b := s.open(t, name, conditions)
	before := write(t, b, "k", "content", driver.Properties{})
	wrong := bytes.Repeat([]byte{7}, 16)
	if _, err := s.sdk(t, name).NewBlobClient("k").SetHTTPHeaders(t.Context(), blob.HTTPHeaders{BlobContentMD5: wrong}, nil); err != nil {
		t.Fatalf("set headers: %v", err)
	}
	a, err := b.Stat(t.Context(), "k", "")
	if err != nil || a.MD5 != "" || a.Tag == before.Tag {
		t.Errorf("stat: %+v, %v; before %+v", a, err, before)
	}
	r, _, err := b.Open(t.Context(), "k", nil)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	_, err = io.ReadAll(r)
	kind(t, errors.Join(err, r.Close()), errkind.Unavailable, "bytes that are not those of the property")
}

// TestTrapOrderOfUTF16: Azurite lists by UTF-16 code units. Merged with a listing by bytes, keys would seem to be missing.
func TestTrapOrderOfUTF16(t *testing.T) {
	s := azurite(t)
	b := s.open(t, s.container(t), conditions)
	write(t, b, "\U0001F600", "x", driver.Properties{})
	write(t, b, "\uff21", "x", driver.Properties{}) // before it in bytes, behind it in UTF-16
	for _, limit := range []int{0, 1} {
		opts := driver.ListOptions{Limit: limit}
		page, err := b.List(t.Context(), &opts)
		if err == nil && page.Next != "" {
			opts.After = page.Next
			page, err = b.List(t.Context(), &opts)
		}
		if !errkind.Is(err, errkind.Unsupported) {
			t.Errorf("pages of %d: %+v, %v (kind %s), want unsupported", limit, page, err, errkind.Of(err))
		}
	}
}

// TestMetadataOfOthers: names and values that the driver didn't make, and empty values.
func TestMetadataOfOthers(t *testing.T) {
	s := azurite(t)
	name := s.container(t)
	b := s.open(t, name, conditions)
	v := "value"
	_, err := s.sdk(t, name).NewBlockBlobClient("user").Upload(t.Context(), streaming.NopCloser(strings.NewReader("x")), &blockblob.UploadOptions{
		Metadata: map[string]*string{"CamelCase": &v, "a_x2d_b": &v, "a_x41_b": &v},
	})
	if err != nil {
		t.Fatalf("user's put: %v", err)
	}
	_, a := read(t, b, "user")
	if len(a.Metadata) != 3 || a.Metadata["camelcase"] != v || a.Metadata["a-b"] != v || a.Metadata["a_x41_b"] != v || a.ContentType != driver.DefaultContentType {
		t.Errorf("read %+v", a.Properties)
	}
	p := driver.Properties{
		Expires:  "never, says ü",
		Metadata: map[string]string{"empty": "", "0": "digit", "bucketmesh_expires": "user's", "spaces": " a "},
	}
	write(t, b, "k", "x", p)
	if _, a := read(t, b, "k"); a.Expires != p.Expires || len(a.Metadata) != 4 || a.Metadata["empty"] != "" || a.Metadata["0"] != "digit" ||
		a.Metadata["bucketmesh_expires"] != "user's" || a.Metadata["spaces"] != " a " {
		t.Errorf("read %+v", a.Properties)
	}
}

// TestCopyThatAzuriteCantDo: it knows no Put Blob From URL. Nothing is written, and the caller is told to move the bytes.
func TestCopyThatAzuriteCantDo(t *testing.T) {
	s := azurite(t)
	b := s.open(t, s.container(t), conditions)
	a := write(t, b, "from", "content", driver.Properties{})
	store, bucket := b.Location()
	_, err := b.Copy(t.Context(), driver.Source{Store: store, Bucket: bucket, Key: "from", Tag: a.Tag}, "to", &driver.PutOptions{
		Size: 7, Properties: driver.Properties{Metadata: map[string]string{"k": "v"}}, If: driver.Precondition{NotExist: true},
	})
	kind(t, err, errkind.Unsupported, "copy")
	_, err = b.Stat(t.Context(), "to", "")
	kind(t, err, errkind.NotFound, "stat of the copy")
}

// TestMissingContainer: nothing is ever concluded from it.
func TestMissingContainer(t *testing.T) {
	b := azurite(t).open(t, "not-there", conditions)
	for name, call := range map[string]func() error{
		"stat":   func() error { return stat(t.Context(), b, driver.Precondition{}) },
		"open":   func() error { return open(t.Context(), b, driver.Precondition{}) },
		"put":    func() error { return put(t.Context(), b, driver.Precondition{}) },
		"delete": func() error { return remove(t.Context(), b, driver.Precondition{}) },
		"list": func() error {
			_, err := b.List(t.Context(), nil)
			return err
		},
		"versions": func() error {
			_, err := b.Versions(t.Context(), "k")
			return err
		},
	} {
		kind(t, call(), errkind.Unavailable, name)
	}
}

// TestWrongKeyIsNoMissingBlob and tells nothing of the key.
func TestWrongKeyIsNoMissingBlob(t *testing.T) {
	s := azurite(t)
	s.key = "d3JvbmcgYWNjb3VudCBrZXk="
	err := stat(t.Context(), s.open(t, "container", conditions), driver.Precondition{})
	kind(t, err, errkind.PermissionDenied, "stat with a wrong key")
	if err == nil || strings.Contains(err.Error(), s.key) || !strings.Contains(err.Error(), "key is wrong") {
		t.Errorf("the error is %v", err)
	}
}

// TestKeysOfSlashes: the SDK writes a slash of a key as %2F, and Azure reads both alike.
func TestKeysOfSlashes(t *testing.T) {
	s := azurite(t)
	b := s.open(t, s.container(t), conditions)
	keys := []string{"/", "//", "/lead", "a%2Fb", "a/", "a//", "a//b", "a/b"}
	for _, key := range keys {
		write(t, b, key, "content of "+key, driver.Properties{})
	}
	page, err := b.List(t.Context(), nil)
	if err != nil || len(page.Objects) != len(keys) {
		t.Fatalf("listed %+v, %v", page, err)
	}
	for i, key := range keys {
		if got, _ := read(t, b, key); got != "content of "+key || page.Objects[i].Key != key {
			t.Errorf("%q holds %q, and is listed as %q", key, got, page.Objects[i].Key)
		}
	}
}
