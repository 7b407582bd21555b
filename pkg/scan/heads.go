package scan

import (
	"context"
	"fmt"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
	"github.com/bucketmesh/bucketmesh/pkg/state"
)

// listing is the listing of one replica, a page at a time.
type listing struct {
	Source
	after string
	page  []driver.Attrs
	ended bool
	err   error // it failed: the replica is left out from here on
}

func (l *listing) hungry() bool { return len(l.page) == 0 && !l.ended && l.err == nil }

func (l *listing) head() *driver.Attrs {
	if len(l.page) == 0 || l.err != nil {
		return nil
	}
	return &l.page[0]
}

func (l *listing) next() { l.page = l.page[1:] }

// read gets pages until one has an object, or the listing ends.
func (l *listing) read(ctx context.Context) {
	for l.hungry() {
		page, err := l.Bucket.List(ctx, &driver.ListOptions{After: l.after, Limit: pageSize})
		if err != nil {
			l.err = err
			return
		}
		for i := range page.Objects {
			// The merge relies on it, and so does the cursor: a server that lists in another order must not make
			// objects look absent.
			if key := page.Objects[i].Key; key <= l.after && l.after != "" {
				l.err = errkind.New(errkind.Invalid, "list replica %s: key %q comes after %q: the listing is not in byte order", l.Name, key, l.after)
				return
			}
			l.after = page.Objects[i].Key
		}
		l.page = page.Objects
		if page.Next == "" {
			l.ended = true
			return
		}
		l.after = max(l.after, page.Next)
	}
}

// rows is the walk through the state.
type rows struct {
	store state.Store
	group string
	after string
	page  []state.Row
	ended bool
}

func (r *rows) hungry() bool { return len(r.page) == 0 && !r.ended }

func (r *rows) head() *state.Row {
	if len(r.page) == 0 {
		return nil
	}
	return &r.page[0]
}

func (r *rows) next() { r.page = r.page[1:] }

func (r *rows) read(ctx context.Context) error {
	page, err := r.store.Rows(ctx, r.group, r.after, pageSize)
	if err != nil {
		return fmt.Errorf("read page of rows: %w", err)
	}
	r.page, r.ended = page, len(page) < pageSize
	if len(page) > 0 {
		r.after = page[len(page)-1].Key
	}
	return nil
}
