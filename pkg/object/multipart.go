package object

import (
	"context"
	"fmt"
	"io"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
)

// multipart is the Multiparter of a Bucket: checks, and names in errors.
type multipart struct {
	b *Bucket
	m driver.Multiparter
}

func (p *multipart) Begin(ctx context.Context, key string, opts *driver.PutOptions) (string, error) {
	if opts == nil {
		opts = &driver.PutOptions{}
	}
	if err := firstError(p.b.checkKey(key), checkProperties(&opts.Properties)); err != nil {
		return "", fmt.Errorf("begin upload of %q: %w", key, err)
	}
	id, err := p.m.Begin(ctx, key, opts)
	if err != nil {
		return "", fmt.Errorf("begin upload of %q: %w", key, err)
	}
	return id, nil
}

func (p *multipart) PutPart(ctx context.Context, key, uploadID string, n int, body io.ReadSeeker, size int64) (driver.Part, error) {
	caps := p.b.d.Capabilities()
	err := firstError(p.b.checkKey(key), checkUpload(uploadID), checkSize("part", size, caps.MaxPut), checkLength(body, size))
	if err == nil && (n < 1 || caps.MaxParts > 0 && n > caps.MaxParts) {
		err = errkind.New(errkind.Invalid, "part number %d is not in 1..%d", n, caps.MaxParts)
	}
	if err != nil {
		return driver.Part{}, fmt.Errorf("put part %d of %q: %w", n, key, err)
	}
	part, err := p.m.PutPart(ctx, key, uploadID, n, body, size)
	if err != nil {
		return driver.Part{}, fmt.Errorf("put part %d of %q: %w", n, key, err)
	}
	return part, nil
}

func (p *multipart) ListParts(ctx context.Context, key, uploadID string) ([]driver.Part, error) {
	err := firstError(p.b.checkKey(key), checkUpload(uploadID))
	var parts []driver.Part
	if err == nil {
		parts, err = p.m.ListParts(ctx, key, uploadID)
	}
	if err != nil {
		return nil, fmt.Errorf("list parts of %q: %w", key, err)
	}
	return parts, nil
}

func (p *multipart) Complete(ctx context.Context, key, uploadID string, parts []driver.Part, opts *driver.PutOptions) (*driver.Attrs, error) {
	if opts == nil {
		opts = &driver.PutOptions{}
	}
	err := firstError(p.b.checkKey(key), checkUpload(uploadID), checkCondition(opts.If), checkParts(parts))
	var a *driver.Attrs
	if err == nil {
		a, err = p.m.Complete(ctx, key, uploadID, parts, opts)
	}
	if err != nil {
		return nil, fmt.Errorf("complete upload of %q: %w", key, err)
	}
	return a, nil
}

func (p *multipart) Abort(ctx context.Context, key, uploadID string) error {
	err := firstError(p.b.checkKey(key), checkUpload(uploadID))
	if err == nil {
		err = p.m.Abort(ctx, key, uploadID)
	}
	if err != nil {
		return fmt.Errorf("abort upload of %q: %w", key, err)
	}
	return nil
}

// versions is the Versioner of a Bucket.
type versions struct {
	b *Bucket
	v driver.Versioner
}

func (v *versions) Versions(ctx context.Context, key string) ([]driver.Attrs, error) {
	err := v.b.checkKey(key)
	var all []driver.Attrs
	if err == nil {
		all, err = v.v.Versions(ctx, key)
	}
	if err != nil {
		return nil, fmt.Errorf("list versions of %q: %w", key, err)
	}
	return all, nil
}
