package main

import (
	"context"
	"fmt"
	"iter"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/config"
	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/event"
	"github.com/bucketmesh/bucketmesh/pkg/reconcile"
	"github.com/bucketmesh/bucketmesh/pkg/reconcile/plan"
	"github.com/bucketmesh/bucketmesh/pkg/state"
	"github.com/bucketmesh/bucketmesh/pkg/state/mem"
	"github.com/bucketmesh/bucketmesh/pkg/transfer"
	"github.com/bucketmesh/bucketmesh/pkg/version"
)

const group = "g"

// world is one run: modelled buckets, users, a lossy notification channel, workers that step one await at a time, and
// the truth that the checks compare with.
type world struct {
	rng   *rand.Rand
	p     params
	now   time.Time
	quiet bool // no faults any more
	lost  bool // a notification told of what the state could not know; only a scan finds it

	buckets   []*bucket
	store     *store
	workers   []*worker
	running   *worker
	copier    *transfer.Copier
	mutant    plan.Mutant
	log       func(format string, args ...any) // nil: silent
	nonces    int
	events    []notice
	all       []notice // every notification ever, for the replay at the end
	tasks     []task
	seen      map[string]bool // outbox events
	violation string

	ops       []userOp
	preserved uint64                // contents that are kept as conflict copies
	truth     map[version.ID]uint64 // the user operations that a version really follows
	vectors   map[version.ID]version.Vector
	born      map[version.ID]int // turn of the commit that made a version
	turn      int                // counts awaits
	history   []object           // states that a user can restore, by replica
	historyOf []int
	writes    int // by the engine, to theKey
}

type userOp struct {
	content int // 0: a delete
	past    uint64
}

// notice is a notification.
type notice struct {
	replica string
	hint    reconcile.Hint
}

// task is something that a worker can start.
type task struct {
	resolve  bool
	hint     *reconcile.Hint
	attempts int
}

// worker is a process: an engine whose every await is a scheduling point where it can be paused or killed.
type worker struct {
	engine  *reconcile.Engine
	task    task
	next    func() (struct{}, bool)
	stop    func()
	yield   func(struct{}) bool
	looks   map[string]look       // what it saw last, per replica
	writing map[string]version.ID // what it is about to write, per replica
}

// look is a state that a worker saw, and when.
type look struct {
	object
	turn int
}

// crashed unwinds a killed worker.
type crashed struct{}

