// Package gcs is the driver for Google Cloud Storage over cloud.google.com/go/storage (its JSON and XML APIs over HTTP).
//
// A Tag is an object's generation, and so is a VersionID: it names the write, on versioned buckets and on others. A
// Precondition's Metageneration is sent, too, where it is set: then an edit of the metadata makes the condition fail.
// A deleted object leaves no delete marker. Google keeps every condition; a bucket at another Endpoint (an emulator) starts
// with no promise at all, and conditional writes are refused as Unsupported until WithCapabilities has told it what
// object.Probe found.
//
// Errors carry the kinds that package driver documents. A JSON 404 says nothing reliable about whether the object or the
// bucket is missing (see Config.BucketCheckEvery): a bucket that isn't there is Unavailable, so that a wrong or deleted
// bucket never looks like deleted objects. 429 (more than one write a second to one name) is Throttled with a delay. The
// SDK's retries are off and uploads are single requests: object.Retry is the one place for retries, and the transport refuses
// to send a request with a condition twice.
//
// Bytes are bytes: what is stored with Content-Encoding gzip is read as it is stored. Whole objects are verified by
// crc32c in both directions; of a range nobody vouches for a checksum.
//
// What GCS has no place for (tags, Expires) is kept in metadata of the driver's own, see properties.go. Multipart uploads are
// temporary objects under PartsPrefix that are composed; see multipart.go.
//
// Requests: each method is one request, but for these: a 404 may ask for the bucket; Open asks for the metadata as well, because
// headers don't tell them all (see read.go); PutPart checks that its upload is still there; Complete
// and Abort list and remove the temporary objects; Versions and ListParts read as many pages as there are; Copy of a large
// object goes on until it is done.
//
// Concurrency: all methods may be called from many goroutines. Complete and Abort start up to Config.Concurrency of their
// own and wait for them.
package gcs

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"time"

	"cloud.google.com/go/storage"
	"google.golang.org/api/option"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
	"github.com/bucketmesh/bucketmesh/pkg/object/internal/alive"
	"github.com/bucketmesh/bucketmesh/pkg/object/internal/transport"
)

// google is where Google's own storage is. It is always named to the SDK, so that the environment (STORAGE_EMULATOR_HOST)
// can't send one replica's requests to another one's server.
const google = "https://storage.googleapis.com"

// Config of a bucket. Only Bucket is required; zero values have the defaults that are named.
type Config struct {
	Bucket   string
	Endpoint string // scheme://host:port of an emulator; "": Google itself
	// CredentialsFile is a service account's or an external account's JSON. "": Google's own chain (environment, metadata
	// server), or no credentials at all where Endpoint is set.
	CredentialsFile string

	RequestTimeout    time.Duration // of a request without a large body, and until a GET's headers: 30 s
	CompleteTimeout   time.Duration // of composing an upload, and of a server-side copy: 10 min
	IdleTimeout       time.Duration // longest silence of the server while a body is read: 30 s
	MinBytesPerSecond int64         // a put may take RequestTimeout plus its size over this: 64 KiB
	// BucketCheckEvery bounds what it costs to tell a missing key from a missing bucket: a 404 is believed if the bucket has
	// answered anything that proves its existence within this time; otherwise one listing of one key asks. 5 s;
	// negative: always ask.
	BucketCheckEvery time.Duration
	MaxConnections   int // kept open to the endpoint: 64
	Concurrency      int // requests at once of one Complete or Abort: 8

	// Capabilities, if known from an earlier probe; nil: Google's, or none where Endpoint is set.
	Capabilities *driver.Capabilities
	// OnRequest is told the name that S3 has for every HTTP request right before it is sent ("GetObject"). It must be fast and
	// safe for concurrent use: object.Counter.Request is.
	OnRequest func(operation string)
	// Transport sends the requests; nil: an http.Transport of its own.
	Transport http.RoundTripper
}

// Bucket is a bucket of Google Cloud Storage. Make one with Open.
type Bucket struct {
	*shared
	caps driver.Capabilities
}

var (
	_ driver.Bucket      = (*Bucket)(nil)
	_ driver.Multiparter = (*Bucket)(nil)
	_ driver.Versioner   = (*Bucket)(nil)
	_ driver.Copier      = (*Bucket)(nil)
)

// shared is what all views (WithCapabilities) of one bucket have in common.
type shared struct {
	cfg    Config
	store  string // the endpoint
	client *storage.Client
	bucket *storage.BucketHandle
	alive  *alive.Bucket
	close  func()
}

// Limits of GCS.
const (
	maxPut   = 5 << 40
	maxParts = 10_000 // ours: GCS composes any number, and a listing of more would be no bound
	maxKey   = 1024
)

