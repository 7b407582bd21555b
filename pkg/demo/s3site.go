package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"golang.org/x/sync/errgroup"
)

// s3Site is a bucket at an S3 server.
type s3Site struct {
	Place

	client *s3.Client
	secret string
}

func newS3Site(name, endpoint, bucket, secret string) *s3Site {
	return &s3Site{
		Place: Place{Name: name, Provider: "s3", Server: "versitygw", Endpoint: endpoint, Bucket: bucket}, secret: secret,
		client: s3.New(s3.Options{
			Region: "us-east-1", BaseEndpoint: aws.String(endpoint), UsePathStyle: true,
			Credentials: credentials.NewStaticCredentialsProvider(accessKey, secret, ""), HTTPClient: userClient(),
		}),
	}
}

// URL implements Site.
func (s *s3Site) URL() string {
	return "s3://" + s.Bucket + "?endpoint=" + s.Endpoint + "&dialect=versitygw&credentials=" + credentialsName
}

// Guide implements Site.
func (s *s3Site) Guide() Guide {
	tool := "aws --endpoint-url " + s.Endpoint + " s3 "
	at := "s3://" + s.Bucket + "/{key}"
	return Guide{
		Setup: []string{"export AWS_ACCESS_KEY_ID=" + accessKey + " AWS_SECRET_ACCESS_KEY=" + s.secret + " AWS_DEFAULT_REGION=us-east-1"},
		Race: "curl -fsS --aws-sigv4 aws:amz:us-east-1:s3 --user $AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY -H 'x-amz-content-sha256: UNSIGNED-PAYLOAD' " +
			"-X PUT --data-binary @- " + s.Endpoint + "/" + s.Bucket + "/{key}",
		Write: tool + "cp - " + at, Read: tool + "cp " + at + " -", List: tool + "ls --recursive " + at,
	}
}

// Put implements Site.
func (s *s3Site) Put(ctx context.Context, o Object, body, over string) error {
	in := &s3.PutObjectInput{
		Bucket: aws.String(s.Bucket), Key: aws.String(o.Key), Body: strings.NewReader(body),
		ContentType: aws.String(o.ContentType), Metadata: o.Metadata,
	}
	if over != "" {
		in.IfMatch = aws.String(over)
	}
	if _, err := s.client.PutObject(ctx, in); err != nil {
		return fmt.Errorf("put %s at %s: %w", o.Key, s.Name, err)
	}
	return nil
}

// Edit implements Site, with a copy of the object onto itself.
func (s *s3Site) Edit(ctx context.Context, o Object) error {
	_, err := s.client.CopyObject(ctx, &s3.CopyObjectInput{
		Bucket: aws.String(s.Bucket), Key: aws.String(o.Key), CopySource: aws.String(s.Bucket + "/" + escape(o.Key)),
		CopySourceIfMatch: aws.String(o.Tag), MetadataDirective: types.MetadataDirectiveReplace,
		ContentType: aws.String(o.ContentType), Metadata: o.Metadata,
	})
	if err != nil {
		return fmt.Errorf("edit metadata of %s at %s: %w", o.Key, s.Name, err)
	}
	return nil
}

// escape is a key in a URL, with its slashes.
func escape(key string) string {
	parts := strings.Split(key, "/")
	for i, p := range parts {
		parts[i] = url.PathEscape(p)
	}
	return strings.ReplaceAll(strings.Join(parts, "/"), "+", "%2B")
}

// Remove implements Site.
func (s *s3Site) Remove(ctx context.Context, key string) error {
	_, err := s.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: aws.String(s.Bucket), Key: aws.String(key)})
	if err != nil {
		return fmt.Errorf("delete %s at %s: %w", key, s.Name, err)
	}
	return nil
}

// md5OfETag is the MD5 that an ETag is; that of an object in parts is none.
func md5OfETag(etag string) string {
	if etag = strings.Trim(etag, `"`); len(etag) != 32 {
		return ""
	}
	return etag
}

