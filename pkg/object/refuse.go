package object

import (
	"context"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
)

type refuser struct{ why error }

func (r refuser) around(context.Context, call, func(context.Context) error) error {
	return errkind.New(errkind.Unavailable, "the bucket is left out: %w", r.why)
}

// Refuse is d without any request sent: every call is Unavailable, and says why. To who works with several buckets it is one
// that does not answer: the others go on, and what it has to get waits.
func Refuse(d driver.Bucket, why error) driver.Bucket { return intercept(d, refuser{why}) }
