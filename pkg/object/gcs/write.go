package gcs

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"io"

	"cloud.google.com/go/storage"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
)

// native refuses a condition that the bucket is not known to keep. Nothing stands in on GCS: a delete leaves no marker.
func native(p driver.Precondition, match, notExist driver.Guard) error {
	how, err := driver.GuardOf(p, match, notExist)
	if err == nil && how != driver.GuardNative {
		return errkind.New(errkind.Unsupported, "the bucket does not keep this condition, and nothing can stand in for it on GCS")
	}
	return err //nolint:wrapcheck // says what is refused
}

func conditional(p driver.Precondition) bool { return p != (driver.Precondition{}) }

// Put implements driver.Bucket: one request, which the server refuses as a whole if the bytes that arrive don't have the
// checksum that was announced.
func (b *Bucket) Put(ctx context.Context, key string, r io.ReadSeeker, opts *driver.PutOptions) (*driver.Attrs, error) {
	if opts == nil {
		return nil, errkind.New(errkind.Invalid, "a put needs options: the size")
	}
	if err := checkKey(key); err != nil {
		return nil, err
	}
	if err := native(opts.If, b.caps.PutMatch, b.caps.PutNotExist); err != nil {
		return nil, err
	}
	o, err := conditioned(b.bucket.Object(key), opts.If)
	if err != nil {
		return nil, err
	}
	attrs, err := encode(&opts.Properties)
	if err != nil {
		return nil, err
	}
	attrs.MD5 = hexSum(opts.MD5)
	if attrs.CRC32C, err = digest(ctx, r, opts.Size, opts.SHA256); err != nil {
		return nil, err
	}
	got, id, err := b.insert(ctx, "PutObject", o, r, opts.Size, attrs, conditional(opts.If))
	if err != nil {
		return nil, err
	}
	a, err := described(got, id)
	if err != nil {
		return nil, err
	}
	a.SHA256 = opts.SHA256 // these bytes had it, and the server has these bytes
	return a, nil
}

// digest reads a body that is about to be sent: its crc32c goes ahead of it, and its SHA-256 is checked here, because GCS
// can't. The body's position is kept.
func digest(ctx context.Context, r io.ReadSeeker, size int64, sha string) (uint32, error) {
	at, err := r.Seek(0, io.SeekCurrent)
	if err != nil {
		return 0, errkind.New(errkind.Invalid, "seek body: %w", err)
	}
	crc, all := newCRC(), hash.Hash(nil)
	into := io.Writer(crc)
	if sha != "" {
		all = sha256.New()
		into = io.MultiWriter(crc, all)
	}
	n, err := io.Copy(into, &source{ctx: ctx, r: io.LimitReader(r, size)})
	switch {
	case ctx.Err() != nil:
		return 0, errkind.New(errkind.Of(ctx.Err()), "read body: %w", ctx.Err())
	case err != nil:
		return 0, errkind.New(errkind.Unavailable, "read body: %w", err)
	case n != size:
		return 0, errkind.New(errkind.Invalid, "the body has %d bytes, %d were announced", n, size)
	case all != nil && hex.EncodeToString(all.Sum(nil)) != sha:
		return 0, errkind.New(errkind.Invalid, "the body doesn't have the announced SHA-256")
	}
	if _, err := r.Seek(at, io.SeekStart); err != nil {
		return 0, errkind.New(errkind.Invalid, "seek body: %w", err)
	}
	return crc.Sum32(), nil
}

// source is a body that ends with its context and remembers what went wrong with it.
type source struct {
	ctx context.Context
	r   io.Reader
	err error
}

func (s *source) Read(p []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err //nolint:wrapcheck // its kind counts
	}
	n, err := s.r.Read(p)
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err //nolint:wrapcheck // an io.Reader
}

// insert sends a whole object of known size and crc32c in one request (the SDK's chunked uploads would ask again after a lost
// answer).
func (s *shared) insert(
	ctx context.Context, operation string, o *storage.ObjectHandle, r io.Reader, size int64, attrs storage.ObjectAttrs, conditional bool,
) (*storage.ObjectAttrs, string, error) {
	rctx, cancel := s.request(ctx, size)
	defer cancel()
	rctx, x := begin(rctx, operation, true)
	w := o.NewWriter(rctx)
	attrs.Name = w.Name
	w.ObjectAttrs, w.SendCRC32C, w.ChunkSize = attrs, true, 0
	src := &source{ctx: rctx, r: io.LimitReader(r, size)}
	_, werr := io.Copy(w, src)
	if src.err != nil { // what was sent is not what was announced; the server would refuse it anyway
		cancel()
		_ = w.Close()
		return nil, "", errkind.New(errkind.Unavailable, "read body: %w", src.err)
	}
	if werr != nil && rctx.Err() != nil {
		cancel()
	}
	err := w.Close() // also where the copying failed: the server's answer says more than a closed pipe
	if err == nil {
		err = werr
	}
	if err = s.failWrite(ctx, x, err, conditional); err != nil {
		return nil, "", err
	}
	got := w.Attrs()
	return got, x.requestID(), verify(got, size, attrs.CRC32C, attrs.MD5)
}

// verify compares a success with what was sent. A difference is not mended here: to remove the object would look like a
// user's deletion, and its predecessor would not come back. The outcome is unknown, so that whoever wrote looks again.
func verify(got *storage.ObjectAttrs, size int64, crc uint32, md5 []byte) error {
	switch {
	case got == nil || got.Generation <= 0:
		return errkind.New(errkind.Unavailable, "the server answered without a generation")
	case got.Size != size || got.CRC32C != crc || len(md5) > 0 && len(got.MD5) > 0 && !bytes.Equal(got.MD5, md5):
		return errkind.New(errkind.Unavailable, "the server stored other bytes than were sent: %d bytes of crc32c %s as generation %d, not %d of %s",
			got.Size, encodeCRC(got.CRC32C), got.Generation, size, encodeCRC(crc))
	}
	return nil
}

// Delete implements driver.Bucket. A bucket with versioning keeps what was current as a noncurrent generation.
func (b *Bucket) Delete(ctx context.Context, key string, opts *driver.DeleteOptions) (*driver.Attrs, error) {
	if opts == nil {
		opts = &driver.DeleteOptions{}
	}
	if err := checkKey(key); err != nil {
		return nil, err
	}
	if err := native(opts.If, b.caps.DeleteGuard, driver.GuardNone); err != nil {
		return nil, err
	}
	o, err := version(b.bucket.Object(key), opts.VersionID)
	if errkind.Is(err, errkind.NotFound) {
		return &driver.Attrs{Key: key}, nil
	}
	if err != nil {
		return nil, err
	}
	if o, err = conditioned(o, opts.If); err != nil {
		return nil, err
	}
	id, err := b.remove(ctx, "DeleteObject", o, conditional(opts.If))
	if err != nil {
		return nil, err
	}
	return &driver.Attrs{Key: key, RequestID: id}, nil
}

// remove is one DELETE request. What is not there is removed already, unless there was a condition on it.
func (s *shared) remove(ctx context.Context, operation string, o *storage.ObjectHandle, conditional bool) (string, error) {
	rctx, cancel := s.request(ctx, 0)
	defer cancel()
	rctx, x := begin(rctx, operation, true)
	err := s.failWrite(ctx, x, o.Delete(rctx), conditional)
	if err != nil && !errkind.Is(err, errkind.NotFound) {
		return "", err
	}
	return x.requestID(), nil
}
