// Package worker is one group at work: its buckets, opened, decorated and probed; the engine over them; and what has to
// happen beside the handling of events: the outbox is published after each commit, keys that are due are looked at
// again, and a backfill compares listings with the state.
//
// Worker is what the services sync and conflict-resolver share with the one-process mode (package pipeline), which adds a
// broker and an HTTP listener.
//
// Errors: Open refuses what can't work (Invalid, with the mend), and a replica about which nothing is known because it
// does not answer (Unavailable). Trouble while running is logged and tried again, with back-off.
//
// Concurrency: a Worker may be used from many goroutines. Run starts goroutines and waits for them.
package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	cloudevents "github.com/cloudevents/sdk-go/v2/event"
	"golang.org/x/sync/errgroup"

	"github.com/bucketmesh/bucketmesh/pkg/config"
	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/event"
	"github.com/bucketmesh/bucketmesh/pkg/ledger"
	"github.com/bucketmesh/bucketmesh/pkg/object"
	"github.com/bucketmesh/bucketmesh/pkg/reconcile"
	"github.com/bucketmesh/bucketmesh/pkg/reconcile/plan"
	"github.com/bucketmesh/bucketmesh/pkg/serve"
	"github.com/bucketmesh/bucketmesh/pkg/serve/cetrace"
	"github.com/bucketmesh/bucketmesh/pkg/state"
	"github.com/bucketmesh/bucketmesh/pkg/subscriber"
	"github.com/bucketmesh/bucketmesh/pkg/transfer"
)

// maxMemory bounds the bytes of objects that are in memory at once, whatever the document allows: with the rest of a
// process it stays below 256 MiB. A part that is larger than this is still taken, one at a time.
const maxMemory = 96 << 20

// MemoryLimit is what a program with one Worker tells the garbage collector (debug.SetMemoryLimit): it works harder
// before the process needs more memory than a small machine has.
const MemoryLimit = 150 << 20

// Options of Open. Group, Store, Sink and Openers are required; the rest has defaults.
type Options struct {
	Group   *config.Group
	Store   state.Store
	Sink    serve.Sink // where events of the outbox go
	Openers Openers    // by provider

	Ledger    *ledger.Keeper              // of the group's events; nil: nobody keeps books
	LookupEnv func(string) (string, bool) // for credentials; os.LookupEnv
	Judge     reconcile.Judge             // asks webhooks about conflicts; nil for who settles none
	Owner     string                      // this process, for people who read intents; host and process id
	Logger    *slog.Logger                // discarded if nil
	Telemetry *serve.Telemetry            // none if nil
	Probe     object.ProbeOptions
	// ProbeEvery is how long the finding of a probe by the same Program is good for; 0: each start probes.
	ProbeEvery time.Duration
	Program    string // version of the program

	// Look opens buckets to look at them only: they are neither probed nor marked, and nothing may be written. What they promise is
	// what the last probe found, and else what their drivers say.
	Look bool

	// LeaveOut has replicas left out that can't take part (another bucket in the place of the one that was, no permission, promises that
	// do not do, no answer at its first start), as if they were down, as long as there is one that can. Otherwise Open refuses them.
	LeaveOut bool

	Sweepers    int                     // keys that the sweep looks at at once; twice the group's transfer.parallel
	OutboxEvery time.Duration           // between two looks at the outbox if nothing is committed; 30 s
	Published   func(cloudevents.Event) // told of every event of the outbox after it was published; must not block

	Trace func(reconcile.Point) // told of every step of the engine; nothing if nil
	Lease time.Duration         // of an intent for a small object; the engine's default if 0
}

// Worker is a group at work. Make one with Open.
type Worker struct {
	o        Options
	log      *slog.Logger
	store    *notifying
	replicas []*Replica
	engine   *reconcile.Engine
	outbox   *outbox
	sweeper  *sweeper
	backfill sync.Mutex
}

// Open opens and probes the buckets and builds the engine. ctx bounds the opening only.
func Open(ctx context.Context, o Options) (*Worker, error) {
	if err := o.defaults(); err != nil {
		return nil, err
	}
	w := &Worker{o: o, log: o.Logger}
	w.outbox = newOutbox(o)
	w.sweeper = newSweeper(o)
	w.store = &notifying{Store: o.Store, committed: w.outbox.kick, due: w.sweeper.wake}
	if err := w.open(ctx); err != nil {
		return nil, errors.Join(err, w.Close())
	}
	return w, nil
}

