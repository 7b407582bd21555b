// Package pipeline is the whole of bucketmesh in one process: notifications over HTTP, normalized into events, a
// durable broker, the subscribers sync, conflict-resolver and audit, and the workers behind them. The handlers, the
// triggers and the workers are those of the services: what runs here is what is deployed.
//
// Errors: Start refuses what can't work (Invalid, with the mend) and a data directory that another process uses (Conflict).
// What goes wrong while it runs is tried again; a listener that fails ends Done with Err.
//
// Concurrency: a Pipeline may be used from many goroutines.
package pipeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"sync"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/audit"
	"github.com/bucketmesh/bucketmesh/pkg/broker"
	"github.com/bucketmesh/bucketmesh/pkg/config"
	"github.com/bucketmesh/bucketmesh/pkg/deadletter"
	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/judge"
	"github.com/bucketmesh/bucketmesh/pkg/ledger"
	"github.com/bucketmesh/bucketmesh/pkg/object"
	"github.com/bucketmesh/bucketmesh/pkg/pull"
	"github.com/bucketmesh/bucketmesh/pkg/receive"
	"github.com/bucketmesh/bucketmesh/pkg/scan"
	"github.com/bucketmesh/bucketmesh/pkg/serve"
	"github.com/bucketmesh/bucketmesh/pkg/state"
	"github.com/bucketmesh/bucketmesh/pkg/worker"
)

// Pipeline is a group at work in this process. Make one with Start.
type Pipeline struct {
	opts    Options
	looking bool // opened by Look: nothing may be written
	log     *slog.Logger
	began   time.Time
	lock    *dirLock
	store   state.Store // as it was opened
	audit   audit.Log
	ledger  *ledger.Keeper
	broker  *broker.Broker
	worker  *worker.Worker
	watch   watchers

	listener net.Listener // nil if no notifications are taken
	address  net.Addr     // of the listener

	stop    context.CancelFunc
	running sync.WaitGroup
	serving chan struct{} // closed when the listener ended; nil until it is served
	failed  chan struct{} // closed when err is set
	fail    sync.Once
	err     error
	close   sync.Once
	closed  error
}

