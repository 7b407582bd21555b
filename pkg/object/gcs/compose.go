package gcs

import (
	"context"
	"fmt"
	"slices"

	"cloud.google.com/go/storage"
	"golang.org/x/sync/errgroup"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
)

// maxSources is how many objects GCS composes at once.
const maxSources = 32

// piece is a stored object that becomes a part of another one.
type piece struct {
	name       string
	generation int64
	size       int64
	crc        uint32
}

func pieceOf(o *storage.ObjectAttrs) piece { return piece{o.Name, o.Generation, o.Size, o.CRC32C} }

// tree composes pieces into temporary objects until one compose can take them all.
func (s *shared) tree(ctx context.Context, prefix string, pieces []piece) ([]piece, error) {
	plain := &storage.ObjectAttrs{ContentType: driver.DefaultContentType}
	for level := 0; len(pieces) > maxSources; level++ {
		groups := slices.Collect(slices.Chunk(pieces, maxSources))
		pieces = make([]piece, len(groups))
		g, ctx := errgroup.WithContext(ctx)
		g.SetLimit(s.cfg.Concurrency)
		for i, group := range groups {
			g.Go(func() error {
				got, _, err := s.compose(ctx, "other", s.bucket.Object(fmt.Sprintf("%s%d-%05d", prefix, level, i)), group, plain)
				if err == nil {
					pieces[i] = pieceOf(got)
				}
				return err
			})
		}
		if err := g.Wait(); err != nil {
			return nil, err //nolint:wrapcheck // of compose
		}
	}
	return pieces, nil
}

// compose is one compose request. Its sources are pinned; the destination's condition is that of dst. The server is told the
// crc32c that the whole must have.
func (s *shared) compose(
	ctx context.Context, operation string, dst *storage.ObjectHandle, pieces []piece, like *storage.ObjectAttrs,
) (*storage.ObjectAttrs, string, error) {
	sources, size, crc := make([]*storage.ObjectHandle, len(pieces)), int64(0), uint32(0)
	for i, p := range pieces {
		sources[i] = s.bucket.Object(p.name).Generation(p.generation)
		crc, size = combine(crc, p.crc, p.size), size+p.size
	}
	c := dst.ComposerFrom(sources...)
	c.ContentType, c.ContentEncoding, c.ContentLanguage = like.ContentType, like.ContentEncoding, like.ContentLanguage
	c.ContentDisposition, c.CacheControl, c.Metadata = like.ContentDisposition, like.CacheControl, like.Metadata
	c.CustomTime, c.Contexts = like.CustomTime, like.Contexts
	c.CRC32C, c.SendCRC32C = crc, true
	rctx, x := begin(ctx, operation, true)
	got, err := c.Run(rctx)
	if err = s.fail(ctx, x, err); err != nil {
		if errkind.Is(err, errkind.NotFound) { // a source; a condition that doesn't hold is 412
			return nil, "", errkind.New(errkind.NotFound, "the upload's parts are gone: %w", err)
		}
		return nil, "", err
	}
	return got, x.requestID(), verify(got, size, crc, nil)
}
