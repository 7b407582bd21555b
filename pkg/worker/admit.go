package worker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/object"
	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
)

// recogniseTimeout is how long a service waits at its start for a bucket that it knows: one that does not answer must not keep
// the others waiting.
const recogniseTimeout = 5 * time.Second

// admit makes sure that the bucket is the one that it was, and fit. In this order: nothing is written into another one, and what
// another one promises is not taken for the word of this one.
func (w *Worker) admit(ctx context.Context, r *Replica, d driver.Bucket) (driver.Bucket, error) {
	known, err := w.identity(ctx, r)
	if err != nil {
		return nil, err
	}
	read, err := w.recognise(ctx, d, known)
	if err != nil {
		return nil, err
	}
	if err := w.probe(ctx, r, d, known == "" || read); err != nil {
		return nil, err
	}
	if c, ok := d.(object.Capable); ok {
		d = c.WithCapabilities(r.Report.Capabilities)
	}
	if known == "" {
		if known, err = object.GiveIdentity(ctx, d); err != nil {
			return nil, err //nolint:wrapcheck // says "give bucket an identity"
		}
		if err := w.o.Store.SetCursor(ctx, w.o.Group.Name, identityCursor(r.Name), known); err != nil {
			return nil, stateTrouble{fmt.Errorf("remember identity of replica: %w", err)}
		}
		read = true
	}
	return object.Break(object.Identified(d, known, read), object.BreakerOptions{OnChange: func(open bool) {
		w.log.WarnContext(ctx, "circuit breaker of a replica changed", "replica", r.Name, "open", open)
	}}), nil
}

// identityCursor holds the identity of a replica's bucket.
func identityCursor(replica string) string { return "identity/" + replica }

// identity is that of a replica's bucket as the state has it; "" if the replica is new.
func (w *Worker) identity(ctx context.Context, r *Replica) (string, error) {
	known, err := w.o.Store.Cursor(ctx, w.o.Group.Name, identityCursor(r.Name))
	if err != nil {
		return "", stateTrouble{fmt.Errorf("read identity of replica: %w", err)}
	}
	return known, nil
}

// recognise makes sure that the bucket is the one that the replica's state is about. Otherwise everything that is not in it
// would pass for deleted. read is false if it does not answer now: then it is recognised when it does.
func (w *Worker) recognise(ctx context.Context, d driver.Bucket, known string) (read bool, err error) {
	if known == "" {
		return false, nil
	}
	if w.o.LeaveOut {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, recogniseTimeout)
		defer cancel()
	}
	id, err := object.Identity(ctx, d)
	switch kind := errkind.Of(err); {
	case err == nil && id != known:
		return false, errkind.New(errkind.Invalid, "it is not the bucket that this replica was: its marker %s is missing or another one. If the "+
			"bucket was replaced or emptied on purpose, give the replica a new name in the document: it is filled then, and nothing is "+
			"deleted elsewhere. If not, look at the replica's url", object.IdentityKey)
	case err != nil && kind != errkind.Unavailable && kind != errkind.Throttled && ctx.Err() == nil:
		return false, err //nolint:wrapcheck // says "read identity of bucket"
	}
	return err == nil, nil
}

// stateTrouble is an error that says nothing about a bucket.
type stateTrouble struct{ error }

// Unwrap gives the cause.
func (t stateTrouble) Unwrap() error { return t.error }

// mayLeaveOut reports that the others may go on without a replica that err keeps from taking part.
func (w *Worker) mayLeaveOut(ctx context.Context, err error) bool {
	_, trouble := errors.AsType[stateTrouble](err)
	return w.o.LeaveOut && !trouble && ctx.Err() == nil
}

// leaveOut says which replicas are left out. Somebody has to be left to work with.
func (w *Worker) leaveOut(ctx context.Context) error {
	var errs []error
	for _, r := range w.replicas {
		if r.out != nil {
			errs = append(errs, r.out)
			w.log.ErrorContext(ctx, "a replica is left out until it is mended; the others go on, and what it has to get waits",
				"replica", r.Name, "error", r.out)
		}
	}
	if len(errs) == len(w.replicas) {
		return errors.Join(errs...)
	}
	return nil
}

// admissible reports whether a replica that is left out could take part by now. The bucket must have answered: what is not known is
// no reason to begin anew. It may be probed, and a new one gets its marker, but nothing is noted in the state: that is for the
// process that takes it in.
func (w *Worker) admissible(ctx context.Context, r *Replica) bool {
	d, err := w.openBucket(ctx, r)
	if err != nil {
		return false
	}
	defer func() { _ = d.Close() }() // no request is under way
	known, err := w.identity(ctx, r)
	if err != nil {
		return false
	}
	if read, err := w.recognise(ctx, d, known); err != nil || known != "" && !read {
		return false
	}
	last, ok, err := w.lastProbe(ctx, r)
	if err != nil {
		return false
	}
	if !ok || !w.good(r, last) {
		o := w.o.Probe
		o.CleanupTimeout = recogniseTimeout
		if last.Report, err = object.Probe(ctx, d, o); err != nil || w.fit(r, last.Report) != nil {
			return false
		}
	}
	if known != "" {
		return true
	}
	if c, ok := d.(object.Capable); ok {
		d = c.WithCapabilities(last.Capabilities)
	}
	_, err = object.GiveIdentity(ctx, d)
	return err == nil
}
