// Package driver is what a storage provider implements to take part in a group: a small Bucket, and optional fast
// paths as further interfaces. Users of buckets want package object, the portable type over a driver.
//
// Errors: every method returns errors that carry an errkind.Kind. NotFound means that the provider said explicitly
// that the object is not there; a 403, a 5xx or a timeout is never NotFound. PreconditionFailed means that the
// condition did not hold (HTTP 412, S3's 404 for If-Match on a missing key, Azure's 409 for If-None-Match:*).
// Unavailable means that the outcome is unknown: a write may have happened. A driver never retries a request that
// carries a Precondition: a retried success answers 412, and the caller could not tell.
//
// Concurrency: all methods of one Bucket may be called from many goroutines.
package driver

import (
	"context"
	"io"
	"time"
)

// Bucket is one container of objects at a provider.
type Bucket interface {
	// Capabilities is what the bucket promises, as declared by the driver or, better, as found out by object.Probe.
	Capabilities() Capabilities
	// Stat reads the attributes of a key (its current version, or versionID if that is not empty).
	Stat(ctx context.Context, key, versionID string) (*Attrs, error)
	// Open reads an object. The attributes are those of the very bytes that are read. The caller closes the reader.
	// A body that ends early makes Read fail with a kind of Unavailable, never with io.EOF.
	Open(ctx context.Context, key string, opts *ReadOptions) (io.ReadCloser, *Attrs, error)
	// Put writes a whole object in one request. The attributes of the answer hold at least ETag, and VersionID on a
	// versioned bucket; ModTime may be zero (S3 does not tell it).
	Put(ctx context.Context, key string, body io.ReadSeeker, opts *PutOptions) (*Attrs, error)
	// Delete removes the current version. Deleting a missing key without a condition succeeds. The answer holds
	// VersionID and DeleteMarker where the provider tells them.
	Delete(ctx context.Context, key string, opts *DeleteOptions) (*Attrs, error)
	// List returns one page of current objects in the byte order of their keys.
	List(ctx context.Context, opts *ListOptions) (*Page, error)
	// Close releases what the driver holds.
	Close() error
}

// Multiparter writes objects that are too large for one request. The precondition is enforced by Complete.
type Multiparter interface {
	// Begin starts an upload of the object that opts describes (opts.If is not looked at).
	Begin(ctx context.Context, key string, opts *PutOptions) (uploadID string, err error)
	// PutPart stores part number n (from 1). Storing a part again replaces it.
	PutPart(ctx context.Context, key, uploadID string, n int, body io.ReadSeeker, size int64) (Part, error)
	// ListParts is the provider's own word on which parts it has, by number.
	ListParts(ctx context.Context, key, uploadID string) ([]Part, error)
	// Complete makes the object out of the parts if opts.If holds. S3 can answer 200 with an error in the body: that
	// is an error here. After PreconditionFailed or Conflict the upload is of no use any more and must be aborted.
	Complete(ctx context.Context, key, uploadID string, parts []Part, opts *PutOptions) (*Attrs, error)
	// Abort gives up an upload. An upload that is not there any more is no error.
	Abort(ctx context.Context, key, uploadID string) error
}

// Versioner lists what a versioned bucket remembers of one key, delete markers included, newest first.
type Versioner interface {
	Versions(ctx context.Context, key string) ([]Attrs, error)
}

// Copier copies objects without moving their bytes through this process. It is a fast path: whoever uses it must be able
// to do without.
type Copier interface {
	// Location names the store (an absolute URI: who answers to it can read each other's buckets) and the bucket.
	Location() (store, bucket string)
	// Copy writes the object of src to key under opts.If. The properties are those of opts, never the source's. A source
	// that is not the pinned one any more is PreconditionFailed or NotFound. Unsupported means that the provider can't do
	// this copy (another store, too large, no condition on the target): nothing was written, and the bytes have to be moved.
	Copy(ctx context.Context, src Source, key string, opts *PutOptions) (*Attrs, error)
}

// Source is one version of an object in a bucket, as Copier.Location names it.
type Source struct {
	Store, Bucket, Key string
	Tag                string // that the object must have
	VersionID          string // "" is the current one
}

// Part is one part of a multipart upload.
type Part struct {
	Number   int
	Size     int64
	ETag     string
	Checksum string // provider's checksum of the part, as it was sent; "" if none
}

// DefaultContentType is what an object has whose writer named no type. Providers disagree here (some have no type at all
// then), so drivers send this one for an empty ContentType, and give it back for none: what is written is what is read.
const DefaultContentType = "application/octet-stream"

