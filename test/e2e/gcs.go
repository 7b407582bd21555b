package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"

	"cloud.google.com/go/storage"
	"google.golang.org/api/iterator"
	"google.golang.org/api/option"
)

// gcsBucket is a bucket at Cloud Storage's emulator, behind its gate. What a user saw is the generation and the metageneration,
// so a condition tells an edit of the metadata apart.
type gcsBucket struct {
	name   string // of the replica
	bucket *storage.BucketHandle
}

// newGCSBucket makes a bucket's client that never tries again by itself.
func newGCSBucket(ctx context.Context, name, endpoint, bucket string) (*gcsBucket, error) {
	c, err := storage.NewClient(ctx, option.WithEndpoint(endpoint+"/storage/v1/"), option.WithHTTPClient(httpClient()))
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", name, err)
	}
	return &gcsBucket{name, c.Bucket(bucket).Retryer(storage.WithPolicy(storage.RetryNever))}, nil
}

func (b *gcsBucket) create(ctx context.Context) error {
	if err := b.bucket.Create(ctx, "e2e", nil); err != nil {
		return fmt.Errorf("create bucket at %s: %w", b.name, err)
	}
	return nil
}

// tagOf is what a user saw, and generations the way back.
func tagOf(generation, metageneration int64) string {
	return fmt.Sprintf("%d.%d", generation, metageneration)
}

func generations(tag string) (c storage.Conditions, err error) {
	if _, err = fmt.Sscanf(tag, "%d.%d", &c.GenerationMatch, &c.MetagenerationMatch); err != nil {
		err = fmt.Errorf("read generations %q: %w", tag, err)
	}
	return c, err
}

// object is a key under a condition.
func (b *gcsBucket) object(key string, c condition) (*storage.ObjectHandle, error) {
	o := b.bucket.Object(key)
	switch {
	case !c.asked:
		return o, nil
	case !c.seen.present:
		return o.If(storage.Conditions{DoesNotExist: true}), nil
	}
	g, err := generations(c.seen.etag)
	return o.If(g), err
}

func (b *gcsBucket) look(ctx context.Context, key string) (sight, error) {
	a, err := b.bucket.Object(key).Attrs(ctx)
	if statusOf(err) == http.StatusNotFound {
		return sight{}, nil
	}
	if err != nil {
		return sight{}, fmt.Errorf("look at %q at %s: %w", key, b.name, err)
	}
	s := sight{present: true, etag: tagOf(a.Generation, a.Metageneration)}
	if s.op, s.body, err = authors(a.Metadata); err != nil {
		return s, fmt.Errorf("look at %q at %s: %w", key, b.name, err)
	}
	return s, nil
}

func (b *gcsBucket) put(ctx context.Context, key string, body []byte, p properties, c condition) (written, error) {
	return b.upload(ctx, key, body, p, c, 0)
}

// putLarge is a resumable upload.
func (b *gcsBucket) putLarge(ctx context.Context, key string, body []byte, p properties, c condition) (written, error) {
	return b.upload(ctx, key, body, p, c, largePartSize)
}

func (b *gcsBucket) upload(ctx context.Context, key string, body []byte, p properties, c condition, chunk int) (written, error) {
	o, err := b.object(key, c)
	if err != nil {
		return written{}, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w := o.NewWriter(ctx)
	w.ChunkSize, w.ContentType, w.Metadata = chunk, p.contentType, p.meta
	_, err = w.Write(body)
	if err = errors.Join(err, w.Close()); err != nil {
		return written{}, fmt.Errorf("put %q at %s: %w", key, b.name, err)
	}
	return writtenAs(w.Attrs()), nil
}

func writtenAs(a *storage.ObjectAttrs) written {
	return written{etag: tagOf(a.Generation, a.Metageneration)}
}

func (b *gcsBucket) remove(ctx context.Context, key string, c condition) (written, error) {
	o, err := b.object(key, c)
	if err == nil {
		err = o.Delete(ctx)
	}
	if err != nil {
		return written{}, fmt.Errorf("delete %q at %s: %w", key, b.name, err)
	}
	return written{}, nil
}

func (b *gcsBucket) copy(ctx context.Context, key, from string, source sight, p *properties, c condition) (written, error) {
	src, serr := b.object(from, condition{true, source})
	dst, derr := b.object(key, c)
	if err := errors.Join(serr, derr); err != nil {
		return written{}, err
	}
	cp := dst.CopierFrom(src)
	if p != nil {
		cp.ContentType, cp.Metadata = p.contentType, p.meta
	}
	a, err := cp.Run(ctx)
	if err != nil {
		return written{}, fmt.Errorf("copy %q to %q at %s: %w", from, key, b.name, err)
	}
	return writtenAs(a), nil
}

// edit is a PATCH: what it does not name stays, bucketmesh's own metadata among it.
func (b *gcsBucket) edit(ctx context.Context, key string, seen sight, p properties) (written, error) {
	o, err := b.object(key, condition{true, seen})
	if err != nil {
		return written{}, err
	}
	a, err := o.Update(ctx, storage.ObjectAttrsToUpdate{ContentType: p.contentType, Metadata: p.meta})
	if err != nil {
		return written{}, fmt.Errorf("edit %q at %s: %w", key, b.name, err)
	}
	return writtenAs(a), nil
}

func (b *gcsBucket) list(ctx context.Context) (map[string]entry, error) {
	all := map[string]entry{}
	for it := b.bucket.Objects(ctx, nil); ; {
		a, err := it.Next()
		if errors.Is(err, iterator.Done) {
			return all, nil
		}
		if err != nil {
			return nil, fmt.Errorf("list %s: %w", b.name, err)
		}
		if !strings.HasPrefix(a.Name, reservedKeys) {
			all[a.Name] = entry{etag: tagOf(a.Generation, a.Metageneration), size: a.Size}
		}
	}
}

// get reads the object's metadata and exactly those bytes.
func (b *gcsBucket) get(ctx context.Context, key string) (*content, error) {
	a, err := b.bucket.Object(key).Attrs(ctx)
	if err != nil {
		return nil, fmt.Errorf("get %q at %s: %w", key, b.name, err)
	}
	r, err := b.bucket.Object(key).Generation(a.Generation).ReadCompressed(true).NewReader(ctx)
	if err != nil {
		return nil, fmt.Errorf("get %q at %s: %w", key, b.name, err)
	}
	body, err := io.ReadAll(r)
	if err = errors.Join(err, r.Close()); err != nil {
		return nil, fmt.Errorf("read %q at %s: %w", key, b.name, err)
	}
	c := &content{body: body, contentType: a.ContentType, meta: map[string]string{}}
	maps.Copy(c.meta, a.Metadata)
	return c, nil
}
