package azblob_test

import (
	"crypto/md5"
	"encoding/base64"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
)

// The tests in this file run against a small server in memory that does what the Blob service's REST API documents and Azurite
// doesn't: versions, blocks that a Put Blob discards, Put Blob From URL, startFrom and opaque markers. It checks no
// signatures of requests.

// stored is one version of a blob.
type stored struct {
	etag, version string
	current       bool
	data          []byte
	header        http.Header
}

// documentedServer is an account with versioning and one container.
type documentedServer struct {
	mu      sync.Mutex
	clock   int // of writes
	answers int
	blobs   map[string][]*stored // by key, oldest first
	blocks  map[string]map[string][]byte
	queries []url.Values // of all listings
	source  http.Header  // of the last copy
	emptyAt int          // answer every so many pages with an empty one; 0: never
}

func documented(t *testing.T) (server, string) {
	t.Helper()
	s, _ := documentedWith(t)
	return s, "container"
}

func documentedWith(t *testing.T) (server, *documentedServer) {
	t.Helper()
	d := &documentedServer{blobs: map[string][]*stored{}, blocks: map[string]map[string][]byte{}}
	srv := httptest.NewServer(d)
	t.Cleanup(srv.Close)
	return server{srv.URL, "account", testKey}, d
}

func (d *documentedServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.answers++
	w.Header().Set("X-Ms-Request-Id", fmt.Sprint("request-", d.answers))
	path, err := url.PathUnescape(strings.TrimPrefix(r.URL.EscapedPath(), "/account/container"))
	if err != nil {
		azureError(w, 400, "InvalidUri")
		return
	}
	key := strings.TrimPrefix(path, "/")
	q := r.URL.Query()
	cur := d.current(key)
	if r.Method != http.MethodGet || q.Get("comp") == "" {
		switch m, n := r.Header.Get("If-Match"), r.Header.Get("If-None-Match"); {
		case m != "" && (cur == nil || m != `"`+cur.etag+`"`):
			azureError(w, 412, "ConditionNotMet")
			return
		case n == "*" && cur != nil && q.Get("comp") == "":
			azureError(w, 409, "BlobAlreadyExists")
			return
		case n == "*" && cur != nil:
			azureError(w, 412, "TargetConditionNotMet")
			return
		}
	}
	switch comp := q.Get("comp"); {
	case comp == "list":
		d.list(w, q)
	case comp == "tags":
		d.tags(w, d.find(key, q.Get("versionid")))
	case comp == "block":
		if d.blocks[key] == nil {
			d.blocks[key] = map[string][]byte{}
		}
		d.blocks[key][q.Get("blockid")] = body
		w.WriteHeader(201)
	case comp == "blocklist" && r.Method == http.MethodPut:
		d.commit(w, r, key, body)
	case comp == "blocklist":
		d.listBlocks(w, key)
	case r.Method == http.MethodPut && r.Header.Get("X-Ms-Copy-Source") != "":
		d.copy(w, r, key)
	case r.Method == http.MethodPut:
		if sum := md5.Sum(body); r.Header.Get("Content-Md5") != base64.StdEncoding.EncodeToString(sum[:]) && r.Header.Get("Content-Md5") != "" {
			azureError(w, 400, "Md5Mismatch")
			return
		}
		d.write(w, r, key, body)
	case r.Method == http.MethodDelete:
		d.remove(w, key, q.Get("versionid"))
	default:
		d.read(w, r, key)
	}
}

func (d *documentedServer) current(key string) *stored {
	for _, s := range d.blobs[key] {
		if s.current {
			return s
		}
	}
	return nil
}

// write makes a version, and discards all blocks that wait at the key.
func (d *documentedServer) write(w http.ResponseWriter, r *http.Request, key string, data []byte) {
	d.clock++
	if cur := d.current(key); cur != nil {
		cur.current = false
	}
	s := &stored{
		etag: fmt.Sprintf("0x%X", d.clock), version: fmt.Sprintf("2026-10-01T10:00:00.%07dZ", d.clock), current: true, data: data, header: r.Header.Clone(),
	}
	d.blobs[key] = append(d.blobs[key], s)
	delete(d.blocks, key)
	blobHeaders(w, s.etag)
	w.Header().Set("X-Ms-Version-Id", s.version)
	w.WriteHeader(201)
}

func (d *documentedServer) commit(w http.ResponseWriter, r *http.Request, key string, body []byte) {
	var list struct{ Latest []string }
	if err := xml.Unmarshal(body, &list); err != nil {
		azureError(w, 400, "InvalidXmlDocument")
		return
	}
	var data []byte
	for _, id := range list.Latest {
		block, ok := d.blocks[key][id]
		if !ok {
			azureError(w, 400, "InvalidBlockList")
			return
		}
		data = append(data, block...)
	}
	d.write(w, r, key, data)
}

