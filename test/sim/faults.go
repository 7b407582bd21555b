package main

import (
	"context"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/reconcile"
)

// op is a kind of request.
type op int

const (
	opStat op = iota
	opOpen
	opPut
	opDelete
	opVersions
	opAbort
	ops
)

func (o op) String() string {
	return [...]string{"stat", "open", "put", "delete", "versions", "abort"}[o]
}

// trouble of a bucket that lasts.
type trouble struct {
	down      time.Time // 5xx until then
	throttled time.Time
	denied    time.Time // 403 for what
	what      op
}

// deadlineKey carries a deadline of the modelled clock in a context.
type deadlineKey struct{}

// ask is the scheduling point before every request. It fails if the request would outlive its deadline or if a fault
// hits it on the way.
func (b *bucket) ask(ctx context.Context, what op) error {
	err := b.request(ctx, what)
	if err != nil {
		b.w.logf("  %s at %s: %v", what, b.name, err)
	}
	return err
}

func (b *bucket) request(ctx context.Context, what op) error {
	w := b.w
	w.await()
	w.chooser.mix(uint64(what) + 1)
	if at, ok := ctx.Value(deadlineKey{}).(time.Time); ok && !w.now.Before(at) {
		return errkind.New(errkind.Unavailable, "deadline: %w", context.DeadlineExceeded)
	}
	if w.quiet {
		return nil
	}
	t := &b.trouble
	switch {
	case w.now.Before(t.down):
		return errkind.New(errkind.Unavailable, "out of order: %w", errFault)
	case w.now.Before(t.throttled) && w.chance(0.7):
		return errkind.After(time.Second, errkind.New(errkind.Throttled, "slow down: %w", errFault))
	case w.now.Before(t.denied) && t.what == what:
		b.unlist = b.unlist || what == opVersions
		b.unaborted = b.unaborted || what == opAbort
		return errkind.New(errkind.PermissionDenied, "no permission to %s: %w", what, errFault)
	case w.fault(w.p.loseRequest):
		return errkind.New(errkind.Unavailable, "request lost: %w", errFault)
	}
	return nil
}

// answer can lose the response of a request that was carried out.
func (b *bucket) answer() error {
	if b.w.fault(b.w.p.loseAnswer) {
		b.w.logf("  the answer of %s is lost", b.name)
		return errkind.New(errkind.Unavailable, "answer lost: %w", errFault)
	}
	return nil
}

// blinks says that a look at what is there is answered by "not found", as a store does that is not consistent yet. It never happens
// to one worker twice in a row, and a notification of a delete counts as one of two looks. (Where a look stands in for a condition, this is one more way
// to lose: it is left out.)
func (b *bucket) blinks() bool {
	k := b.w.running
	if k == nil {
		return false
	}
	was := k.blinked[b.name]
	delete(k.blinked, b.name)
	notified := k.task.hint != nil && k.task.hint.Replica == b.name && k.task.hint.Kind == reconcile.Deleted
	if was || notified || !b.cur.present || b.lossy(true) || b.lossy(false) || !b.w.fault(b.w.p.blink) {
		return false
	}
	k.blinked[b.name] = true
	b.w.logf("  %s says that there is nothing", b.name)
	b.w.looked(b, false) // if the worker saw a real absence before, that is what it goes by
	return true
}

// misfortune is something that lasts: a replica or the store is out of order, throttles or denies.
func (w *world) misfortune() {
	for1 := []time.Duration{20 * time.Millisecond, time.Second, time.Minute, 3 * time.Hour}[w.chooser.intN(4)]
	b := w.buckets[w.chooser.intN(len(w.buckets))]
	until := w.now.Add(for1)
	switch w.chooser.intN(5) {
	case 0, 1:
		b.trouble.down = until
		w.logf("%s is out of order for %s", b.name, for1)
	case 2:
		b.trouble.throttled = until
		w.logf("%s throttles for %s", b.name, for1)
	case 3:
		b.trouble.denied, b.trouble.what = until, op(w.chooser.intN(int(ops)))
		w.logf("%s denies %s for %s", b.name, b.trouble.what, for1)
	case 4: // the next commit is the last one that the old leader makes, and nobody is told
		w.store.down, w.store.deaf = until, true
		w.logf("the store fails over, for %s", for1)
	}
}
