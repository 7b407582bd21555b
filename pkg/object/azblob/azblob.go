// Package azblob is the driver for Azure Blob Storage, over azure-sdk-for-go.
//
// A tag is the ETag: in Azure every write and every edit of metadata gives a new one, so that a condition on it is a condition
// on the version (level C3). (An edit of index tags alone gives no new ETag: a look compares the tags, a condition can't.) As
// with every driver, a Bucket starts with no promise until WithCapabilities has told it what object.Probe found.
//
// Only block blobs are written. An append or page blob is read as it is, and overwritten by Put like any other; an upload in
// parts can't replace one and is Unsupported there.
//
// Versions are those of the account. Azure has no delete markers: a delete leaves a key without a current version, and
// Versions doesn't tell when. Snapshots belong to users: a blob that has some is never deleted, because they would go with
// it (Unsupported). What a key can't be is in checkKey.
//
// Attrs have no MD5: Azure hands out a Content-MD5 that any user can set without anybody checking it (Set Blob Properties,
// Put Block List), and a wrong "these are equal" is a lost update. For bytes on the way it serves well: a whole block blob that
// has one is held to it, and what is written is sent with one that the service verifies.
//
// Errors carry the kinds that package driver documents, by Azure's error code and not by the HTTP status alone: a 409 is seldom
// "it exists", and a 412 can be a lease. A container that isn't there is Unavailable, so that an emptied, wrong or
// deleted container never looks like deleted objects. A clock that is wrong looks like wrong credentials; the text says so.
// The SDK's own retries are off: object.Retry is the one place for retries, and it knows which requests must not be
// repeated.
//
// Requests: each method is one request, but for these: Stat and Open of an object with tags read the tags; List may pass
// over pages (see there); Versions reads as many pages as there are; removing the current version by its id takes four; Begin
// and Abort take none.
//
// Concurrency: all methods may be called from many goroutines; the package starts none.
package azblob

import (
	"context"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
	"github.com/bucketmesh/bucketmesh/pkg/object/internal/transport"
)

// Config of a bucket. Account and Container are required; zero values have the defaults that are named.
type Config struct {
	Account   string
	Container string
	Endpoint  string // "": https://ACCOUNT.blob.core.windows.net; else the blobs are at ENDPOINT/ACCOUNT/CONTAINER

	// AccountKey is base64; "": azidentity's default chain (environment, workload identity, managed identity, az login).
	AccountKey string

	RequestTimeout    time.Duration // of a request without a large body, and until a GET's headers: 30 s
	CompleteTimeout   time.Duration // of committing a block list or copying inside of Azure: 10 min
	IdleTimeout       time.Duration // longest silence of the server while a body is read: 30 s
	MinBytesPerSecond int64         // a put may take RequestTimeout plus its size over this: 64 KiB
	MaxConnections    int           // kept open to the endpoint: 64

	// Capabilities, if known from an earlier probe; nil: none (see the package documentation).
	Capabilities *driver.Capabilities
	// OnRequest is told the S3 name of what every HTTP request does right before it is sent ("GetObject"). It must be fast
	// and safe for concurrent use: object.Counter.Request is.
	OnRequest func(operation string)
	// Transport sends the requests; nil: an http.Transport of its own.
	Transport http.RoundTripper

	credential azcore.TokenCredential // of tests: the default chain asks the network
}

// Bucket is a container. Make one with Open.
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

// shared is what all views (WithCapabilities) of one container have in common.
type shared struct {
	cfg     Config
	store   string // URL of the account, without a slash at its end
	key     *blob.SharedKeyCredential
	token   azcore.TokenCredential
	options *container.ClientOptions
	client  *container.Client
	marks   marks
	ended   ended
	close   func()
}

// Limits of Azure since API version 2019-12-12.
const (
	maxPut   = 5000 << 20 // Put Blob, and Put Blob From URL
	maxBlock = 4000 << 20
	minBlock = 1
	maxParts = 50_000
	maxKey   = 3 * maxKeyUnits // bytes; see checkKey
)

// scope is what tokens are asked for.
const scope = "https://storage.azure.com/.default"

