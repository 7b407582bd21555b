package azblob

import (
	"bytes"
	"context"
	"crypto/md5" //nolint:gosec // what Azure calls Content-MD5
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
)

// section is a body of known size as the SDK wants it: from its beginning, and closed by the one who sent it.
type section struct {
	r        io.ReadSeeker
	from, at int64
	size     int64
}

func newSection(r io.ReadSeeker, size int64) (*section, error) {
	from, err := r.Seek(0, io.SeekCurrent)
	if err != nil {
		return nil, errkind.New(errkind.Invalid, "seek body: %w", err)
	}
	return &section{r: r, from: from, size: size}, nil
}

// Read implements io.Reader.
func (s *section) Read(p []byte) (int, error) {
	if s.at >= s.size {
		return 0, io.EOF
	}
	n, err := s.r.Read(p[:min(int64(len(p)), s.size-s.at)])
	s.at += int64(n)
	if errors.Is(err, io.EOF) && s.at < s.size {
		err = io.ErrUnexpectedEOF
	}
	return n, err //nolint:wrapcheck // the caller's own reader
}

// Seek implements io.Seeker.
func (s *section) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += s.at
	case io.SeekEnd:
		offset += s.size
	}
	if _, err := s.r.Seek(s.from+offset, io.SeekStart); err != nil {
		return 0, err //nolint:wrapcheck // the caller's own reader
	}
	s.at = offset
	return offset, nil
}

// Close implements io.Closer. The body is its owner's.
func (s *section) Close() error { return nil }

// sums reads the body once before it is sent: the service verifies an MD5 and no other sum that a caller may know, and an
// MD5 that it is to verify has to come first.
func (s *section) sums(wantMD5, wantSHA256 string) ([]byte, error) {
	md := md5.New() //nolint:gosec // the sum that Azure verifies and keeps
	var to io.Writer = md
	var sha hash.Hash
	if wantSHA256 != "" {
		sha = sha256.New()
		to = io.MultiWriter(md, sha)
	}
	n, err := io.Copy(to, s)
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		return nil, errkind.New(errkind.Invalid, "the body has %d bytes, %d were announced", n, s.size)
	case err != nil:
		return nil, errkind.New(errkind.Of(err), "read body: %w", err)
	}
	if _, err := s.Seek(0, io.SeekStart); err != nil {
		return nil, errkind.New(errkind.Invalid, "seek body: %w", err)
	}
	sum := md.Sum(nil)
	if wantMD5 != "" && hex.EncodeToString(sum) != wantMD5 {
		return nil, errkind.New(errkind.Invalid, "the body's MD5 is %x, not %s", sum, wantMD5)
	}
	if sha != nil && hex.EncodeToString(sha.Sum(nil)) != wantSHA256 {
		return nil, errkind.New(errkind.Invalid, "the body's SHA-256 is %x, not %s", sha.Sum(nil), wantSHA256)
	}
	return sum, nil
}

// kept holds the server to the sum that it was given, where it tells what it stored.
func kept(stored, sent []byte) error {
	if len(stored) > 0 && !bytes.Equal(stored, sent) {
		return errkind.New(errkind.Unavailable, "the server stored bytes with the MD5 %x, and was sent some with %x", stored, sent)
	}
	return nil
}

// Put implements driver.Bucket.
func (b *Bucket) Put(ctx context.Context, key string, r io.ReadSeeker, opts *driver.PutOptions) (*driver.Attrs, error) {
	if opts == nil {
		return nil, errkind.New(errkind.Invalid, "a put needs options: the size")
	}
	if _, err := driver.GuardOf(opts.If, b.caps.PutMatch, b.caps.PutNotExist); err != nil {
		return nil, err
	}
	if err := checkKey(key); err != nil {
		return nil, err
	}
	props, err := encode(opts.Properties)
	if err != nil {
		return nil, err
	}
	body, err := newSection(r, opts.Size)
	if err != nil {
		return nil, err
	}
	sum, err := body.sums(opts.MD5, opts.SHA256)
	if err != nil {
		return nil, err
	}
	ctx, cancel := b.request(ctx, opts.Size)
	defer cancel()
	out, err := b.client.NewBlockBlobClient(key).Upload(ctx, body, &blockblob.UploadOptions{
		HTTPHeaders: props.headers, Metadata: props.metadata, Tags: props.tags, AccessConditions: condition(opts.If),
		TransactionalValidation: blob.TransferValidationTypeMD5(sum),
	})
	if err != nil {
		return nil, failTagged(err, opts)
	}
	if err := kept(out.ContentMD5, sum); err != nil {
		return nil, err
	}
	a := written(key, opts)
	a.ETag, a.VersionID, a.ModTime, a.RequestID = tagOf(out.ETag), str(out.VersionID), or(out.LastModified), str(out.RequestID)
	a.Tag, a.SHA256 = a.ETag, opts.SHA256
	return told(a)
}

