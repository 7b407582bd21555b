package transfer

import (
	"context"
	"fmt"
	"sync"

	"github.com/cenkalti/backoff/v5"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
	"github.com/bucketmesh/bucketmesh/pkg/version"
)

const (
	// maxParts is what all providers allow at least; a bucket's own MaxParts may be lower or higher.
	maxParts = 10_000
	// grain is what grown part sizes are a multiple of, so that they are few and buffers are used again, in bytes.
	grain = 1 << 20
)

// partSize is the size of the parts that the destinations share. It is the configured one, or more where a bucket
// wants larger or fewer parts, or less where a bucket takes no such large request. A destination that can't live with
// it finds out in begin.
func (c *Copier) partSize(size int64, dests []Dest) (int64, error) {
	part, limit := c.cfg.PartSize, int64(0)
	for _, d := range dests {
		caps := d.Bucket.Capabilities()
		part = max(part, caps.MinPart)
		if need := ceilDiv(size, partLimit(caps)); need > part {
			part = ceilDiv(need, grain) * grain
		}
		if caps.MaxPut > 0 && (limit == 0 || caps.MaxPut < limit) {
			limit = caps.MaxPut
		}
	}
	if limit > 0 {
		part = min(part, limit)
	}
	if part > c.cfg.Memory {
		return 0, errkind.New(errkind.Invalid, "copy object: %d bytes need parts of %d bytes, and the memory is bounded to %d bytes: raise it",
			size, part, c.cfg.Memory)
	}
	return part, nil
}

func partLimit(caps driver.Capabilities) int64 {
	if caps.MaxParts > 0 {
		return int64(min(caps.MaxParts, maxParts))
	}
	return maxParts
}

func ceilDiv(a, b int64) int64 { return (a + b - 1) / b }

// upload is the multipart upload at one destination.
//
// It fails once, with the first error. From then on nothing more is sent to its destination, requests under way are
// cancelled, and the last of them to return aborts the upload: an abort that overtakes a part leaves the part behind.
type upload struct {
	c      *Copier
	d      *Dest
	res    *Result // Attrs and Sent
	mp     driver.Multiparter
	ctx    context.Context
	cancel context.CancelFunc

	mu   sync.Mutex
	err  error
	busy int    // requests and callbacks under way
	id   string // "" before begin and after the abort
	sent []driver.Part
}

func newUpload(ctx context.Context, c *Copier, d *Dest, res *Result, count int) *upload {
	u := &upload{c: c, d: d, res: res, sent: make([]driver.Part, count)}
	u.ctx, u.cancel = context.WithCancel(ctx)
	return u
}

// outcome is the error that this upload failed with; nil while it lives.
func (u *upload) outcome() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.err
}

// do runs one step unless the upload has failed; an error of the step makes it fail.
func (u *upload) do(step func(ctx context.Context) error) {
	u.mu.Lock()
	if u.err != nil {
		u.mu.Unlock()
		return
	}
	u.busy++
	u.mu.Unlock()

	err := step(u.ctx)

	u.mu.Lock()
	if err != nil && u.err == nil {
		u.err = err
		u.cancel()
	}
	u.busy--
	abort := ""
	if u.err != nil && u.busy == 0 {
		abort, u.id = u.id, ""
	}
	u.mu.Unlock()
	if abort != "" {
		u.abort(abort)
	}
}

// drop makes the upload fail for a reason that is not its own.
func (u *upload) drop(why error) {
	u.do(func(context.Context) error { return why })
}

// abort removes the upload at the bucket, also when the caller has given up meanwhile.
func (u *upload) abort(id string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(u.ctx), u.c.cfg.AbortTimeout)
	defer cancel()
	err := u.c.retry(ctx, func() error { return u.mp.Abort(ctx, u.d.Key, id) })
	if err == nil {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.err = fmt.Errorf("%w (and abort upload: %v)", u.err, err) //nolint:errorlint // the kind stays that of the first error
}

// begin starts the upload.
func (u *upload) begin(size, part int64) {
	u.do(func(ctx context.Context) error {
		caps := u.d.Bucket.Capabilities()
		mp, ok := u.d.Bucket.(driver.Multiparter)
		switch {
		case !ok:
			return errkind.New(errkind.Unsupported, "begin upload: the bucket takes no object of %d bytes: it has no multipart uploads", size)
		case part < caps.MinPart && size > part, ceilDiv(size, part) > partLimit(caps):
			return errkind.New(errkind.Unsupported, "begin upload: the bucket takes no %d bytes in parts of %d bytes", size, part)
		}
		opts := u.d.Put
		opts.Size = size
		id, err := mp.Begin(ctx, u.d.Key, &opts)
		if err != nil {
			return fmt.Errorf("begin upload: %w", err)
		}
		u.mp = mp
		u.mu.Lock()
		u.id = id
		u.mu.Unlock()
		if u.d.Started != nil {
			if err := u.d.Started(ctx, id); err != nil {
				return fmt.Errorf("record upload: %w", err)
			}
		}
		return nil
	})
}

// part sends one part, again if need be: a part carries no condition, and storing it twice does no harm.
func (u *upload) part(n int, data []byte) {
	u.do(func(ctx context.Context) error {
		var p driver.Part
		err := u.c.retry(ctx, func() error {
			v := newView(data)
			defer v.revoke()
			var err error
			p, err = u.mp.PutPart(ctx, u.d.Key, u.id, n, v, int64(len(data)))
			return err
		})
		if err != nil {
			return fmt.Errorf("put part %d: %w", n, err)
		}
		u.mu.Lock()
		u.sent[n-1] = p
		u.mu.Unlock()
		return nil
	})
}

// complete makes the object visible if its precondition holds.
func (u *upload) complete(content version.Content) {
	u.do(func(ctx context.Context) error {
		if err := u.d.finish(ctx); err != nil {
			return err
		}
		opts := u.d.Put
		opts.Size, opts.MD5, opts.SHA256 = content.Size, content.MD5, content.SHA256
		u.res.Sent = true
		attrs, err := u.mp.Complete(ctx, u.d.Key, u.id, u.sent, &opts)
		if err != nil {
			return fmt.Errorf("complete upload: %w", err)
		}
		u.res.Attrs = attrs
		return nil
	})
}

// retry calls fn again, a bounded number of times, while its error is of a kind that may pass.
func (c *Copier) retry(ctx context.Context, fn func() error) error {
	b := backoff.NewExponentialBackOff()
	b.InitialInterval = c.cfg.RetryDelay
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		err := fn()
		if err != nil && (ctx.Err() != nil || !errkind.Of(err).Retryable()) {
			return struct{}{}, backoff.Permanent(err)
		}
		return struct{}{}, err
	}, backoff.WithBackOff(b), backoff.WithMaxTries(uint(c.cfg.Attempts)), backoff.WithMaxElapsedTime(0))
	return err
}