// Head implements Site.
func (s *s3Site) Head(ctx context.Context, key string) (o Object, ok bool, err error) {
	out, err := s.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: aws.String(s.Bucket), Key: aws.String(key)})
	var answer interface{ HTTPStatusCode() int }
	if errors.As(err, &answer) && answer.HTTPStatusCode() == http.StatusNotFound {
		return Object{}, false, nil
	}
	if err != nil {
		return Object{}, false, fmt.Errorf("head %s at %s: %w", key, s.Name, err)
	}
	return Object{
		Key: key, Tag: aws.ToString(out.ETag), MD5: md5OfETag(aws.ToString(out.ETag)), Size: aws.ToInt64(out.ContentLength),
		ContentType: aws.ToString(out.ContentType), Metadata: usersOwn(out.Metadata),
	}, true, nil
}

// Read implements Site.
func (s *s3Site) Read(ctx context.Context, key string) (Object, error) {
	out, err := s.client.GetObject(ctx, &s3.GetObjectInput{Bucket: aws.String(s.Bucket), Key: aws.String(key)})
	if err != nil {
		return Object{}, fmt.Errorf("get %s at %s: %w", key, s.Name, err)
	}
	defer func() { _ = out.Body.Close() }()
	o := Object{
		Key: key, Tag: aws.ToString(out.ETag), MD5: md5OfETag(aws.ToString(out.ETag)),
		ContentType: aws.ToString(out.ContentType), Metadata: usersOwn(out.Metadata),
	}
	if err := o.digest(out.Body); err != nil {
		return Object{}, fmt.Errorf("read %s at %s: %w", key, s.Name, err)
	}
	return o, nil
}

// List implements Site.
func (s *s3Site) List(ctx context.Context) (map[string]Object, error) {
	all := map[string]Object{}
	pages := s3.NewListObjectsV2Paginator(s.client, &s3.ListObjectsV2Input{Bucket: aws.String(s.Bucket)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("list %s: %w", s.Name, err)
		}
		for _, o := range page.Contents {
			if key := aws.ToString(o.Key); !reserved(key) {
				all[key] = Object{Key: key, Tag: aws.ToString(o.ETag), Size: aws.ToInt64(o.Size)}
			}
		}
	}
	return all, nil
}

// Upload implements Site.
func (s *s3Site) Upload(ctx context.Context, o Object, body io.Reader) error {
	up, err := s.client.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{
		Bucket: aws.String(s.Bucket), Key: aws.String(o.Key), ContentType: aws.String(o.ContentType), Metadata: o.Metadata,
	})
	if err != nil {
		return fmt.Errorf("begin upload of %s at %s: %w", o.Key, s.Name, err)
	}
	done := make([]types.CompletedPart, (o.Size+partSize-1)/partSize)
	err = parts(body, o.Size, func(i int, part []byte) error {
		out, err := s.client.UploadPart(ctx, &s3.UploadPartInput{
			Bucket: aws.String(s.Bucket), Key: aws.String(o.Key), UploadId: up.UploadId, PartNumber: aws.Int32(int32(i + 1)), Body: bytes.NewReader(part),
		})
		if err != nil {
			return fmt.Errorf("upload part %d of %s at %s: %w", i+1, o.Key, s.Name, err)
		}
		done[i] = types.CompletedPart{ETag: out.ETag, PartNumber: aws.Int32(int32(i + 1)), ChecksumCRC32: out.ChecksumCRC32}
		return nil
	})
	if err != nil {
		return err
	}
	_, err = s.client.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{
		Bucket: aws.String(s.Bucket), Key: aws.String(o.Key), UploadId: up.UploadId, MultipartUpload: &types.CompletedMultipartUpload{Parts: done},
	})
	if err != nil {
		return fmt.Errorf("complete upload of %s at %s: %w", o.Key, s.Name, err)
	}
	return nil
}

// parts cuts size bytes into parts and sends two of them at once.
func parts(body io.Reader, size int64, send func(i int, part []byte) error) error {
	var all errgroup.Group
	all.SetLimit(2)
	for i := 0; size > 0; i++ {
		part := make([]byte, min(partSize, size))
		if _, err := io.ReadFull(body, part); err != nil {
			return errors.Join(fmt.Errorf("read part %d: %w", i+1, err), all.Wait())
		}
		size -= int64(len(part))
		all.Go(func() error { return send(i, part) })
	}
	return all.Wait() //nolint:wrapcheck // says which part
}
