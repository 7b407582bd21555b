package gcs

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"hash/crc32"
	"io"
	"net/http"
	"strconv"
	"strings"

	"cloud.google.com/go/storage"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
	"github.com/bucketmesh/bucketmesh/pkg/object/internal/stream"
)

// Stat implements driver.Bucket.
func (b *Bucket) Stat(ctx context.Context, key, versionID string) (*driver.Attrs, error) {
	if err := checkKey(key); err != nil {
		return nil, err
	}
	o, err := version(b.bucket.Object(key), versionID)
	if err != nil {
		return nil, err
	}
	got, id, err := b.metadata(ctx, o)
	if err != nil {
		return nil, err
	}
	return described(got, id)
}

// metadata is one request for an object's metadata.
func (s *shared) metadata(ctx context.Context, o *storage.ObjectHandle) (*storage.ObjectAttrs, string, error) {
	rctx, cancel := s.request(ctx, 0)
	defer cancel()
	rctx, x := begin(rctx, "HeadObject", false)
	got, err := o.Attrs(rctx)
	if err = s.fail(ctx, x, err); err != nil {
		return nil, "", err
	}
	if got.Generation <= 0 { // JSON of somebody else, which would pass for an empty object
		return nil, "", errkind.New(errkind.Unavailable, "the server answered without a generation")
	}
	return got, x.requestID(), nil
}

// Open implements driver.Bucket: one request for the bytes, and one for the properties, which headers can't tell:
//   - Metadata with a name that is no header's name are not among them, and names that differ in case become one.
//   - Spaces at the ends of a value are cut off, and what becomes of other text than ASCII is not documented.
//   - An object without a Content-Type or a Cache-Control is answered with one. There is no header for the custom time.
//
// What is lost here would be lost at every replica, this one among them.
func (b *Bucket) Open(ctx context.Context, key string, opts *driver.ReadOptions) (io.ReadCloser, *driver.Attrs, error) {
	if opts == nil {
		opts = &driver.ReadOptions{}
	}
	if err := checkKey(key); err != nil {
		return nil, nil, err
	}
	o, err := version(b.bucket.Object(key), opts.VersionID)
	if err != nil {
		return nil, nil, err
	}
	if o, err = conditioned(o, driver.Precondition{Match: opts.IfMatch}); err != nil {
		return nil, nil, err
	}
	length := int64(-1)
	if opts.Length > 0 {
		length = opts.Length
	}
	watch := stream.NewWatch(ctx, b.cfg.RequestTimeout)
	rctx, x := begin(watch.Context(), "GetObject", true)
	r, err := o.ReadCompressed(true).NewRangeReader(rctx, opts.Offset, length, storage.WithDisableReaderChecksum())
	if err != nil {
		err = b.fail(ctx, x, watch.Explain(err))
		watch.Stop()
		if x.foreign() { // fake-gcs-server says why in its JSON answers only
			if _, _, merr := b.metadata(ctx, o); errkind.Is(merr, errkind.NotFound) || errkind.Is(merr, errkind.PreconditionFailed) {
				err = merr
			}
		}
		return nil, nil, err
	}
	b.alive.Seen()
	watch.Answered()
	body := stream.NewBody(r, r.Remain(), watch, b.cfg.IdleTimeout)
	a, err := b.opened(ctx, key, opts, r, x, body)
	if err != nil {
		_ = body.Close()
		return nil, nil, err
	}
	return body, a, nil
}

// opened are the attributes of what a GET answered.
func (b *Bucket) opened(
	ctx context.Context, key string, opts *driver.ReadOptions, r *storage.Reader, x *exchange, body *stream.Body,
) (*driver.Attrs, error) {
	status, h, _ := x.answer()
	o, sum := ofHeaders(key, h)
	o.Size, o.Updated = r.Attrs.Size, r.Attrs.LastModified
	whole := status != http.StatusPartialContent
	if err := plausible(opts, r, h, o, whole); err != nil {
		return nil, err
	}
	id := x.requestID()
	full, _, err := b.metadata(ctx, b.bucket.Object(key).Generation(o.Generation))
	if err != nil {
		if errkind.Is(err, errkind.NotFound) { // it was there a moment ago: NotFound would claim to know that it was deleted
			return nil, errkind.New(errkind.Conflict, "the object changed while it was opened: %w", err)
		}
		return nil, err
	}
	if sum == nil {
		sum = base64CRC(encodeCRC(full.CRC32C))
	}
	if whole {
		body.Vouch(newCRC(), sum, "crc32c")
	}
	return described(full, id)
}

