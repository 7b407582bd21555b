package s3

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
)

// errSilence ends a GET whose server says nothing any more.
var errSilence = errors.New("no answer in time")

// watch ends a request that makes no progress. A context's deadline can't do that: it would also end a long download that
// does make progress.
type watch struct {
	ctx    context.Context // of the request, whose body outlives the call that started it
	cancel context.CancelCauseFunc
	timer  *time.Timer
}

func newWatch(ctx context.Context, d time.Duration) *watch {
	ctx, cancel := context.WithCancelCause(ctx)
	return &watch{ctx: ctx, cancel: cancel, timer: time.AfterFunc(d, func() { cancel(errSilence) })}
}

func (w *watch) stop() {
	w.timer.Stop()
	w.cancel(nil)
}

// explain replaces the "context canceled" that the watch itself caused.
func (w *watch) explain(err error) error {
	if err != nil && errors.Is(context.Cause(w.ctx), errSilence) {
		return errkind.New(errkind.Unavailable, "%w: %w", errSilence, err)
	}
	return err
}

// body is a GET's body that knows its length.
type body struct {
	r     io.ReadCloser
	left  int64
	watch *watch
	idle  time.Duration
}

// Read never ends early with io.EOF: a torn connection and a checksum that doesn't fit are Unavailable. The watch runs only
// while the server is waited for, not while the reader's owner is busy elsewhere (a slow destination, a bandwidth limit).
func (b *body) Read(p []byte) (int, error) {
	b.watch.timer.Reset(b.idle)
	n, err := b.r.Read(p)
	b.watch.timer.Stop()
	b.left -= int64(n)
	switch {
	case err == nil:
		return n, nil
	case errors.Is(err, io.EOF) && b.left == 0:
		return n, io.EOF
	case errors.Is(err, io.EOF):
		return n, errkind.New(errkind.Unavailable, "read body: %d bytes are missing at its end", b.left)
	case b.watch.ctx.Err() != nil && !errors.Is(context.Cause(b.watch.ctx), errSilence):
		return n, errkind.New(errkind.Of(b.watch.ctx.Err()), "read body: %w", err)
	}
	// Not %w: the cause can be an io.ErrUnexpectedEOF, which callers that look for the end of a body could take for it.
	return n, errkind.New(errkind.Unavailable, "read body: %s", b.watch.explain(err).Error())
}

// Close ends the request, read to the end or not.
func (b *body) Close() error {
	err := b.r.Close()
	b.watch.stop()
	if err != nil && b.left == 0 {
		return errkind.New(errkind.Unavailable, "close body: %w", err)
	}
	return nil
}
