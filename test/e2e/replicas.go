package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// replica is one bucket, used with the provider's plain SDK: nothing of bucketmesh's own drivers is between the harness
// and the server.
type replica struct {
	name      string
	endpoint  string
	dialect   string
	bucket    string
	versioned bool
	arns      []string // targets of notifications that the bucket has to be bound to; none: the server sends everything
	client    *awss3.Client
}

// newClient makes an SDK client that never tries again by itself: the harness has to know of each attempt.
func newClient(endpoint, accessKey, secretKey string) *awss3.Client {
	return awss3.New(awss3.Options{
		Region:       "us-east-1",
		BaseEndpoint: aws.String(endpoint),
		UsePathStyle: true,
		Credentials:  credentials.NewStaticCredentialsProvider(accessKey, secretKey, ""),
		Retryer:      aws.NopRetryer{},
		HTTPClient: &http.Client{
			Timeout:   60 * time.Second,
			Transport: &http.Transport{MaxIdleConnsPerHost: 64, MaxConnsPerHost: 64, IdleConnTimeout: time.Minute},
		},
		RequestChecksumCalculation: aws.RequestChecksumCalculationWhenRequired,
		ResponseChecksumValidation: aws.ResponseChecksumValidationWhenRequired,
	})
}

// create makes the bucket.
func (r *replica) create(ctx context.Context) error {
	if _, err := r.client.CreateBucket(ctx, &awss3.CreateBucketInput{Bucket: &r.bucket}); err != nil {
		return fmt.Errorf("create bucket at %s: %w", r.name, err)
	}
	if !r.versioned {
		return nil
	}
	_, err := r.client.PutBucketVersioning(ctx, &awss3.PutBucketVersioningInput{
		Bucket: &r.bucket, VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled},
	})
	if err != nil {
		return fmt.Errorf("switch on versions at %s: %w", r.name, err)
	}
	return nil
}

// notify binds the bucket to its targets, or to none.
func (r *replica) notify(ctx context.Context, on bool) error {
	if len(r.arns) == 0 {
		return nil
	}
	conf := &types.NotificationConfiguration{}
	for _, arn := range r.arns {
		if on {
			conf.QueueConfigurations = append(conf.QueueConfigurations, types.QueueConfiguration{
				QueueArn: aws.String(arn), Events: []types.Event{types.EventS3ObjectCreated, types.EventS3ObjectRemoved},
			})
		}
	}
	_, err := r.client.PutBucketNotificationConfiguration(ctx, &awss3.PutBucketNotificationConfigurationInput{
		Bucket: &r.bucket, NotificationConfiguration: conf,
	})
	if err != nil {
		return fmt.Errorf("set notifications of %s: %w", r.name, err)
	}
	return nil
}

// look is a HEAD.
func (r *replica) look(ctx context.Context, key string) (sight, error) {
	out, err := r.client.HeadObject(ctx, &awss3.HeadObjectInput{Bucket: &r.bucket, Key: &key})
	if statusOf(err) == http.StatusNotFound {
		return sight{}, nil
	}
	if err != nil {
		return sight{}, fmt.Errorf("head %q at %s: %w", key, r.name, err)
	}
	s := sight{present: true, etag: aws.ToString(out.ETag)}
	if s.op, s.body, err = authors(out.Metadata); err != nil {
		return s, fmt.Errorf("head %q at %s: %w", key, r.name, err)
	}
	return s, nil
}

// authors reads which operations made an object.
func authors(meta map[string]string) (op, body int, err error) {
	if op, err = strconv.Atoi(meta[metaOp]); err != nil {
		return 0, 0, fmt.Errorf("metadata %s: %w", metaOp, err)
	}
	if body, err = strconv.Atoi(meta[metaBody]); err != nil {
		return 0, 0, fmt.Errorf("metadata %s: %w", metaBody, err)
	}
	return op, body, nil
}

// statusOf is the HTTP status of an answer, or 0 if there was none. No error is 200.
func statusOf(err error) int {
	if err == nil {
		return http.StatusOK
	}
	var re *smithyhttp.ResponseError
	if errors.As(err, &re) && re.Response != nil && re.Response.Response != nil {
		return re.HTTPStatusCode()
	}
	return 0
}

// copySource is the header that names the source of a copy.
func copySource(bucket, key string) *string {
	parts := strings.Split(key, "/")
	for i, p := range parts {
		parts[i] = strings.ReplaceAll(url.PathEscape(p), "+", "%2B")
	}
	return aws.String(bucket + "/" + strings.Join(parts, "/"))
}
