// Package stream is what drivers need to read a body that can't be trusted to end well: a watch over a server that says
// nothing any more, and a body that knows how long it is and what its bytes add up to.
//
// Errors: everything that goes wrong with a body is errkind.Unavailable and never looks like its end; a context that its
// owner ended keeps its own kind. Concurrency: a Body has one reader, as every io.Reader; the package starts no
// goroutine beside the watch's timer.
package stream

import (
	"bytes"
	"context"
	"errors"
	"hash"
	"io"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
)

// errSilence ends a request whose server says nothing any more.
var errSilence = errors.New("no answer in time")

// Watch ends a request that makes no progress. A context's deadline can't do that: it would also end a long download that
// does make progress.
type Watch struct {
	ctx    context.Context // of the request, whose body outlives the call that started it
	cancel context.CancelCauseFunc
	timer  *time.Timer
}

// NewWatch gives the server d to answer. The request has to be sent with Context.
func NewWatch(ctx context.Context, d time.Duration) *Watch {
	ctx, cancel := context.WithCancelCause(ctx)
	return &Watch{ctx: ctx, cancel: cancel, timer: time.AfterFunc(d, func() { cancel(errSilence) })}
}

// Context is the request's.
func (w *Watch) Context() context.Context { return w.ctx }

// Answered says that the headers are there: from now on only reads of a Body are watched.
func (w *Watch) Answered() { w.timer.Stop() }

// Stop ends the request, if it still runs.
func (w *Watch) Stop() {
	w.timer.Stop()
	w.cancel(nil)
}

// Explain replaces the "context canceled" that the watch itself caused.
func (w *Watch) Explain(err error) error {
	if err != nil && errors.Is(context.Cause(w.ctx), errSilence) {
		return errkind.New(errkind.Unavailable, "%w: %w", errSilence, err)
	}
	return err
}

// Body is the body of an answer.
type Body struct {
	r     io.ReadCloser
	left  int64
	watch *Watch
	idle  time.Duration
	sum   hash.Hash // of what was read; nil if nobody vouches for one
	want  []byte
	name  string
}

// NewBody is r, which must have size bytes and must not be silent for longer than idle.
func NewBody(r io.ReadCloser, size int64, w *Watch, idle time.Duration) *Body {
	return &Body{r: r, left: size, watch: w, idle: idle}
}

// Vouch makes the body fail at its end if its sum isn't want: some servers read an object's attributes apart from its bytes,
// and an overwrite in between gives the new bytes under the old name. name says what vouches, for the error.
func (b *Body) Vouch(sum hash.Hash, want []byte, name string) {
	b.sum, b.want, b.name = sum, want, name
}

// Read never ends early with io.EOF: a torn connection and a checksum that doesn't fit are Unavailable. The watch runs only
// while the server is waited for, not while the reader's owner is busy elsewhere (a slow destination, a bandwidth limit).
func (b *Body) Read(p []byte) (int, error) {
	b.watch.timer.Reset(b.idle)
	n, err := b.r.Read(p)
	b.watch.timer.Stop()
	b.left -= int64(n)
	if b.sum != nil {
		b.sum.Write(p[:n])
	}
	switch {
	case b.left < 0:
		return n, errkind.New(errkind.Unavailable, "read body: there are more bytes than were announced")
	case err == nil:
		return n, nil
	case errors.Is(err, io.EOF) && b.left == 0:
		if b.sum != nil && !bytes.Equal(b.sum.Sum(nil), b.want) {
			return n, errkind.New(errkind.Unavailable, "read body: the bytes are not those of the %s %x; the object changed while it was read",
				b.name, b.want)
		}
		return n, io.EOF
	case errors.Is(err, io.EOF):
		return n, errkind.New(errkind.Unavailable, "read body: %d bytes are missing at its end", b.left)
	case b.watch.ctx.Err() != nil && !errors.Is(context.Cause(b.watch.ctx), errSilence):
		return n, errkind.New(errkind.Of(b.watch.ctx.Err()), "read body: %w", err)
	}
	// Not %w: the cause can be an io.ErrUnexpectedEOF, which callers that look for the end of a body could take for it.
	return n, errkind.New(errkind.Unavailable, "read body: %s", b.watch.Explain(err).Error())
}

// Close ends the request, read to the end or not.
func (b *Body) Close() error {
	err := b.r.Close()
	b.watch.Stop()
	if err != nil && b.left == 0 {
		return errkind.New(errkind.Unavailable, "close body: %w", err)
	}
	return nil
}