// ofHeaders are an object's attributes as the XML API gives them, and its crc32c if the answer has one.
func ofHeaders(key string, h http.Header) (*storage.ObjectAttrs, []byte) {
	o := &storage.ObjectAttrs{
		Name: key, ContentType: h.Get("Content-Type"), ContentEncoding: storedEncoding(h), ContentLanguage: h.Get("Content-Language"),
		ContentDisposition: h.Get("Content-Disposition"), CacheControl: h.Get("Cache-Control"), Metadata: map[string]string{},
		Etag: strings.TrimPrefix(strings.Trim(h.Get("Etag"), `"`), "-"),
	}
	o.Generation, _ = strconv.ParseInt(h.Get("X-Goog-Generation"), 10, 64)
	o.Metageneration, _ = strconv.ParseInt(h.Get("X-Goog-Metageneration"), 10, 64)
	for name := range h {
		if k, ok := strings.CutPrefix(name, "X-Goog-Meta-"); ok {
			o.Metadata[strings.ToLower(k)] = h.Get(name)
		}
	}
	var sum []byte
	for _, line := range h.Values("X-Goog-Hash") {
		for part := range strings.SplitSeq(line, ",") {
			name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
			switch name {
			case "crc32c":
				if sum = base64CRC(value); sum != nil {
					o.CRC32C = uint32(sum[0])<<24 | uint32(sum[1])<<16 | uint32(sum[2])<<8 | uint32(sum[3])
				}
			case "md5":
				o.MD5, _ = base64.StdEncoding.DecodeString(value) // attrsOf looks at its length
			}
		}
	}
	return o, sum
}

func base64CRC(s string) []byte {
	if sum, err := base64.StdEncoding.DecodeString(s); err == nil && len(sum) == crc32.Size {
		return sum
	}
	return nil
}

// storedEncoding is the object's Content-Encoding: that of the answer would be missing if the server had decompressed it.
func storedEncoding(h http.Header) string {
	switch e := h.Get("X-Goog-Stored-Content-Encoding"); e {
	case "":
		return h.Get("Content-Encoding")
	case "identity":
		return ""
	default:
		return e
	}
}

// plausible holds the answer to what was asked for, so that a server that ignores a condition or a range, or decompresses,
// can't give us the wrong bytes.
func plausible(opts *driver.ReadOptions, r *storage.Reader, h http.Header, o *storage.ObjectAttrs, whole bool) error {
	switch tag := strconv.FormatInt(o.Generation, 10); {
	case o.Generation <= 0:
		return errkind.New(errkind.Unavailable, "the server answered without a generation")
	case opts.VersionID != "" && tag != opts.VersionID:
		return errkind.New(errkind.NotFound, "the server answered generation %s where %s was asked for", tag, opts.VersionID)
	case opts.IfMatch != "" && tag != opts.IfMatch:
		return errkind.New(errkind.PreconditionFailed, "the object's generation is %s, not %s", tag, opts.IfMatch)
	case r.Attrs.Decompressed || o.ContentEncoding != h.Get("Content-Encoding"):
		return errkind.New(errkind.Unavailable, "the server changed the bytes on the way: stored as %q, sent as %q", o.ContentEncoding, h.Get("Content-Encoding"))
	case r.Remain() < 0:
		return errkind.New(errkind.Unavailable, "the server did not say how many bytes it sends")
	case opts.Length > 0 && r.Remain() > opts.Length, whole && opts.Offset > 0:
		return errkind.New(errkind.Unavailable, "the server ignored the range that was asked for")
	}
	if n, err := strconv.ParseInt(h.Get("X-Goog-Stored-Content-Length"), 10, 64); err == nil && n != o.Size {
		return errkind.New(errkind.Unavailable, "the object has %d bytes, the server sends %d", n, o.Size)
	}
	return nil
}

// hexSum is lower-case hex as bytes; nil for none.
func hexSum(s string) []byte {
	sum, err := hex.DecodeString(s)
	if err != nil || len(sum) == 0 {
		return nil
	}
	return sum
}
