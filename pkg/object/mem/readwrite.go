package mem

import (
	"bytes"
	"context"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
)

// Open implements driver.Bucket.
func (b *Bucket) Open(ctx context.Context, key string, opts *driver.ReadOptions) (io.ReadCloser, *driver.Attrs, error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	if opts == nil {
		opts = &driver.ReadOptions{}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	v, err := b.find(key, opts.VersionID)
	if err != nil {
		return nil, nil, err
	}
	if opts.IfMatch != "" && opts.IfMatch != v.attrs.Tag {
		return nil, nil, errkind.New(errkind.PreconditionFailed, "the object's tag is %s, not %s", v.attrs.Tag, opts.IfMatch)
	}
	data := v.data
	if opts.Offset > int64(len(data)) || opts.Offset == int64(len(data)) && opts.Offset > 0 {
		return nil, nil, errkind.New(errkind.Invalid, "offset %d is behind the end, at %d bytes", opts.Offset, len(data))
	}
	data = data[opts.Offset:]
	if opts.Length > 0 && opts.Length < int64(len(data)) {
		data = data[:opts.Length]
	}
	return io.NopCloser(bytes.NewReader(data)), b.answer(v), nil
}

// Put implements driver.Bucket.
func (b *Bucket) Put(ctx context.Context, key string, body io.ReadSeeker, opts *driver.PutOptions) (*driver.Attrs, error) {
	if opts == nil {
		opts = &driver.PutOptions{}
	}
	if opts.Size > b.caps.MaxPut {
		return nil, errkind.New(errkind.Invalid, "%d bytes are too large for one request", opts.Size)
	}
	how, err := driver.GuardOf(opts.If, b.caps.PutMatch, b.caps.PutNotExist)
	if err != nil {
		return nil, err
	}
	if how == driver.GuardMarker {
		return b.checked(ctx, key, opts.If, func(ctx context.Context) (*driver.Attrs, error) {
			return b.put(ctx, key, body, opts, driver.Precondition{})
		})
	}
	return b.put(ctx, key, body, opts, opts.If)
}

// put is the provider's PUT.
func (b *Bucket) put(ctx context.Context, key string, body io.Reader, opts *driver.PutOptions, cond driver.Precondition) (*driver.Attrs, error) {
	data, err := readAll(body, opts.Size, opts.MD5, opts.SHA256)
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.check(key, cond, b.cfg.Lies.IgnorePutMatch, b.cfg.Lies.IgnorePutNotExist); err != nil {
		return nil, err
	}
	sum := md5hex(data)
	return b.answer(b.add(key, data, sum, sum, opts)), nil
}

// add makes a version.
func (b *Bucket) add(key string, data []byte, etag, md5sum string, opts *driver.PutOptions) *version {
	p := opts.Properties
	p.Metadata, p.Tags, p.Extra = maps.Clone(p.Metadata), maps.Clone(p.Tags), maps.Clone(p.Extra)
	if p.ContentType == "" {
		p.ContentType = driver.DefaultContentType
	}
	v := &version{data: data, attrs: driver.Attrs{
		Properties: p, Key: key, Size: int64(len(data)), ETag: etag, MD5: md5sum, SHA256: opts.SHA256, ModTime: b.now(),
	}}
	b.push(key, v)
	return v
}

// List implements driver.Bucket.
func (b *Bucket) List(ctx context.Context, opts *driver.ListOptions) (*driver.Page, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if opts == nil {
		opts = &driver.ListOptions{}
	}
	limit := b.cfg.PageSize
	if limit <= 0 {
		limit = 1000
	}
	if opts.Limit > 0 {
		limit = min(limit, opts.Limit)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	page := &driver.Page{}
	for _, key := range slices.Sorted(maps.Keys(b.objects)) {
		v := b.current(key)
		if !strings.HasPrefix(key, opts.Prefix) || key <= opts.After || v.attrs.DeleteMarker {
			continue
		}
		if len(page.Objects) == limit {
			page.Next = page.Objects[limit-1].Key
			break
		}
		a := v.attrs
		a.Properties = driver.Properties{}
		page.Objects = append(page.Objects, a)
	}
	return page, nil
}

// Versions implements driver.Versioner.
func (b *Bucket) Versions(ctx context.Context, key string) ([]driver.Attrs, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []driver.Attrs
	for i, v := range slices.Backward(b.objects[key]) {
		if b.cfg.Generations && v.attrs.DeleteMarker {
			continue
		}
		a := v.attrs
		a.Properties = driver.Properties{}
		a.IsLatest = i == len(b.objects[key])-1
		out = append(out, a)
	}
	return out, nil
}
