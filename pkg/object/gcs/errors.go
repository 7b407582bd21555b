package gcs

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"cloud.google.com/go/auth"
	"cloud.google.com/go/storage"
	"google.golang.org/api/googleapi"
	"google.golang.org/api/iterator"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
)

// hotKey is how long to wait after a 429 that doesn't say: one name takes about one write a second.
const hotKey = time.Second

// fail gives an SDK error its kind; nil is nil, and proves that the bucket is there. ctx is the caller's, not the request's.
func (s *shared) fail(ctx context.Context, x *exchange, err error) error {
	if err == nil {
		s.alive.Seen()
		return nil
	}
	kind := kindOf(err)
	if kind == errkind.NotFound {
		if gone := s.missing(ctx, x, err); gone != nil {
			return gone
		}
	}
	if id := x.requestID(); id != "" {
		err = errkind.New(kind, "%w (request %s)", err, id)
	} else {
		err = errkind.New(kind, "%w", err)
	}
	if kind == errkind.Throttled {
		return errkind.After(delay(x), err)
	}
	return err
}

// failWrite is fail for a write: a conditional write on a missing object may answer 404, which is a failed precondition.
func (s *shared) failWrite(ctx context.Context, x *exchange, err error, conditional bool) error {
	err = s.fail(ctx, x, err)
	if err != nil && conditional && errkind.Is(err, errkind.NotFound) {
		return errkind.New(errkind.PreconditionFailed, "%w", err)
	}
	return err
}

func kindOf(err error) errkind.Kind {
	// A context that ended says nothing about what the server did; errkind knows the two ways it can end.
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return errkind.Of(err)
	}
	if api, ok := errors.AsType[*googleapi.Error](err); ok {
		return kindOfStatus(api)
	}
	if errors.Is(err, storage.ErrObjectNotExist) || errors.Is(err, storage.ErrBucketNotExist) {
		return errkind.NotFound
	}
	// No token: Google's answer to us, or none at all.
	if e, ok := errors.AsType[*auth.Error](err); ok && e.Response != nil {
		if st := e.Response.StatusCode; st < 500 && st != http.StatusTooManyRequests {
			return errkind.Unauthenticated
		}
	}
	return errkind.Unavailable
}

func kindOfStatus(api *googleapi.Error) errkind.Kind {
	for _, e := range api.Errors {
		switch e.Reason { // that come with a 403, too
		case "rateLimitExceeded", "userRateLimitExceeded", "quotaExceeded":
			return errkind.Throttled
		}
	}
	switch st := api.Code; {
	case st == http.StatusPreconditionFailed, st == http.StatusNotModified:
		return errkind.PreconditionFailed
	case st == http.StatusNotFound:
		return errkind.NotFound
	case st == http.StatusUnauthorized:
		return errkind.Unauthenticated
	case st == http.StatusForbidden:
		return errkind.PermissionDenied
	case st == http.StatusConflict:
		return errkind.Conflict
	case st == http.StatusTooManyRequests:
		return errkind.Throttled
	case st == http.StatusRequestTimeout, st >= 500 && st != http.StatusNotImplemented:
		return errkind.Unavailable
	case st == http.StatusMethodNotAllowed, st == http.StatusNotImplemented:
		return errkind.Unsupported
	case st >= 300:
		return errkind.Invalid
	}
	return errkind.Unavailable
}

// delay is what the server asked to wait for.
func delay(x *exchange) time.Duration {
	_, h, _ := x.answer()
	v := h.Get("Retry-After")
	if n, err := strconv.Atoi(v); err == nil && n > 0 {
		return time.Duration(n) * time.Second
	}
	if at, err := http.ParseTime(v); err == nil && time.Until(at) > 0 {
		return time.Until(at)
	}
	return hotKey
}

// missing looks into a 404: nil if it is the object that isn't there, an error if it is the bucket, or if nobody knows. A 404
// without an error document of GCS is somebody else's, a proxy's perhaps: nobody said that the object is not there.
func (s *shared) missing(ctx context.Context, x *exchange, cause error) error {
	_, _, code := x.answer()
	api, _ := errors.AsType[*googleapi.Error](cause)
	switch {
	case code == "NoSuchKey":
		s.alive.Seen()
		return nil
	case code == "NoSuchBucket":
		return s.noBucket(nil)
	case api == nil || len(api.Errors) == 0 || api.Errors[0].Reason != "notFound":
		return errkind.New(errkind.Unavailable, "the answer 404 is not one of GCS: %w", cause)
	}
	return s.alive.Check(ctx, s.askForBucket) //nolint:wrapcheck // of askForBucket
}

// foreign tells whether an answer is a 404 that missing does not believe.
func (x *exchange) foreign() bool {
	status, _, code := x.answer()
	return status == http.StatusNotFound && code == ""
}

// askForBucket lists one key: that takes no permission which the driver doesn't need anyway.
func (s *shared) askForBucket(ctx context.Context) error {
	ctx, cancel := s.request(ctx, 0)
	defer cancel()
	ctx, _ = begin(ctx, "ListObjectsV2", false)
	it := s.bucket.Objects(ctx, &storage.Query{Projection: storage.ProjectionNoACL})
	it.PageInfo().MaxSize = 1
	switch _, err := it.Next(); {
	case err == nil || errors.Is(err, iterator.Done):
		return nil
	case kindOf(err) == errkind.NotFound:
		return s.noBucket(err)
	default:
		return errkind.New(kindOf(err), "check that the bucket is there: %w", err)
	}
}

func (s *shared) noBucket(cause error) error {
	if cause == nil {
		return errkind.New(errkind.Unavailable, "the bucket %q is not there", s.cfg.Bucket)
	}
	return errkind.New(errkind.Unavailable, "the bucket %q is not there: %w", s.cfg.Bucket, cause)
}
