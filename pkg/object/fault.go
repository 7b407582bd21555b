package object

import (
	"context"

	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
)

// Hook decides what goes wrong: a nil error is nothing. It must be deterministic if the test is to be repeatable.
type Hook func(op Op, key string) error

// Faults are the hooks of Fault. Either may be nil.
type Faults struct {
	Before Hook // an error here keeps the call from happening
	// After runs when the call succeeded; its error takes the answer's place. So a write whose answer got lost is
	// modelled (an error of kind Unavailable, after success).
	After Hook
}

func (f Faults) around(ctx context.Context, k call, next func(context.Context) error) error {
	if f.Before != nil {
		if err := f.Before(k.op, k.key); err != nil {
			return err
		}
	}
	if err := next(ctx); err != nil {
		return err
	}
	if f.After != nil {
		return f.After(k.op, k.key)
	}
	return nil
}

// Fault is d with faults.
func Fault(d driver.Bucket, f Faults) driver.Bucket { return intercept(d, f) }
