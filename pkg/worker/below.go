package worker

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
)

// belowBatch is how many keys are marked at once.
const belowBatch = 1000

// Below marks every key for a look that a replica holds below a prefix, and every one that the state has there: what became
// of a directory is not told key by key. It costs one listing; the looks are the sweep's. Done twice it is done once.
func (w *Worker) Below(ctx context.Context, replica, prefix string) error {
	var bucket driver.Bucket
	for _, r := range w.replicas {
		if r.Name == replica {
			bucket = r.Bucket
		}
	}
	if bucket == nil {
		return errkind.New(errkind.Invalid, "the group %s has no replica %q", w.o.Group.Name, replica)
	}
	mark := func(keys []string) error {
		if len(keys) == 0 {
			return nil
		}
		err := w.store.MarkDirty(ctx, w.o.Group.Name, keys, time.Now(), "a directory that it is in changed at "+replica)
		if err != nil {
			return fmt.Errorf("mark keys dirty: %w", err)
		}
		return nil
	}
	for opts := (driver.ListOptions{Prefix: prefix}); ; {
		page, err := bucket.List(ctx, &opts)
		if err != nil {
			return fmt.Errorf("list: %w", err)
		}
		var keys []string
		for i := range page.Objects {
			if key := page.Objects[i].Key; w.o.Group.Match(key) {
				keys = append(keys, key)
			}
		}
		if err := mark(keys); err != nil {
			return err
		}
		if opts.After = page.Next; opts.After == "" {
			break
		}
	}
	for after := prefix; ; { // a key that is just the prefix is in the listing, or is told of by itself
		rows, err := w.store.Rows(ctx, w.o.Group.Name, after, belowBatch)
		if err != nil {
			return fmt.Errorf("read rows: %w", err)
		}
		var keys []string
		for i := range rows {
			if strings.HasPrefix(rows[i].Key, prefix) && w.o.Group.Match(rows[i].Key) {
				keys = append(keys, rows[i].Key)
			}
		}
		if err := mark(keys); err != nil {
			return err
		}
		if len(rows) < belowBatch || !strings.HasPrefix(rows[len(rows)-1].Key, prefix) {
			return nil
		}
		after = rows[len(rows)-1].Key
	}
}
