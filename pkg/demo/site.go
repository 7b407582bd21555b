package demo

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/bucketmesh/bucketmesh/pkg/config"
)

// Place is where a replica is.
type Place struct {
	Name     string
	Provider string // s3, gcs or azblob, as in the configuration
	Server   string // the program that stands in for the provider
	Endpoint string
	Bucket   string
	// EditsUntold: the provider notifies nobody of changes of metadata. Only a scan finds those, so the demo's users make none.
	EditsUntold bool
}

// Where is p itself.
func (p Place) Where() Place { return p }

// Site is a replica as a user's tool sees it: what its provider's own SDK does, and none of bucketmesh's drivers.
type Site interface {
	Where() Place
	// URL is the replica as the configuration names it.
	URL() string
	// Put writes a small object, over the one with the tag that the user has read, if there is one.
	Put(ctx context.Context, o Object, body, over string) error
	// Upload writes o.Size bytes in parts.
	Upload(ctx context.Context, o Object, body io.Reader) error
	// Edit replaces metadata and content type of exactly the object that was read; its bytes stay.
	Edit(ctx context.Context, o Object) error
	Remove(ctx context.Context, key string) error
	// Head reads everything of an object but its bytes; ok is false if there is none.
	Head(ctx context.Context, key string) (o Object, ok bool, err error)
	// Read reads an object to its last byte.
	Read(ctx context.Context, key string) (Object, error)
	// List is every key of the bucket with its tag and size, but for what bucketmesh keeps there for itself.
	List(ctx context.Context) (map[string]Object, error)
	// Guide is how a person does it.
	Guide() Guide
}

// Guide are lines for a shell, with {key} for the name of an object.
type Guide struct {
	Setup []string // once
	Write string   // standard input to {key}
	Race  string   // the same with a tool that starts at once; "" if Write does
	Read  string   // {key} to standard output
	List  string   // the keys that begin with {key}
}

// partSize of the user's own uploads in parts; the copy is free to choose another one.
const partSize = 8 << 20

// Object is an object as it was read.
type Object struct {
	Key         string
	Tag         string // what a condition names: an ETag, or generations. It says nothing at any other site.
	MD5         string // of the bytes, hexadecimal; "" if the server does not tell
	Size        int64
	SHA256      string // of the bytes; "" if they were not read
	ContentType string
	Metadata    map[string]string // of the user
}

// Identity is one word for all that must be the same everywhere: bytes, content type and metadata.
func (o Object) Identity() string {
	h := sha256.New()
	fmt.Fprintf(h, "%d %s %q", o.Size, o.SHA256, o.ContentType)
	for _, k := range slices.Sorted(maps.Keys(o.Metadata)) {
		fmt.Fprintf(h, " %q=%q", k, o.Metadata[k])
	}
	return hex.EncodeToString(h.Sum(nil))
}

// usersOwn leaves out the metadata that bucketmesh adds to what it writes: users' tools see them, and they are not part of
// what users wrote. Azure has no "-" in names.
func usersOwn(metadata map[string]string) map[string]string {
	own := map[string]string{}
	for k, v := range metadata {
		if k = strings.ToLower(k); !strings.HasPrefix(k, "bucketmesh-") && !strings.HasPrefix(k, "bucketmesh_") {
			own[k] = v
		}
	}
	return own
}

// digest reads a body to its end, and notes what it was.
func (o *Object) digest(body io.Reader) (err error) {
	h := sha256.New()
	o.Size, err = io.Copy(h, body)
	o.SHA256 = hex.EncodeToString(h.Sum(nil))
	return err //nolint:wrapcheck // the caller says what was read
}

// reserved keys are bucketmesh's own.
func reserved(key string) bool { return strings.HasPrefix(key, config.ReservedPrefix) }

// userClient is a tool's way to a server.
func userClient() *http.Client {
	return &http.Client{Timeout: 2 * time.Minute, Transport: &http.Transport{MaxIdleConnsPerHost: 32}}
}

// isAt asks a site whether it holds an object, or is without it. Trouble is a no: it will be asked again.
func isAt(ctx context.Context, s Site, want Object, gone bool) bool {
	o, ok, err := s.Head(ctx, want.Key)
	if err != nil || gone || !ok {
		return err == nil && gone && !ok
	}
	if o.MD5 != "" && want.MD5 != "" && o.MD5 != want.MD5 || o.Size != want.Size {
		return false
	}
	if o.SHA256 = want.SHA256; o.MD5 == "" && o.Identity() == want.Identity() { // all but the bytes
		if o, err = s.Read(ctx, want.Key); err != nil {
			return false
		}
	}
	return o.Identity() == want.Identity()
}

// contents reads a whole site, some objects at once.
func contents(ctx context.Context, s Site, parallel int) (Snapshot, error) {
	keys, err := s.List(ctx)
	if err != nil {
		return nil, err //nolint:wrapcheck // says "list" and where
	}
	found := make(chan Object, len(keys))
	var all errgroup.Group
	all.SetLimit(parallel)
	for key := range keys {
		all.Go(func() error {
			o, err := s.Read(ctx, key)
			if err == nil {
				found <- o
			}
			return err //nolint:wrapcheck // says "read", what and where
		})
	}
	if err := all.Wait(); err != nil {
		return nil, err //nolint:wrapcheck // as above
	}
	close(found)
	objects := make(Snapshot, len(keys))
	for o := range found {
		objects[o.Key] = o
	}
	return objects, nil
}
