// Package pull takes the notifications of a group's buckets out of the queues that carry them: SQS, Pub/Sub and Azure's
// Queue Storage, one source for each distinct notifications.pull of the replicas. It is what the service puller runs, and
// the one-process mode; providers that post take the way of package receive.
//
// A message is taken out of its queue only after the sink has all of its events, and what can never work is in the dead
// letters. Everything else leaves it there, and it comes again with the same event ids.
//
// Errors: Invalid for a configuration that can't work; NotFound, PermissionDenied or Invalid, with the mend, for a queue
// that is not usable when Run begins. Later trouble of a queue ends nothing: it is tried again with back-off, Ready says
// so, it is logged once and counted.
//
// Concurrency: Ready and Queues may be called from many goroutines, Run once.
package pull

import (
	"context"
	"errors"
	"log/slog"
	"time"

	cloudevents "github.com/cloudevents/sdk-go/v2/event"
	"golang.org/x/sync/errgroup"

	"github.com/bucketmesh/bucketmesh/pkg/config"
	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/normalize"
	"github.com/bucketmesh/bucketmesh/pkg/pull/queue"
	"github.com/bucketmesh/bucketmesh/pkg/serve"
)

const scope = "github.com/bucketmesh/bucketmesh/pkg/pull"

// Config of New. Published, Logger and Telemetry may be nil.
type Config struct {
	Group       *config.Group
	Topics      []string // ARNs of the SNS topics whose messages are taken from SQS; none is all: the queue's policy says who sends
	Sink        serve.Sink
	DeadLetters normalize.DeadLetters
	Published   func(cloudevents.Event) // told of every event that the sink took
	LookupEnv   func(name string) (string, bool)
	Limits      queue.Limits // of each queue
	Logger      *slog.Logger
	Telemetry   *serve.Telemetry
}

// Puller drains the queues of a group. Make one with New.
type Puller struct {
	drains []*drain
	limits queue.Limits
}

// New opens a source for each queue that a replica names; none at all is no error. It sends no request to a queue.
func New(c Config) (*Puller, error) {
	if c.Group == nil || c.Sink == nil || c.DeadLetters == nil || c.LookupEnv == nil {
		return nil, errkind.New(errkind.Invalid, "pull: group, sink, dead letters and environment are required")
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Telemetry == nil {
		c.Telemetry = serve.NoTelemetry()
	}
	var err error
	if c.Limits, err = c.Limits.WithDefaults(); err != nil {
		return nil, err //nolint:wrapcheck // says what is wrong with the limits
	}
	meters, err := newMeters(c.Telemetry.Meter.Meter(scope))
	if err != nil {
		return nil, err
	}
	queues, err := queuesOf(c.Group)
	if err != nil {
		return nil, err
	}
	p := &Puller{limits: c.Limits}
	for _, q := range queues {
		source, err := q.open(c)
		if err != nil {
			return nil, errors.Join(err, p.close())
		}
		p.drains = append(p.drains, &drain{
			name: q.url, source: source, limits: c.Limits, log: c.Logger.With("queue", q.url), meters: meters.of(q.url),
			worker: worker{decode: q.decoder(c), sink: sink{c.Sink, c.Published}, dead: c.DeadLetters, limits: c.Limits},
		})
	}
	return p, nil
}

// Queues are the names of what is drained, as the replicas name them.
func (p *Puller) Queues() []string {
	var names []string
	for _, d := range p.drains {
		names = append(names, d.name)
	}
	return names
}

// Run drains the queues until ctx ends, then finishes what is under way, within Limits.Stop and a few requests, and returns
// nil. It ends early only with what a person has to mend before a queue can be used for the first time.
func (p *Puller) Run(ctx context.Context) error {
	group, inner := errgroup.WithContext(ctx)
	group.Go(func() error { <-inner.Done(); return nil }) // without a queue there is nothing to do, and nothing wrong
	for _, d := range p.drains {
		group.Go(func() error { return d.run(inner) })
	}
	return errors.Join(group.Wait(), p.close())
}

func (p *Puller) close() error {
	var errs []error
	for _, d := range p.drains {
		errs = append(errs, d.source.Close())
	}
	return errors.Join(errs...)
}

// Ready is nil while all queues answer. Errors: Unavailable, with the queues that don't.
func (p *Puller) Ready(context.Context) error {
	var errs []error
	for _, d := range p.drains {
		errs = append(errs, d.ready())
	}
	if err := errors.Join(errs...); err != nil {
		return errkind.New(errkind.Unavailable, "%w", err)
	}
	return nil
}

// sink is normalize.Sink over serve.Sink.
type sink struct {
	serve.Sink

	published func(cloudevents.Event)
}

// Publish implements normalize.Sink.
func (s sink) Publish(ctx context.Context, events []cloudevents.Event) error {
	if err := s.Sink.Publish(ctx, events...); err != nil {
		return err //nolint:wrapcheck // an adapter
	}
	if s.published != nil {
		for _, e := range events {
			s.published(e)
		}
	}
	return nil
}

// patience is how long a source has to work before its next failure counts as the first one again.
const patience = time.Minute
