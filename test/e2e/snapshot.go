package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"golang.org/x/sync/errgroup"
)

// What bucketmesh reserves in a bucket.
const (
	reservedMeta   = "bucketmesh-"
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

// list reads all keys of a replica, in pages.
func (r *replica) list(ctx context.Context) (map[string]entry, error) {
	all := map[string]entry{}
	pages := awss3.NewListObjectsV2Paginator(r.client, &awss3.ListObjectsV2Input{Bucket: &r.bucket})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("list %s: %w", r.name, err)
		}
		for _, o := range page.Contents {
			key := aws.ToString(o.Key)
			if !strings.HasPrefix(key, reservedKeys) {
				all[key] = entry{etag: aws.ToString(o.ETag), size: aws.ToInt64(o.Size)}
			}
		}
	}
	return all, nil
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
	out, err := r.client.GetObject(ctx, &awss3.GetObjectInput{Bucket: &r.bucket, Key: &key})
	if err != nil {
		return full{}, fmt.Errorf("get %q at %s: %w", key, r.name, err)
	}
	defer out.Body.Close()
	b, err := io.ReadAll(out.Body)
	if err != nil {
		return full{}, fmt.Errorf("read %q at %s: %w", key, r.name, err)
	}
	f := full{contentType: aws.ToString(out.ContentType), meta: map[string]string{}}
	for k, v := range out.Metadata {
		if !strings.HasPrefix(strings.ToLower(k), reservedMeta) {
			f.meta[strings.ToLower(k)] = v
		}
	}
	var errOp, errBody error
	f.op, _, errOp = authors(f.meta)
	f.body, errBody = identify(seed, b)
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