func (d *documentedServer) listBlocks(w http.ResponseWriter, key string) {
	if len(d.blocks[key]) == 0 && d.current(key) == nil {
		azureError(w, 404, "BlobNotFound")
		return
	}
	_, _ = io.WriteString(w, "<BlockList><UncommittedBlocks>")
	for id, data := range d.blocks[key] {
		_, _ = fmt.Fprintf(w, "<Block><Name>%s</Name><Size>%d</Size></Block>", id, len(data))
	}
	_, _ = io.WriteString(w, "</UncommittedBlocks></BlockList>")
}

// find is a version, or the current one.
func (d *documentedServer) find(key, version string) *stored {
	if version == "" {
		return d.current(key)
	}
	for _, s := range d.blobs[key] {
		if s.version == version {
			return s
		}
	}
	return nil
}

func (d *documentedServer) read(w http.ResponseWriter, r *http.Request, key string) {
	s := d.find(key, r.URL.Query().Get("versionid"))
	if s == nil {
		azureError(w, 404, "BlobNotFound")
		return
	}
	blobHeaders(w, s.etag)
	w.Header().Set("X-Ms-Version-Id", s.version)
	for name, values := range s.header {
		if native, ok := strings.CutPrefix(name, "X-Ms-Blob-"); ok && native != "Type" {
			w.Header()[native] = values
		}
		if strings.HasPrefix(name, "X-Ms-Meta-") {
			w.Header()[name] = values
		}
	}
	if tags, err := url.ParseQuery(s.header.Get("X-Ms-Tags")); err == nil && len(tags) > 0 {
		w.Header().Set("X-Ms-Tag-Count", fmt.Sprint(len(tags)))
	}
	data, status := s.data, 200
	if asked := r.Header.Get("X-Ms-Range"); asked != "" {
		from, to := 0, len(data)-1
		if _, err := fmt.Sscanf(asked, "bytes=%d-%d", &from, &to); err != nil {
			_, _ = fmt.Sscanf(asked, "bytes=%d-", &from)
		}
		if from >= len(data) {
			azureError(w, 416, "InvalidRange")
			return
		}
		to = min(to, len(data)-1)
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, to, len(s.data)))
		data, status = data[from:to+1], 206
	} else if sum := s.header.Get("Content-Md5"); sum != "" {
		w.Header().Set("Content-Md5", sum)
	}
	w.Header().Set("Content-Length", fmt.Sprint(len(data)))
	w.WriteHeader(status)
	_, _ = w.Write(data)
}

// tags of a blob are sent in a header and read from a document.
func (d *documentedServer) tags(w http.ResponseWriter, s *stored) {
	if s == nil {
		azureError(w, 404, "BlobNotFound")
		return
	}
	tags, _ := url.ParseQuery(s.header.Get("X-Ms-Tags"))
	_, _ = io.WriteString(w, "<Tags><TagSet>")
	for k := range tags {
		_, _ = fmt.Fprintf(w, "<Tag><Key>%s</Key><Value>%s</Value></Tag>", k, tags.Get(k))
	}
	_, _ = io.WriteString(w, "</TagSet></Tags>")
}

// remove takes the current version off its key, or one of the older ones away for good.
func (d *documentedServer) remove(w http.ResponseWriter, key, version string) {
	s := d.find(key, version)
	switch {
	case s == nil:
		azureError(w, 404, "BlobNotFound")
		return
	case version == "":
		s.current = false
	case s.current:
		azureError(w, 403, "OperationNotAllowedOnRootBlob")
		return
	default:
		d.blobs[key] = slices.DeleteFunc(d.blobs[key], func(o *stored) bool { return o == s })
	}
	w.WriteHeader(202)
}

// copy is Put Blob From URL.
func (d *documentedServer) copy(w http.ResponseWriter, r *http.Request, key string) {
	d.source = r.Header.Clone()
	from, err := url.Parse(r.Header.Get("X-Ms-Copy-Source"))
	if err != nil {
		azureError(w, 400, "InvalidHeaderValue")
		return
	}
	s := d.find(strings.TrimPrefix(from.Path, "/account/container/"), from.Query().Get("versionid"))
	switch m := r.Header.Get("X-Ms-Source-If-Match"); {
	case from.Query().Get("sig") == "" && r.Header.Get("X-Ms-Copy-Source-Authorization") == "":
		azureError(w, 403, "CannotVerifyCopySource")
	case s == nil:
		azureError(w, 404, "CannotVerifyCopySource")
	case m != "" && m != `"`+s.etag+`"`:
		azureError(w, 412, "SourceConditionNotMet")
	default:
		d.write(w, r, key, s.data)
	}
}

