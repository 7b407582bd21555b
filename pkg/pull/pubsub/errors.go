package pubsub

import (
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
)

// fail gives an error of the library its kind and the mend.
func fail(doing, subscription string, err error) error {
	kind, mend := kindOf(err), ""
	switch kind {
	case errkind.NotFound:
		mend = ": make the subscription, or correct notifications.pull"
	case errkind.PermissionDenied:
		mend = ": check the credentials and their roles (roles/pubsub.subscriber and roles/pubsub.viewer, on the subscription)"
	}
	return errkind.New(kind, "%s pubsub subscription %s%s: %w", doing, subscription, mend, err)
}

func kindOf(err error) errkind.Kind {
	s, ok := status.FromError(err)
	if !ok {
		if k := errkind.Of(err); k != errkind.Unknown {
			return k
		}
		return errkind.Unavailable
	}
	switch s.Code() {
	case codes.NotFound:
		return errkind.NotFound
	case codes.PermissionDenied, codes.Unauthenticated:
		return errkind.PermissionDenied
	case codes.InvalidArgument, codes.FailedPrecondition, codes.Unimplemented, codes.OutOfRange:
		return errkind.Invalid
	case codes.ResourceExhausted:
		return errkind.Throttled
	case codes.Canceled:
		return errkind.Canceled
	default:
		return errkind.Unavailable
	}
}
