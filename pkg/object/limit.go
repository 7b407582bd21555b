package object

import (
	"context"
	"io"

	"golang.org/x/sync/semaphore"
	"golang.org/x/time/rate"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
)

// LimitOptions are upper bounds; zero is no bound.
type LimitOptions struct {
	RequestsPerSecond float64
	Burst             int // requests that may come at once; at least 1
	Concurrent        int // requests under way at once
	BytesPerSecond    int // of bodies, both directions together
}

type limiter struct {
	requests *rate.Limiter
	slots    *semaphore.Weighted
	bytes    *rate.Limiter
}

// Limit is d with bounds on the rate of requests, their number at once and the bandwidth of bodies. A call waits for its
// turn, or fails with the context's error. Open holds its slot until the answer's headers are there, not until the
// body is read: a copy reads from one bucket while it waits for another one's slot, and two copies in opposite
// directions would wait for each other for ever.
func Limit(d driver.Bucket, o LimitOptions) driver.Bucket {
	l := &limiter{}
	if o.RequestsPerSecond > 0 {
		l.requests = rate.NewLimiter(rate.Limit(o.RequestsPerSecond), max(1, o.Burst))
	}
	if o.Concurrent > 0 {
		l.slots = semaphore.NewWeighted(int64(o.Concurrent))
	}
	if o.BytesPerSecond > 0 {
		// One burst is a tenth of a second's worth: smooth, and large enough for a useful read.
		l.bytes = rate.NewLimiter(rate.Limit(o.BytesPerSecond), max(1, o.BytesPerSecond/10))
	}
	return intercept(d, l)
}

func (l *limiter) around(ctx context.Context, k call, next func(context.Context) error) error {
	// The bytes of a sent body are paid before it is sent, once: an SDK reads a body several times (checksum,
	// signature, sending), and counting reads would count each of them.
	if err := l.pay(ctx, k.size); err != nil {
		return err
	}
	if l.slots != nil {
		if err := l.slots.Acquire(ctx, 1); err != nil {
			return errkind.New(errkind.Of(err), "wait for a slot: %w", err)
		}
		defer l.slots.Release(1)
	}
	if l.requests != nil {
		if err := l.requests.Wait(ctx); err != nil {
			return waitError(ctx, "wait for a turn", err)
		}
	}
	return next(ctx)
}

func (l *limiter) pay(ctx context.Context, size int64) error {
	if l.bytes == nil {
		return nil
	}
	for size > 0 {
		n := min(size, int64(l.bytes.Burst()))
		if err := l.bytes.WaitN(ctx, int(n)); err != nil {
			return waitError(ctx, "wait for bandwidth", err)
		}
		size -= n
	}
	return nil
}

// waitError gives a kind to the limiter's own "would exceed context deadline", which is no context error.
func waitError(ctx context.Context, what string, err error) error {
	kind := errkind.Throttled
	if ctx.Err() != nil {
		kind = errkind.Of(ctx.Err())
	}
	return errkind.New(kind, "%s: %w", what, err)
}

func (l *limiter) reading(ctx context.Context, r io.ReadCloser) io.ReadCloser {
	if l.bytes == nil {
		return r
	}
	return &slowReadCloser{slowReader{ctx, r, l.bytes}, r}
}

type slowReader struct {
	ctx context.Context // of the call whose body this is; a Reader has no other way to be cancelled
	r   io.Reader
	l   *rate.Limiter
}

func (s *slowReader) Read(p []byte) (int, error) {
	if len(p) > s.l.Burst() {
		p = p[:s.l.Burst()]
	}
	n, err := s.r.Read(p)
	if n > 0 {
		if werr := s.l.WaitN(s.ctx, n); werr != nil {
			return n, waitError(s.ctx, "wait for bandwidth", werr)
		}
	}
	return n, err
}

type slowReadCloser struct {
	slowReader
	io.Closer
}
