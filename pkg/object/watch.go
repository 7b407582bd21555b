package object

import (
	"context"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
)

// Seen is told of every call of a bucket's method when it has ended. It must be fast and safe for concurrent use.
type Seen func(op Op, key string, took time.Duration, err error)

func (s Seen) around(ctx context.Context, k call, next func(context.Context) error) error {
	begin := time.Now()
	err := next(ctx)
	s(k.op, k.key, time.Since(begin), err)
	return err
}

// Watch is d with every call told to s. Reading a body is not a call of its own.
func Watch(d driver.Bucket, s Seen) driver.Bucket { return intercept(d, s) }
