// Package s3 is the driver for Amazon S3 and servers that speak its protocol, over aws-sdk-go-v2.
//
// What a server promises differs (MinIO takes If-Match on DELETE and ignores it), so a Bucket starts with no promise at
// all: a conditional write is refused as Unsupported until WithCapabilities has told it what object.Probe found.
//
// Errors carry the kinds that package driver documents. S3's own traps are dealt with here: a HEAD that answers 404 says
// nothing about whether the key or the bucket is missing (see Config.BucketCheckEvery); 403 is never NotFound; a bucket
// that isn't there is Unavailable, so that an emptied, wrong or deleted bucket never looks like deleted objects; If-Match
// on a missing key answers 404, which is a failed precondition; 200 can carry an error; a body that ends early is
// Unavailable. The SDK's own retries are off: object.Retry is the one place for retries, and it knows which requests must not
// be repeated.
//
// Requests: each method is one request, but for these: Stat after a 404 may ask for the bucket; Stat and Open of an
// object with tags read the tags; Delete under GuardMarker lists the key's versions and may remove its marker; Versions
// and ListParts read as many pages as there are.
//
// Concurrency: all methods may be called from many goroutines; the package starts none.
package s3

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go/middleware"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
	"github.com/bucketmesh/bucketmesh/pkg/object/internal/alive"
	"github.com/bucketmesh/bucketmesh/pkg/object/internal/transport"
)

// Checksum is the algorithm with which bodies are sent and vouched for.
type Checksum string

// The checksums. CRC64NVME, the default, is whole-object even for multipart uploads.
const (
	CRC64NVME  Checksum = "CRC64NVME"
	CRC32C     Checksum = "CRC32C"
	NoChecksum Checksum = "none" // for servers that refuse checksum headers
)

// Config of a bucket. Only Bucket is required; zero values have the defaults that are named.
type Config struct {
	Bucket    string
	Region    string // the credential chain's own, or us-east-1 where Endpoint is set
	Endpoint  string // URL; "": Amazon S3
	PathStyle bool   // http://host/bucket/key instead of http://bucket.host/key

	// AccessKeyID and SecretAccessKey; both empty: the SDK's default chain (environment, shared files, roles).
	AccessKeyID     string
	SecretAccessKey string
	SessionToken    string

	RequestTimeout    time.Duration // of a request without a large body, and until a GET's headers: 30 s
	CompleteTimeout   time.Duration // of completing a multipart upload, which S3 lets take minutes: 10 min
	IdleTimeout       time.Duration // longest silence of the server while a body is read: 30 s
	MinBytesPerSecond int64         // a put may take RequestTimeout plus its size over this: 64 KiB
	// BucketCheckEvery bounds what it costs to tell a missing key from a missing bucket: a HEAD that answers 404 is
	// believed if the bucket has answered anything that proves its existence within this time; otherwise one HeadBucket
	// asks. 5 s; negative: always ask.
	BucketCheckEvery time.Duration
	MaxConnections   int // kept open to the endpoint: 64
	Checksum         Checksum

	// Capabilities, if known from an earlier probe; nil: none (see the package documentation).
	Capabilities *driver.Capabilities
	// OnRequest is told the S3 name of every HTTP request right before it is sent ("GetObject"). It must be fast and
	// safe for concurrent use: object.Counter.Request is.
	OnRequest func(operation string)
	// Transport sends the requests; nil: an http.Transport of its own.
	Transport http.RoundTripper
}

// Bucket is an S3 bucket. Make one with Open.
type Bucket struct {
	*shared
	caps driver.Capabilities
}

var (
	_ driver.Bucket      = (*Bucket)(nil)
	_ driver.Multiparter = (*Bucket)(nil)
	_ driver.Versioner   = (*Bucket)(nil)
)

// shared is what all views (WithCapabilities) of one bucket have in common.
type shared struct {
	cfg    Config
	client *awss3.Client
	alive  *alive.Bucket
	close  func()
}

// Limits of S3 itself; no server at hand has others.
const (
	maxPut   = 5 << 30
	minPart  = 5 << 20
	maxParts = 10_000
	maxKey   = 1024
)

