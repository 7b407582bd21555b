package object

import (
	"context"
	"errors"
	"time"

	"github.com/sony/gobreaker/v2"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
)

// BreakerOptions of a circuit breaker. Zero fields have the defaults that are named here.
type BreakerOptions struct {
	Failures uint32        // failures in a row that open the breaker: 5
	Pause    time.Duration // how long an open breaker refuses, before one request is let through to try: 10 s
	// OnChange is told when the breaker opens and closes; nil is allowed.
	OnChange func(open bool)
}

type breaker struct {
	cb    *gobreaker.CircuitBreaker[struct{}]
	pause time.Duration
}

// Break is d with a circuit breaker: after several failures in a row of kind Unavailable, requests are refused at once, with
// the same kind, until the pause is over. One replica that swallows requests then costs the others nothing: without it
// every change would wait for its timeout. Other kinds are answers: they show that the bucket is there.
func Break(d driver.Bucket, o BreakerOptions) driver.Bucket {
	if o.Failures == 0 {
		o.Failures = 5
	}
	if o.Pause <= 0 {
		o.Pause = 10 * time.Second
	}
	settings := gobreaker.Settings{
		MaxRequests: 1, Timeout: o.Pause,
		ReadyToTrip:  func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= o.Failures },
		IsSuccessful: func(err error) bool { return !errkind.Is(err, errkind.Unavailable) },
	}
	if o.OnChange != nil {
		settings.OnStateChange = func(_ string, _, to gobreaker.State) { o.OnChange(to == gobreaker.StateOpen) }
	}
	return intercept(d, &breaker{cb: gobreaker.NewCircuitBreaker[struct{}](settings), pause: o.Pause})
}

func (b *breaker) around(ctx context.Context, _ call, next func(context.Context) error) error {
	_, err := b.cb.Execute(func() (struct{}, error) {
		err := next(ctx)
		if err != nil && ctx.Err() != nil && errors.Is(ctx.Err(), context.Canceled) {
			return struct{}{}, errkind.New(errkind.Canceled, "%w", err) // the caller gave up: no word about the bucket
		}
		return struct{}{}, err
	})
	if errors.Is(err, gobreaker.ErrOpenState) || errors.Is(err, gobreaker.ErrTooManyRequests) {
		return errkind.After(b.pause, errkind.New(errkind.Unavailable, "the bucket did not answer several times in a row; it is tried again within %s", b.pause))
	}
	return err
}
