package conformance_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"mime"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go/transport/http"
)

// s3User is a user of a server that speaks S3.
type s3User struct {
	endpoint, dialect string
	client            *s3.Client
	plain             bool // buckets without versions and locks
}

func newS3User(t *testing.T, variable, dialect string) *s3User {
	t.Helper()
	return s3UserAt(env(t, variable), dialect, env(t, "BUCKETMESH_TEST_S3_ACCESS_KEY"), env(t, "BUCKETMESH_TEST_S3_SECRET_KEY"))
}

func s3UserAt(endpoint, dialect, accessKey, secretKey string) *s3User {
	return &s3User{endpoint: endpoint, dialect: dialect, plain: dialect != "minio", client: s3.New(s3.Options{
		Region: "us-east-1", BaseEndpoint: &endpoint, UsePathStyle: true,
		Credentials:                credentials.NewStaticCredentialsProvider(accessKey, secretKey, ""),
		RequestChecksumCalculation: aws.RequestChecksumCalculationWhenRequired,
	})}
}

func (u *s3User) url(bucket string) string {
	return fmt.Sprintf("s3://%s?endpoint=%s&dialect=%s&credentials=%s", bucket, u.endpoint, u.dialect, credentialsName)
}

func (u *s3User) create(t *testing.T, bucket string) {
	t.Helper()
	in := &s3.CreateBucketInput{Bucket: &bucket}
	if !u.plain {
		in.ObjectLockEnabledForBucket = aws.Bool(true) // versions come with it
	}
	if _, err := u.client.CreateBucket(t.Context(), in); err != nil {
		t.Fatal(err)
	}
}

func (u *s3User) write(ctx context.Context, bucket, key string, o thing) error {
	in := &s3.PutObjectInput{
		Bucket: &bucket, Key: &key, Body: strings.NewReader(o.body), ContentType: opt(o.contentType), ContentEncoding: opt(o.encoding),
		ContentLanguage: opt(o.language), ContentDisposition: opt(o.disposition), CacheControl: opt(o.cache), Metadata: o.meta,
		WebsiteRedirectLocation: opt(o.redirect),
	}
	if len(o.tags) > 0 {
		q := url.Values{}
		for k, v := range o.tags {
			q.Set(k, v)
		}
		in.Tagging = aws.String(q.Encode())
	}
	switch o.as {
	case "":
	case "multipart":
		return u.multipart(ctx, in, o.body)
	case "storage class":
		in.StorageClass = types.StorageClassReducedRedundancy
	case "hold":
		in.ObjectLockLegalHoldStatus = types.ObjectLockLegalHoldStatusOn
	case "retention":
		in.ObjectLockMode, in.ObjectLockRetainUntilDate = types.ObjectLockModeGovernance, aws.Time(time.Now().Add(2*time.Minute))
	case "acl":
		in.ACL = types.ObjectCannedACLPublicRead
	default:
		return unknownWay(o.as)
	}
	_, err := u.client.PutObject(ctx, in, func(so *s3.Options) {
		if o.expires != "" {
			so.APIOptions = append(so.APIOptions, http.SetHeaderValue("Expires", o.expires))
		}
	})
	return err
}

func (u *s3User) multipart(ctx context.Context, in *s3.PutObjectInput, body string) error {
	up, err := u.client.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{
		Bucket: in.Bucket, Key: in.Key, ContentType: in.ContentType, Metadata: in.Metadata,
	})
	if err != nil {
		return err
	}
	done := &types.CompletedMultipartUpload{}
	for n := int32(1); body != ""; n++ {
		size := min(len(body), 5<<20)
		p, err := u.client.UploadPart(ctx, &s3.UploadPartInput{
			Bucket: in.Bucket, Key: in.Key, UploadId: up.UploadId, PartNumber: &n, Body: bytes.NewReader([]byte(body[:size])),
		})
		if err != nil {
			return err
		}
		done.Parts = append(done.Parts, types.CompletedPart{PartNumber: &n, ETag: p.ETag})
		body = body[size:]
	}
	_, err = u.client.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{
		Bucket: in.Bucket, Key: in.Key, UploadId: up.UploadId, MultipartUpload: done,
	})
	return err
}

func (u *s3User) read(t *testing.T, bucket, key string) thing {
	t.Helper()
	out, err := u.client.GetObject(t.Context(), &s3.GetObjectInput{Bucket: &bucket, Key: &key})
	if err != nil {
		t.Fatalf("read %q: %v", key, err)
	}
	body, err := io.ReadAll(out.Body)
	if err != nil {
		t.Fatalf("read %q: %v", key, err)
	}
	_ = out.Body.Close()
	o := thing{
		body: string(body), contentType: deref(out.ContentType), encoding: deref(out.ContentEncoding), language: deref(out.ContentLanguage),
		disposition: deref(out.ContentDisposition), cache: deref(out.CacheControl), expires: deref(out.ExpiresString),
		redirect: deref(out.WebsiteRedirectLocation), meta: map[string]string{}, tags: map[string]string{},
		md5: strings.Trim(deref(out.ETag), `"`),
	}
	for k, v := range out.Metadata {
		o.meta[k] = headerText(v)
	}
	if aws.ToInt32(out.TagCount) > 0 {
		tags, err := u.client.GetObjectTagging(t.Context(), &s3.GetObjectTaggingInput{Bucket: &bucket, Key: &key})
		if err != nil {
			t.Fatal(err)
		}
		for _, tag := range tags.TagSet {
			o.tags[*tag.Key] = *tag.Value
		}
	}
	return o
}

// headerText reads RFC 2047, in which S3 itself answers text that is not ASCII. What could be told in ASCII is another form of
// its value.
func headerText(v string) string {
	s, err := new(mime.WordDecoder).DecodeHeader(v)
	if err != nil || !strings.ContainsFunc(s, func(r rune) bool { return r > '~' }) {
		return v
	}
	return s
}

func (u *s3User) list(t *testing.T, bucket string) map[string]string {
	t.Helper()
	all := map[string]string{}
	if u.plain {
		for p := s3.NewListObjectsV2Paginator(u.client, &s3.ListObjectsV2Input{Bucket: &bucket}); p.HasMorePages(); {
			page, err := p.NextPage(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, o := range page.Contents {
				all[*o.Key] = *o.ETag + o.LastModified.String()
			}
		}
		return all
	}
	for p := s3.NewListObjectVersionsPaginator(u.client, &s3.ListObjectVersionsInput{
		Bucket: &bucket, EncodingType: types.EncodingTypeUrl,
	}); p.HasMorePages(); {
		page, err := p.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range page.Versions {
			key, err := url.QueryUnescape(*o.Key)
			if err != nil {
				t.Fatal(err)
			}
			if aws.ToBool(o.IsLatest) {
				all[key] = *o.VersionId
			}
		}
	}
	return all
}

func (u *s3User) remove(t *testing.T, bucket, key string) {
	t.Helper()
	if _, err := u.client.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: &bucket, Key: &key}); err != nil {
		t.Fatal(err)
	}
}
