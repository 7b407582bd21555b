package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/event"
	"github.com/bucketmesh/bucketmesh/pkg/reconcile/plan"
	"github.com/bucketmesh/bucketmesh/pkg/state/mem"
	"github.com/bucketmesh/bucketmesh/pkg/transfer"
	"github.com/bucketmesh/bucketmesh/pkg/version"
)

const group = "g"

// world is one run: modelled buckets, users, a lossy notification channel, workers that step one await at a time, and
// the truth that the checks compare with.
type world struct {
	chooser   *chooser
	p         params
	now       time.Time
	quiet     bool // no faults any more
	lost      bool // a notification told of what the state could not know, or there is none: only a scan finds it
	unordered bool // R6 happened: an older value may be the final one
	resting   bool // everything is where it stays

	buckets   []*bucket
	store     *store
	workers   []*worker
	running   *worker
	copier    *transfer.Copier
	mutant    plan.Mutant
	log       func(format string, args ...any) // nil: silent
	nonces    int
	uploads   int
	events    []notice
	all       []notice // every notification ever, for the replay at the end
	tasks     []task
	squatted  []func() // objects that a person moves out of the way
	violation string

	values    []value
	digests   []string
	ops       []userOp
	preserved uint64                // values that are kept as conflict copies
	residual  uint64                // values that a documented residual may have taken
	truth     map[version.ID]uint64 // the user operations that a version really follows
	vectors   map[version.ID]version.Vector
	born      map[version.ID]int // turn of the commit that made a version
	turn      int                // counts awaits
	history   []earlier          // states that a user can restore
	writes    int                // by the engine, to theKey
}

// outcome is what a run came to.
type outcome struct {
	violation string
	digest    uint64 // of everything that happened
}

func newWorld(c *chooser, mutant plan.Mutant, log func(string, ...any)) *world {
	w := &world{
		chooser: c, mutant: mutant, log: log, now: time.Unix(1_800_000_000, 0), p: draw(c), values: make([]value, 1, 16), digests: make([]string, 64),
		truth: map[version.ID]uint64{"": 0}, vectors: map[version.ID]version.Vector{}, born: map[version.ID]int{},
	}
	w.logf("%s", w.p)
	w.store = &store{Store: mem.New(func() time.Time { return w.now }), w: w}
	part := int64(5 << 20)
	if w.p.large {
		part = 8
	}
	var err error
	if w.copier, err = transfer.New(transfer.Config{PartSize: part, Memory: 64 << 20, Attempts: 1, Run: inOrder}); err != nil {
		panic(err)
	}
	if mutant == Undetermined {
		w.now = w.now.Add(rand.N(time.Hour))
	}
	all := clouds()
	for i, at := range w.p.clouds {
		b := newBucket(w, string(rune('a'+i)), &all[at], i < w.p.replicas-w.p.readOnly)
		b.skew = w.p.skews[i]
		w.buckets = append(w.buckets, b)
	}
	for i := range w.p.workers {
		w.workers = append(w.workers, w.newWorker(i))
	}
	return w
}

func inOrder(fns ...func()) {
	for _, f := range fns {
		f()
	}
}

// Now implements reconcile.Clock.
func (w *world) Now() time.Time { return w.now }

// WithDeadline implements reconcile.Clock: a modelled deadline needs no timer.
func (w *world) WithDeadline(ctx context.Context, at time.Time) (context.Context, context.CancelFunc) {
	return context.WithValue(ctx, deadlineKey{}, at), func() {}
}

func (w *world) logf(format string, args ...any) {
	if w.log != nil {
		w.log(format, args...)
	}
}

func (w *world) fail(format string, args ...any) {
	if w.violation == "" {
		w.violation = fmt.Sprintf(format, args...)
		w.logf("VIOLATION %s", w.violation)
	}
}

func (w *world) chance(p float64) bool { return w.chooser.chance(p) }

func (w *world) fault(p float64) bool { return !w.quiet && w.chooser.chance(p) }

// act is one random thing that happens.
func (w *world) act() {
	w.chooser.turn()
	busy := w.busyWorkers()
	switch {
	case len(w.ops) < w.p.users && w.chance(w.p.pace):
		w.user()
	case w.chance(w.p.jump):
		w.now = w.now.Add(time.Duration(w.chooser.intN(50)) * time.Second)
	case w.chance(w.p.trouble):
		w.misfortune()
	case w.chance(w.p.sleep):
		w.now = w.now.Add(time.Duration(w.chooser.intN(13*60)) * time.Minute)
	case busy == 0 || busy < len(w.workers) && w.chooser.intN(10) > 6:
		w.begin()
	default:
		k := w.busy(w.chooser.intN(busy))
		if w.chance(w.p.crash) {
			w.kill(k)
		} else {
			w.step(k)
		}
	}
	w.collect()
}

