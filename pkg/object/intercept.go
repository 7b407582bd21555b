package object

import (
	"context"
	"io"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
)

// Op names a method of a bucket.
type Op string

// The operations.
const (
	OpStat      Op = "stat"
	OpOpen      Op = "open"
	OpPut       Op = "put"
	OpDelete    Op = "delete"
	OpList      Op = "list"
	OpBegin     Op = "begin"
	OpPutPart   Op = "put-part"
	OpListParts Op = "list-parts"
	OpComplete  Op = "complete"
	OpAbort     Op = "abort"
	OpVersions  Op = "versions"
)

// call is one call of a bucket's method, as decorators see it.
type call struct {
	op      Op
	key     string // the prefix for OpList
	size    int64  // bytes of the body that is sent
	guarded bool   // carries a precondition, or ends a multipart upload: must not be sent twice
}

// interceptor is what the decorators retry, limit, count, fault and trace have in common: something around each call.
type interceptor interface {
	around(ctx context.Context, c call, next func(context.Context) error) error
}

// throttle is the extra side of an interceptor that looks at the bytes of what is read.
type throttle interface {
	reading(ctx context.Context, r io.ReadCloser) io.ReadCloser
}

// intercept puts i around every method of d. The result has the optional interfaces that d has, and no others.
func intercept(d driver.Bucket, i interceptor) driver.Bucket {
	d = unwrap(d)
	c := &intercepted{d: d, i: i}
	var m driver.Multiparter
	if inner, ok := d.(driver.Multiparter); ok {
		m = &interceptedParts{c: c, m: inner}
	}
	var v driver.Versioner
	if inner, ok := d.(driver.Versioner); ok {
		v = &interceptedVersions{c: c, v: inner}
	}
	return compose(c, m, v)
}

// compose gives a decorator the optional interfaces of what it decorates, so that a type assertion tells the truth.
func compose(b Capable, m driver.Multiparter, v driver.Versioner) driver.Bucket {
	switch {
	case m != nil && v != nil:
		return struct {
			Capable
			driver.Multiparter
			driver.Versioner
		}{b, m, v}
	case m != nil:
		return struct {
			Capable
			driver.Multiparter
		}{b, m}
	case v != nil:
		return struct {
			Capable
			driver.Versioner
		}{b, v}
	}
	return b
}

type intercepted struct {
	d driver.Bucket
	i interceptor
}

func (c *intercepted) Capabilities() driver.Capabilities { return c.d.Capabilities() }

func (c *intercepted) WithCapabilities(caps driver.Capabilities) driver.Bucket {
	d := c.d
	if capable, ok := d.(Capable); ok {
		d = capable.WithCapabilities(caps)
	}
	return intercept(d, c.i)
}

func (c *intercepted) Close() error { return c.d.Close() }

func (c *intercepted) Stat(ctx context.Context, key, versionID string) (a *driver.Attrs, err error) {
	err = c.i.around(ctx, call{op: OpStat, key: key}, func(ctx context.Context) (err error) {
		a, err = c.d.Stat(ctx, key, versionID)
		return err
	})
	return result(a, err)
}

func (c *intercepted) Open(ctx context.Context, key string, opts *driver.ReadOptions) (io.ReadCloser, *driver.Attrs, error) {
	var r io.ReadCloser
	var a *driver.Attrs
	err := c.i.around(ctx, call{op: OpOpen, key: key}, func(ctx context.Context) (err error) {
		r, a, err = c.d.Open(ctx, key, opts)
		return err
	})
	if err != nil {
		if r != nil { // the call went well, and the decorator made an error of it
			_ = r.Close()
		}
		return nil, nil, err
	}
	if t, ok := c.i.(throttle); ok {
		r = t.reading(ctx, r)
	}
	return r, a, nil
}

func (c *intercepted) Put(ctx context.Context, key string, body io.ReadSeeker, opts *driver.PutOptions) (a *driver.Attrs, err error) {
	rewind, err := rewinder(body)
	if err != nil {
		return nil, err
	}
	k := call{op: OpPut, key: key}
	if opts != nil {
		k.size, k.guarded = opts.Size, opts.If != (driver.Precondition{})
	}
	err = c.i.around(ctx, k, func(ctx context.Context) (err error) {
		if err := rewind(); err != nil {
			return err
		}
		a, err = c.d.Put(ctx, key, body, opts)
		return err
	})
	return result(a, err)
}

