package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// s3Bucket is a bucket at MinIO or versitygw.
type s3Bucket struct {
	name      string // of the replica
	endpoint  string
	bucket    string
	versioned bool
	arns      []string // targets of notifications that the bucket is bound to; none: the server sends everything
	client    *awss3.Client
}

// newS3Client makes an SDK client that never tries again by itself.
func newS3Client(endpoint, accessKey, secretKey string) *awss3.Client {
	return awss3.New(awss3.Options{
		Region:       "us-east-1",
		BaseEndpoint: aws.String(endpoint),
		UsePathStyle: true,
		Credentials:  credentials.NewStaticCredentialsProvider(accessKey, secretKey, ""),
		Retryer:      aws.NopRetryer{},
		HTTPClient:   httpClient(),

		RequestChecksumCalculation: aws.RequestChecksumCalculationWhenRequired,
		ResponseChecksumValidation: aws.ResponseChecksumValidationWhenRequired,
	})
}

// httpClient is the users'.
func httpClient() *http.Client {
	return &http.Client{
		Timeout:   60 * time.Second,
		Transport: &http.Transport{MaxIdleConnsPerHost: 64, MaxConnsPerHost: 64, IdleConnTimeout: time.Minute},
	}
}

func (b *s3Bucket) create(ctx context.Context) error {
	if _, err := b.client.CreateBucket(ctx, &awss3.CreateBucketInput{Bucket: &b.bucket}); err != nil {
		return fmt.Errorf("create bucket at %s: %w", b.name, err)
	}
	if b.versioned {
		_, err := b.client.PutBucketVersioning(ctx, &awss3.PutBucketVersioningInput{
			Bucket: &b.bucket, VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled},
		})
		if err != nil {
			return fmt.Errorf("switch on versions at %s: %w", b.name, err)
		}
	}
	return b.notify(ctx)
}

// notify binds the bucket to its targets.
func (b *s3Bucket) notify(ctx context.Context) error {
	if len(b.arns) == 0 {
		return nil
	}
	conf := &types.NotificationConfiguration{}
	for _, arn := range b.arns {
		conf.QueueConfigurations = append(conf.QueueConfigurations, types.QueueConfiguration{
			QueueArn: aws.String(arn), Events: []types.Event{types.EventS3ObjectCreated, types.EventS3ObjectRemoved},
		})
	}
	_, err := b.client.PutBucketNotificationConfiguration(ctx, &awss3.PutBucketNotificationConfigurationInput{
		Bucket: &b.bucket, NotificationConfiguration: conf,
	})
	if err != nil {
		return fmt.Errorf("set notifications of %s: %w", b.name, err)
	}
	return nil
}

func (b *s3Bucket) look(ctx context.Context, key string) (sight, error) {
	out, err := b.client.HeadObject(ctx, &awss3.HeadObjectInput{Bucket: &b.bucket, Key: &key})
	if statusOf(err) == http.StatusNotFound {
		return sight{}, nil
	}
	if err != nil {
		return sight{}, fmt.Errorf("head %q at %s: %w", key, b.name, err)
	}
	s := sight{present: true, etag: aws.ToString(out.ETag)}
	if s.op, s.body, err = authors(out.Metadata); err != nil {
		return s, fmt.Errorf("head %q at %s: %w", key, b.name, err)
	}
	return s, nil
}

// headers are If-Match and If-None-Match.
func (c condition) headers() (match, noneMatch *string) {
	switch {
	case !c.asked:
		return nil, nil
	case c.seen.present:
		return &c.seen.etag, nil
	}
	return nil, aws.String("*")
}

func (b *s3Bucket) put(ctx context.Context, key string, body []byte, p properties, c condition) (written, error) {
	in := &awss3.PutObjectInput{Bucket: &b.bucket, Key: &key, Body: bytes.NewReader(body), ContentType: &p.contentType, Metadata: p.meta}
	in.IfMatch, in.IfNoneMatch = c.headers()
	out, err := b.client.PutObject(ctx, in)
	if err != nil {
		return written{}, fmt.Errorf("put %q at %s: %w", key, b.name, err)
	}
	return written{aws.ToString(out.ETag), aws.ToString(out.VersionId)}, nil
}

func (b *s3Bucket) remove(ctx context.Context, key string, c condition) (written, error) {
	in := &awss3.DeleteObjectInput{Bucket: &b.bucket, Key: &key}
	in.IfMatch, _ = c.headers()
	out, err := b.client.DeleteObject(ctx, in)
	if err != nil {
		return written{}, fmt.Errorf("delete %q at %s: %w", key, b.name, err)
	}
	return written{versionID: aws.ToString(out.VersionId)}, nil
}

