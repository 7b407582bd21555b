// Package broker is the event broker of the one-process mode: NATS JetStream, as a library with a file store in a
// directory of its own, or an outside NATS server by URL. It does for handlers in one process what a Knative Broker and
// its Triggers do for services: durable, filtered, at-least-once delivery with back-off and dead letters.
//
// What is acknowledged is kept: Publish returns when every event is in the store, and an event leaves the store when
// every trigger that was declared has handled it, or has put it among the dead letters. A store that is full refuses new
// events; it never drops old ones. A process that is killed loses nothing; what it was handling is handled again. (The
// store is flushed to the operating system before an event is acknowledged, and to the disk every two minutes: a
// machine that loses power can lose the last of them unless Config.SyncAlways is set. A scan finds what was lost.)
//
// Errors: Invalid for what can never work (an event that does not validate, a wrong filter), NotFound for a dead
// letter or a trigger that does not exist, Unsupported for replaying what no trigger failed, Unavailable for all else: the
// store is full, closed or not reachable, and the call may be repeated.
//
// Concurrency: a Broker may be used from many goroutines. Events are delivered in no particular order, to as many
// handlers at once as the trigger allows, and more than once if need be: handlers dedupe by source and id, or are
// idempotent.
package broker

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
)

// Bounds and defaults of a Broker.
const (
	DefaultName         = "bucketmesh"
	DefaultMaxBytes     = 1 << 30
	DefaultMaxDeadBytes = 256 << 20
	DefaultDedupe       = 2 * time.Minute
	DefaultAckWait      = 5 * time.Second
	DefaultPublishWait  = 10 * time.Second

	maxConcurrency = 256     // handlers per trigger: each of them keeps a pull request open
	maxAckPending  = 100_000 // events per trigger that wait for their next try
	maxPayload     = 4 << 20 // of a message of the embedded server: a raw dead letter may be large
	startWait      = 30 * time.Second
)

// Config of a Broker. The zero value of a field is its default; one of Dir and URL is needed.
type Config struct {
	Dir string // the embedded server keeps its files here, and no other process may use it meanwhile
	URL string // an outside NATS server with JetStream, nats://...

	Name string // a DNS label that sets this broker apart from others on one outside server

	MaxBytes     int64         // of events that are not yet handled, in bytes; when it is reached, Publish fails
	MaxDeadBytes int64         // of dead letters, in bytes; when it is reached, failed events stay with their trigger
	MaxAge       time.Duration // events and dead letters older than this are dropped; 0, the default, is never
	Dedupe       time.Duration // an event with the source and id of one published this long ago is acknowledged and dropped
	AckWait      time.Duration // a handler that a crash interrupted is run again after this; heartbeats keep longer ones alive
	PublishWait  time.Duration // for the store to acknowledge one event
	SyncAlways   bool          // embedded: flush every event to the disk before it is acknowledged (slow)

	Logger *slog.Logger // discarded if nil

	// Buried is told of an event that became a dead letter, before the event leaves its trigger: an error keeps it there.
	// Replaying is told before a dead letter goes back to its trigger: an error keeps it where it is. Nil: nobody is told.
	Buried, Replaying func(ctx context.Context, trigger string, e event.Event) error
}