// Properties are what a user sets on an object beside its bytes, in the form that all providers share.
// Metadata keys are lower case. Empty fields are unset.
//
// A driver gives back what it was given, or refuses the write as Invalid: a property that is lost or changed on the way
// would look like an edit of a user's, and travel back. What a provider has no place for (tags on GCS, Expires on GCS and
// Azure, metadata names that are no identifiers on Azure) a driver maps to metadata of its own and back.
type Properties struct {
	ContentType        string            `json:"contentType,omitempty"`
	ContentEncoding    string            `json:"contentEncoding,omitempty"`
	ContentLanguage    string            `json:"contentLanguage,omitempty"`
	ContentDisposition string            `json:"contentDisposition,omitempty"`
	CacheControl       string            `json:"cacheControl,omitempty"`
	Expires            string            `json:"expires,omitempty"`
	Metadata           map[string]string `json:"metadata,omitempty"`
	Tags               map[string]string `json:"tags,omitempty"`
	// Extra are properties that one provider alone has, by names of package extra ("gcs-custom-time"). That provider's driver
	// gives the object the real thing; all others keep them in metadata of bucketmesh's own.
	Extra map[string]string `json:"extra,omitempty"`
}

// Attrs describe one version of an object.
type Attrs struct {
	Properties
	Key            string
	Size           int64  // bytes
	ETag           string // without quotes, as the provider gives it
	Tag            string // what a Precondition matches: the ETag (S3, Azure) or the generation (GCS)
	VersionID      string // S3 version id, GCS generation, Azure version id; "" on an unversioned bucket ("null" is "")
	Metageneration string // GCS; "" elsewhere
	ModTime        time.Time
	MD5            string // lower-case hex of the whole content; "" if the provider does not vouch for it
	SHA256         string // lower-case hex of the whole content; "" if the provider does not vouch for it
	CRC64NVME      string // base64 as S3 gives it, whole object; "" if not known
	CRC32C         string // base64 of the big-endian sum as GCS gives it, whole object; "" if not known
	RequestID      string // of the request that this answer belongs to; "" if the provider has none
	DeleteMarker   bool
	IsLatest       bool // in Versions only
}

// Precondition guards a write. The zero value is no condition.
type Precondition struct {
	NotExist bool   // only if no object is there (If-None-Match: *)
	Match    string // only if the object's Tag is this one
	// Metageneration is that of the caller's look (GCS): an edit of the metadata since then makes the condition fail, too.
	Metageneration string
	// VersionID is the version that the caller saw behind Match, where the bucket is versioned. A driver whose
	// provider ignores a condition uses it to check after the fact (see Capabilities.DeleteGuard).
	VersionID string
}

// ReadOptions of Open. A nil *ReadOptions reads the whole current object.
type ReadOptions struct {
	IfMatch   string // Tag the object must have; otherwise PreconditionFailed
	VersionID string // read this version instead of the current one
	Offset    int64
	Length    int64 // <= 0: to the end
}

// PutOptions of Put, Begin and Complete.
type PutOptions struct {
	Properties
	Size   int64 // bytes in body; required
	MD5    string
	SHA256 string // lower-case hex; if set, the provider or the driver verifies it
	If     Precondition
}

// DeleteOptions of Delete. VersionID removes that one version for good and takes no condition.
type DeleteOptions struct {
	If        Precondition
	VersionID string
}

// ListOptions of List.
type ListOptions struct {
	Prefix string
	After  string // keys strictly greater than this one
	Limit  int    // <= 0: the provider's own page size
}

// Page is one page of a listing. Next is the After of the following page, "" at the end. Objects of a listing have
// no Properties.
type Page struct {
	Objects []Attrs
	Next    string
}

// Level is what a bucket can promise about conditional writes.
type Level int

// The capability ladder.
const (
	C0 Level = iota // neither conditions nor versions: an overwrite of an unseen write can't be noticed
	C1              // versioning only: an overwritten predecessor can be found and recovered
	C2              // ETag conditions (S3): safe but for identical bytes; with versioning the full guarantee
	C3              // native version conditions (GCS generation, Azure ETag)
)

// String is "C0" to "C3".
func (l Level) String() string { return [...]string{"C0", "C1", "C2", "C3"}[l] }

// Guard says how a condition is enforced.
type Guard int

// The guards.
const (
	GuardNone   Guard = iota // ignored by the provider, and nothing can stand in
	GuardMarker              // ignored by the provider; the driver checks the predecessor of its delete marker (or version) and takes it back
	GuardNative              // enforced by the provider
)

// String is the guard in one word.
func (g Guard) String() string { return [...]string{"none", "marker", "native"}[g] }

// Capabilities of a bucket.
type Capabilities struct {
	Level         Level
	Versioned     bool  // new writes make versions
	PutMatch      Guard // If-Match on Put
	PutNotExist   Guard // If-None-Match:* on Put
	CompleteGuard Guard // both conditions on Complete
	DeleteGuard   Guard // If-Match on Delete
	ReadMatch     Guard // If-Match on Open
	MaxPut        int64 // largest object of one Put, bytes
	MinPart       int64 // smallest part of a multipart upload but for the last, bytes
	MaxParts      int
	MaxKey        int // longest key, bytes
	// KeysAsPaths: the server cleans keys as if they were file names ("a//b", "./a", "a/../b"), so that two keys become one
	// object. Such keys are refused.
	KeysAsPaths bool
}
