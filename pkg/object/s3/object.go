package s3

import (
	"context"
	"crypto/md5" //nolint:gosec // an S3 ETag is an MD5
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
	"github.com/bucketmesh/bucketmesh/pkg/object/internal/extra"
	"github.com/bucketmesh/bucketmesh/pkg/object/internal/stream"
)

// Stat implements driver.Bucket.
func (b *Bucket) Stat(ctx context.Context, key, version string) (*driver.Attrs, error) {
	a, tags, err := b.headTagged(ctx, key, version)
	if err != nil {
		return nil, err
	}
	if err := b.readTags(ctx, a, tags); err != nil {
		return nil, err
	}
	return a, nil
}

// head is Stat without the tags.
func (b *Bucket) head(ctx context.Context, key, version string) (*driver.Attrs, error) {
	a, _, err := b.headTagged(ctx, key, version)
	return a, err
}

// headTagged is one HEAD request (and the check of a 404), and the number of tags.
func (b *Bucket) headTagged(ctx context.Context, key, version string) (*driver.Attrs, int32, error) {
	rctx, cancel := b.request(ctx, 0)
	defer cancel()
	in := &awss3.HeadObjectInput{Bucket: &b.cfg.Bucket, Key: &key, VersionId: opt(version)}
	if b.cfg.Checksum != NoChecksum {
		in.ChecksumMode = types.ChecksumModeEnabled
	}
	out, err := b.client.HeadObject(rctx, in)
	if err != nil {
		switch {
		case status(err) == http.StatusNotFound && code(err) != "NoSuchBucket":
			return nil, 0, b.missing(ctx, err)
		case status(err) == http.StatusMethodNotAllowed && version != "":
			return nil, 0, errkind.New(errkind.NotFound, "the version is a delete marker: %w", err)
		}
		return nil, 0, badKey(key, b.fail(err))
	}
	b.alive.Seen()
	a := answer{
		etag: out.ETag, version: out.VersionId, crc64: out.ChecksumCRC64NVME, sha256: out.ChecksumSHA256, kind: out.ChecksumType,
		sse: out.ServerSideEncryption, customerKey: out.SSECustomerAlgorithm, modified: out.LastModified,
		meta: out.ResultMetadata, userMetadata: out.Metadata, redirect: out.WebsiteRedirectLocation, props: driver.Properties{
			ContentType: contentType(aws.ToString(out.ContentType)), ContentEncoding: contentEncoding(out.ContentEncoding),
			ContentLanguage: aws.ToString(out.ContentLanguage), ContentDisposition: aws.ToString(out.ContentDisposition),
			CacheControl: aws.ToString(out.CacheControl), Expires: aws.ToString(out.ExpiresString),
		},
	}.attrs(key, aws.ToInt64(out.ContentLength))
	return a, aws.ToInt32(out.TagCount), nil
}

// Open implements driver.Bucket.
func (b *Bucket) Open(ctx context.Context, key string, opts *driver.ReadOptions) (io.ReadCloser, *driver.Attrs, error) {
	if opts == nil {
		opts = &driver.ReadOptions{}
	}
	in := &awss3.GetObjectInput{Bucket: &b.cfg.Bucket, Key: &key, VersionId: opt(opts.VersionID), IfMatch: quote(opts.IfMatch)}
	ranged := opts.Offset > 0 || opts.Length > 0
	if ranged {
		in.Range = aws.String(rangeOf(opts))
	} else if b.cfg.Checksum != NoChecksum {
		in.ChecksumMode = types.ChecksumModeEnabled // of a part of an object nobody vouches for a checksum
	}
	watch := stream.NewWatch(ctx, b.cfg.RequestTimeout)
	out, err := b.client.GetObject(watch.Context(), in)
	if err != nil {
		err = watch.Explain(err)
		watch.Stop()
		if status(err) == http.StatusMethodNotAllowed && opts.VersionID != "" {
			return nil, nil, errkind.New(errkind.NotFound, "the version is a delete marker: %w", err)
		}
		return nil, nil, badKey(key, b.fail(err))
	}
	b.alive.Seen()
	watch.Answered()
	length := aws.ToInt64(out.ContentLength)
	size := length
	if ranged {
		size = totalSize(aws.ToString(out.ContentRange), length)
	}
	a := answer{
		etag: out.ETag, version: out.VersionId, crc64: out.ChecksumCRC64NVME, sha256: out.ChecksumSHA256, kind: out.ChecksumType,
		sse: out.ServerSideEncryption, customerKey: out.SSECustomerAlgorithm, modified: out.LastModified,
		meta: out.ResultMetadata, userMetadata: out.Metadata, redirect: out.WebsiteRedirectLocation, props: driver.Properties{
			ContentType: contentType(aws.ToString(out.ContentType)), ContentEncoding: contentEncoding(out.ContentEncoding),
			ContentLanguage: aws.ToString(out.ContentLanguage), ContentDisposition: aws.ToString(out.ContentDisposition),
			CacheControl: aws.ToString(out.CacheControl), Expires: aws.ToString(out.ExpiresString),
		},
	}.attrs(key, size)
	body := stream.NewBody(out.Body, length, watch, b.cfg.IdleTimeout)
	// The condition is checked here as well: a server that ignores If-Match on GET can't give us the wrong bytes.
	if opts.IfMatch != "" && a.Tag != opts.IfMatch {
		_ = body.Close()
		return nil, nil, errkind.New(errkind.PreconditionFailed, "the object's tag is %s, not %s", a.Tag, opts.IfMatch)
	}
	if sum, err := hex.DecodeString(a.MD5); !ranged && err == nil && len(sum) > 0 {
		body.Vouch(md5.New(), sum, "ETag") //nolint:gosec // an S3 ETag is an MD5
	}
	if err := b.readTags(ctx, a, aws.ToInt32(out.TagCount)); err != nil {
		_ = body.Close()
		return nil, nil, err
	}
	return body, a, nil
}