// begin gives some idle worker something to do.
func (w *world) begin() {
	var idle *worker
	for _, k := range w.workers {
		if k.next == nil {
			idle = k
			break
		}
	}
	r := w.chooser.intN(100)
	switch {
	case len(w.tasks) > 0 && (r < 40 || len(w.events) == 0 && r < 90):
		w.start(idle, take(w.chooser, &w.tasks))
	case len(w.events) > 0 && r < 90:
		n := take(w.chooser, &w.events)
		if w.now.Before(n.at) { // it is still under way
			w.events = append(w.events, n)
			return
		}
		w.start(idle, task{hint: &n.hint})
	default:
		if t, due := w.due(); due {
			w.start(idle, t)
		} else if r > 97 { // a scan
			w.start(idle, task{})
		}
	}
}

// due is what the dirty set asks for.
func (w *world) due() (task, bool) {
	due, err := w.store.Due(context.Background(), group, w.now, 1)
	if err != nil {
		panic(err)
	}
	if len(due) == 0 {
		return task{}, false
	}
	return task{attempts: due[0].Attempts}, true
}

func take[T any](c *chooser, list *[]T) T {
	i := c.intN(len(*list))
	x := (*list)[i]
	*list = append((*list)[:i], (*list)[i+1:]...)
	return x
}

// collect turns outbox events into tasks: published at least once.
func (w *world) collect() {
	w.running = nil
	out, err := w.store.Store.Outbox(context.Background(), 100)
	if err != nil {
		panic(err)
	}
	if len(out) == 0 {
		return
	}
	seqs := make([]int64, 0, len(out))
	for _, e := range out {
		seqs = append(seqs, e.Seq)
		switch {
		case strings.HasPrefix(e.ID, event.ConflictDetected):
			w.tasks = append(w.tasks, task{resolve: true})
			if w.fault(w.p.duplicate) {
				w.tasks = append(w.tasks, task{resolve: true})
			}
		case strings.HasPrefix(e.ID, event.ConflictResolved):
			w.tasks = append(w.tasks, task{})
		}
	}
	if err := w.store.Published(context.Background(), seqs); err != nil {
		panic(err)
	}
}

// run is a whole run.
func (w *world) run() outcome {
	for i, n := 0, w.chooser.acts(w.p.chaos); i < n && w.violation == ""; i++ {
		w.act()
	}
	w.chooser.end()
	for w.violation == "" && len(w.ops) < w.p.users && w.chooser.intN(whole) > 0 { // a shrunk tape ends with zeros
		w.user()
	}
	w.drain()
	for _, k := range w.workers {
		if k.next != nil {
			w.kill(k)
		}
	}
	w.chooser.mixString(w.violation)
	return outcome{w.violation, w.chooser.hash}
}

// drain ends all faults and lets the system come to rest, then checks where it came to rest.
func (w *world) drain() {
	w.quiet = true
	w.logf("all faults end")
	w.tidy()
	for range 60 {
		if w.violation != "" {
			return
		}
		w.finishWorkers()
		for n := 0; (len(w.tasks) > 0 || len(w.events) > 0) && w.violation == ""; n++ {
			if n > 1000 {
				w.fail("I2 convergence: events keep coming back")
			}
			k := w.workers[w.chooser.intN(len(w.workers))]
			if len(w.tasks) > 0 {
				w.start(k, take(w.chooser, &w.tasks))
			} else {
				n := take(w.chooser, &w.events)
				w.start(k, task{hint: &n.hint})
			}
			w.finishWorkers()
			w.now = w.now.Add(2 * time.Second) // a broker waits before it brings an event again
			w.collect()
		}
		before := w.writes
		w.now = w.now.Add(10 * time.Minute) // all leases have ended, all dirty keys are due
		w.heal()
		w.finishWorkers()
		w.collect()
		if len(w.tasks) == 0 && len(w.events) == 0 && w.writes == before && w.settled() {
			w.atRest()
			return
		}
	}
	w.fail("I2 convergence: not at rest after 60 rounds of looking")
}

// tidy is a person who moves away what is in the way of conflict copies.
func (w *world) tidy() {
	for _, move := range w.squatted {
		move()
	}
	w.squatted = nil
}

// heal starts what heals. Only a lost notification needs a scan: where none was lost, events and the dirty set must be
// enough, whoever crashed where.
func (w *world) heal() {
	k := w.workers[w.chooser.intN(len(w.workers))]
	if t, due := w.due(); due {
		w.start(k, t)
		w.finishWorkers()
		w.collect()
		return
	}
	if !w.p.exact || w.lost {
		w.start(k, task{})
	}
}

// deliverAll brings every notification of the run again.
func (w *world) deliverAll() {
	for i := range w.all {
		w.start(w.workers[0], task{hint: &w.all[i].hint})
		w.finishWorkers()
		w.now = w.now.Add(time.Second)
	}
}
