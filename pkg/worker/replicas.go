package worker

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"golang.org/x/sync/errgroup"

	"github.com/bucketmesh/bucketmesh/pkg/config"
	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/object"
	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
	"github.com/bucketmesh/bucketmesh/pkg/policy/rank"
)

const scope = "github.com/bucketmesh/bucketmesh/pkg/worker"

// Access is what an Opener needs beside the replica's configuration.
type Access struct {
	Credentials []string        // values of config.Replica.CredentialVariables; none: the provider's own credential chain
	OnRequest   func(op string) // told every HTTP request that is sent, by the name that S3 has for it
}

// Opener opens the bucket of a replica. It sends no request.
type Opener func(ctx context.Context, r config.Replica, a Access) (driver.Bucket, error)

// Openers are the providers that a program is built with.
type Openers map[string]Opener

// Providers lists them, for config.Options.
func (o Openers) Providers() []string {
	names := make([]string, 0, len(o))
	for name := range o {
		names = append(names, name)
	}
	return names
}

// Document is how a program with these providers, that decides conflicts, loads its document.
func (o Openers) Document() config.Options {
	return config.Options{Providers: o.Providers(), Expression: rank.Check}
}

// Replica is a replica at work.
type Replica struct {
	config.Replica
	Bucket driver.Bucket // decorated; keys are relative to the replica's prefix
	Report object.Report // what its bucket was found to promise

	counter object.Counter
	health  health
	out     error // why it is left out, with Options.LeaveOut; nil if it takes part
}

// Requests are all requests that were sent for the replica since the process started, those of the probe included.
func (r *Replica) Requests() object.Snapshot { return r.counter.Snapshot() }

// Health is how a replica answered lately. It is found out by the requests that are sent anyway.
type Health struct {
	OK      bool      `json:"ok"`
	Since   time.Time `json:"since,omitzero"`    // when it became what it is
	LastOK  time.Time `json:"lastOK,omitzero"`   // last answer that was no trouble
	Message string    `json:"message,omitempty"` // the last trouble, while it is not OK
}

// isOut makes its health say that it is left out.
func (r *Replica) isOut() {
	r.health.seen("", "", 0, errkind.New(errkind.Unavailable, "it is left out: %w", r.out))
}

// Health is how the replica answered lately.
func (r *Replica) Health() Health { return r.health.get() }

type health struct {
	mu sync.Mutex
	h  Health
}

func (h *health) get() Health {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.h
}

// seen notes an answer. An answer about one object (not found, a failed precondition) is a sign of life.
func (h *health) seen(_ object.Op, _ string, _ time.Duration, err error) {
	now := time.Now()
	ok := true
	if err != nil {
		switch errkind.Of(err) {
		case errkind.Canceled:
			return // the caller gave up: this says nothing
		case errkind.Unknown, errkind.Unavailable, errkind.PermissionDenied, errkind.Unauthenticated, errkind.Throttled:
			ok = false
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.h.OK != ok || h.h.Since.IsZero() {
		h.h.OK, h.h.Since = ok, now
	}
	if ok {
		h.h.LastOK, h.h.Message = now, ""
	} else {
		h.h.Message = err.Error()
	}
}

// Replicas are the group's replicas in the order of the document.
func (w *Worker) Replicas() []*Replica { return w.replicas }

// openReplicas opens and probes all buckets at the same time and says everything that is wrong with any.
func (w *Worker) openReplicas(ctx context.Context) error {
	check := config.CheckCredentials
	if w.o.Judge != nil {
		check = config.CheckEnvironment
	}
	if err := check(w.o.Group, w.o.LookupEnv); err != nil {
		return fmt.Errorf("open replicas: %w", err)
	}
	w.replicas = make([]*Replica, len(w.o.Group.Replicas))
	errs := make([]error, len(w.replicas))
	var g errgroup.Group
	for i, r := range w.o.Group.Replicas {
		w.replicas[i] = &Replica{Replica: r}
		g.Go(func() error {
			errs[i] = w.openReplica(ctx, w.replicas[i])
			return nil
		})
	}
	_ = g.Wait() // the errors are in errs
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return w.leaveOut(ctx)
}

func (w *Worker) openReplica(ctx context.Context, r *Replica) error {
	d, err := w.openBucket(ctx, r)
	if err != nil {
		return err
	}
	r.Bucket = d
	if w.o.Look {
		last, _, err := w.lastProbe(ctx, r)
		if err != nil {
			return fmt.Errorf("open replica %s: %w", r.Name, err)
		}
		r.Report = last.Report
		if c, ok := d.(object.Capable); ok && r.Report.Capabilities != (driver.Capabilities{}) {
			d = c.WithCapabilities(r.Report.Capabilities)
		}
		r.Bucket = object.Checked(d)
		return nil
	}
	admitted, err := w.admit(ctx, r, d)
	if err != nil {
		err = fmt.Errorf("open replica %s (%s): %w", r.Name, r.URL, err)
		if !w.mayLeaveOut(ctx, err) {
			return err
		}
		r.out = err
		r.isOut()
		admitted = object.Refuse(d, err)
	}
	r.Bucket = object.Checked(admitted)
	return nil
}

// openBucket opens a replica's bucket, with what stands around every request. It sends none.
func (w *Worker) openBucket(ctx context.Context, r *Replica) (driver.Bucket, error) {
	open := w.o.Openers[r.Provider]
	if open == nil {
		return nil, errkind.New(errkind.Invalid, "open replica %s: this program is built without the provider %s", r.Name, r.Provider)
	}
	a := Access{OnRequest: r.counter.Request}
	for _, name := range r.CredentialVariables() {
		value, _ := w.o.LookupEnv(name)
		a.Credentials = append(a.Credentials, value)
	}
	d, err := open(ctx, r.Replica, a)
	if err != nil {
		return nil, fmt.Errorf("open replica %s: %w", r.Name, err)
	}
	d = object.Watch(d, r.health.seen)
	d = object.Limit(d, object.LimitOptions{Concurrent: 64})
	d = object.Retry(d, object.RetryOptions{OnRetry: func(op object.Op, key string, err error, pause time.Duration) {
		w.log.WarnContext(ctx, "request is tried again", "replica", r.Name, "op", string(op), "key", key, "wait", pause, "error", err)
	}})
	d = object.Trace(d, w.o.Telemetry.Tracer.Tracer(scope), r.Name)
	return object.WithPrefix(d, r.Prefix), nil
}

// Requests are the requests sent so far, by replica.
func (w *Worker) Requests() map[string]object.Snapshot {
	m := make(map[string]object.Snapshot, len(w.replicas))
	for _, r := range w.replicas {
		m[r.Name] = r.Requests()
	}
	return m
}

// measure exposes the counts as metrics.
func (w *Worker) measure() error {
	meter := w.o.Telemetry.Meter.Meter(scope)
	_, err := meter.Int64ObservableCounter("bucketmesh.bucket.requests",
		metric.WithDescription("Requests sent to a replica's bucket, by kind."),
		metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
			for _, r := range w.replicas {
				s := r.Requests()
				for _, c := range []struct {
					kind string
					n    int64
				}{{"get", s.Get}, {"put", s.Put}, {"head", s.Head}, {"list", s.List}, {"delete", s.Delete}, {"other", s.Other}} {
					o.Observe(c.n, metric.WithAttributes(
						attribute.String("group", w.o.Group.Name), attribute.String("replica", r.Name), attribute.String("kind", c.kind)))
				}
			}
			return nil
		}))
	if err != nil {
		return fmt.Errorf("create instrument: %w", err)
	}
	return nil
}
