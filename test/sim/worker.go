package main

import (
	"context"
	"fmt"
	"iter"
	"strconv"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/config"
	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/reconcile"
	"github.com/bucketmesh/bucketmesh/pkg/reconcile/plan"
	"github.com/bucketmesh/bucketmesh/pkg/state"
	"github.com/bucketmesh/bucketmesh/pkg/version"
)

// task is something that a worker can start.
type task struct {
	resolve  bool
	hint     *reconcile.Hint
	attempts int
}

// worker is a process: an engine whose every await is a scheduling point where it can be paused or killed.
type worker struct {
	id      string
	engine  *reconcile.Engine
	task    task
	next    func() (struct{}, bool)
	stop    func()
	yield   func(struct{}) bool
	looks   map[string]look             // what it saw in this pass, per replica
	writing map[string]*version.Version // what it is about to write, per replica
	blinked map[string]bool             // replicas whose last answer was wrong
}

// look is a state that a worker saw, and when.
type look struct {
	object
	turn int
}

// crashed unwinds a killed worker.
type crashed struct{}

func (w *world) newWorker(i int) *worker {
	k := &worker{id: "w" + strconv.Itoa(i), looks: map[string]look{}, writing: map[string]*version.Version{}, blinked: map[string]bool{}}
	rule := w.p.rules[i]
	cfg := reconcile.Config{
		Group: group, Store: w.store, Copier: w.copier, Deletes: true, Clock: w, Run: inOrder, Mutant: w.mutant,
		Owner: k.id, Passes: w.p.passes,
		Nonce: func() string { w.nonces++; return "n" + strconv.Itoa(w.nonces) },
		Announce: func(_ context.Context, typ string, _ any) (state.OutboxEvent, error) {
			w.nonces++
			return state.OutboxEvent{ID: typ + strconv.Itoa(w.nonces), JSON: []byte("{}")}, nil
		},
		Rule:  func(string) config.ConflictRule { return rule },
		Trace: func(p reconcile.Point) { w.trace(k, p) },
	}
	for _, b := range w.buckets {
		cfg.Sites = append(cfg.Sites, reconcile.Site{Member: plan.Member{Name: b.name, Writable: b.users}, Bucket: b})
	}
	var err error
	if k.engine, err = reconcile.New(cfg); err != nil {
		panic(err)
	}
	return k
}

// await is where a worker can be paused, for ever if it is killed.
func (w *world) await() {
	if k := w.running; k != nil && !k.yield(struct{}{}) {
		panic(crashed{})
	}
	w.turn++
	w.now = w.now.Add(time.Duration(1+w.chooser.intN(5000)) * time.Microsecond)
}

// start gives an idle worker a task.
func (w *world) start(k *worker, t task) {
	k.task = t
	w.logf("%s starts: %s", k.id, t)
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
	w.logf("%s ends %s: %v %v", k.id, t, out, err)
	w.chooser.mix(uint64(out))
	if err != nil && !errkind.Of(err).Retryable() {
		// Of a resolution that is refused there is a dead letter, and the dirty set brings the key back.
		if !t.resolve && len(w.squatted) == 0 {
			w.fail("E the engine gave up with a kind that no broker repeats: %v", err)
		}
		return
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

// busy is the i-th of the workers that have something to do.
func (w *world) busy(i int) *worker {
	for _, k := range w.workers {
		if k.next == nil {
			continue
		}
		if i == 0 {
			return k
		}
		i--
	}
	panic("no such worker")
}

func (w *world) rowless() bool { return w.row().Rev == 0 }

func (w *world) row() state.Row {
	row, err := w.store.Store.Get(context.Background(), group, theKey)
	if err != nil {
		panic(err)
	}
	return row
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
	w.logf("%s is killed in: %s", k.id, k.task)
	w.running = k
	k.stop()
	w.running = nil
	k.next = nil
	w.tasks = append(w.tasks, k.task)
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

func (t task) String() string {
	switch {
	case t.resolve:
		return "resolve"
	case t.hint == nil:
		return "look at all"
	}
	kind := [...]string{"changed", "written", "deleted"}[t.hint.Kind]
	return fmt.Sprintf("%s was %s, tag=%s version=%s", t.hint.Replica, kind, t.hint.Tag, t.hint.VersionID)
}
