package gcs

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	"cloud.google.com/go/storage"
	"golang.org/x/sync/errgroup"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
)

// PartsPrefix is where uploads keep their temporary objects: PartsPrefix + upload id + "/" + part number, and beside the parts
// an empty object with the properties of the object that is to come, which is there as long as the upload is. It belongs to
// bucketmesh and is never synchronized. What a process that died left behind is for a lifecycle rule of the bucket.
const PartsPrefix = ".bucketmesh/parts/"

const (
	markerName = "upload"
	treeName   = "tree-" // objects composed of parts
)

// uploadID is random, and bound to its key: an id that is used with another key is no upload.
var uploadID = regexp.MustCompile(`^[A-Z2-7]{26}-[0-9a-f]{16}$`)

func newUploadID(key string) string { return rand.Text() + "-" + keySum(key) }

func keySum(key string) string {
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:8])
}

// folder is where an upload keeps its temporary objects.
func folder(key, id string) (string, error) {
	if !uploadID.MatchString(id) || !strings.HasSuffix(id, keySum(key)) {
		return "", errkind.New(errkind.NotFound, "no such upload of this key")
	}
	return PartsPrefix + id + "/", nil
}

func partName(n int) string { return fmt.Sprintf("%05d", n) }

// Begin implements driver.Multiparter. Properties that GCS can't hold are refused here already.
func (b *Bucket) Begin(ctx context.Context, key string, opts *driver.PutOptions) (string, error) {
	if opts == nil {
		opts = &driver.PutOptions{}
	}
	if err := checkKey(key); err != nil {
		return "", err
	}
	attrs, err := encode(&opts.Properties)
	if err != nil {
		return "", err
	}
	id := newUploadID(key)
	marker := b.bucket.Object(PartsPrefix + id + "/" + markerName)
	if _, _, err := b.insert(ctx, "CreateMultipartUpload", marker, strings.NewReader(""), 0, attrs, false); err != nil {
		return "", err
	}
	return id, nil
}

// PutPart implements driver.Multiparter. A part's ETag is its generation. After the part was stored, the upload must still be
// there: an abort at the same time can't know of the part.
func (b *Bucket) PutPart(ctx context.Context, key, id string, n int, body io.ReadSeeker, size int64) (driver.Part, error) {
	dir, err := folder(key, id)
	if err != nil {
		return driver.Part{}, err
	}
	if n < 1 || n > maxParts {
		return driver.Part{}, errkind.New(errkind.Invalid, "part number %d is not in 1..%d", n, maxParts)
	}
	attrs := storage.ObjectAttrs{ContentType: driver.DefaultContentType}
	if attrs.CRC32C, err = digest(ctx, body, size, ""); err != nil {
		return driver.Part{}, err
	}
	o := b.bucket.Object(dir + partName(n))
	got, _, err := b.insert(ctx, "UploadPart", o, body, size, attrs, false)
	if err != nil {
		return driver.Part{}, err
	}
	if _, _, err := b.metadata(ctx, b.bucket.Object(dir+markerName)); err != nil {
		if errkind.Is(err, errkind.NotFound) {
			_, rerr := b.remove(ctx, "DeleteObject", o.Generation(got.Generation), false)
			err = errors.Join(err, rerr)
		}
		return driver.Part{}, errkind.New(errkind.Of(err), "check that the upload is still there: %w", err)
	}
	return partOf(n, got), nil
}

func partOf(n int, o *storage.ObjectAttrs) driver.Part {
	return driver.Part{Number: n, Size: o.Size, ETag: strconv.FormatInt(o.Generation, 10), Checksum: encodeCRC(o.CRC32C)}
}

// uploaded is what an upload has in its folder.
type uploaded struct {
	marker *storage.ObjectAttrs
	parts  map[int]*storage.ObjectAttrs
	order  []int
}

// uploaded lists an upload. Without its marker it is none.
func (b *Bucket) uploaded(ctx context.Context, key, id string) (*uploaded, error) {
	dir, err := folder(key, id)
	if err != nil {
		return nil, err
	}
	u := &uploaded{parts: map[int]*storage.ObjectAttrs{}}
	q := &storage.Query{Prefix: dir, Projection: storage.ProjectionNoACL}
	err = b.each(ctx, "ListParts", q, maxPage, func(o *storage.ObjectAttrs) bool {
		name := strings.TrimPrefix(o.Name, dir)
		if name == markerName {
			u.marker = o
		} else if n, err := strconv.Atoi(name); err == nil && name == partName(n) {
			u.parts[n] = o
			u.order = append(u.order, n)
		}
		return false
	})
	if err != nil {
		return nil, err
	}
	if u.marker == nil {
		return nil, errkind.New(errkind.NotFound, "no such upload")
	}
	return u, nil
}

