package s3

import (
	"context"
	"io"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
	"github.com/bucketmesh/bucketmesh/pkg/object/internal/extra"
)

// Begin implements driver.Multiparter.
func (b *Bucket) Begin(ctx context.Context, key string, opts *driver.PutOptions) (string, error) {
	if opts == nil {
		opts = &driver.PutOptions{}
	}
	ctx, cancel := b.request(ctx, 0)
	defer cancel()
	in := &awss3.CreateMultipartUploadInput{
		Bucket: &b.cfg.Bucket, Key: &key,
		ContentType: aws.String(contentType(opts.ContentType)), ContentEncoding: opt(opts.ContentEncoding), ContentLanguage: opt(opts.ContentLanguage),
		ContentDisposition: opt(opts.ContentDisposition), CacheControl: opt(opts.CacheControl),
		Metadata: encodeMetadata(&opts.Properties), Tagging: tagging(opts.Tags), ChecksumAlgorithm: b.algorithm(),
		WebsiteRedirectLocation: opt(opts.Extra[extra.WebsiteRedirect]),
	}
	if in.ChecksumAlgorithm != "" {
		in.ChecksumType = types.ChecksumTypeFullObject // a composite one depends on the part size: useless for comparing
	}
	out, err := b.client.CreateMultipartUpload(ctx, in, withExpires(opts.Expires))
	if err = b.fail(err); err != nil {
		return "", badKey(key, err)
	}
	if aws.ToString(out.UploadId) == "" {
		return "", errkind.New(errkind.Unavailable, "the server answered without an upload id")
	}
	return *out.UploadId, nil
}

// PutPart implements driver.Multiparter.
func (b *Bucket) PutPart(ctx context.Context, key, uploadID string, n int, body io.ReadSeeker, size int64) (driver.Part, error) {
	if n < 1 || n > maxParts {
		return driver.Part{}, errkind.New(errkind.Invalid, "part number %d is not in 1..%d", n, maxParts)
	}
	ctx, cancel := b.request(ctx, size)
	defer cancel()
	out, err := b.client.UploadPart(ctx, &awss3.UploadPartInput{
		Bucket: &b.cfg.Bucket, Key: &key, UploadId: &uploadID, PartNumber: aws.Int32(int32(n)), // checked above
		Body: body, ContentLength: aws.Int64(size), ChecksumAlgorithm: b.algorithm(),
	})
	if err = b.fail(err); err != nil {
		return driver.Part{}, err
	}
	p := driver.Part{Number: n, Size: size, ETag: unquote(out.ETag), Checksum: b.checksum(out.ChecksumCRC64NVME, out.ChecksumCRC32C)}
	if p.ETag == "" {
		return driver.Part{}, errkind.New(errkind.Unavailable, "the server answered part %d without an ETag", n)
	}
	return p, nil
}

// checksum is the one of the configured algorithm.
func (b *Bucket) checksum(crc64, crc32c *string) string {
	switch b.cfg.Checksum {
	case CRC64NVME:
		return aws.ToString(crc64)
	case CRC32C:
		return aws.ToString(crc32c)
	case NoChecksum:
	}
	return ""
}

// ListParts implements driver.Multiparter.
func (b *Bucket) ListParts(ctx context.Context, key, uploadID string) ([]driver.Part, error) {
	var parts []driver.Part
	pages := awss3.NewListPartsPaginator(b.client, &awss3.ListPartsInput{Bucket: &b.cfg.Bucket, Key: &key, UploadId: &uploadID})
	for pages.HasMorePages() {
		if err := func() error {
			ctx, cancel := b.request(ctx, 0)
			defer cancel()
			out, err := pages.NextPage(ctx)
			if err = b.fail(err); err != nil {
				return err
			}
			for _, p := range out.Parts {
				parts = append(parts, driver.Part{
					Number: int(aws.ToInt32(p.PartNumber)), Size: aws.ToInt64(p.Size), ETag: unquote(p.ETag),
					Checksum: b.checksum(p.ChecksumCRC64NVME, p.ChecksumCRC32C),
				})
			}
			return nil
		}(); err != nil {
			return nil, err
		}
	}
	return parts, nil
}

