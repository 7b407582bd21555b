// Package alive tells a missing key from a missing bucket where a provider's 404 doesn't: an emptied, wrong or deleted
// bucket must never look like deleted objects.
//
// Errors are those of the question that is asked. Concurrency: all methods may be called from many goroutines.
package alive

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// Bucket remembers when a bucket last proved that it exists. Make one with New.
type Bucket struct {
	every time.Duration
	last  atomic.Int64 // unix nanoseconds
	ask   sync.Mutex   // many 404s at once ask once
}

// New is a Bucket whose existence is believed for that long after a proof; negative: never.
func New(every time.Duration) *Bucket { return &Bucket{every: every} }

// Seen is a proof: the bucket answered.
func (b *Bucket) Seen() { b.last.Store(time.Now().UnixNano()) }

// Check asks whether the bucket is there, unless there was a proof not long ago. nil: it is.
func (b *Bucket) Check(ctx context.Context, ask func(context.Context) error) error {
	if b.recent() {
		return nil
	}
	b.ask.Lock()
	defer b.ask.Unlock()
	if b.recent() { // somebody else just asked
		return nil
	}
	if err := ask(ctx); err != nil {
		return err
	}
	b.Seen()
	return nil
}

func (b *Bucket) recent() bool { return time.Since(time.Unix(0, b.last.Load())) <= b.every }