// list pages with markers that only the server understands.
func (d *documentedServer) list(w http.ResponseWriter, q url.Values) {
	d.queries = append(d.queries, q)
	versions, limit := strings.Contains(q.Get("include"), "versions"), 5000
	if n := q.Get("maxresults"); n != "" {
		_, _ = fmt.Sscan(n, &limit)
	}
	from := q.Get("startFrom")
	if m := q.Get("marker"); m != "" {
		raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(m, "2!"))
		if err != nil {
			azureError(w, 400, "InvalidQueryParameterValue")
			return
		}
		from, _, _ = strings.Cut(string(raw), "\x00")
	}
	var keys []string
	for key := range d.blobs {
		if key >= from && strings.HasPrefix(key, q.Get("prefix")) && (versions || d.current(key) != nil) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	next := ""
	if d.emptyAt > 0 && len(d.queries)%d.emptyAt == 0 && len(keys) > 0 {
		next, keys = keys[0], nil
	} else if len(keys) > limit {
		next, keys = keys[limit], keys[:limit]
	}
	_, _ = io.WriteString(w, "<EnumerationResults><Blobs>")
	for _, key := range keys {
		for _, s := range d.blobs[key] {
			if !versions && !s.current {
				continue
			}
			_, _ = io.WriteString(w, "<Blob><Name>")
			_ = xml.EscapeText(w, []byte(key))
			_, _ = fmt.Fprintf(w, "</Name><VersionId>%s</VersionId>", s.version)
			if s.current {
				_, _ = io.WriteString(w, "<IsCurrentVersion>true</IsCurrentVersion>")
			}
			_, _ = fmt.Fprintf(w, "<Properties><Etag>%s</Etag><Last-Modified>Thu, 01 Oct 2026 10:00:00 GMT</Last-Modified><Content-Length>%d</Content-Length></Properties></Blob>", s.etag, len(s.data))
		}
	}
	_, _ = io.WriteString(w, "</Blobs><NextMarker>")
	if next != "" {
		_, _ = io.WriteString(w, "2!"+base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "%s\x00%d", next, len(d.queries))))
	}
	_, _ = io.WriteString(w, "</NextMarker></EnumerationResults>")
}

// TestTrapUsersPutDiscardsTheUpload: the parts are gone, and that is nobody's mistake: start again. (Azurite keeps the
// blocks.)
func TestTrapUsersPutDiscardsTheUpload(t *testing.T) {
	s, name := documented(t)
	b := s.open(t, name, conditions)
	old := write(t, b, "k", "old", driver.Properties{})
	id, parts := upload(t, b, "k", "one", "two")
	user := s.sdk(t, name).NewBlockBlobClient("k")
	if _, err := user.Upload(t.Context(), streaming.NopCloser(strings.NewReader("user's")), nil); err != nil {
		t.Fatalf("user's put: %v", err)
	}
	_, err := b.ListParts(t.Context(), "k", id)
	kind(t, err, errkind.NotFound, "parts that were discarded")
	_, err = b.Complete(t.Context(), "k", id, parts, &driver.PutOptions{Size: 6})
	kind(t, err, errkind.Conflict, "complete without a condition")
	_, err = b.Complete(t.Context(), "k", id, parts, &driver.PutOptions{Size: 6, If: driver.Precondition{Match: old.Tag}})
	if !errkind.Is(err, errkind.PreconditionFailed) {
		kind(t, err, errkind.Conflict, "complete over what the user overwrote")
	}
	if got, _ := read(t, b, "k"); got != "user's" {
		t.Errorf("the key holds %q", got)
	}
	// A user who puts the same back can't make a half of the upload pass for the whole.
	id, parts = upload(t, b, "k", "one")
	if _, err := user.Upload(t.Context(), streaming.NopCloser(strings.NewReader("user's")), nil); err != nil {
		t.Fatalf("user's put: %v", err)
	}
	second, err := b.PutPart(t.Context(), "k", id, 2, strings.NewReader("two"), 3)
	if err != nil {
		t.Fatalf("put part: %v", err)
	}
	_, err = b.Complete(t.Context(), "k", id, append(parts, second), &driver.PutOptions{Size: 6})
	kind(t, err, errkind.Conflict, "complete with one part gone")
}