func newWorld(seed uint64, mutant plan.Mutant, log func(string, ...any)) *world {
	rng := rand.New(rand.NewPCG(seed, 0x6275636b6574)) //nolint:gosec // a reproducible run needs a seeded generator
	w := &world{
		rng: rng, mutant: mutant, log: log, now: time.Unix(1_800_000_000, 0), p: draw(rng),
		truth: map[version.ID]uint64{"": 0}, vectors: map[version.ID]version.Vector{}, born: map[version.ID]int{}, seen: map[string]bool{},
	}
	w.store = &store{Store: mem.New(func() time.Time { return w.now }), w: w}
	var err error
	if w.copier, err = transfer.New(transfer.Config{PartSize: 5 << 20, Attempts: 1, Run: inOrder}); err != nil {
		panic(err)
	}
	if seed%5 == 0 { // every notification arrives: then nothing may need a scan
		w.p.drop, w.p.opaque = 0, seed%10 == 5
	}
	for i := range w.p.replicas {
		w.buckets = append(w.buckets, &bucket{
			w: w, name: string(rune('a' + i)), copies: map[string]copied{}, etags: w.p.etags, multi: w.p.versions,
			skew: time.Duration(rng.IntN(7)-3) * time.Second,
		})
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

func (w *world) newWorker(i int) *worker {
	k := &worker{looks: map[string]look{}, writing: map[string]version.ID{}}
	cfg := reconcile.Config{
		Group: group, Store: w.store, Copier: w.copier, Deletes: true, Clock: w, Run: inOrder, Mutant: w.mutant,
		Owner: "w" + strconv.Itoa(i),
		Nonce: func() string { w.nonces++; return "n" + strconv.Itoa(w.nonces) },
		Announce: func(typ string, _ any) (state.OutboxEvent, error) {
			w.nonces++
			return state.OutboxEvent{ID: typ + strconv.Itoa(w.nonces), JSON: []byte("{}")}, nil
		},
		Rule: func(string) config.ConflictRule {
			return config.ConflictRule{Policy: w.p.policy, Order: []string{"b", "a"}}
		},
		Trace: func(p reconcile.Point) { w.trace(k, p) },
	}
	for _, b := range w.buckets {
		cfg.Sites = append(cfg.Sites, reconcile.Site{Member: plan.Member{Name: b.name, Writable: true}, Bucket: b})
	}
	var err error
	if k.engine, err = reconcile.New(cfg); err != nil {
		panic(err)
	}
	return k
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

func (w *world) chance(p float64) bool { return p > 0 && w.rng.Float64() < p }

func (w *world) fault(p float64) bool { return !w.quiet && w.chance(p) }

// await is where a worker can be paused, for ever if it is killed.
func (w *world) await() {
	if k := w.running; k != nil && !k.yield(struct{}{}) {
		panic(crashed{})
	}
	w.turn++
	w.now = w.now.Add(time.Duration(1+w.rng.IntN(5000)) * time.Microsecond)
}

// start gives an idle worker a task.
func (w *world) start(k *worker, t task) {
	k.task = t
	w.logf("%s starts %+v", k.name(w), describe(t))
	k.next, k.stop = iter.Pull(func(yield func(struct{}) bool) {
		k.yield = yield
		defer func() {
			if r := recover(); r != nil {
				if _, killed := r.(crashed); !killed {
					panic(r)
				}
			}
		}()
		if !yield(struct{}{}) {
			return
		}
		w.perform(k, t)
	})
	w.step(k)
}

func (w *world) perform(k *worker, t task) {
	var out reconcile.Outcome
	var err error
	if t.resolve {
		out, err = k.engine.Resolve(context.Background(), theKey)
	} else {
		out, err = k.engine.Reconcile(context.Background(), theKey, t.hint, t.attempts)
	}
	w.logf("%s ends %v: %v %v", k.name(w), describe(t), out, err)
	if err != nil && !errkind.Of(err).Retryable() {
		w.fail("the engine gave up with a kind that no broker repeats: %v", err)
	}
	// A key without a row has no revision. If it was created and deleted again while another process was between its look and
	// its first commit, nothing tells that process that what it saw is gone.
	if out == reconcile.Echo && t.hint.Kind == reconcile.Deleted && w.busyWorkers() > 1 && w.rowless() {
		w.lost = true
	}
	if err != nil { // the broker brings the event again
		w.tasks = append(w.tasks, t)
	}
}

func (w *world) busyWorkers() (n int) {
	for _, k := range w.workers {
		if k.next != nil {
			n++
		}
	}
	return n
}

func (w *world) rowless() bool {
	row, err := w.store.Store.Get(context.Background(), group, theKey)
	if err != nil {
		panic(err)
	}
	return row.Rev == 0
}

func (w *world) step(k *worker) {
	w.running = k
	_, alive := k.next()
	w.running = nil
	if !alive {
		k.next = nil
	}
}

// kill ends a worker where it stands. The broker was not answered, so the event comes again.
func (w *world) kill(k *worker) {
	w.logf("%s is killed in %v", k.name(w), describe(k.task))
	w.running = k
	k.stop()
	w.running = nil
	k.next = nil
	w.tasks = append(w.tasks, k.task)
}

func (k *worker) name(w *world) string {
	for i := range w.workers {
		if w.workers[i] == k {
			return "w" + strconv.Itoa(i)
		}
	}
	return "w?"
}

func describe(t task) string {
	switch {
	case t.resolve:
		return "resolve"
	case t.hint == nil:
		return "look at all"
	}
	return fmt.Sprintf("hint %s kind=%d tag=%s", t.hint.Replica, t.hint.Kind, t.hint.Tag)
}

// notify is the provider's notification: lossy, repeated, in any order.
func (w *world) notify(b *bucket, o object) {
	h := reconcile.Hint{Replica: b.name, Kind: reconcile.Deleted, Time: o.mtime, Seq: strconv.Itoa(b.serial)}
	if o.present {
		h.Kind, h.Tag = reconcile.Written, o.tag
		if b.multi {
			h.VersionID = o.version
		}
	}
	n := notice{replica: b.name, hint: h}
	w.all = append(w.all, n)
	if !w.fault(w.p.drop) {
		w.events = append(w.events, n)
	}
	if w.fault(w.p.duplicate) {
		w.events = append(w.events, n)
	}
}

// user makes one operation of a user at some replica.
func (w *world) user() {
	i := w.rng.IntN(len(w.buckets))
	b := w.buckets[i]
	k := len(w.ops)
	op := userOp{past: b.cur.past}
	next := object{present: true, op: k, past: b.cur.past | 1<<k, claim: b.cur.claim | 1<<k, chain: b.cur.chain}
	choice := w.rng.IntN(10)
	switch {
	case choice < 3 && b.cur.present && w.p.deletes:
		next.present = false
	case choice < 3+w.p.restoring && w.p.restores && w.restorable(i) != nil:
		old := w.restorable(i)
		next.content, next.nonce = old.content, old.nonce
	case choice < 4+w.p.restoring && w.p.restores && b.cur.present: // an edit that keeps our metadata
		next.content, next.nonce = k+1, b.cur.nonce
	default:
		next.content = k + 1
	}
	op.content = next.content
	if b.cur.present {
		w.history, w.historyOf = append(w.history, b.cur), append(w.historyOf, i)
	}
	w.ops = append(w.ops, op)
	b.become(next)
	w.logf("user op %d at %s: %s", k, b.name, show(b.cur))
}

// restorable is an earlier state of the replica with other content than the current one; one that we wrote, if there is.
func (w *world) restorable(i int) *object {
	var found *object
	start := w.rng.IntN(len(w.history) + 1)
	for n := range w.history {
		j := (start + n) % len(w.history)
		old := &w.history[j]
		if w.historyOf[j] != i || w.buckets[i].cur.present && old.content == w.buckets[i].cur.content {
			continue
		}
		if found == nil || old.nonce != "" {
			found = old
		}
	}
	return found
}

func show(o object) string {
	if !o.present {
		return fmt.Sprintf("absent past=%b", o.past)
	}
	return fmt.Sprintf("content %d tag=%s nonce=%s past=%b", o.content, o.tag, o.nonce, o.past)
}

// act is one random thing that happens.
func (w *world) act() {
	r := w.rng.Float64()
	switch {
	case r < w.p.pace && len(w.ops) < w.p.users:
		w.user()
	case w.chance(w.p.jump):
		w.now = w.now.Add(time.Duration(w.rng.IntN(50)) * time.Second)
	case r < 0.45:
		w.begin()
	default:
		k := w.workers[w.rng.IntN(len(w.workers))]
		switch {
		case k.next == nil:
		case w.chance(w.p.crash):
			w.kill(k)
		default:
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
	if idle == nil {
		return
	}
	r := w.rng.Float64()
	switch {
	case len(w.tasks) > 0 && r < 0.4:
		w.start(idle, take(w.rng, &w.tasks))
	case len(w.events) > 0 && r < 0.9:
		n := take(w.rng, &w.events)
		w.start(idle, task{hint: &n.hint})
	default:
		due, err := w.store.Due(context.Background(), group, w.now, 1)
		if err != nil {
			panic(err)
		}
		switch {
		case len(due) > 0:
			w.start(idle, task{attempts: due[0].Attempts})
		case r > 0.97: // a scan
			w.start(idle, task{})
		}
	}
}

func take[T any](r *rand.Rand, list *[]T) T {
	i := r.IntN(len(*list))
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
	var seqs []int64
	for _, e := range out {
		seqs = append(seqs, e.Seq)
		switch typ := e.ID; {
		case len(typ) >= len(event.ConflictDetected) && typ[:len(event.ConflictDetected)] == event.ConflictDetected:
			w.tasks = append(w.tasks, task{resolve: true})
			if w.fault(w.p.duplicate) {
				w.tasks = append(w.tasks, task{resolve: true})
			}
		case len(typ) >= len(event.ConflictResolved) && typ[:len(event.ConflictResolved)] == event.ConflictResolved:
			w.tasks = append(w.tasks, task{})
		}
	}
	if len(seqs) > 0 {
		if err := w.store.Published(context.Background(), seqs); err != nil {
			panic(err)
		}
	}
}

// run is a whole run. It returns the first violation, or "".
func (w *world) run() string {
	for i := 0; i < w.p.chaos && w.violation == ""; i++ {
		w.act()
	}
	for len(w.ops) < w.p.users {
		w.user()
	}
	w.drain()
	for _, k := range w.workers {
		if k.next != nil {
			w.kill(k)
		}
	}
	return w.violation
}

// drain ends all faults and lets the system come to rest, then checks where it came to rest.
func (w *world) drain() {
	w.quiet = true
	for range 60 {
		if w.violation != "" {
			return
		}
		w.finishWorkers()
		for n := 0; (len(w.tasks) > 0 || len(w.events) > 0) && w.violation == ""; n++ {
			if n > 1000 {
				w.fail("I2 convergence: events keep coming back")
			}
			if len(w.tasks) > 0 {
				w.start(w.workers[0], take(w.rng, &w.tasks))
			} else {
				n := take(w.rng, &w.events)
				w.start(w.workers[0], task{hint: &n.hint})
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

// heal starts what heals. Only a lost notification needs a scan: where none was lost, events and the dirty set must be
// enough, whoever crashed where.
func (w *world) heal() {
	if w.p.drop > 0 || w.lost {
		w.start(w.workers[0], task{})
		return
	}
	due, err := w.store.Store.Due(context.Background(), group, w.now, 1)
	if err != nil {
		panic(err)
	}
	if len(due) > 0 {
		w.start(w.workers[0], task{attempts: due[0].Attempts})
	}
}

func (w *world) finishWorkers() {
	for busy := true; busy && w.violation == ""; {
		busy = false
		for _, k := range w.workers {
			if k.next != nil {
				w.step(k)
				busy = true
			}
		}
	}
}

func (w *world) settled() bool {
	row, err := w.store.Store.Get(context.Background(), group, theKey)
	if err != nil {
		panic(err)
	}
	for _, b := range w.buckets {
		r := row.Replicas[b.name]
		if r.Print.Present != b.cur.present || r.Print.Tag != b.cur.tag || r.Tentative != "" || r.Version != row.Replicas[w.buckets[0].name].Version {
			return false
		}
	}
	return true
}

// deliverAll brings every notification of the run again.
func (w *world) deliverAll() {
	for _, n := range w.all {
		w.start(w.workers[0], task{hint: &n.hint})
		w.finishWorkers()
		w.now = w.now.Add(time.Second)
	}
}
