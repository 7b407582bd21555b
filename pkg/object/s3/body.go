package s3

import (
	"context"
	"crypto/md5" //nolint:gosec // an S3 ETag is an MD5
	"encoding/hex"
	"errors"
	"hash"
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
	sum   hash.Hash // of what was read; nil if nobody vouches for one
	want  string    // the MD5 that the ETag promises
}

// vouch makes the body fail at its end if it isn't what the ETag says: some servers read an object's attributes apart from
// its bytes, and an overwrite in between gives the new bytes under the old ETag.
func (b *body) vouch(md5Hex string) {
	if md5Hex != "" {
		b.sum, b.want = md5.New(), md5Hex //nolint:gosec // an S3 ETag is an MD5
	}
}

// Read never ends early with io.EOF: a torn connection and a checksum that doesn't fit are Unavailable. The watch runs only
// while the server is waited for, not while the reader's owner is busy elsewhere (a slow destination, a bandwidth limit).
func (b *body) Read(p []byte) (int, error) {
	b.watch.timer.Reset(b.idle)
	n, err := b.r.Read(p)
	b.watch.timer.Stop()
	b.left -= int64(n)
	if b.sum != nil {
		b.sum.Write(p[:n])
	}
	switch {
	case err == nil:
		return n, nil
	case errors.Is(err, io.EOF) && b.left == 0:
		if b.sum != nil && hex.EncodeToString(b.sum.Sum(nil)) != b.want {
			return n, errkind.New(errkind.Unavailable, "read body: the bytes are not those of the ETag %s; the object changed while it was read", b.want)
		}
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
