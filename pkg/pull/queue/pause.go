package queue

import (
	"context"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
)

// Pause is the back-off that all goroutines of a source share: failures of messages that were under way together are one
// failure, and the first success ends it.
type Pause struct {
	mu     sync.Mutex
	next   *backoff.ExponentialBackOff
	max    time.Duration
	failed bool
	until  time.Time
}

// NewPause makes one with the bounds of l.
func NewPause(l Limits) *Pause {
	b := backoff.NewExponentialBackOff()
	b.InitialInterval, b.MaxInterval, b.Multiplier, b.RandomizationFactor = l.Backoff, l.MaxBackoff, 2, 0.2
	b.Reset()
	return &Pause{next: b, max: l.MaxBackoff}
}

// Failed says how long to wait after a failure. An error that says when to come back (errkind.After) is listened to,
// within the bound.
func (p *Pause) Failed(err error) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.failed = true
	now := time.Now()
	if now.Before(p.until) { // another one of the same failure
		return p.until.Sub(now)
	}
	d := min(max(p.next.NextBackOff(), errkind.Delay(err)), p.max)
	p.until = now.Add(d)
	return d
}

// OK ends the pause.
func (p *Pause) OK() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.failed {
		p.failed, p.until = false, time.Time{}
		p.next.Reset()
	}
}

// Failing reports whether the last that was told is a failure.
func (p *Pause) Failing() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.failed
}

// Wait returns when the pause is over, or with ctx's error when that ends.
func (p *Pause) Wait(ctx context.Context) error {
	p.mu.Lock()
	d := time.Until(p.until)
	p.mu.Unlock()
	return Sleep(ctx, d)
}

// Sleep waits for d, or until ctx ends and returns its error then.
func Sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