// Open makes a bucket. It sends no request to the bucket: a wrong name or wrong keys show at the first one. Missing
// credentials are PermissionDenied here, a configuration that can't work is Invalid.
func Open(ctx context.Context, cfg Config) (*Bucket, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	awscfg, err := cfg.aws(ctx)
	if err != nil {
		return nil, err
	}
	s := &shared{cfg: cfg, alive: alive.New(cfg.BucketCheckEvery), close: func() {}}
	sender := cfg.Transport
	if sender == nil {
		t := transport.New(cfg.RequestTimeout, cfg.MaxConnections)
		sender, s.close = t, t.CloseIdleConnections
	}
	s.client = awss3.NewFromConfig(awscfg, func(o *awss3.Options) {
		o.UsePathStyle = cfg.PathStyle
		if cfg.Endpoint != "" {
			o.BaseEndpoint = aws.String(cfg.Endpoint)
		}
		o.Retryer = aws.NopRetryer{}
		// Checksums are asked for and sent explicitly, request by request.
		o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
		o.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
		o.DisableLogOutputChecksumValidationSkipped = true
		o.HTTPClient = &http.Client{
			Transport: sender,
			// A redirect means a wrong region; following it would drop the signature.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
		if cfg.OnRequest != nil {
			o.APIOptions = append(o.APIOptions, reportRequests(cfg.OnRequest))
		}
	})
	caps := driver.Capabilities{MaxPut: maxPut, MinPart: minPart, MaxParts: maxParts, MaxKey: maxKey}
	if cfg.Capabilities != nil {
		caps = *cfg.Capabilities
	}
	return &Bucket{shared: s, caps: caps}, nil
}

func (c Config) check() error {
	u, err := url.Parse(c.Endpoint)
	switch {
	case c.Bucket == "":
		return errkind.New(errkind.Invalid, "open s3 bucket: the name is empty")
	case err != nil || c.Endpoint != "" && (u.Scheme != "http" && u.Scheme != "https" || u.Host == ""):
		return errkind.New(errkind.Invalid, "open s3 bucket: the endpoint must be a URL such as https://host:port")
	case (c.AccessKeyID == "") != (c.SecretAccessKey == ""):
		return errkind.New(errkind.Invalid, "open s3 bucket: an access key needs its secret, and the other way round")
	case c.Checksum != "" && c.Checksum != CRC64NVME && c.Checksum != CRC32C && c.Checksum != NoChecksum:
		return errkind.New(errkind.Invalid, "open s3 bucket: unknown checksum %q", c.Checksum)
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
	if c.Checksum == "" {
		c.Checksum = CRC64NVME
	}
	if c.Region == "" && c.Endpoint != "" {
		c.Region = "us-east-1"
	}
	return c
}

// aws is the SDK's configuration. With explicit keys nothing is read from the environment: two replicas with different
// keys must not inherit each other's settings.
func (c Config) aws(ctx context.Context) (aws.Config, error) {
	if c.AccessKeyID != "" {
		if c.Region == "" {
			return aws.Config{}, errkind.New(errkind.Invalid, "open s3 bucket: the region is missing")
		}
		keys := credentials.NewStaticCredentialsProvider(c.AccessKeyID, c.SecretAccessKey, c.SessionToken)
		return aws.Config{Region: c.Region, Credentials: keys}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, c.RequestTimeout)
	defer cancel()
	var opts []func(*config.LoadOptions) error
	if c.Region != "" {
		opts = append(opts, config.WithRegion(c.Region))
	}
	awscfg, err := config.LoadDefaultConfig(ctx, opts...)
	if err != nil {
		return aws.Config{}, errkind.New(errkind.Invalid, "open s3 bucket: load aws configuration: %w", err)
	}
	if awscfg.Region == "" {
		return aws.Config{}, errkind.New(errkind.Invalid, "open s3 bucket: the region is missing")
	}
	if _, err := awscfg.Credentials.Retrieve(ctx); err != nil {
		return aws.Config{}, errkind.New(errkind.PermissionDenied, "open s3 bucket: find credentials: %w", err)
	}
	return awscfg, nil
}

// reportRequests tells every request at the last moment before it is sent.
func reportRequests(report func(string)) func(*middleware.Stack) error {
	return func(s *middleware.Stack) error {
		return s.Deserialize.Add(middleware.DeserializeMiddlewareFunc("ReportRequest",
			func(ctx context.Context, in middleware.DeserializeInput, next middleware.DeserializeHandler) (middleware.DeserializeOutput, middleware.Metadata, error) {
				report(middleware.GetOperationName(ctx))
				return next.HandleDeserialize(ctx, in)
			}), middleware.After)
	}
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

// algorithm is the checksum in the SDK's terms; "" for none.
func (s *shared) algorithm() types.ChecksumAlgorithm {
	if s.cfg.Checksum == NoChecksum {
		return ""
	}
	return types.ChecksumAlgorithm(s.cfg.Checksum)
}

// request bounds a request that sends size bytes.
func (s *shared) request(ctx context.Context, size int64) (context.Context, context.CancelFunc) {
	d := s.cfg.RequestTimeout + time.Duration(size/s.cfg.MinBytesPerSecond)*time.Second
	return context.WithTimeout(ctx, d)
}