// copy has no condition on its target: S3 knows none.
func (b *s3Bucket) copy(ctx context.Context, key, from string, source sight, p *properties, _ condition) (written, error) {
	in := &awss3.CopyObjectInput{
		Bucket: &b.bucket, Key: &key, CopySource: copySource(b.bucket, from), CopySourceIfMatch: &source.etag,
		MetadataDirective: types.MetadataDirectiveCopy,
	}
	if p != nil {
		in.MetadataDirective, in.ContentType, in.Metadata = types.MetadataDirectiveReplace, &p.contentType, p.meta
	}
	out, err := b.client.CopyObject(ctx, in)
	if err != nil {
		return written{}, fmt.Errorf("copy %q to %q at %s: %w", from, key, b.name, err)
	}
	w := written{versionID: aws.ToString(out.VersionId)}
	if out.CopyObjectResult != nil {
		w.etag = aws.ToString(out.CopyObjectResult.ETag)
	}
	return w, nil
}

// edit is a copy of an object onto itself: that is how S3 edits metadata.
func (b *s3Bucket) edit(ctx context.Context, key string, seen sight, p properties) (written, error) {
	return b.copy(ctx, key, key, seen, &p, condition{})
}

func (b *s3Bucket) putLarge(ctx context.Context, key string, body []byte, p properties, c condition) (written, error) {
	up, err := b.client.CreateMultipartUpload(ctx, &awss3.CreateMultipartUploadInput{
		Bucket: &b.bucket, Key: &key, ContentType: &p.contentType, Metadata: p.meta,
	})
	if err != nil {
		return written{}, fmt.Errorf("begin upload of %q at %s: %w: %w", key, b.name, errNothingSent, err)
	}
	var parts []types.CompletedPart
	for n := int32(1); len(body) > 0; n++ {
		size := min(len(body), largePartSize)
		part, err := b.client.UploadPart(ctx, &awss3.UploadPartInput{
			Bucket: &b.bucket, Key: &key, UploadId: up.UploadId, PartNumber: aws.Int32(n), Body: bytes.NewReader(body[:size]),
		})
		if err != nil {
			err = fmt.Errorf("put part %d of %q at %s: %w: %w", n, key, b.name, errNothingSent, err)
			return written{}, errors.Join(err, b.abort(ctx, key, up.UploadId))
		}
		parts = append(parts, types.CompletedPart{PartNumber: aws.Int32(n), ETag: part.ETag})
		body = body[size:]
	}
	in := &awss3.CompleteMultipartUploadInput{
		Bucket: &b.bucket, Key: &key, UploadId: up.UploadId, MultipartUpload: &types.CompletedMultipartUpload{Parts: parts},
	}
	in.IfMatch, in.IfNoneMatch = c.headers()
	out, err := b.client.CompleteMultipartUpload(ctx, in)
	if err != nil {
		err = fmt.Errorf("complete %q at %s: %w", key, b.name, err)
		if statusOf(err) < 500 && statusOf(err) != 0 {
			return written{}, errors.Join(err, b.abort(ctx, key, up.UploadId))
		}
		return written{}, err
	}
	return written{aws.ToString(out.ETag), aws.ToString(out.VersionId)}, nil
}

func (b *s3Bucket) abort(ctx context.Context, key string, id *string) error {
	_, err := b.client.AbortMultipartUpload(ctx, &awss3.AbortMultipartUploadInput{Bucket: &b.bucket, Key: &key, UploadId: id})
	if err != nil && statusOf(err) != http.StatusNotFound {
		return fmt.Errorf("abort upload of %q at %s: %w", key, b.name, err)
	}
	return nil
}

func (b *s3Bucket) list(ctx context.Context) (map[string]entry, error) {
	all := map[string]entry{}
	pages := awss3.NewListObjectsV2Paginator(b.client, &awss3.ListObjectsV2Input{Bucket: &b.bucket})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("list %s: %w", b.name, err)
		}
		for _, o := range page.Contents {
			if key := aws.ToString(o.Key); !strings.HasPrefix(key, reservedKeys) {
				all[key] = entry{etag: aws.ToString(o.ETag), size: aws.ToInt64(o.Size)}
			}
		}
	}
	return all, nil
}

func (b *s3Bucket) get(ctx context.Context, key string) (*content, error) {
	out, err := b.client.GetObject(ctx, &awss3.GetObjectInput{Bucket: &b.bucket, Key: &key})
	if err != nil {
		return nil, fmt.Errorf("get %q at %s: %w", key, b.name, err)
	}
	body, err := io.ReadAll(out.Body)
	if err = errors.Join(err, out.Body.Close()); err != nil {
		return nil, fmt.Errorf("read %q at %s: %w", key, b.name, err)
	}
	c := &content{body: body, contentType: aws.ToString(out.ContentType), meta: map[string]string{}}
	for k, v := range out.Metadata {
		c.meta[strings.ToLower(k)] = v
	}
	return c, nil
}

// copySource is the header that names the source of a copy.
func copySource(bucket, key string) *string {
	parts := strings.Split(key, "/")
	for i, p := range parts {
		parts[i] = strings.ReplaceAll(url.PathEscape(p), "+", "%2B")
	}
	return aws.String(bucket + "/" + strings.Join(parts, "/"))
}
