package gcs

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"cloud.google.com/go/storage"
	"google.golang.org/api/iterator"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
)

// maxPage is the most that GCS lists in one answer.
const maxPage = 1000

// listed are the fields that a listing is asked for. Properties are none of its business.
func listed() []string {
	return []string{"Name", "Size", "Etag", "MD5", "CRC32C", "Generation", "Metageneration", "Updated", "Deleted"}
}

// List implements driver.Bucket. GCS begins a listing at a name, the interface after one: the name itself is left out.
func (b *Bucket) List(ctx context.Context, opts *driver.ListOptions) (*driver.Page, error) {
	if opts == nil {
		opts = &driver.ListOptions{}
	}
	q := &storage.Query{Prefix: opts.Prefix, StartOffset: opts.After, Projection: storage.ProjectionNoACL}
	if err := q.SetAttrSelection(listed()); err != nil {
		return nil, errkind.New(errkind.Invalid, "%w", err)
	}
	limit := opts.Limit
	if limit <= 0 || limit > maxPage {
		limit = maxPage
	}
	size := limit
	if opts.After != "" {
		size = min(limit+1, maxPage)
	}
	found, more, err := b.page(ctx, "ListObjectsV2", q, size)
	if err != nil {
		return nil, err
	}
	if len(found) > 0 && found[0].Name == opts.After && opts.After != "" {
		found = found[1:]
	}
	if len(found) > limit {
		found, more = found[:limit], true
	}
	page := &driver.Page{Objects: make([]driver.Attrs, 0, len(found))}
	for _, o := range found {
		page.Objects = append(page.Objects, *attrsOf(o, ""))
	}
	if more && len(found) > 0 {
		page.Next = found[len(found)-1].Name
	} else if more {
		return nil, errkind.New(errkind.Unavailable, "the server says that there is more, and gave nothing")
	}
	return page, nil
}

// page is a page of a listing of exactly size objects, or of fewer at the end.
func (s *shared) page(ctx context.Context, operation string, q *storage.Query, size int) (found []*storage.ObjectAttrs, more bool, err error) {
	rctx, cancel := s.request(ctx, 0)
	defer cancel()
	rctx, x := begin(rctx, operation, false)
	next, err := iterator.NewPager(s.bucket.Objects(rctx, q), size, "").NextPage(&found)
	if err = s.failList(ctx, x, err); err != nil {
		return nil, false, err
	}
	return found, next != "", nil
}

// each calls fn for all objects of a listing, until it says that it has enough.
func (s *shared) each(ctx context.Context, operation string, q *storage.Query, size int, fn func(*storage.ObjectAttrs) (enough bool)) error {
	ctx, cancel := s.request(ctx, 0)
	defer cancel()
	rctx, x := begin(ctx, operation, false)
	it := s.bucket.Objects(rctx, q)
	it.PageInfo().MaxSize = size
	for {
		o, err := it.Next()
		if errors.Is(err, iterator.Done) {
			s.alive.Seen()
			return nil
		}
		if err = s.failList(ctx, x, err); err != nil {
			return err
		}
		if fn(o) {
			return nil
		}
	}
}

// failList is fail for a listing, whose 404 can only be about the bucket.
func (s *shared) failList(ctx context.Context, x *exchange, err error) error {
	if err != nil && kindOf(err) == errkind.NotFound {
		return s.noBucket(err)
	}
	return s.fail(ctx, x, err)
}

// versionsPage is how many objects are asked for at once: the prefix also matches longer keys, and most keys have few versions.
const versionsPage = 64

// Versions implements driver.Versioner: the generations of a key, newest first, noncurrent ones included. GCS has no delete
// markers: where no generation is the latest, the key is deleted.
func (b *Bucket) Versions(ctx context.Context, key string) ([]driver.Attrs, error) {
	if err := checkKey(key); err != nil {
		return nil, err
	}
	q := &storage.Query{Prefix: key, StartOffset: key, Versions: true, Projection: storage.ProjectionNoACL}
	if err := q.SetAttrSelection(listed()); err != nil {
		return nil, errkind.New(errkind.Invalid, "%w", err)
	}
	var generations []*storage.ObjectAttrs
	err := b.each(ctx, "ListObjectVersions", q, versionsPage, func(o *storage.ObjectAttrs) bool {
		if o.Name != key { // the key itself is the first one that has it as a prefix
			return true
		}
		generations = append(generations, o)
		return false
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(generations, func(a, b *storage.ObjectAttrs) int { return cmp.Compare(b.Generation, a.Generation) })
	var all []driver.Attrs
	for _, o := range generations {
		a := attrsOf(o, "")
		a.IsLatest = o.Deleted.IsZero()
		all = append(all, *a)
	}
	return all, nil
}