func rangeOf(o *driver.ReadOptions) string {
	if o.Length <= 0 {
		return fmt.Sprintf("bytes=%d-", o.Offset)
	}
	return fmt.Sprintf("bytes=%d-%d", o.Offset, o.Offset+o.Length-1)
}

// totalSize is the object's size by "bytes 0-9/100"; without such a header the answer is the whole object.
func totalSize(contentRange string, length int64) int64 {
	if i := strings.LastIndexByte(contentRange, '/'); i >= 0 {
		if n, err := strconv.ParseInt(contentRange[i+1:], 10, 64); err == nil {
			return n
		}
	}
	return length
}

// readTags completes attributes with the tags, which S3 gives only on a request of their own.
func (b *Bucket) readTags(ctx context.Context, a *driver.Attrs, count int32) error {
	if count <= 0 {
		return nil
	}
	ctx, cancel := b.request(ctx, 0)
	defer cancel()
	out, err := b.client.GetObjectTagging(ctx, &awss3.GetObjectTaggingInput{Bucket: &b.cfg.Bucket, Key: &a.Key, VersionId: opt(a.VersionID)})
	if err != nil {
		if err = b.fail(err); errkind.Is(err, errkind.NotFound) {
			// It was there a moment ago. NotFound would claim to know that it was deleted.
			return errkind.New(errkind.Conflict, "the object changed while its tags were read: %w", err)
		}
		return err
	}
	a.Tags = make(map[string]string, len(out.TagSet))
	for _, t := range out.TagSet {
		a.Tags[aws.ToString(t.Key)] = aws.ToString(t.Value)
	}
	return nil
}

// Put implements driver.Bucket.
func (b *Bucket) Put(ctx context.Context, key string, r io.ReadSeeker, opts *driver.PutOptions) (*driver.Attrs, error) {
	if opts == nil {
		return nil, errkind.New(errkind.Invalid, "a put needs options: the size")
	}
	how, err := driver.GuardOf(opts.If, b.caps.PutMatch, b.caps.PutNotExist)
	if err != nil {
		return nil, err
	}
	if how == driver.GuardMarker {
		return b.checked(ctx, key, opts.If, func(ctx context.Context) (*driver.Attrs, error) {
			return b.put(ctx, key, r, opts, driver.Precondition{})
		})
	}
	return b.put(ctx, key, r, opts, opts.If)
}

// put is one PUT request.
func (b *Bucket) put(ctx context.Context, key string, r io.Reader, opts *driver.PutOptions, cond driver.Precondition) (*driver.Attrs, error) {
	ctx, cancel := b.request(ctx, opts.Size)
	defer cancel()
	in := &awss3.PutObjectInput{
		Bucket: &b.cfg.Bucket, Key: &key, Body: r, ContentLength: aws.Int64(opts.Size),
		ContentType: aws.String(contentType(opts.ContentType)), ContentEncoding: opt(opts.ContentEncoding), ContentLanguage: opt(opts.ContentLanguage),
		ContentDisposition: opt(opts.ContentDisposition), CacheControl: opt(opts.CacheControl),
		Metadata: encodeMetadata(&opts.Properties), Tagging: tagging(opts.Tags), WebsiteRedirectLocation: opt(opts.Extra[extra.WebsiteRedirect]),
		ContentMD5: hexToBase64(opts.MD5), IfMatch: quote(cond.Match),
	}
	if cond.NotExist {
		in.IfNoneMatch = aws.String("*")
	}
	if opts.SHA256 != "" { // S3 takes one checksum: the caller's own is worth more than ours
		in.ChecksumAlgorithm, in.ChecksumSHA256 = types.ChecksumAlgorithmSha256, hexToBase64(opts.SHA256)
	} else {
		in.ChecksumAlgorithm = b.algorithm()
	}
	out, err := b.client.PutObject(ctx, in, withExpires(opts.Expires))
	if err = b.failWrite(err, cond.Match != ""); err != nil {
		return nil, badKey(key, err)
	}
	a := answer{
		etag: out.ETag, version: out.VersionId, crc64: out.ChecksumCRC64NVME, sha256: out.ChecksumSHA256,
		sse: out.ServerSideEncryption, customerKey: out.SSECustomerAlgorithm, meta: out.ResultMetadata, props: opts.Properties,
	}.attrs(key, opts.Size)
	a.Metadata, a.Extra = opts.Metadata, opts.Extra
	a.SHA256 = opts.SHA256 // the server checked it, or it would have refused the body
	return told(a)
}

// told refuses a success without an ETag: nothing could be concluded from it, so the outcome is unknown.
func told(a *driver.Attrs) (*driver.Attrs, error) {
	if a.ETag == "" {
		return nil, errkind.New(errkind.Unavailable, "the server answered without an ETag (request %s)", a.RequestID)
	}
	return a, nil
}

// requestID is "" where the server gave none.
func requestID(out *awss3.DeleteObjectOutput) string {
	id, _ := awsmiddleware.GetRequestIDMetadata(out.ResultMetadata)
	return id
}
