package e2e

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
)

// What bucketmesh reserves in a bucket.
const (
	reservedMeta   = "bucketmesh" // and "-", or at Azure "_"
	reservedKeys   = ".bucketmesh/"
	conflictPrefix = ".conflicts/"
)

// readers work at the same time at each replica when everything is read.
const readers = 8

// entry is what a listing tells of an object.
type entry struct {
	etag string
	size int64
}

// full is all of one object that replicas have to agree on.
type full struct {
	object
	contentType string
	meta        map[string]string // the user's
	fault       string            // what is wrong with the content, if anything
}

func (a full) equal(b full) bool {
	return a.object == b.object && a.contentType == b.contentType && maps.Equal(a.meta, b.meta) && a.fault == b.fault
}

// read reads every object of a replica with its bytes.
func (r *replica) read(ctx context.Context, seed uint64) (map[string]full, error) {
	keys, err := r.list(ctx)
	if err != nil {
		return nil, err
	}
	var mu sync.Mutex
	all := make(map[string]full, len(keys))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(readers)
	for key := range keys {
		g.Go(func() error {
			o, err := r.readOne(ctx, seed, key)
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			all[key] = o
			return nil
		})
	}
	return all, g.Wait()
}

func (r *replica) readOne(ctx context.Context, seed uint64, key string) (full, error) {
	c, err := r.get(ctx, key)
	if err != nil {
		return full{}, err
	}
	f := full{contentType: c.contentType, meta: map[string]string{}}
	for k, v := range c.meta {
		if !strings.HasPrefix(k, reservedMeta+"-") && !strings.HasPrefix(k, reservedMeta+"_") {
			f.meta[k] = v
		}
	}
	var errOp, errBody error
	f.op, _, errOp = authors(f.meta)
	f.body, errBody = identify(seed, c.body)
	if err := errors.Join(errOp, errBody); err != nil {
		f.fault = err.Error()
	}
	return f, nil
}

// keysOf is the union of keys of several maps, sorted.
func keysOf[T any](all ...map[string]T) []string {
	seen := map[string]bool{}
	for _, m := range all {
		for k := range m {
			seen[k] = true
		}
	}
	return slices.Sorted(maps.Keys(seen))
}
