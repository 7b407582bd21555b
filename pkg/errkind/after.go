package errkind

import (
	"errors"
	"time"
)

// delayed is an error whose source said when to come back.
type delayed struct {
	error
	delay time.Duration
}

// Unwrap gives errors.Is and errors.As the cause, so that the kind of a delayed error is that of its cause.
func (d *delayed) Unwrap() error { return d.error }

// After says that the operation behind err should not be tried again before d has passed: because the other side said so
// (Retry-After), or because the time is known (the end of a lease). It is nil if err is nil, and err itself if d is not
// positive. The kind of err does not change.
func After(d time.Duration, err error) error {
	if err == nil || d <= 0 {
		return err
	}
	return &delayed{error: err, delay: d}
}

// Delay is the time to wait that After attached to err, the outermost if there are several; 0 if there is none.
func Delay(err error) time.Duration {
	if d, ok := errors.AsType[*delayed](err); ok {
		return d.delay
	}
	return 0
}
