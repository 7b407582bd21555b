package object

import (
	"bytes"
	"context"
	"fmt"
	"io"

	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
)

// Capable is implemented by drivers whose behaviour follows their Capabilities: which conditions they send, refuse, or
// check after the fact.
type Capable interface {
	driver.Bucket
	// WithCapabilities is the same bucket with other capabilities, usually those of a Report. The two share connections.
	WithCapabilities(c driver.Capabilities) driver.Bucket
}

// Bucket is the portable bucket: it checks input before it costs a request and names the operation in errors.
type Bucket struct {
	d driver.Bucket
}

var _ driver.Bucket = (*Bucket)(nil)

// New is a Bucket over a driver (or over decorators of one).
func New(d driver.Bucket) *Bucket { return &Bucket{d: unwrap(d)} }

// unwrap keeps checks and messages from being stacked when a Bucket is decorated again.
func unwrap(d driver.Bucket) driver.Bucket {
	if b, ok := d.(*Bucket); ok {
		return b.d
	}
	return d
}

// Driver is what the bucket was made from.
func (b *Bucket) Driver() driver.Bucket { return b.d }

// WithCapabilities is the same bucket with the capabilities that a Probe found. A driver that doesn't follow
// capabilities keeps its own.
func (b *Bucket) WithCapabilities(c driver.Capabilities) *Bucket {
	if capable, ok := b.d.(Capable); ok {
		return New(capable.WithCapabilities(c))
	}
	return b
}

// Capabilities is what the bucket promises.
func (b *Bucket) Capabilities() driver.Capabilities { return b.d.Capabilities() }

// Stat reads the attributes of a key: of its current version, or of versionID if that is not empty.
func (b *Bucket) Stat(ctx context.Context, key, versionID string) (*driver.Attrs, error) {
	if err := b.checkKey(key); err != nil {
		return nil, fmt.Errorf("stat object: %w", err)
	}
	a, err := b.d.Stat(ctx, key, versionID)
	if err != nil {
		return nil, fmt.Errorf("stat object %q: %w", key, err)
	}
	return a, nil
}

// Open reads an object; nil opts read the whole current one. The caller closes the reader.
func (b *Bucket) Open(ctx context.Context, key string, opts *driver.ReadOptions) (io.ReadCloser, *driver.Attrs, error) {
	if opts == nil {
		opts = &driver.ReadOptions{}
	}
	if err := firstError(b.checkKey(key), checkRead(opts)); err != nil {
		return nil, nil, fmt.Errorf("open object: %w", err)
	}
	r, a, err := b.d.Open(ctx, key, opts)
	if err != nil {
		return nil, nil, fmt.Errorf("open object %q: %w", key, err)
	}
	return r, a, nil
}

// Put writes a whole object of opts.Size bytes. A nil body is an empty object.
func (b *Bucket) Put(ctx context.Context, key string, body io.ReadSeeker, opts *driver.PutOptions) (*driver.Attrs, error) {
	if opts == nil {
		opts = &driver.PutOptions{}
	}
	if body == nil {
		body = bytes.NewReader(nil)
	}
	err := firstError(b.checkKey(key), checkProperties(&opts.Properties), checkCondition(opts.If), checkSums(opts),
		checkSize("object", opts.Size, b.d.Capabilities().MaxPut), checkLength(body, opts.Size))
	if err != nil {
		return nil, fmt.Errorf("put object %q: %w", key, err)
	}
	a, err := b.d.Put(ctx, key, body, opts)
	if err != nil {
		return nil, fmt.Errorf("put object %q: %w", key, err)
	}
	return a, nil
}

// Delete removes the current version, or opts.VersionID for good.
func (b *Bucket) Delete(ctx context.Context, key string, opts *driver.DeleteOptions) (*driver.Attrs, error) {
	if opts == nil {
		opts = &driver.DeleteOptions{}
	}
	if err := firstError(b.checkKey(key), checkDelete(opts)); err != nil {
		return nil, fmt.Errorf("delete object: %w", err)
	}
	a, err := b.d.Delete(ctx, key, opts)
	if err != nil {
		return nil, fmt.Errorf("delete object %q: %w", key, err)
	}
	return a, nil
}

// List returns one page of current objects in the byte order of their keys.
func (b *Bucket) List(ctx context.Context, opts *driver.ListOptions) (*driver.Page, error) {
	if opts == nil {
		opts = &driver.ListOptions{}
	}
	p, err := b.d.List(ctx, opts)
	if err != nil {
		return nil, fmt.Errorf("list objects under %q: %w", opts.Prefix, err)
	}
	return p, nil
}

// Close releases what the driver holds.
func (b *Bucket) Close() error {
	if err := b.d.Close(); err != nil {
		return fmt.Errorf("close bucket: %w", err)
	}
	return nil
}

// Multipart is the bucket's side for large objects, with the same checks, if its driver has one.
func (b *Bucket) Multipart() (driver.Multiparter, bool) {
	m, ok := b.d.(driver.Multiparter)
	if !ok {
		return nil, false
	}
	return &multipart{b: b, m: m}, true
}

// Versions is the bucket's memory of older versions, if its driver can list them.
func (b *Bucket) Versions() (driver.Versioner, bool) {
	v, ok := b.d.(driver.Versioner)
	if !ok {
		return nil, false
	}
	return &versions{b: b, v: v}, true
}
