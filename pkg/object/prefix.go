package object

import (
	"context"
	"io"
	"strings"

	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
)

// WithPrefix is the part of a bucket below a prefix, as a bucket: keys lose the prefix on the way out and get it on the
// way in. The prefix is used as it is, so it usually ends with "/". An empty prefix is d itself.
func WithPrefix(d driver.Bucket, prefix string) driver.Bucket {
	d = unwrap(d)
	if prefix == "" {
		return d
	}
	c := &prefixed{d: d, prefix: prefix}
	var m driver.Multiparter
	if inner, ok := d.(driver.Multiparter); ok {
		m = &prefixedParts{c: c, m: inner}
	}
	var v driver.Versioner
	if inner, ok := d.(driver.Versioner); ok {
		v = &prefixedVersions{c: c, v: inner}
	}
	return compose(c, m, v)
}

type prefixed struct {
	d      driver.Bucket
	prefix string
}

func (c *prefixed) in(key string) string { return c.prefix + key }

func (c *prefixed) out(a *driver.Attrs) *driver.Attrs {
	if a != nil {
		a.Key = strings.TrimPrefix(a.Key, c.prefix)
	}
	return a
}

func (c *prefixed) Capabilities() driver.Capabilities {
	caps := c.d.Capabilities()
	if caps.MaxKey > 0 {
		caps.MaxKey = max(1, caps.MaxKey-len(c.prefix))
	}
	return caps
}

func (c *prefixed) WithCapabilities(caps driver.Capabilities) driver.Bucket {
	if capable, ok := c.d.(Capable); ok {
		if caps.MaxKey > 0 {
			caps.MaxKey += len(c.prefix)
		}
		return WithPrefix(capable.WithCapabilities(caps), c.prefix)
	}
	return WithPrefix(c.d, c.prefix)
}

func (c *prefixed) Close() error { return c.d.Close() }

func (c *prefixed) Stat(ctx context.Context, key, versionID string) (*driver.Attrs, error) {
	a, err := c.d.Stat(ctx, c.in(key), versionID)
	return c.out(a), err
}

func (c *prefixed) Open(ctx context.Context, key string, opts *driver.ReadOptions) (io.ReadCloser, *driver.Attrs, error) {
	r, a, err := c.d.Open(ctx, c.in(key), opts)
	return r, c.out(a), err
}

func (c *prefixed) Put(ctx context.Context, key string, body io.ReadSeeker, opts *driver.PutOptions) (*driver.Attrs, error) {
	a, err := c.d.Put(ctx, c.in(key), body, opts)
	return c.out(a), err
}

func (c *prefixed) Delete(ctx context.Context, key string, opts *driver.DeleteOptions) (*driver.Attrs, error) {
	a, err := c.d.Delete(ctx, c.in(key), opts)
	return c.out(a), err
}

func (c *prefixed) List(ctx context.Context, opts *driver.ListOptions) (*driver.Page, error) {
	inner := driver.ListOptions{Prefix: c.prefix}
	if opts != nil {
		inner.Prefix, inner.Limit = c.prefix+opts.Prefix, opts.Limit
		if opts.After != "" {
			inner.After = c.prefix + opts.After
		}
	}
	p, err := c.d.List(ctx, &inner)
	if err != nil {
		return nil, err
	}
	for i := range p.Objects {
		c.out(&p.Objects[i])
	}
	p.Next = strings.TrimPrefix(p.Next, c.prefix)
	return p, nil
}

type prefixedParts struct {
	c *prefixed
	m driver.Multiparter
}

func (p *prefixedParts) Begin(ctx context.Context, key string, opts *driver.PutOptions) (string, error) {
	return p.m.Begin(ctx, p.c.in(key), opts)
}

func (p *prefixedParts) PutPart(ctx context.Context, key, uploadID string, n int, body io.ReadSeeker, size int64) (driver.Part, error) {
	return p.m.PutPart(ctx, p.c.in(key), uploadID, n, body, size)
}

func (p *prefixedParts) ListParts(ctx context.Context, key, uploadID string) ([]driver.Part, error) {
	return p.m.ListParts(ctx, p.c.in(key), uploadID)
}

func (p *prefixedParts) Complete(ctx context.Context, key, uploadID string, parts []driver.Part, opts *driver.PutOptions) (*driver.Attrs, error) {
	a, err := p.m.Complete(ctx, p.c.in(key), uploadID, parts, opts)
	return p.c.out(a), err
}

func (p *prefixedParts) Abort(ctx context.Context, key, uploadID string) error {
	return p.m.Abort(ctx, p.c.in(key), uploadID)
}

type prefixedVersions struct {
	c *prefixed
	v driver.Versioner
}

func (v *prefixedVersions) Versions(ctx context.Context, key string) ([]driver.Attrs, error) {
	all, err := v.v.Versions(ctx, v.c.in(key))
	for i := range all {
		v.c.out(&all[i])
	}
	return all, err
}