func (o *Options) defaults() error {
	if o.Group == nil || o.Store == nil || o.Sink == nil || len(o.Openers) == 0 {
		return errkind.New(errkind.Invalid, "open worker: group, store, sink and openers are required")
	}
	if o.LookupEnv == nil {
		o.LookupEnv = os.LookupEnv
	}
	if o.Owner == "" {
		host, _ := os.Hostname() // a name for people; without one the number has to do
		o.Owner = fmt.Sprintf("%s/%d", host, os.Getpid())
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Telemetry == nil {
		o.Telemetry = serve.NoTelemetry()
	}
	if o.Sweepers <= 0 {
		o.Sweepers = 2 * max(o.Group.Transfer.Parallel, 1)
	}
	if o.OutboxEvery <= 0 {
		o.OutboxEvery = 30 * time.Second
	}
	if o.Published == nil {
		o.Published = func(cloudevents.Event) {}
	}
	return nil
}

func (w *Worker) open(ctx context.Context) error {
	if w.o.Ledger != nil {
		if err := w.o.Ledger.Begin(ctx); err != nil {
			return err //nolint:wrapcheck // says "open ledger"
		}
	}
	if !w.o.Look {
		if err := w.forgetLeft(ctx); err != nil {
			return fmt.Errorf("open worker: %w", err)
		}
	}
	if err := w.openReplicas(ctx); err != nil {
		return err
	}
	t := w.o.Group.Transfer
	copier, err := transfer.New(transfer.Config{
		PartSize: t.PartSize, Parallel: min(max(t.Parallel, 1), transfer.DefaultParallel), Bandwidth: t.Bandwidth,
		Memory: max(t.PartSize, min(t.PartSize*int64(max(t.Parallel, 1)), maxMemory)),
	})
	if err != nil {
		return fmt.Errorf("open worker: %w", err)
	}
	sites := make([]reconcile.Site, len(w.replicas))
	for i, r := range w.replicas {
		sites[i] = reconcile.Site{
			Member: plan.Member{Name: r.Name, Writable: r.Mode == config.ReadWrite}, Bucket: r.Bucket,
		}
	}
	w.engine, err = reconcile.New(reconcile.Config{
		Group: w.o.Group.Name, Sites: sites, Store: w.store, Copier: copier, Announce: Announce,
		Rule: w.o.Group.Rule, Judge: w.o.Judge, Deletes: w.o.Group.Deletes.Propagate, Owner: w.o.Owner,
		Trace: w.o.Trace, Lease: w.o.Lease,
		Brake: new(Limits(w.o.Group)), Quarantine: w.o.Group.Deletes.Quarantine, KeepExpired: w.o.Group.Deletes.Lifecycle == config.LifecycleIgnore,
	})
	if err != nil {
		return fmt.Errorf("open worker: %w", err)
	}
	w.sweeper.engine = w.engine
	return errors.Join(w.measure(), w.measureBooks())
}

// Announce makes the outbox event of a type of package event and its data, in the trace of ctx: whoever publishes it may be another
// process, long after.
func Announce(ctx context.Context, typ string, data any) (state.OutboxEvent, error) {
	var e cloudevents.Event
	var err error
	switch d := data.(type) {
	case event.Sync:
		e, err = event.NewSync(typ, "", d)
	case event.Guard:
		e, err = event.NewGuard("", d)
	case event.Conflict:
		e, err = event.NewConflict(typ, "", d, time.Now())
	default:
		err = errkind.New(errkind.Invalid, "make event %s: data of type %T", typ, data)
	}
	if err != nil {
		return state.OutboxEvent{}, fmt.Errorf("announce: %w", err)
	}
	text, err := event.Encode(cetrace.Inject(ctx, e))
	if err != nil {
		return state.OutboxEvent{}, fmt.Errorf("announce: %w", err)
	}
	return state.OutboxEvent{ID: e.ID(), JSON: text}, nil
}

// Engine is the group's engine.
func (w *Worker) Engine() *reconcile.Engine { return w.engine }

// Store is the group's store; changes that go through it wake the outbox and the sweep.
func (w *Worker) Store() state.Store { return w.store }

// Noter is who has to be told what became of an event; nil if nobody keeps books.
func (w *Worker) Noter() subscriber.Noter {
	if w.o.Ledger == nil {
		return nil
	}
	return w.o.Ledger
}

// Run publishes the outbox and sweeps until ctx is done, then lets what is under way end.
func (w *Worker) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return w.outbox.run(ctx) })
	g.Go(func() error { return w.sweeper.run(ctx) })
	g.Go(func() error { return w.keepBooks(ctx) })
	g.Go(func() error { return w.tidyUp(ctx) })
	if err := g.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("run worker: %w", err)
	}
	return nil
}

// Publish publishes what is in the outbox now.
func (w *Worker) Publish(ctx context.Context) error { return w.outbox.flush(ctx) }

// Sweep looks again at every key that is due now.
func (w *Worker) Sweep(ctx context.Context) error { return w.sweeper.sweep(ctx) }

// settled waits until the sweep of Linger that is under way has ended. A delivery that waits for it keeps this process alive: a copy may
// take longer than one that nobody asks for anything.
func (w *Worker) settled(ctx context.Context) error {
	if err := w.sweeper.idle(ctx); err != nil {
		return err
	}
	<-w.sweeper.turn
	return nil
}

// Close closes the buckets. The store is the caller's.
func (w *Worker) Close() error {
	var errs []error
	for _, r := range w.replicas {
		if r.Bucket != nil {
			errs = append(errs, r.Bucket.Close())
		}
	}
	return errors.Join(errs...)
}
