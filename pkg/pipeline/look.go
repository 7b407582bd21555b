package pipeline

import (
	"context"
	"errors"
	"os"
	"time"

	cloudevents "github.com/cloudevents/sdk-go/v2/event"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/state/mem"
	"github.com/bucketmesh/bucketmesh/pkg/worker"
)

// Look opens the buckets and the state of a group to look at conflicts: Sides and Try. Nothing is written, the buckets are not
// probed, and another process may work on the group. Without a data directory and a database there is no state, as at a first
// start. NotFound: the data directory is not there.
func Look(ctx context.Context, o Options) (*Pipeline, error) {
	bare := o.DataDir == "" && o.State == ""
	if o.DataDir == "" {
		o.DataDir = "." // nothing of it is used
	} else if err := checkLooked(o); err != nil {
		return nil, err
	}
	if err := o.defaults(); err != nil {
		return nil, err
	}
	p := &Pipeline{opts: o, log: o.Logger, began: time.Now(), failed: make(chan struct{}), looking: true}
	if err := p.look(ctx, bare); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

// checkLooked refuses a directory that is not there, which opening the state would make, and one of another group.
func checkLooked(o Options) error {
	if _, err := os.Stat(o.DataDir); err != nil {
		return errkind.New(errkind.NotFound, "look at group: %w", err)
	}
	if o.Group == nil {
		return nil // refused with the other options
	}
	return checkDir(o.DataDir, o.Group)
}

func (p *Pipeline) look(ctx context.Context, bare bool) (err error) {
	if bare {
		p.store = mem.New(time.Now)
	} else {
		opened, err := OpenState(ctx, p.opts.DataDir, p.opts.State)
		if err != nil {
			return err
		}
		p.store, p.audit = opened.Store, opened.Log
	}
	p.worker, err = worker.Open(ctx, worker.Options{
		Group: p.opts.Group, Store: p.store, Sink: nowhere{}, Openers: p.opts.Openers, LookupEnv: p.opts.LookupEnv,
		Logger: p.log, Telemetry: p.opts.Telemetry, Look: true,
	})
	return err //nolint:wrapcheck // says which replica
}

// nowhere takes no events.
type nowhere struct{}

func (nowhere) Publish(context.Context, ...cloudevents.Event) error {
	return errkind.New(errkind.Unsupported, "publish event: the group was opened to look at it only")
}