// Complete implements driver.Multiparter. A checksum of the whole in opts is not looked at: S3 can't verify a SHA-256 over
// parts. Each part was verified when it was stored, and S3 checks the total if opts.Size says it.
func (b *Bucket) Complete(ctx context.Context, key, uploadID string, parts []driver.Part, opts *driver.PutOptions) (*driver.Attrs, error) {
	if opts == nil {
		opts = &driver.PutOptions{}
	}
	how, err := driver.GuardOf(opts.If, b.caps.CompleteGuard, b.caps.CompleteGuard)
	if err != nil {
		return nil, err
	}
	if how == driver.GuardMarker {
		return b.checked(ctx, key, opts.If, func(ctx context.Context) (*driver.Attrs, error) {
			return b.complete(ctx, key, uploadID, parts, opts, driver.Precondition{})
		})
	}
	return b.complete(ctx, key, uploadID, parts, opts, opts.If)
}

// complete is one CompleteMultipartUpload request.
func (b *Bucket) complete(ctx context.Context, key, uploadID string, parts []driver.Part, opts *driver.PutOptions, cond driver.Precondition) (*driver.Attrs, error) {
	ctx, cancel := context.WithTimeout(ctx, b.cfg.CompleteTimeout)
	defer cancel()
	in := &awss3.CompleteMultipartUploadInput{
		Bucket: &b.cfg.Bucket, Key: &key, UploadId: &uploadID, IfMatch: quote(cond.Match),
		MultipartUpload: &types.CompletedMultipartUpload{Parts: make([]types.CompletedPart, 0, len(parts))},
	}
	if cond.NotExist {
		in.IfNoneMatch = aws.String("*")
	}
	if opts.Size > 0 {
		in.MpuObjectSize = aws.Int64(opts.Size)
	}
	if b.algorithm() != "" {
		in.ChecksumType = types.ChecksumTypeFullObject
	}
	size := int64(0)
	for _, p := range parts {
		part := types.CompletedPart{ETag: quote(p.ETag), PartNumber: aws.Int32(int32(p.Number))} // 1..10000 by PutPart
		switch b.cfg.Checksum {
		case CRC64NVME:
			part.ChecksumCRC64NVME = opt(p.Checksum)
		case CRC32C:
			part.ChecksumCRC32C = opt(p.Checksum)
		case NoChecksum:
		}
		in.MultipartUpload.Parts = append(in.MultipartUpload.Parts, part)
		size += p.Size
	}
	if opts.Size > 0 && size != opts.Size {
		return nil, errkind.New(errkind.Invalid, "the parts have %d bytes, the object should have %d", size, opts.Size)
	}
	out, err := b.client.CompleteMultipartUpload(ctx, in)
	if err = b.failWrite(err, cond.Match != ""); err != nil {
		return nil, err
	}
	a := answer{
		etag: out.ETag, version: out.VersionId, crc64: out.ChecksumCRC64NVME, kind: out.ChecksumType,
		sse: out.ServerSideEncryption, meta: out.ResultMetadata, props: opts.Properties,
	}.attrs(key, size)
	a.Metadata = opts.Metadata
	return told(a)
}

// Abort implements driver.Multiparter.
func (b *Bucket) Abort(ctx context.Context, key, uploadID string) error {
	ctx, cancel := b.request(ctx, 0)
	defer cancel()
	_, err := b.client.AbortMultipartUpload(ctx, &awss3.AbortMultipartUploadInput{Bucket: &b.cfg.Bucket, Key: &key, UploadId: &uploadID})
	if code(err) == "NoSuchUpload" {
		return nil
	}
	return b.fail(err)
}