// written is what a write's answer says beside the server's own words.
func written(key string, opts *driver.PutOptions) *driver.Attrs {
	a := &driver.Attrs{Key: key, Size: opts.Size, Properties: opts.Properties}
	a.ContentType = contentType(opts.ContentType)
	return a
}

// failTagged is failWrite for a write with properties: who may write blobs may not always write tags.
func failTagged(err error, opts *driver.PutOptions) error {
	if len(opts.Tags) > 0 && code(err) == "AuthorizationPermissionMismatch" {
		return failure(err, meaning{errkind.PermissionDenied, "writing index tags needs the data action " +
			"Microsoft.Storage/storageAccounts/blobServices/containers/blobs/tags/write beside that for writing blobs"})
	}
	return failWrite(err, opts.If != (driver.Precondition{}))
}

// Delete implements driver.Bucket.
func (b *Bucket) Delete(ctx context.Context, key string, opts *driver.DeleteOptions) (*driver.Attrs, error) {
	if opts == nil {
		opts = &driver.DeleteOptions{}
	}
	if _, err := driver.GuardOf(opts.If, b.caps.DeleteGuard, driver.GuardNone); err != nil {
		return nil, err
	}
	if opts.VersionID != "" {
		return b.removeVersion(ctx, key, opts.VersionID)
	}
	return b.remove(ctx, key, "", opts.If)
}

// remove is one DELETE request, and what its answer means. Snapshots are never deleted along: the service refuses a blob that
// has some.
func (b *Bucket) remove(ctx context.Context, key, version string, cond driver.Precondition) (*driver.Attrs, error) {
	a, err := b.send(ctx, key, version, cond)
	switch {
	case err == nil:
		return a, nil
	case cond == (driver.Precondition{}) && code(err) == "BlobNotFound":
		return &driver.Attrs{Key: key}, nil
	}
	return nil, failWrite(err, cond != driver.Precondition{})
}

// send is one DELETE request. The error is the SDK's.
func (b *Bucket) send(ctx context.Context, key, version string, cond driver.Precondition) (*driver.Attrs, error) {
	c, err := b.at(key, version)
	if err != nil {
		return nil, err
	}
	ctx, cancel := b.request(ctx, 0)
	defer cancel()
	out, err := c.Delete(ctx, &blob.DeleteOptions{AccessConditions: condition(cond)})
	if err != nil {
		return nil, err //nolint:wrapcheck // remove does
	}
	return &driver.Attrs{Key: key, VersionID: version, RequestID: str(out.RequestID)}, nil
}

// removeVersion removes one version for good. The current version can't be addressed by its id for that: it has to become
// an older one first, which a delete does if it still is the current one.
func (b *Bucket) removeVersion(ctx context.Context, key, version string) (*driver.Attrs, error) {
	a, err := b.send(ctx, key, version, driver.Precondition{})
	switch code(err) {
	case "OperationNotAllowedOnRootBlob":
	case "BlobNotFound":
		return &driver.Attrs{Key: key}, nil
	default:
		return a, fail(err)
	}
	cur, err := b.Stat(ctx, key, version)
	if errkind.Is(err, errkind.NotFound) {
		return &driver.Attrs{Key: key}, nil
	}
	if err != nil {
		return nil, err
	}
	_, err = b.remove(ctx, key, "", driver.Precondition{Match: cur.Tag})
	if err != nil && !errkind.Is(err, errkind.PreconditionFailed) { // replaced meanwhile: it is an older one by now
		return nil, err
	}
	return b.remove(ctx, key, version, driver.Precondition{})
}
