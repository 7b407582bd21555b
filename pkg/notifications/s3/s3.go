// Package s3 sets up the notifications of buckets at Amazon S3, MinIO and Ceph RGW. (versitygw has none of a bucket.)
//
// A bucket has one configuration, which is read and written as a whole and has neither a version nor a condition. So what
// others put there is sent back as it was read; a configuration with parts that this version does not know is refused
// instead of losing them; and after a write it is read until it shows what was written, and compared. A change that
// somebody makes in the instant between our read and our write is overwritten by S3 itself: it can't be prevented, and only
// what was seen before can be reported.
//
// EventBridge is a switch of the bucket without a name, so it is nobody's: Install turns it on, and Remove leaves it on and
// says so.
//
// Errors: Invalid for a document that can't work or a target that the server refuses, NotFound for a bucket that is not
// there, PermissionDenied, Unsupported, Conflict when somebody else changed the configuration meanwhile, Unavailable when
// the server did not answer or did not show what was written in time.
//
// Concurrency: a Bucket is for one goroutine at a time.
package s3

import (
	"context"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/bucketmesh/bucketmesh/pkg/config"
	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/notifications"
)

// Config of a Bucket. Replica and ID are required; zero values have the defaults that are named.
type Config struct {
	Replica config.Replica
	ID      string // of our entry

	// AccessKeyID and SecretAccessKey; both empty: the SDK's default chain. They are those of the queue, too.
	AccessKeyID     string
	SecretAccessKey string

	RequestTimeout time.Duration // of one request: 30 s
	VerifyTimeout  time.Duration // how long S3 may take to show what was written: 30 s
	VerifyEvery    time.Duration // pause between two looks at it: 1 s
}

// Bucket is the configuration of one bucket.
type Bucket struct {
	cfg    Config
	aws    aws.Config
	client *awss3.Client
	http   *http.Transport
	want   *rule // nil: no entry (nothing is to be installed, or EventBridge)
}

var _ notifications.Provider = (*Bucket)(nil)

// eventBridge is the target that is a switch.
const eventBridge = "eventbridge"

// Open makes a Bucket. It sends no request but for credentials.
func Open(ctx context.Context, cfg Config) (*Bucket, error) {
	def := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	def(&cfg.RequestTimeout, 30*time.Second)
	def(&cfg.VerifyTimeout, 30*time.Second)
	def(&cfg.VerifyEvery, time.Second)
	b := &Bucket{cfg: cfg}
	var err error
	if b.want, err = wanted(cfg); err != nil {
		return nil, err
	}
	if b.aws, err = cfg.aws(ctx); err != nil {
		return nil, err
	}
	b.http = &http.Transport{
		Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true, MaxIdleConnsPerHost: 2, IdleConnTimeout: 30 * time.Second,
		DialContext:         (&net.Dialer{Timeout: min(cfg.RequestTimeout, 10*time.Second)}).DialContext,
		TLSHandshakeTimeout: min(cfg.RequestTimeout, 10*time.Second),
	}
	b.aws.HTTPClient = &http.Client{
		Transport:     b.http,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // a wrong region
	}
	b.client = awss3.NewFromConfig(b.aws, func(o *awss3.Options) {
		o.UsePathStyle = cfg.Replica.PathStyle
		if cfg.Replica.Endpoint != "" {
			o.BaseEndpoint = aws.String(cfg.Replica.Endpoint)
		}
	})
	return b, nil
}

// aws is the SDK's configuration. With explicit keys nothing is read from the environment.
func (c Config) aws(ctx context.Context) (aws.Config, error) {
	if c.AccessKeyID != "" {
		keys := credentials.NewStaticCredentialsProvider(c.AccessKeyID, c.SecretAccessKey, "")
		return aws.Config{Region: c.Replica.Region, Credentials: keys}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, c.RequestTimeout)
	defer cancel()
	cfg, err := awsconfig.LoadDefaultConfig(ctx, awsconfig.WithRegion(c.Replica.Region))
	if err != nil {
		return aws.Config{}, errkind.New(errkind.Invalid, "load aws configuration: %w", err)
	}
	if _, err := cfg.Credentials.Retrieve(ctx); err != nil {
		return aws.Config{}, errkind.New(errkind.PermissionDenied, "find credentials: %w", err)
	}
	return cfg, nil
}

// queues is a client of SQS. The endpoint of a queue that is not Amazon's is in its URL.
func (b *Bucket) queues(region, pull string) *sqs.Client {
	return sqs.NewFromConfig(b.aws, func(o *sqs.Options) {
		if region != "" {
			o.Region = region
		}
		if u, err := url.Parse(pull); err == nil && u.Host != "" && !amazon(u.Hostname()) {
			o.BaseEndpoint = aws.String(u.Scheme + "://" + u.Host)
		}
	})
}

func amazon(host string) bool {
	return strings.HasSuffix(host, ".amazonaws.com") || strings.HasSuffix(host, ".amazonaws.com.cn")
}

// Close implements notifications.Provider.
func (b *Bucket) Close() error {
	b.http.CloseIdleConnections()
	return nil
}
