package azblob

import (
	"cmp"
	"context"
	"crypto/md5" //nolint:gosec // what Azure calls Content-MD5
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
	"github.com/bucketmesh/bucketmesh/pkg/object/internal/stream"
)

// at is a client for a key, or for one version of it.
func (s *shared) at(key, version string) (*blob.Client, error) {
	if err := checkKey(key); err != nil {
		return nil, err
	}
	c := s.client.NewBlobClient(key)
	if version == "" {
		return c, nil
	}
	c, err := c.WithVersionID(version)
	if err != nil {
		return nil, errkind.New(errkind.Invalid, "address version %q: %w", version, err)
	}
	return c, nil
}

// Stat implements driver.Bucket.
func (b *Bucket) Stat(ctx context.Context, key, version string) (*driver.Attrs, error) {
	c, err := b.at(key, version)
	if err != nil {
		return nil, err
	}
	rctx, cancel := b.request(ctx, 0)
	defer cancel()
	out, err := c.GetProperties(rctx, nil)
	if err != nil {
		return nil, fail(err)
	}
	a := &driver.Attrs{
		Key: key, Size: or(out.ContentLength), ETag: tagOf(out.ETag), Tag: tagOf(out.ETag), VersionID: str(out.VersionID),
		ModTime: or(out.LastModified), RequestID: str(out.RequestID),
		Properties: decode(driver.Properties{
			ContentType: str(out.ContentType), ContentEncoding: str(out.ContentEncoding), ContentLanguage: str(out.ContentLanguage),
			ContentDisposition: str(out.ContentDisposition), CacheControl: str(out.CacheControl),
		}, out.Metadata),
	}
	if err := b.readTags(ctx, c, a, or(out.TagCount)); err != nil {
		return nil, err
	}
	return told(a)
}

// Open implements driver.Bucket.
func (b *Bucket) Open(ctx context.Context, key string, opts *driver.ReadOptions) (io.ReadCloser, *driver.Attrs, error) {
	if opts == nil {
		opts = &driver.ReadOptions{}
	}
	c, err := b.at(key, opts.VersionID)
	if err != nil {
		return nil, nil, err
	}
	watch := stream.NewWatch(ctx, b.cfg.RequestTimeout)
	out, err := c.DownloadStream(watch.Context(), &blob.DownloadStreamOptions{
		Range: blob.HTTPRange{Offset: opts.Offset, Count: max(0, opts.Length)}, AccessConditions: condition(driver.Precondition{Match: opts.IfMatch}),
	})
	if err != nil {
		err = watch.Explain(err)
		watch.Stop()
		if errkind.Of(err) != errkind.Unknown {
			return nil, nil, err
		}
		return nil, nil, fail(err)
	}
	watch.Answered()
	length := or(out.ContentLength)
	a := &driver.Attrs{
		Key: key, Size: totalSize(str(out.ContentRange), length), ETag: tagOf(out.ETag), Tag: tagOf(out.ETag), VersionID: str(out.VersionID),
		ModTime: or(out.LastModified), RequestID: str(out.RequestID),
		Properties: decode(driver.Properties{
			ContentType: str(out.ContentType), ContentEncoding: str(out.ContentEncoding), ContentLanguage: str(out.ContentLanguage),
			ContentDisposition: str(out.ContentDisposition), CacheControl: str(out.CacheControl),
		}, out.Metadata),
	}
	body := stream.NewBody(out.Body, length, watch, b.cfg.IdleTimeout)
	if err := cmp.Or(b.checkRead(ctx, c, opts, a, or(out.TagCount)), checkRange(opts, length, a.Size)); err != nil {
		_ = body.Close()
		return nil, nil, err
	}
	// Only of a block blob: what is appended to an append blob or written into a page blob leaves the sum as it was.
	if whole := length == a.Size && opts.Offset == 0; whole && len(out.ContentMD5) == md5.Size && or(out.BlobType) == blob.BlobTypeBlockBlob {
		body.Vouch(md5.New(), out.ContentMD5, "Content-MD5 property") //nolint:gosec // the only sum that Azure stores
	}
	return body, a, nil
}

// checkRead looks at the headers of an answer before its bytes are believed, and completes a with the tags.
func (b *Bucket) checkRead(ctx context.Context, c *blob.Client, opts *driver.ReadOptions, a *driver.Attrs, tags int64) error {
	if _, err := told(a); err != nil {
		return err
	}
	// A server that ignores If-Match on GET can't give us the wrong bytes.
	if opts.IfMatch != "" && a.Tag != opts.IfMatch {
		return errkind.New(errkind.PreconditionFailed, "the object's tag is %s, not %s", a.Tag, opts.IfMatch)
	}
	return b.readTags(ctx, c, a, tags)
}

// checkRange holds an answer to the range that was asked for: a server that can't read a range gives the whole, and Azurite
// gives nothing for one that begins at the end.
func checkRange(opts *driver.ReadOptions, length, size int64) error {
	left := size - opts.Offset
	if (opts.Offset > 0 || opts.Length > 0) && left <= 0 {
		return errkind.New(errkind.Invalid, "the range begins at %d, the object has %d bytes", opts.Offset, size)
	}
	want := left
	if opts.Length > 0 {
		want = min(want, opts.Length)
	}
	if length != want {
		return errkind.New(errkind.Unavailable, "the server gave %d bytes of %d from %d, %d were asked for", length, size, opts.Offset, want)
	}
	return nil
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

// readTags completes attributes with the index tags, which Azure gives only on a request of their own, and only to those who
// may read tags: without that permission the object is not read at all, or its tags would be lost at the other replicas.
func (b *Bucket) readTags(ctx context.Context, c *blob.Client, a *driver.Attrs, count int64) error {
	if count <= 0 {
		return nil
	}
	ctx, cancel := b.request(ctx, 0)
	defer cancel()
	out, err := c.GetTags(ctx, nil)
	switch {
	case status(err) == http.StatusForbidden && byCode[code(err)].hint != leaseHint: // a lease is a 403 here
		return failure(err, meaning{errkind.PermissionDenied, "the blob has index tags: reading them needs the data action " +
			"Microsoft.Storage/storageAccounts/blobServices/containers/blobs/tags/read"})
	case code(err) == "BlobNotFound":
		// It was there a moment ago. NotFound would claim to know that it was deleted.
		return failure(err, meaning{errkind.Conflict, "the object changed while its tags were read"})
	case err != nil:
		return fail(err)
	}
	a.Tags = make(map[string]string, len(out.BlobTagSet))
	for _, t := range out.BlobTagSet {
		a.Tags[str(t.Key)] = str(t.Value)
	}
	return nil
}

// told refuses a success without an ETag: nothing could be concluded from it, so the outcome is unknown.
func told(a *driver.Attrs) (*driver.Attrs, error) {
	if a.ETag == "" {
		return nil, errkind.New(errkind.Unavailable, "the server answered without an ETag (request %s)", a.RequestID)
	}
	return a, nil
}
