package demo

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"golang.org/x/sync/errgroup"
)

// partSize of the user's own multipart uploads; the copy is free to choose another one.
const partSize = 8 << 20

// large writes one object in parts, as tools do with what does not fit into one request.
func (l *load) large(ctx context.Context, key string) error {
	l.opts.Progress.Begin(fmt.Sprintf("writing a large object of %s in parts", bytesText(l.opts.Large)), 1)
	defer l.opts.Progress.End()
	s := l.sites[1]
	c := Change{Kind: Large, Site: s.Name, Object: Object{
		Key: key, Size: l.opts.Large, ContentType: "video/mp4", Metadata: map[string]string{"author": s.Name},
	}}
	a := l.watch.expect(s.Name, Large, key, "-")
	var err error
	if c.Object, err = s.upload(ctx, c.Object, l.rnd.Uint64()); err != nil {
		l.watch.forget(a)
		return err
	}
	c.Acked = time.Now()
	c = l.ledger.add(c)
	within, cancel := context.WithTimeout(ctx, l.opts.Patience)
	defer cancel()
	at, err := l.watch.wait(within, a, l.sites, c.Object)
	if err != nil {
		return fmt.Errorf("%w: %w", errLate, err)
	}
	l.ledger.update(c.ID, func(c *Change) { c.Everywhere = at })
	l.opts.Progress.Advance(1)
	return nil
}

// upload writes o.Size random bytes in parts and returns o with the digest and the tag.
func (s *Site) upload(ctx context.Context, o Object, seed uint64) (Object, error) {
	up, err := s.Client.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{
		Bucket: aws.String(s.Bucket), Key: aws.String(o.Key), ContentType: aws.String(o.ContentType), Metadata: o.Metadata,
	})
	if err != nil {
		return o, fmt.Errorf("begin upload of %s at %s: %w", o.Key, s.Name, err)
	}
	var key [32]byte
	for i := range 8 {
		key[i] = byte(seed >> (8 * i))
	}
	stream, whole := rand.NewChaCha8(key), sha256.New()
	parts := make([]types.CompletedPart, (o.Size+partSize-1)/partSize)
	var all errgroup.Group
	all.SetLimit(2)
	for i := range parts {
		part := make([]byte, min(partSize, o.Size-int64(i)*partSize))
		_, _ = stream.Read(part) // never fails
		whole.Write(part)
		all.Go(func() error {
			out, err := s.Client.UploadPart(ctx, &s3.UploadPartInput{
				Bucket: aws.String(s.Bucket), Key: aws.String(o.Key), UploadId: up.UploadId, PartNumber: aws.Int32(int32(i + 1)), Body: bytes.NewReader(part),
			})
			if err != nil {
				return fmt.Errorf("upload part %d of %s at %s: %w", i+1, o.Key, s.Name, err)
			}
			parts[i] = types.CompletedPart{ETag: out.ETag, PartNumber: aws.Int32(int32(i + 1)), ChecksumCRC32: out.ChecksumCRC32}
			return nil
		})
	}
	if err := all.Wait(); err != nil {
		return o, err
	}
	out, err := s.Client.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{
		Bucket: aws.String(s.Bucket), Key: aws.String(o.Key), UploadId: up.UploadId, MultipartUpload: &types.CompletedMultipartUpload{Parts: parts},
	})
	if err != nil {
		return o, fmt.Errorf("complete upload of %s at %s: %w", o.Key, s.Name, err)
	}
	o.SHA256, o.ETag = hex.EncodeToString(whole.Sum(nil)), strings.Trim(aws.ToString(out.ETag), `"`)
	return o, nil
}
