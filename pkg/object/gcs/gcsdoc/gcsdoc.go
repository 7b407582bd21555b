// Package gcsdoc is a small HTTP server in memory that follows the documented JSON and XML API of Google Cloud Storage. It is
// no emulator and was never compared with Google's servers: it holds what Google's documentation says of generations,
// preconditions, versioning, compose, rewrite, checksums and transcoding, so that a driver which drops a condition fails
// against it. (The emulator that there is, fake-gcs-server, ignores most conditions.)
//
// What the documentation leaves open is decided to the driver's disadvantage: Cache-Control is answered for objects that have
// none; JSON's 404 does not tell an object from a bucket by its reason; metadata headers carry what ASCII can carry.
//
// Errors are HTTP answers in the API's two forms. Concurrency: one lock around everything, so that conditions are atomic.
package gcsdoc

import (
	"crypto/md5" //nolint:gosec // GCS's md5Hash
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Lies are what a server can get wrong. A driver's tests must notice each of them.
type Lies struct {
	IgnorePut            bool // ifGenerationMatch of uploads
	IgnoreCompose        bool
	IgnoreDelete         bool
	IgnoreRewrite        bool
	IgnoreMetageneration bool
	IgnoreRead           bool // conditions and generation of media requests
	Decompress           bool // gzip, whatever the client accepts
	StoreOtherBytes      bool // the first byte of what is uploaded changes, and nobody checks
}

// Server holds buckets. Make one with New.
type Server struct {
	mu      sync.Mutex
	instead func(w http.ResponseWriter, r *http.Request) bool
	lies    Lies
	buckets map[string]*bucket
	serial  int64
}

type bucket struct {
	versioned bool
	objects   map[string][]*object // by name, oldest first; all but the last are noncurrent, and the last one if deleted
}

// object is one generation.
type object struct {
	bucket, name   string
	generation     int64
	metageneration int64
	data           []byte
	created        time.Time
	updated        time.Time
	deleted        time.Time
	components     int // of a composed object
	props          properties
}

// properties are what the resource's writable fields hold.
type properties struct {
	ContentType        string            `json:"contentType,omitempty"`
	ContentEncoding    string            `json:"contentEncoding,omitempty"`
	ContentLanguage    string            `json:"contentLanguage,omitempty"`
	ContentDisposition string            `json:"contentDisposition,omitempty"`
	CacheControl       string            `json:"cacheControl,omitempty"`
	Metadata           map[string]string `json:"metadata,omitempty"`
	CustomTime         string            `json:"customTime,omitempty"`
	Contexts           json.RawMessage   `json:"contexts,omitempty"`
}

// New is a server without buckets.
func New(lies Lies) *Server {
	return &Server{lies: lies, buckets: map[string]*bucket{}, serial: 1_700_000_000_000_000}
}

// Instead lets fn answer requests in the server's place (true: it did).
func (s *Server) Instead(fn func(w http.ResponseWriter, r *http.Request) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.instead = fn
}

// Create makes an empty bucket.
func (s *Server) Create(name string, versioned bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.buckets[name] = &bucket{versioned: versioned, objects: map[string][]*object{}}
}

// Drop removes a bucket with all that is in it.
func (s *Server) Drop(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.buckets, name)
}

// Names are the names of a bucket's generations, noncurrent ones included: what is stored, and paid for.
func (s *Server) Names(bucketName string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var names []string
	for name, all := range s.buckets[bucketName].objects {
		for range all {
			names = append(names, name)
		}
	}
	return names
}

// apiError is an answer that is no success.
type apiError struct {
	status                int
	reason, code, message string // of the JSON and the XML API
}

func (e *apiError) Error() string { return e.message }

func noBucket() *apiError {
	return &apiError{http.StatusNotFound, "notFound", "NoSuchBucket", "The specified bucket does not exist."}
}

func noObject(b, name string) *apiError {
	return &apiError{http.StatusNotFound, "notFound", "NoSuchKey", "No such object: " + b + "/" + name}
}

func failed() *apiError {
	return &apiError{
		http.StatusPreconditionFailed, "conditionNotMet", "PreconditionFailed", "At least one of the pre-conditions you specified did not hold.",
	}
}

func invalid(format string, args ...any) *apiError {
	return &apiError{http.StatusBadRequest, "invalid", "InvalidArgument", fmt.Sprintf(format, args...)}
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.serial++
	w.Header().Set("X-GUploader-UploadID", fmt.Sprintf("request-%d", s.serial))
	instead := s.instead
	s.mu.Unlock()
	if instead != nil && instead(w, r) {
		return
	}
	path := r.URL.EscapedPath()
	if rest, ok := strings.CutPrefix(path, "/upload/storage/v1/b/"); ok {
		s.json(w, func() (any, error) { return s.upload(r, strings.TrimSuffix(rest, "/o")) })
		return
	}
	if rest, ok := strings.CutPrefix(path, "/storage/v1/b/"); ok {
		s.json(w, func() (any, error) { return s.api(r, strings.Split(rest, "/")) })
		return
	}
	s.media(w, r, strings.SplitN(strings.TrimPrefix(path, "/"), "/", 2))
}