// Start opens everything and runs until Close. ctx bounds the start only.
func Start(ctx context.Context, o Options) (*Pipeline, error) {
	if err := errors.Join(o.defaults(), o.checkListen()); err != nil {
		return nil, err
	}
	p := &Pipeline{opts: o, log: o.Logger, began: time.Now(), failed: make(chan struct{})}
	if err := p.start(ctx); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

// open opens the directory, the store and the broker: what an inspection needs too.
func (p *Pipeline) open(ctx context.Context, work bool) (err error) {
	if p.lock, err = lockDir(ctx, p.opts.DataDir, work); err != nil {
		return err
	}
	if err = checkDir(p.opts.DataDir, p.opts.Group); err != nil {
		return err
	}
	opened, err := OpenState(ctx, p.opts.DataDir, p.opts.State)
	if err != nil {
		return err
	}
	p.store, p.audit = opened.Store, opened.Log
	p.ledger = ledger.New(opened.Ledger, p.opts.Group.Name, p.settledBefore)
	cfg := broker.Config{Logger: p.log, URL: p.opts.NATS, Buried: p.buried, Replaying: p.replaying}
	if cfg.URL == "" {
		cfg.Dir = filepath.Join(p.opts.DataDir, brokerDir)
	} else {
		cfg.Name = "bucketmesh-" + p.opts.Group.Name
	}
	if p.broker, err = broker.Open(ctx, cfg); err != nil {
		return fmt.Errorf("open broker: %w", err)
	}
	return nil
}

func (p *Pipeline) start(ctx context.Context) error {
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	p.stop = stop
	if err := p.open(ctx, true); err != nil {
		return err
	}
	// Before any bucket is asked: a port that is taken is a mistake that needs no server to be found.
	err := p.bind(ctx)
	if err != nil {
		return err
	}
	p.worker, err = worker.Open(ctx, worker.Options{
		Group: p.opts.Group, Store: p.store, Sink: p.broker, Openers: p.opts.Openers, LookupEnv: p.opts.LookupEnv,
		Logger: p.log, Telemetry: p.opts.Telemetry, Probe: p.opts.Probe, Published: p.watch.tell, Ledger: p.ledger,
		Judge: judge.New(judge.Config{LookupEnv: p.opts.LookupEnv, Logger: p.log}),
		Trace: p.opts.Trace, Lease: p.opts.Lease,
	})
	if err != nil {
		return err //nolint:wrapcheck // says which replica
	}
	if err := rememberGroup(p.opts.DataDir, p.opts.Group); err != nil {
		return err
	}
	if err := p.subscribe(ctx); err != nil {
		return err
	}
	if err := p.serve(run); err != nil {
		return err
	}
	if err := p.pull(run); err != nil {
		return err
	}
	p.running.Go(func() {
		if err := p.worker.Run(run); err != nil {
			p.failWith(err)
		}
	})
	p.running.Go(func() { p.scans(run) })
	p.running.Go(func() { p.failWhen(run, p.broker.Broken) })
	return nil
}

// bind takes the address for notifications. Who connects before serve has to wait.
func (p *Pipeline) bind(ctx context.Context) error {
	if p.opts.Listen == "" {
		return nil
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", p.opts.Listen)
	if err != nil {
		return errkind.New(errkind.Invalid, "listen for notifications on %s: %w", p.opts.Listen, err)
	}
	p.listener, p.address = listener, listener.Addr()
	return nil
}

// serve takes notifications.
func (p *Pipeline) serve(run context.Context) error {
	if p.listener == nil {
		return nil
	}
	handler, err := receive.All(receive.Config{
		Group: p.opts.Group, Tokens: p.opts.Tokens, Topics: p.opts.Topics, SNSMaxAge: p.opts.SNSMaxAge, Push: p.opts.Push,
		Entra: p.opts.Entra, Origins: p.opts.Origins, Open: p.opts.open(),
		Sink: p.broker, DeadLetters: deadLetters{p.broker}, Published: p.watch.tell, Logger: p.log, Telemetry: p.opts.Telemetry,
	})
	if err != nil {
		return err //nolint:wrapcheck // says "make normalizer"
	}
	p.serving = make(chan struct{})
	go func() {
		defer close(p.serving)
		err := serve.Run(run, serve.Config{
			Name: "bucketmesh", Public: true, Listener: p.listener, Handler: handler, Logger: p.log, Telemetry: p.opts.Telemetry,
			QuietPeriod: p.opts.QuietPeriod, DrainTimeout: p.opts.DrainTimeout,
			Ready: []serve.Check{{Name: "state", Do: func(ctx context.Context) error {
				_, _, err := p.store.NextDue(ctx, p.opts.Group.Name)
				return err //nolint:wrapcheck // logged with its name
			}}, {Name: "broker", Do: func(context.Context) error { return p.broker.Ready() }}},
		})
		if err != nil {
			p.failWith(err)
		}
	}()
	return nil
}

// pull takes notifications out of the queues that replicas name.
func (p *Pipeline) pull(run context.Context) error {
	if p.listener == nil {
		return nil
	}
	puller, err := pull.New(pull.Config{
		Group: p.opts.Group, Topics: p.opts.Topics, Sink: p.broker, DeadLetters: deadLetters{p.broker}, Published: p.watch.tell,
		LookupEnv: p.opts.LookupEnv, Logger: p.log, Telemetry: p.opts.Telemetry,
	})
	if err != nil {
		return err //nolint:wrapcheck // says "make puller"
	}
	p.running.Go(func() {
		if err := puller.Run(run); err != nil {
			p.failWith(err)
		}
	})
	return nil
}

// failWhen ends the pipeline when broken has an error: what only a new process can mend is for the supervisor.
func (p *Pipeline) failWhen(run context.Context, broken func() error) {
	tick := time.NewTicker(brokenEvery)
	defer tick.Stop()
	for {
		select {
		case <-run.Done():
			return
		case <-tick.C:
		}
		if err := broken(); err != nil {
			p.log.Error("pipeline can't go on", "error", err)
			p.failWith(err)
			return
		}
	}
}

const brokenEvery = 2 * time.Second

func (p *Pipeline) failWith(err error) {
	p.fail.Do(func() {
		p.err = err
		close(p.failed)
	})
}

// Failed is closed when the pipeline can't go on; Err says why.
func (p *Pipeline) Failed() <-chan struct{} { return p.failed }

// Err is why the pipeline can't go on, nil while it can.
func (p *Pipeline) Err() error {
	select {
	case <-p.failed:
		return p.err
	default:
		return nil
	}
}

// URL is where notifications are taken, http://host:port; "" if they are not.
func (p *Pipeline) URL() string {
	if p.address == nil {
		return ""
	}
	return "http://" + p.address.String()
}

// WebhookURL is where the notifications of a replica are taken. If every address of the machine is listened on, its host
// is the word HOST: which name of this machine the senders reach is not known here.
func (p *Pipeline) WebhookURL(replica config.Replica) string {
	base := p.URL()
	if at, ok := p.address.(*net.TCPAddr); ok && at.IP.IsUnspecified() {
		base = fmt.Sprintf("http://HOST:%d", at.Port)
	}
	return base + receive.Path(replica)
}

// Counters are the requests that were sent so far, by replica.
func (p *Pipeline) Counters() map[string]object.Snapshot { return p.worker.Requests() }

// Store is the state of the group.
func (p *Pipeline) Store() state.Store { return p.store }

// Audit is the log of all events.
func (p *Pipeline) Audit() audit.Log { return p.audit }

// Backfill brings together what exists; see worker.Worker.Backfill.
func (p *Pipeline) Backfill(ctx context.Context, progress func(scan.Progress)) (scan.Progress, error) {
	if p.worker == nil {
		return scan.Progress{}, errkind.New(errkind.Unsupported, "backfill: the group was opened for inspection only")
	}
	return p.worker.Backfill(ctx, progress) //nolint:wrapcheck // says "backfill"
}

// DeadLetters lists what the triggers gave up on, and messages that could not be understood.
func (p *Pipeline) DeadLetters(ctx context.Context, limit int) ([]deadletter.Letter, error) {
	return p.broker.DeadLetters(ctx, limit) //nolint:wrapcheck // says "read dead letters"
}

// Replay gives dead letters back to their triggers, all that can be if no id is given, and says how many.
func (p *Pipeline) Replay(ctx context.Context, ids ...string) (int, error) {
	if len(ids) == 0 {
		return p.broker.ReplayAll(ctx) //nolint:wrapcheck // says "replay"
	}
	for i, id := range ids {
		if err := p.broker.Replay(ctx, id); err != nil {
			return i, err //nolint:wrapcheck // says "replay" and the id
		}
	}
	return len(ids), nil
}

// DeadLetter is one dead letter.
func (p *Pipeline) DeadLetter(ctx context.Context, id string) (deadletter.Letter, error) {
	return p.broker.DeadLetter(ctx, id) //nolint:wrapcheck // says "read dead letter" and the id
}

// Drop removes dead letters for good, and says how many.
func (p *Pipeline) Drop(ctx context.Context, ids ...string) (int, error) {
	for i, id := range ids {
		if _, err := p.broker.DeadLetter(ctx, id); err != nil {
			return i, fmt.Errorf("drop: %w", err)
		}
		if err := p.broker.Discard(ctx, id); err != nil {
			return i, err //nolint:wrapcheck // says "remove dead letter" and the id
		}
	}
	return len(ids), nil
}

// Close ends: notifications are refused, what is being handled is finished (for DrainTimeout at most), everything is
// closed. What was not handled is handled after the next Start.
func (p *Pipeline) Close() error {
	p.close.Do(func() { p.closed = p.shutDown() })
	return p.closed
}

func (p *Pipeline) shutDown() error {
	var errs []error
	if p.stop != nil {
		p.stop()
	}
	switch {
	case p.serving != nil:
		<-p.serving
	case p.listener != nil:
		errs = append(errs, p.listener.Close())
	}
	p.running.Wait()
	limit, cancel := context.WithTimeout(context.Background(), p.opts.DrainTimeout)
	defer cancel()
	if p.worker != nil {
		// What the last handlers leave in the outbox is published at the next start; this is what can be done now.
		if err := p.worker.Publish(limit); err != nil {
			p.log.Warn("outbox is left for the next start", "error", err)
		}
	}
	if p.broker != nil {
		if err := p.broker.Close(limit); err != nil && !errkind.Is(err, errkind.Canceled) {
			errs = append(errs, err) // canceled handlers are no failure: their events come again
		}
	}
	if p.worker != nil {
		errs = append(errs, p.worker.Close())
	}
	if p.store != nil {
		errs = append(errs, p.store.Close())
	}
	if p.lock != nil {
		errs = append(errs, p.lock.Close())
	}
	return errors.Join(errs...)
}

type deadLetters struct{ b *broker.Broker }

func (d deadLetters) Store(ctx context.Context, raw []byte, contentType, reason string) error {
	return d.b.StoreRaw(ctx, raw, contentType, reason) //nolint:wrapcheck // an adapter
}