func (c *intercepted) Delete(ctx context.Context, key string, opts *driver.DeleteOptions) (a *driver.Attrs, err error) {
	k := call{op: OpDelete, key: key, guarded: opts != nil && opts.If != (driver.Precondition{})}
	err = c.i.around(ctx, k, func(ctx context.Context) (err error) {
		a, err = c.d.Delete(ctx, key, opts)
		return err
	})
	return result(a, err)
}

func (c *intercepted) List(ctx context.Context, opts *driver.ListOptions) (p *driver.Page, err error) {
	k := call{op: OpList}
	if opts != nil {
		k.key = opts.Prefix
	}
	err = c.i.around(ctx, k, func(ctx context.Context) (err error) {
		p, err = c.d.List(ctx, opts)
		return err
	})
	return result(p, err)
}

// rewinder makes a body ready for being sent more than once.
func rewinder(body io.ReadSeeker) (func() error, error) {
	at, err := body.Seek(0, io.SeekCurrent)
	if err != nil {
		return nil, errkind.New(errkind.Invalid, "seek body: %w", err)
	}
	return func() error {
		if _, err := body.Seek(at, io.SeekStart); err != nil {
			return errkind.New(errkind.Invalid, "seek body: %w", err)
		}
		return nil
	}, nil
}

// result drops an answer that a decorator turned into an error.
func result[T any](v *T, err error) (*T, error) {
	if err != nil {
		return nil, err
	}
	return v, nil
}

type interceptedParts struct {
	c *intercepted
	m driver.Multiparter
}

func (p *interceptedParts) Begin(ctx context.Context, key string, opts *driver.PutOptions) (id string, err error) {
	err = p.c.i.around(ctx, call{op: OpBegin, key: key}, func(ctx context.Context) (err error) {
		id, err = p.m.Begin(ctx, key, opts)
		return err
	})
	return id, err
}

func (p *interceptedParts) PutPart(ctx context.Context, key, uploadID string, n int, body io.ReadSeeker, size int64) (part driver.Part, err error) {
	rewind, err := rewinder(body)
	if err != nil {
		return driver.Part{}, err
	}
	err = p.c.i.around(ctx, call{op: OpPutPart, key: key, size: size}, func(ctx context.Context) (err error) {
		if err := rewind(); err != nil {
			return err
		}
		part, err = p.m.PutPart(ctx, key, uploadID, n, body, size)
		return err
	})
	return part, err
}

func (p *interceptedParts) ListParts(ctx context.Context, key, uploadID string) (parts []driver.Part, err error) {
	err = p.c.i.around(ctx, call{op: OpListParts, key: key}, func(ctx context.Context) (err error) {
		parts, err = p.m.ListParts(ctx, key, uploadID)
		return err
	})
	return parts, err
}

func (p *interceptedParts) Complete(ctx context.Context, key, uploadID string, parts []driver.Part, opts *driver.PutOptions) (a *driver.Attrs, err error) {
	err = p.c.i.around(ctx, call{op: OpComplete, key: key, guarded: true}, func(ctx context.Context) (err error) {
		a, err = p.m.Complete(ctx, key, uploadID, parts, opts)
		return err
	})
	return result(a, err)
}

func (p *interceptedParts) Abort(ctx context.Context, key, uploadID string) error {
	return p.c.i.around(ctx, call{op: OpAbort, key: key}, func(ctx context.Context) error {
		return p.m.Abort(ctx, key, uploadID)
	})
}

type interceptedVersions struct {
	c *intercepted
	v driver.Versioner
}

func (v *interceptedVersions) Versions(ctx context.Context, key string) (all []driver.Attrs, err error) {
	err = v.c.i.around(ctx, call{op: OpVersions, key: key}, func(ctx context.Context) (err error) {
		all, err = v.v.Versions(ctx, key)
		return err
	})
	return all, err
}
