package gcs

import (
	"context"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
)

// Location implements driver.Copier.
func (b *Bucket) Location() (store, bucket string) { return b.store, b.cfg.Bucket }

// Copy implements driver.Copier by rewriting. A large object takes several requests, which go on where the last one ended;
// nothing is visible before the last, and the conditions are checked by each. Only a bucket that keeps all other conditions is
// believed to keep this one's.
func (b *Bucket) Copy(ctx context.Context, src driver.Source, key string, opts *driver.PutOptions) (*driver.Attrs, error) {
	if opts == nil {
		opts = &driver.PutOptions{}
	}
	switch {
	case src.Store != b.store:
		return nil, errkind.New(errkind.Unsupported, "the source is at %s, not at %s", src.Store, b.store)
	case min(b.caps.PutMatch, b.caps.PutNotExist, b.caps.CompleteGuard, b.caps.DeleteGuard, b.caps.ReadMatch) != driver.GuardNative:
		return nil, errkind.New(errkind.Unsupported, "the bucket is not known to keep conditions on a server-side copy")
	}
	if err := checkKey(key); err != nil {
		return nil, err
	}
	dst, err := conditioned(b.bucket.Object(key), opts.If)
	if err != nil {
		return nil, err
	}
	from, err := version(b.client.Bucket(src.Bucket).Object(src.Key), src.VersionID)
	if err != nil {
		return nil, err
	}
	if from, err = conditioned(from, driver.Precondition{Match: src.Tag}); err != nil {
		return nil, err
	}
	attrs, err := encode(&opts.Properties)
	if err != nil {
		return nil, err
	}
	rctx, cancel := context.WithTimeout(ctx, b.cfg.CompleteTimeout)
	defer cancel()
	rctx, x := begin(rctx, "CopyObject", false)
	c := dst.CopierFrom(from)
	c.ObjectAttrs = attrs
	got, err := c.Run(rctx)
	if err = b.fail(ctx, x, err); err != nil {
		switch errkind.Of(err) {
		case errkind.NotFound: // the source, or its bucket: never an answer about a key of this bucket
			return nil, errkind.New(errkind.PreconditionFailed, "the source is not there: %w", err)
		case errkind.PermissionDenied: // these credentials may not read there; others may
			return nil, errkind.New(errkind.Unsupported, "%w", err)
		}
		return nil, err
	}
	if opts.Size > 0 && got.Size != opts.Size {
		return nil, errkind.New(errkind.Unavailable, "the server copied %d bytes as generation %d, the source has %d",
			got.Size, got.Generation, opts.Size)
	}
	return described(got, x.requestID())
}
