package main

import (
	"context"
	"io"
	"strconv"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
)

// upload is a multipart upload that was begun and neither completed nor aborted.
type upload struct {
	key   string
	opts  driver.PutOptions
	parts map[int]string
}

// Begin implements driver.Multiparter.
func (b *bucket) Begin(ctx context.Context, key string, opts *driver.PutOptions) (string, error) {
	if err := b.ask(ctx, opPut); err != nil {
		return "", err
	}
	b.w.uploads++
	id := "u" + strconv.Itoa(b.w.uploads)
	b.uploads[id] = &upload{key: key, opts: *opts, parts: map[int]string{}}
	return id, b.answer()
}

func (b *bucket) upload(id string) (*upload, error) {
	if u := b.uploads[id]; u != nil {
		return u, nil
	}
	return nil, errkind.New(errkind.NotFound, "no such upload")
}

// PutPart implements driver.Multiparter.
func (b *bucket) PutPart(ctx context.Context, _, id string, n int, body io.ReadSeeker, size int64) (driver.Part, error) {
	raw, err := io.ReadAll(body)
	if err != nil {
		return driver.Part{}, err
	}
	if err := b.ask(ctx, opPut); err != nil {
		return driver.Part{}, err
	}
	u, err := b.upload(id)
	if err != nil {
		return driver.Part{}, err
	}
	u.parts[n] = string(raw)
	return driver.Part{Number: n, Size: size, ETag: string(raw)}, b.answer()
}

// ListParts implements driver.Multiparter.
func (b *bucket) ListParts(context.Context, string, string) ([]driver.Part, error) { //nolint:unparam // an interface
	return nil, errkind.New(errkind.Unsupported, "the engine never lists parts")
}

// Complete implements driver.Multiparter. The condition is kept here, and nowhere before.
func (b *bucket) Complete(ctx context.Context, key, id string, parts []driver.Part, opts *driver.PutOptions) (*driver.Attrs, error) {
	do := func(ctx context.Context, cond driver.Precondition) (*driver.Attrs, landing, error) {
		if err := b.ask(ctx, opPut); err != nil {
			return nil, landing{}, err
		}
		u, err := b.upload(id)
		if err != nil {
			return nil, landing{}, err
		}
		var raw []byte
		for _, p := range parts {
			raw = append(raw, u.parts[p.Number]...)
		}
		if key != theKey {
			a, err := b.preserve(key, raw, opts)
			if !errkind.Is(err, errkind.PreconditionFailed) {
				delete(b.uploads, id)
			}
			return a, landing{}, err
		}
		if !b.holds(cond) && b.w.mutant != CompleteUnchecked {
			return nil, landing{}, errkind.New(errkind.PreconditionFailed, "condition does not hold")
		}
		delete(b.uploads, id)
		next := b.written(raw, &u.opts)
		next.parts = true
		return b.land(next, cond)
	}
	if key != theKey {
		a, _, err := do(ctx, opts.If)
		return a, err
	}
	return b.guarded(ctx, opts.If, b.cloud.put, b.cloud.put, do)
}

// Abort implements driver.Multiparter.
func (b *bucket) Abort(ctx context.Context, _, id string) error {
	if err := b.ask(ctx, opAbort); err != nil {
		return err
	}
	delete(b.uploads, id)
	return b.answer()
}

// abandoned is how many uploads hold parts that cost money for ever. One that was begun by a process that died before it could
// remember it has none. Nobody remembers those of conflict copies.
func (b *bucket) abandoned() (n int) {
	for _, u := range b.uploads {
		if u.key == theKey && len(u.parts) > 0 {
			n++
		}
	}
	return n
}
