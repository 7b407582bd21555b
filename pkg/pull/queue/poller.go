package queue

import (
	"context"
	"sync"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
)

// Delivery is a message that was fetched, with what the queue wants to see when it is settled.
type Delivery struct {
	Message
	Receipt string
}

// Client speaks to a queue that is asked for messages. Its functions honour their context.
type Client interface {
	// Fetch gets at most limit messages and hides them from others for Limits.Visibility. It may wait for Limits.Wait.
	Fetch(ctx context.Context, limit int) ([]Delivery, error)
	// Ack takes a message out of the queue.
	Ack(ctx context.Context, d Delivery) error
	// Release lets the message be fetched again after a while.
	Release(ctx context.Context, d Delivery, after time.Duration) error
}

// Poller fetches messages and has them handled.
type Poller struct {
	Client Client
	Limits Limits // with defaults
	Batch  int    // messages that one Fetch can get
	Size   int64  // bytes of the largest message: before a fetch, memory is set aside for it
}

// Receive is that of Source. A long poll is broken off when ctx ends: what the server gave to it at that moment is hidden
// from others for Limits.Visibility.
func (p *Poller) Receive(ctx context.Context, c Consumer) error {
	work, cancel := Outlive(ctx, p.Limits.Stop)
	defer cancel()
	r := &run{
		Poller: p, consumer: c, stopping: ctx, handling: NewPause(p.Limits), asking: NewPause(p.Limits),
		slots: make(chan struct{}, max(1, min(p.Limits.Messages, int(p.Limits.Bytes/p.Size)))),
	}
	var underWay sync.WaitGroup
	for ctx.Err() == nil {
		for _, d := range r.fetch(ctx) {
			underWay.Go(func() {
				defer func() { <-r.slots }()
				r.handle(work, d)
			})
		}
	}
	done := make(chan struct{})
	go func() { underWay.Wait(); close(done) }()
	last := time.NewTimer(p.Limits.Stop + 2*p.Limits.Request)
	defer last.Stop()
	select {
	case <-done:
		return nil
	case <-last.C:
		return errkind.New(errkind.Canceled, "stop: messages are still handled after %s: they come again", p.Limits.Stop)
	}
}

// run is one Receive.
type run struct {
	*Poller
	consumer         Consumer
	handling, asking *Pause
	stopping         context.Context
	slots            chan struct{} // one is held for each message that is under way, or asked for
	idle             time.Duration
}

// fetch waits until there is room and gets messages; a slot is held for each of them.
func (r *run) fetch(ctx context.Context) []Delivery {
	if r.handling.Wait(ctx) != nil || r.asking.Wait(ctx) != nil {
		return nil
	}
	want := r.Batch
	if r.handling.Failing() {
		want = 1 // queues count deliveries, and may give up on a message after a few: one is enough to see who is back
	}
	held := r.hold(ctx, want)
	if held == 0 {
		return nil
	}
	begin := time.Now()
	request, cancel := context.WithTimeout(ctx, r.Limits.Wait+r.Limits.Request)
	found, err := r.Client.Fetch(request, held)
	cancel()
	for range held - len(found) {
		<-r.slots
	}
	if ctx.Err() != nil && err != nil {
		return nil
	}
	r.consumer.Seen(err)
	if err != nil {
		r.asking.Failed(err)
		return nil
	}
	r.asking.OK()
	r.rest(ctx, len(found), time.Since(begin))
	return found
}

// hold takes up to want slots, and waits for the first one.
func (r *run) hold(ctx context.Context, want int) int {
	select {
	case r.slots <- struct{}{}:
	case <-ctx.Done():
		return 0
	}
	for held := 1; held < want; held++ {
		select {
		case r.slots <- struct{}{}:
		default:
			return held
		}
	}
	return want
}

const (
	firstIdle = 50 * time.Millisecond
	longPoll  = 500 * time.Millisecond // an empty answer that took longer was waited for
)

// rest waits after an answer that was empty at once, longer and longer.
func (r *run) rest(ctx context.Context, found int, took time.Duration) {
	if found > 0 || took > longPoll {
		r.idle = 0
		return
	}
	r.idle = min(max(2*r.idle, firstIdle), r.Limits.Idle)
	_ = Sleep(ctx, r.idle) // the loop looks at ctx
}

// handle has a message handled, and settles it.
func (r *run) handle(ctx context.Context, d Delivery) {
	err := r.consumer.Handle(ctx, d.Message)
	// What was handled is settled, even if the time for stopping is over.
	request, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.Limits.Request)
	defer cancel()
	if err == nil {
		r.handling.OK()
		err = r.Client.Ack(request, d)
		r.trouble(err)
		r.consumer.Settled(request, d.Message, err)
		return
	}
	pause := max(r.handling.Failed(err), r.again(d.Deliveries))
	if r.stopping.Err() != nil {
		pause = 0 // we stop: whoever is there next may have it at once
	}
	r.trouble(r.Client.Release(request, d, pause)) // if it fails, the message stays hidden for a while and comes again all the same
	r.consumer.Settled(request, d.Message, err)
}

// trouble tells of errors that are the queue's: that somebody else has the message by now is none.
func (r *run) trouble(err error) {
	if k := errkind.Of(err); err != nil && (k == errkind.Unavailable || k == errkind.Throttled) {
		r.consumer.Seen(err)
	}
}

// again is the pause before a message that failed comes again: others go on meanwhile.
func (r *run) again(deliveries int) time.Duration {
	d := r.Limits.Backoff
	for range deliveries - 1 {
		if d *= 2; d >= r.Limits.MaxBackoff {
			return r.Limits.MaxBackoff
		}
	}
	return d
}