// ListParts implements driver.Multiparter.
func (b *Bucket) ListParts(ctx context.Context, key, id string) ([]driver.Part, error) {
	u, err := b.uploaded(ctx, key, id)
	if err != nil {
		return nil, err
	}
	var parts []driver.Part
	for _, n := range u.order { // the zeros before a number make its name's order that of the numbers
		parts = append(parts, partOf(n, u.parts[n]))
	}
	return parts, nil
}

// Complete implements driver.Multiparter: the parts are composed, 32 at a time, and the last compose makes the object under
// the condition, with the properties that Begin was given. A SHA-256 or MD5 of the whole in opts is not looked at: GCS
// knows neither of a composed object. Its crc32c is checked against that of the parts, by the server and here.
func (b *Bucket) Complete(ctx context.Context, key, id string, parts []driver.Part, opts *driver.PutOptions) (*driver.Attrs, error) {
	if opts == nil {
		opts = &driver.PutOptions{}
	}
	if err := checkKey(key); err != nil {
		return nil, err
	}
	if err := native(opts.If, b.caps.CompleteGuard, b.caps.CompleteGuard); err != nil {
		return nil, err
	}
	dst, err := conditioned(b.bucket.Object(key), opts.If)
	if err != nil {
		return nil, err
	}
	cctx, cancel := context.WithTimeout(ctx, b.cfg.CompleteTimeout)
	defer cancel()
	u, err := b.uploaded(cctx, key, id)
	if err != nil {
		return nil, err
	}
	pieces, err := u.choose(parts, opts.Size)
	if err != nil {
		return nil, err
	}
	if pieces, err = b.tree(cctx, PartsPrefix+id+"/"+treeName, pieces); err != nil {
		return nil, err
	}
	got, reqID, err := b.compose(cctx, "CompleteMultipartUpload", dst, pieces, u.marker)
	if err != nil {
		return nil, err
	}
	// The object is there. What can't be removed now is left to Abort or to the bucket's lifecycle rule: an error here
	// would say that the object is not there.
	rctx, stop := context.WithTimeout(context.WithoutCancel(ctx), b.cfg.CompleteTimeout)
	defer stop()
	_ = b.discard(rctx, PartsPrefix+id+"/")
	return described(got, reqID)
}

// choose finds the parts that the caller names among those that are there.
func (u *uploaded) choose(parts []driver.Part, size int64) ([]piece, error) {
	if len(parts) == 0 || len(parts) > maxParts {
		return nil, errkind.New(errkind.Invalid, "an upload of %d parts: it must have 1 to %d", len(parts), maxParts)
	}
	pieces, total := make([]piece, 0, len(parts)), int64(0)
	for _, p := range parts {
		o := u.parts[p.Number]
		if o == nil || strconv.FormatInt(o.Generation, 10) != p.ETag || o.Size != p.Size {
			return nil, errkind.New(errkind.Invalid, "part %d is not the one that was stored", p.Number)
		}
		pieces = append(pieces, pieceOf(o))
		total += o.Size
	}
	if size > 0 && total != size {
		return nil, errkind.New(errkind.Invalid, "the parts have %d bytes, the object should have %d", total, size)
	}
	return pieces, nil
}

// Abort implements driver.Multiparter.
func (b *Bucket) Abort(ctx context.Context, key, id string) error {
	dir, err := folder(key, id)
	if err != nil {
		return nil //nolint:nilerr // what never was an upload is none now
	}
	return b.discard(ctx, dir)
}

// discard removes an upload's objects for good, noncurrent generations included: first the marker, so that a part that
// arrives meanwhile finds no upload.
func (s *shared) discard(ctx context.Context, dir string) error {
	var markers, others []*storage.ObjectHandle
	q := &storage.Query{Prefix: dir, Versions: true, Projection: storage.ProjectionNoACL}
	if err := q.SetAttrSelection([]string{"Name", "Generation"}); err != nil {
		return errkind.New(errkind.Invalid, "%w", err)
	}
	err := s.each(ctx, "ListParts", q, maxPage, func(o *storage.ObjectAttrs) bool {
		h := s.bucket.Object(o.Name).Generation(o.Generation)
		if o.Name == dir+markerName {
			markers = append(markers, h)
		} else {
			others = append(others, h)
		}
		return false
	})
	if err != nil {
		return err
	}
	for _, some := range [][]*storage.ObjectHandle{markers, others} {
		var g errgroup.Group
		g.SetLimit(s.cfg.Concurrency)
		for _, h := range some {
			g.Go(func() error {
				_, err := s.remove(ctx, "AbortMultipartUpload", h, false)
				return err
			})
		}
		if err := g.Wait(); err != nil {
			return err //nolint:wrapcheck // of remove
		}
	}
	return nil
}
