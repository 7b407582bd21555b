package object

import (
	"context"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
)

// RetryOptions bound the retries. Zero fields have the defaults that are named here.
type RetryOptions struct {
	Attempts   uint          // in all, the first one included: 4
	Initial    time.Duration // mean pause after the first failure: 100 ms; it doubles
	Max        time.Duration // longest pause: 5 s
	MaxElapsed time.Duration // no attempt starts later than this after the first: 30 s
	// OnRetry is told before each pause; nil is allowed.
	OnRetry func(op Op, key string, err error, pause time.Duration)
}

type retrier struct{ o RetryOptions }

// Retry is d with failures of a retryable kind tried again, with exponential and jittered pauses. It NEVER repeats a
// request that carries a Precondition, nor a Complete: after a lost answer a repeated success would answer
// PreconditionFailed, and the caller could not tell its own write from somebody else's. What is repeated is safe to repeat:
// reads, parts, unconditional writes of the same bytes. A repeated Begin can leave an upload without an owner, which a
// lifecycle rule of the bucket removes. Reading a body is not repeated, only opening it.
func Retry(d driver.Bucket, o RetryOptions) driver.Bucket {
	if o.Attempts == 0 {
		o.Attempts = 4
	}
	if o.Initial <= 0 {
		o.Initial = 100 * time.Millisecond
	}
	if o.Max <= 0 {
		o.Max = 5 * time.Second
	}
	if o.MaxElapsed <= 0 {
		o.MaxElapsed = 30 * time.Second
	}
	return intercept(d, &retrier{o: o})
}

func (r *retrier) around(ctx context.Context, k call, next func(context.Context) error) error {
	if k.guarded {
		return next(ctx)
	}
	pauses := backoff.NewExponentialBackOff()
	pauses.InitialInterval, pauses.MaxInterval, pauses.Multiplier = r.o.Initial, r.o.Max, 2
	var last error
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		last = next(ctx)
		kind := errkind.Of(last)
		if last != nil && (!kind.Retryable() || kind == errkind.Canceled) {
			return struct{}{}, backoff.Permanent(last)
		}
		if wait := errkind.Delay(last); wait > 0 { // the provider says when it wants to hear from us again
			return struct{}{}, &backoff.RetryAfterError{Duration: min(wait, r.o.Max)}
		}
		return struct{}{}, last
	}, backoff.WithBackOff(pauses), backoff.WithMaxTries(r.o.Attempts), backoff.WithMaxElapsedTime(r.o.MaxElapsed),
		backoff.WithNotify(func(_ error, pause time.Duration) {
			if r.o.OnRetry != nil {
				r.o.OnRetry(k.op, k.key, last, pause)
			}
		}))
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil: // the caller gave up between attempts: that is what ended it, whatever went wrong before
		return errkind.New(errkind.Of(ctx.Err()), "retry: %w (after %v)", ctx.Err(), last)
	}
	return last // the bucket's error with its kind, not the envelope of the retry library
}