func (c Config) withDefaults() (Config, error) {
	if (c.Dir == "") == (c.URL == "") {
		return c, errkind.New(errkind.Invalid, "open broker: exactly one of a directory and a URL is needed")
	}
	setDefault(&c.Name, DefaultName)
	if !dnsLabel.MatchString(c.Name) {
		return c, errkind.New(errkind.Invalid, "open broker: name %q: must be a DNS label (a-z, 0-9, -)", c.Name)
	}
	setDefault(&c.MaxBytes, DefaultMaxBytes)
	setDefault(&c.MaxDeadBytes, DefaultMaxDeadBytes)
	setDefault(&c.Dedupe, DefaultDedupe)
	setDefault(&c.AckWait, DefaultAckWait)
	setDefault(&c.PublishWait, DefaultPublishWait)
	if c.MaxBytes < 0 || c.MaxDeadBytes < 0 || c.MaxAge < 0 || c.Dedupe < 0 || c.AckWait < 0 || c.PublishWait < 0 {
		return c, errkind.New(errkind.Invalid, "open broker: limits and durations must not be negative")
	}
	if c.MaxAge > 0 {
		c.Dedupe = min(c.Dedupe, c.MaxAge) // the server refuses to remember ids for longer than events
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c, nil
}

func setDefault[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

// names in NATS.
type names struct {
	eventsStream, deadStream string
	events                   string // subject, followed by the event's type
	replay                   string // subject in the stream of events, followed by the trigger it is for
	dead                     string // subject, followed by the trigger that gave up
	raw                      string // subject
}

func makeNames(broker string) names {
	return names{
		eventsStream: broker + "-events", deadStream: broker + "-dead",
		events: broker + ".events", replay: broker + ".replay", dead: broker + ".dead.trigger", raw: broker + ".dead.raw",
	}
}

// Broker keeps events and hands them to triggers. See the package comment.
type Broker struct {
	cfg    Config
	log    *slog.Logger
	names  names
	server *server.Server // nil if it is an outside one
	lock   *os.File       // of Config.Dir
	nc     *nats.Conn
	js     jetstream.JetStream
	events jetstream.Stream
	dead   jetstream.Stream

	interest atomic.Bool // at least one trigger is declared

	eventsHealth, deadHealth health

	// Close ends fetching first, then waits for handlers, then cancels those that are left.
	fetching    context.Context
	stopFetch   context.CancelFunc
	handling    context.Context
	stopHandle  context.CancelFunc
	workers     sync.WaitGroup
	mu          sync.Mutex // guards what follows
	subscribed  map[string]bool
	closed      bool
	closeResult error
}

// Open starts the embedded server, or connects to an outside one, and creates what is missing there. ctx bounds the
// opening only.
func Open(ctx context.Context, cfg Config) (*Broker, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	b := &Broker{cfg: cfg, log: cfg.Logger, names: makeNames(cfg.Name), subscribed: map[string]bool{}}
	b.fetching, b.stopFetch = context.WithCancel(context.WithoutCancel(ctx))
	b.handling, b.stopHandle = context.WithCancel(context.WithoutCancel(ctx))
	if err := b.open(ctx); err != nil {
		b.release()
		return nil, err
	}
	return b, nil
}

func (b *Broker) open(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, startWait)
	defer cancel()
	options := []nats.Option{
		nats.Name("bucketmesh"), nats.MaxReconnects(-1), nats.RetryOnFailedConnect(false),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			b.log.Warn("broker connection", "error", err)
		}),
	}
	if b.cfg.Dir != "" {
		if err := b.embed(); err != nil {
			return err
		}
		options = append(options, nats.InProcessServer(b.server))
	}
	if b.nc, err = nats.Connect(b.cfg.URL, options...); err != nil {
		// The URL may hold a password, and the client's error may repeat it.
		return errkind.New(errkind.Unavailable, "connect to broker: %w", redact(err, b.cfg.URL))
	}
	if b.js, err = jetstream.New(b.nc, jetstream.WithPublishAsyncTimeout(b.cfg.PublishWait)); err != nil {
		return errkind.New(errkind.Unavailable, "open broker: %w", err)
	}
	if b.events, err = b.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name:     b.names.eventsStream,
		Subjects: []string{b.names.events + ".>", b.names.replay + ".>"},
		// Interest: an event goes when every trigger has acknowledged it, so that the store holds what is pending only.
		Retention:  jetstream.InterestPolicy,
		Discard:    jetstream.DiscardNew,
		MaxBytes:   b.cfg.MaxBytes,
		MaxAge:     b.cfg.MaxAge,
		Duplicates: b.cfg.Dedupe,
		Storage:    jetstream.FileStorage,
	}); err != nil {
		return errkind.New(errkind.Unavailable, "create event stream: %w", err)
	}
	if b.dead, err = b.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name:        b.names.deadStream,
		Subjects:    []string{b.names.dead + ".>", b.names.raw},
		Retention:   jetstream.LimitsPolicy,
		Discard:     jetstream.DiscardNew,
		MaxBytes:    b.cfg.MaxDeadBytes,
		MaxAge:      b.cfg.MaxAge,
		Duplicates:  b.cfg.Dedupe,
		Storage:     jetstream.FileStorage,
		AllowDirect: true,
	}); err != nil {
		return errkind.New(errkind.Unavailable, "create dead letter stream: %w", err)
	}
	b.interest.Store(b.events.CachedInfo().State.Consumers > 0)
	return nil
}

// Close ends delivery: it stops fetching, waits for the handlers that run until ctx is done, cancels those that are left
// and waits for them, and shuts the server down. Events whose handlers were canceled are handled again after the next
// Open. Handlers must honour their context. A second Close does nothing and returns what the first one did.
func (b *Broker) Close(ctx context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return b.closeResult
	}
	b.closed = true
	b.stopFetch()
	done := make(chan struct{})
	go func() {
		b.workers.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
		b.closeResult = errkind.New(errkind.Canceled, "close broker: handlers were canceled: %w", context.Cause(ctx))
		b.stopHandle()
		<-done
	}
	b.release()
	return b.closeResult
}

// release gives back whatever open got so far.
func (b *Broker) release() {
	b.stopFetch()
	b.stopHandle()
	if b.nc != nil {
		// The acknowledgements of the last handlers may still be in the connection's buffer.
		if err := b.nc.FlushTimeout(time.Second); err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
			b.log.Warn("flush broker connection", "error", err)
		}
		b.nc.Close()
	}
	if b.server != nil {
		b.server.Shutdown()
		b.server.WaitForShutdown()
	}
	if b.lock != nil {
		if err := b.lock.Close(); err != nil { // which also unlocks
			b.log.Warn("unlock broker directory", "error", err)
		}
	}
}
