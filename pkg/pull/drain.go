package pull

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/pull/queue"
)

// drain empties one queue, through whatever happens to it.
type drain struct {
	name   string
	source queue.Source
	limits queue.Limits
	log    *slog.Logger
	meters meters
	worker worker

	mu      sync.Mutex
	state   state
	trouble error
}

// state of a queue, as far as it is known.
type state int

const (
	unknown state = iota
	answers
	fails
)

// run receives until ctx ends. An error is what a person has to mend before the queue can be used for the first time.
func (d *drain) run(ctx context.Context) error {
	pause, used := queue.NewPause(d.limits), false
	for ctx.Err() == nil {
		err := d.source.Check(ctx)
		if ctx.Err() != nil {
			break
		}
		d.seen(err)
		if err == nil {
			used = true
			begin := time.Now()
			err = d.source.Receive(ctx, queue.Consumer{Handle: d.handle, Settled: d.settled, Seen: d.seen})
			if ctx.Err() != nil {
				return err //nolint:wrapcheck // names the queue
			}
			if time.Since(begin) > patience {
				pause.OK()
			}
			d.seen(err)
		}
		if !used && !errkind.Of(err).Retryable() {
			return fmt.Errorf("pull: %w", err)
		}
		pause.Failed(err)
		_ = pause.Wait(ctx) // the loop looks at ctx
	}
	return nil //nolint:nilerr // it was told to end: what failed meanwhile is not of interest
}

// seen notes whether the queue works. What changed is logged, once.
func (d *drain) seen(err error) {
	d.mu.Lock()
	before, now := d.state, answers
	if err != nil {
		now = fails
	}
	d.state, d.trouble = now, err
	d.mu.Unlock()
	ctx := context.Background() // of nobody's request
	if err != nil {
		d.meters.failed(ctx, errkind.Of(err))
	}
	if before == now {
		return
	}
	d.meters.up(ctx, now == answers)
	if err != nil {
		d.log.ErrorContext(ctx, "queue does not answer", "error", err, "kind", errkind.Of(err).String())
	} else {
		d.log.InfoContext(ctx, "queue answers")
	}
}

// ready is nil if the queue works.
func (d *drain) ready() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch d.state {
	case answers:
		return nil
	case fails:
		return fmt.Errorf("queue %s does not answer: %w", d.name, d.trouble)
	case unknown:
	}
	return fmt.Errorf("queue %s was not asked yet", d.name)
}

func (d *drain) handle(ctx context.Context, m queue.Message) error {
	d.meters.got(ctx)
	done, err := d.worker.handle(ctx, m)
	if err != nil {
		return err
	}
	d.meters.delivered(ctx, done)
	if n := len(done.poison); n > 0 { // one line, however many there are
		d.log.WarnContext(ctx, "notification put to the dead letters", "message", m.ID, "poison", n, "reason", done.poison[0].Reason)
	}
	return nil
}

func (d *drain) settled(ctx context.Context, m queue.Message, err error) {
	d.meters.settled(ctx, m, err)
	if err != nil {
		d.log.WarnContext(ctx, "message is left in the queue", "message", m.ID, "deliveries", m.Deliveries,
			"error", err, "kind", errkind.Of(err).String())
	}
}