// Open makes a bucket. It sends no request to the container: a wrong name or a wrong key shows at the first one. Without
// an account key it asks for a token: no credentials are PermissionDenied here. A configuration that can't work is Invalid.
func Open(ctx context.Context, cfg Config) (*Bucket, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	s := &shared{cfg: cfg, store: cfg.store(), close: func() {}}
	if err := s.credentials(ctx); err != nil {
		return nil, err
	}
	sender := cfg.Transport
	if sender == nil {
		t := transport.New(cfg.RequestTimeout, cfg.MaxConnections)
		sender, s.close = t, t.CloseIdleConnections
	}
	s.options = &container.ClientOptions{ClientOptions: policy.ClientOptions{
		Transport: &reporter{report: cfg.OnRequest, client: &http.Client{
			Transport:     sender,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}},
		Retry:     policy.RetryOptions{MaxRetries: -1},
		Telemetry: policy.TelemetryOptions{ApplicationID: "bucketmesh"},
	}}
	var err error
	if s.client, err = s.container(cfg.Container); err != nil {
		return nil, err
	}
	caps := driver.Capabilities{MaxPut: maxPut, MinPart: minBlock, MaxParts: maxParts, MaxKey: maxKey}
	if cfg.Capabilities != nil {
		caps = *cfg.Capabilities
	}
	return &Bucket{shared: s, caps: caps}, nil
}

// The names that Azure allows; whatever is no such name would end up in another place of a URL.
var (
	accountName   = regexp.MustCompile(`^[a-z0-9]{3,24}$`)
	containerName = regexp.MustCompile(`^(\$root|\$web|[a-z0-9](-?[a-z0-9]){2,62})$`)
)

func (c Config) check() error {
	u, err := url.Parse(c.Endpoint)
	switch {
	case !accountName.MatchString(c.Account):
		return errkind.New(errkind.Invalid, "open azure container: %q is no storage account: 3 to 24 lower-case letters and digits", c.Account)
	case !containerName.MatchString(c.Container) || len(c.Container) > 63:
		return errkind.New(errkind.Invalid, "open azure container: %q is no container: 3 to 63 lower-case letters, digits and single dashes", c.Container)
	case err != nil || c.Endpoint != "" && (u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.User != nil):
		return errkind.New(errkind.Invalid, "open azure container: the endpoint must be a URL such as http://host:port, without the account")
	case c.Endpoint != "" && c.AccountKey == "" && c.credential == nil:
		return errkind.New(errkind.Invalid, "open azure container: a custom endpoint needs the account key")
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
	if c.MinBytesPerSecond <= 0 {
		c.MinBytesPerSecond = 64 << 10
	}
	if c.MaxConnections <= 0 {
		c.MaxConnections = 64
	}
	return c
}

func (c Config) store() string {
	if c.Endpoint == "" {
		return "https://" + c.Account + ".blob.core.windows.net"
	}
	return strings.TrimSuffix(c.Endpoint, "/") + "/" + c.Account
}

// credentials finds the account key or a source of tokens.
func (s *shared) credentials(ctx context.Context) (err error) {
	switch {
	case s.cfg.AccountKey != "":
		if s.key, err = blob.NewSharedKeyCredential(s.cfg.Account, s.cfg.AccountKey); err != nil {
			return errkind.New(errkind.Invalid, "open azure container: the account key is not base64")
		}
		return nil
	case s.cfg.credential != nil:
		s.token = s.cfg.credential
	default:
		if s.token, err = azidentity.NewDefaultAzureCredential(nil); err != nil {
			return errkind.New(errkind.PermissionDenied, "open azure container: find credentials: %s", firstLine(err.Error()))
		}
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.RequestTimeout)
	defer cancel()
	if _, err := s.token.GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{scope}}); err != nil {
		return errkind.New(errkind.PermissionDenied, "open azure container: get a token: %s", firstLine(err.Error()))
	}
	return nil
}

// container is a client for a container of the account.
func (s *shared) container(name string) (c *container.Client, err error) {
	at := s.store + "/" + name
	if s.key != nil {
		c, err = container.NewClientWithSharedKeyCredential(at, s.key, s.options)
	} else {
		c, err = container.NewClient(at, s.token, s.options)
	}
	if err != nil {
		return nil, errkind.New(errkind.Invalid, "open azure container: %w", err)
	}
	return c, nil
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