// api routes B/o, B/o/O, B/o/O/compose and B/o/O/rewriteTo/b/B/o/O.
func (s *Server) api(r *http.Request, path []string) (any, error) {
	for i := range path {
		p, err := url.PathUnescape(path[i])
		if err != nil {
			return nil, invalid("path: %v", err)
		}
		path[i] = p
	}
	switch {
	case len(path) == 2 && r.Method == http.MethodGet:
		return s.list(r.URL.Query(), path[0])
	case len(path) == 3 && r.Method == http.MethodGet:
		return s.get(r.URL.Query(), path[0], path[2])
	case len(path) == 3 && r.Method == http.MethodPatch:
		return s.patch(r, path[0], path[2])
	case len(path) == 3 && r.Method == http.MethodDelete:
		return nil, s.remove(r.URL.Query(), path[0], path[2])
	case len(path) == 4 && path[3] == "compose":
		return s.compose(r, path[0], path[2])
	case len(path) == 8 && path[3] == "rewriteTo":
		return s.rewrite(r, path[0], path[2], path[5], path[7])
	}
	return nil, invalid("no such method")
}

func (s *Server) bucket(name string) (*bucket, error) {
	if b := s.buckets[name]; b != nil {
		return b, nil
	}
	return nil, noBucket()
}

// live is the current generation; nil if there is none.
func (b *bucket) live(name string) *object {
	all := b.objects[name]
	if n := len(all); n > 0 && all[n-1].deleted.IsZero() {
		return all[n-1]
	}
	return nil
}

// find is the live generation, or the one that is named.
func (b *bucket) find(bucketName, name, generation string) (*object, error) {
	if generation == "" {
		if o := b.live(name); o != nil {
			return o, nil
		}
		return nil, noObject(bucketName, name)
	}
	for _, o := range b.objects[name] {
		if strconv.FormatInt(o.generation, 10) == generation {
			return o, nil
		}
	}
	return nil, noObject(bucketName, name)
}

// check holds an object (nil: none) to conditions. prefix is "if" or "ifSource".
func (s *Server) check(q url.Values, prefix string, o *object, ignore bool) error {
	generation, metageneration := int64(0), int64(0)
	if o != nil {
		generation, metageneration = o.generation, o.metageneration
	}
	for _, c := range []struct {
		name   string
		have   int64
		ignore bool
	}{{prefix + "GenerationMatch", generation, ignore}, {prefix + "MetagenerationMatch", metageneration, ignore || s.lies.IgnoreMetageneration}} {
		if !q.Has(c.name) || c.ignore {
			continue
		}
		want, err := strconv.ParseInt(q.Get(c.name), 10, 64)
		if err != nil {
			return invalid("%s: %v", c.name, err)
		}
		if want != c.have {
			return failed()
		}
	}
	return nil
}

// push makes o the live generation.
func (s *Server) push(b *bucket, o *object) *object {
	s.serial++
	o.generation, o.metageneration, o.created = s.serial, 1, time.Now().UTC()
	o.updated = o.created
	if old := b.live(o.name); old != nil {
		s.retire(b, old)
	}
	b.objects[o.name] = append(b.objects[o.name], o)
	return o
}

// retire makes the live generation a noncurrent one, or removes it where nothing is kept.
func (s *Server) retire(b *bucket, o *object) {
	if b.versioned {
		o.deleted = time.Now().UTC()
		return
	}
	b.drop(o)
}

func (b *bucket) drop(o *object) {
	var kept []*object
	for _, other := range b.objects[o.name] {
		if other != o {
			kept = append(kept, other)
		}
	}
	if len(kept) == 0 {
		delete(b.objects, o.name)
		return
	}
	b.objects[o.name] = kept
}

func (o *object) crc() string {
	sum := crc32.Checksum(o.data, crc32.MakeTable(crc32.Castagnoli))
	return base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, sum))
}

// md5 is "" for composed objects: GCS has none for them.
func (o *object) md5() string {
	if o.components > 0 {
		return ""
	}
	sum := md5.Sum(o.data) //nolint:gosec // GCS's md5Hash
	return base64.StdEncoding.EncodeToString(sum[:])
}

// etag is the JSON API's, which changes with each edit of the metadata.
func (o *object) etag() string {
	return base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "%d/%d", o.generation, o.metageneration))
}

// resource is the object as JSON.
func (o *object) resource() map[string]any {
	m := map[string]any{
		"kind": "storage#object", "bucket": o.bucket, "name": o.name, "size": strconv.Itoa(len(o.data)), "crc32c": o.crc(), "etag": o.etag(),
		"generation": strconv.FormatInt(o.generation, 10), "metageneration": strconv.FormatInt(o.metageneration, 10),
		"timeCreated": o.created.Format(time.RFC3339Nano), "updated": o.updated.Format(time.RFC3339Nano), "storageClass": "STANDARD",
	}
	for name, v := range map[string]string{
		"md5Hash": o.md5(), "contentType": o.props.ContentType, "contentEncoding": o.props.ContentEncoding, "contentLanguage": o.props.ContentLanguage,
		"contentDisposition": o.props.ContentDisposition, "cacheControl": o.props.CacheControl,
	} {
		if v != "" {
			m[name] = v
		}
	}
	if o.props.CustomTime != "" {
		m["customTime"] = o.props.CustomTime
	}
	if len(o.props.Contexts) > 0 {
		m["contexts"] = o.props.Contexts
	}
	if len(o.props.Metadata) > 0 {
		m["metadata"] = maps.Clone(o.props.Metadata)
	}
	if !o.deleted.IsZero() {
		m["timeDeleted"] = o.deleted.Format(time.RFC3339Nano)
	}
	if o.components > 0 {
		m["componentCount"] = o.components
	}
	return m
}
