package mem

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
)

type upload struct {
	key   string
	props driver.Properties
	parts map[int][]byte
}

// Begin implements driver.Multiparter.
func (b *Bucket) Begin(ctx context.Context, key string, opts *driver.PutOptions) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	if opts == nil {
		opts = &driver.PutOptions{}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.serial++
	id := fmt.Sprintf("upload-%d", b.serial)
	b.uploads[id] = &upload{key: key, props: opts.Properties, parts: map[int][]byte{}}
	return id, nil
}

func (b *Bucket) upload(key, id string) (*upload, error) {
	u := b.uploads[id]
	if u == nil || u.key != key {
		return nil, errkind.New(errkind.NotFound, "no such upload")
	}
	return u, nil
}

// PutPart implements driver.Multiparter.
func (b *Bucket) PutPart(ctx context.Context, key, uploadID string, n int, body io.ReadSeeker, size int64) (driver.Part, error) {
	if err := ctx.Err(); err != nil {
		return driver.Part{}, err
	}
	data, err := readAll(body, size, "", "")
	if err != nil {
		return driver.Part{}, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	u, err := b.upload(key, uploadID)
	if err != nil {
		return driver.Part{}, err
	}
	u.parts[n] = data
	return driver.Part{Number: n, Size: size, ETag: md5hex(data)}, nil
}

// ListParts implements driver.Multiparter.
func (b *Bucket) ListParts(ctx context.Context, key, uploadID string) ([]driver.Part, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	u, err := b.upload(key, uploadID)
	if err != nil {
		return nil, err
	}
	var parts []driver.Part
	for _, n := range slices.Sorted(maps.Keys(u.parts)) {
		parts = append(parts, driver.Part{Number: n, Size: int64(len(u.parts[n])), ETag: md5hex(u.parts[n])})
	}
	return parts, nil
}

// Complete implements driver.Multiparter.
func (b *Bucket) Complete(ctx context.Context, key, uploadID string, parts []driver.Part, opts *driver.PutOptions) (*driver.Attrs, error) {
	if opts == nil {
		opts = &driver.PutOptions{}
	}
	how, err := driver.GuardOf(opts.If, b.caps.CompleteGuard, b.caps.CompleteGuard)
	if err != nil {
		return nil, err
	}
	if how == driver.GuardMarker {
		return b.checked(ctx, key, opts.If, func(ctx context.Context) (*driver.Attrs, error) {
			return b.complete(ctx, key, uploadID, parts, driver.Precondition{})
		})
	}
	return b.complete(ctx, key, uploadID, parts, opts.If)
}

// complete is the provider's CompleteMultipartUpload.
func (b *Bucket) complete(ctx context.Context, key, uploadID string, parts []driver.Part, cond driver.Precondition) (*driver.Attrs, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	u, err := b.upload(key, uploadID)
	if err != nil {
		return nil, err
	}
	var data, sums bytes.Buffer
	for i, p := range parts {
		part, ok := u.parts[p.Number]
		switch {
		case !ok || md5hex(part) != p.ETag:
			return nil, errkind.New(errkind.Invalid, "part %d is not the one that was stored", p.Number)
		case i < len(parts)-1 && int64(len(part)) < b.caps.MinPart:
			return nil, errkind.New(errkind.Invalid, "part %d is too small", p.Number)
		}
		data.Write(part)
		raw, _ := hex.DecodeString(p.ETag) // it equals an MD5 in hex
		sums.Write(raw)
	}
	if err := b.check(key, cond, b.cfg.Lies.IgnoreComplete, b.cfg.Lies.IgnoreComplete); err != nil {
		return nil, err
	}
	delete(b.uploads, uploadID)
	etag := fmt.Sprintf("%s-%d", md5hex(sums.Bytes()), len(parts))
	return b.answer(b.add(key, data.Bytes(), etag, "", &driver.PutOptions{Properties: u.props})), nil
}

// Abort implements driver.Multiparter.
func (b *Bucket) Abort(ctx context.Context, key, uploadID string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if u := b.uploads[uploadID]; u != nil && u.key == key {
		delete(b.uploads, uploadID)
	}
	return nil
}

// Uploads is how many multipart uploads are open: a test that must not leave any can ask.
func (b *Bucket) Uploads() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.uploads)
}
