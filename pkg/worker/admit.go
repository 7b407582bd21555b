package worker

import (
	"context"
	"errors"
	"fmt"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/object"
	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
)

// admit makes sure that the bucket is fit, and the one that it was.
func (w *Worker) admit(ctx context.Context, r *Replica, d driver.Bucket) (driver.Bucket, error) {
	if err := w.probe(ctx, r, d); err != nil {
		return nil, err
	}
	if c, ok := d.(object.Capable); ok {
		d = c.WithCapabilities(r.Report.Capabilities)
	}
	d, err := w.recognise(ctx, r, d)
	if err != nil {
		return nil, err
	}
	return object.Break(d, object.BreakerOptions{OnChange: func(open bool) {
		w.log.WarnContext(ctx, "circuit breaker of a replica changed", "replica", r.Name, "open", open)
	}}), nil
}

// identityCursor holds the identity of a replica's bucket.
func identityCursor(replica string) string { return "identity/" + replica }

// recognise makes sure that the bucket is the one that the replica's state is about. Otherwise everything that is not in it
// would pass for deleted.
func (w *Worker) recognise(ctx context.Context, r *Replica, d driver.Bucket) (driver.Bucket, error) {
	cursor := identityCursor(r.Name)
	known, err := w.o.Store.Cursor(ctx, w.o.Group.Name, cursor)
	if err != nil {
		return nil, stateTrouble{fmt.Errorf("read identity of replica: %w", err)}
	}
	if known == "" {
		if known, err = object.GiveIdentity(ctx, d); err != nil {
			return nil, err //nolint:wrapcheck // says "give bucket an identity"
		}
		if err := w.o.Store.SetCursor(ctx, w.o.Group.Name, cursor, known); err != nil {
			return nil, stateTrouble{fmt.Errorf("remember identity of replica: %w", err)}
		}
		return object.Identified(d, known), nil
	}
	id, err := object.Identity(ctx, d)
	switch kind := errkind.Of(err); {
	case err == nil && id != known:
		return nil, errkind.New(errkind.Invalid, "it is not the bucket that this replica was: its marker %s is missing or another one. If the "+
			"bucket was replaced or emptied on purpose, give the replica a new name in the document: it is filled then, and nothing is "+
			"deleted elsewhere. If not, look at the replica's url", object.IdentityKey)
	case err != nil && kind != errkind.Unavailable && kind != errkind.Throttled:
		return nil, err //nolint:wrapcheck // says "read identity of bucket"
	}
	return object.Identified(d, known), nil // a replica that does not answer now is recognised when it does
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