// Open makes a bucket. It sends no request to the bucket: a wrong name or wrong credentials show at the first one. Missing
// credentials are PermissionDenied here, a configuration that can't work is Invalid.
func Open(ctx context.Context, cfg Config) (*Bucket, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	s := &shared{cfg: cfg, store: google, alive: alive.New(cfg.BucketCheckEvery), close: func() {}}
	if cfg.Endpoint != "" {
		s.store = strings.TrimSuffix(cfg.Endpoint, "/")
	}
	base := cfg.Transport
	if base == nil {
		t := transport.New(cfg.RequestTimeout, cfg.MaxConnections)
		base, s.close = t, t.CloseIdleConnections
	}
	hc, err := authorized(cfg, &wire{base: base, report: cfg.OnRequest})
	if err != nil {
		return nil, err
	}
	// A redirect has no place in this protocol; following it could repeat a write.
	hc.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	// WithoutAuthentication: the client above authenticates, and the SDK must not look for credentials of its own.
	s.client, err = storage.NewClient(ctx, option.WithHTTPClient(hc), option.WithEndpoint(s.store+"/storage/v1/"), option.WithoutAuthentication())
	if err != nil {
		return nil, errkind.New(errkind.Invalid, "open gcs bucket: %w", err)
	}
	s.client.SetRetry(storage.WithPolicy(storage.RetryNever))
	s.bucket = s.client.Bucket(cfg.Bucket)
	caps := promises(cfg)
	if cfg.Capabilities != nil {
		caps = *cfg.Capabilities
	}
	return &Bucket{shared: s, caps: caps}, nil
}

// promises are what a bucket is known to keep before it was probed.
func promises(cfg Config) driver.Capabilities {
	c := driver.Capabilities{MaxPut: maxPut, MinPart: 1, MaxParts: maxParts, MaxKey: maxKey}
	if cfg.Endpoint == "" {
		c.Level = driver.C3
		c.PutMatch, c.PutNotExist, c.CompleteGuard = driver.GuardNative, driver.GuardNative, driver.GuardNative
		c.DeleteGuard, c.ReadMatch = driver.GuardNative, driver.GuardNative
	}
	return c
}

func (c Config) check() error {
	u, err := url.Parse(c.Endpoint)
	switch {
	case c.Bucket == "":
		return errkind.New(errkind.Invalid, "open gcs bucket: the name is empty")
	case strings.ContainsAny(c.Bucket, "/?#"):
		return errkind.New(errkind.Invalid, "open gcs bucket: %q is no bucket's name", c.Bucket)
	case err != nil || c.Endpoint != "" && (u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || strings.Trim(u.Path, "/") != ""):
		return errkind.New(errkind.Invalid, "open gcs bucket: the endpoint must be a URL such as http://host:port")
	}
	return nil
}

func (c Config) withDefaults() Config {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	def(&c.RequestTimeout, 30*time.Second)
	def(&c.CompleteTimeout, 10*time.Minute)
	def(&c.IdleTimeout, 30*time.Second)
	def(&c.BucketCheckEvery, 5*time.Second)
	if c.MinBytesPerSecond <= 0 {
		c.MinBytesPerSecond = 64 << 10
	}
	if c.MaxConnections <= 0 {
		c.MaxConnections = 64
	}
	if c.Concurrency <= 0 {
		c.Concurrency = 8
	}
	return c
}

// Capabilities implements driver.Bucket.
func (b *Bucket) Capabilities() driver.Capabilities { return b.caps }

// WithCapabilities is the same bucket over the same connections, with other capabilities.
func (b *Bucket) WithCapabilities(c driver.Capabilities) driver.Bucket {
	return &Bucket{shared: b.shared, caps: c}
}

// Close drops idle connections.
func (b *Bucket) Close() error {
	b.close()
	return nil
}

// request bounds a request that sends size bytes.
func (s *shared) request(ctx context.Context, size int64) (context.Context, context.CancelFunc) {
	d := s.cfg.RequestTimeout + time.Duration(size/s.cfg.MinBytesPerSecond)*time.Second
	return context.WithTimeout(ctx, d)
}

// checkKey refuses names that GCS does not take, before they cost a request.
func checkKey(key string) error {
	switch {
	case key == "." || key == "..":
		return driver.RefuseKey("GCS takes no object of the name %q", key)
	case strings.ContainsAny(key, "\r\n"):
		return driver.RefuseKey("GCS takes no name with a line break: %q", key)
	case strings.HasPrefix(key, ".well-known/acme-challenge/"):
		return driver.RefuseKey("GCS takes no name that begins with .well-known/acme-challenge/: %q", key)
	}
	return nil
}
