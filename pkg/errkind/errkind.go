// Package errkind gives every error of the project a kind. Act upon an error's kind, never on its message: the kind
// alone decides whether an operation is tried again and which HTTP status a service answers.
//
// An error is wrapped once, where it enters the project, with New or Wrap and a lower-case "verb noun: %w" message.
// Kinds survive further wrapping with fmt.Errorf and %w. The package holds no state and is safe for concurrent use.
package errkind

import (
	"context"
	"errors"
	"fmt"
	"net/http"
)

// Kind says what sort of failure an error is.
type Kind int

// The kinds. Unknown is the zero value: an error that nobody classified. It is retried, because a failure that nobody
// understood must not lose an event, and the retry is bounded by the broker, which then dead-letters it.
const (
	Unknown            Kind = iota
	Invalid                 // the input can never work; trying again is useless
	NotFound                // an explicit "it is not there": never derived from a 403 or a timeout
	PreconditionFailed      // the stored object is not the one that the condition named
	Conflict                // somebody else was faster (a compare-and-set, an S3 409): read again, then try again
	Throttled               // slow down, then try again
	Unavailable             // the other side is down, or the outcome is unknown (a timeout): look before you conclude
	PermissionDenied        // the credentials don't allow it
	Unauthenticated         // the sender could not be verified
	Unsupported             // the other side can't do this at all
	Canceled                // the caller gave up
)

var names = [...]string{
	"unknown", "invalid", "not found", "precondition failed", "conflict", "throttled", "unavailable",
	"permission denied", "unauthenticated", "unsupported", "canceled",
}

// String is the kind in words, as used in logs and metrics.
func (k Kind) String() string {
	if k < 0 || int(k) >= len(names) {
		return names[Unknown]
	}
	return names[k]
}

// Retryable reports whether the same call can succeed later without a human.
func (k Kind) Retryable() bool {
	switch k {
	case Unknown, Conflict, Throttled, Unavailable, Canceled:
		return true
	case Invalid, NotFound, PreconditionFailed, PermissionDenied, Unauthenticated, Unsupported:
		return false
	}
	return true
}

// HTTPStatus is the answer that makes a Knative broker (or a provider that pushes notifications) do the right thing:
// 503 and 429 are redelivered, other 4xx go to the dead-letter sink. It is never 404, 408 or 409, which a
// Knative broker retries.
func (k Kind) HTTPStatus() int {
	switch k {
	case Invalid, NotFound, PreconditionFailed, Unsupported:
		return http.StatusBadRequest
	case Unauthenticated:
		return http.StatusUnauthorized
	case PermissionDenied:
		return http.StatusForbidden
	case Throttled:
		return http.StatusTooManyRequests
	case Unknown, Conflict, Unavailable, Canceled:
		return http.StatusServiceUnavailable
	}
	return http.StatusServiceUnavailable
}

// Error is an error with a kind.
type Error struct {
	Kind Kind
	msg  string
	err  error
}

// Error implements error.
func (e *Error) Error() string { return e.msg }

// Unwrap gives errors.Is and errors.As the cause.
func (e *Error) Unwrap() error { return e.err }

// New makes an error of the given kind; %w in the format keeps the cause.
func New(k Kind, format string, args ...any) error {
	err := fmt.Errorf(format, args...)
	return &Error{Kind: k, msg: err.Error(), err: errors.Unwrap(err)}
}

// Of is the kind of an error: that of the outermost *Error in its chain; Canceled for context.Canceled and
// Unavailable for context.DeadlineExceeded, which say nothing about what the other side did.
func Of(err error) Kind {
	var e *Error
	switch {
	case errors.As(err, &e):
		return e.Kind
	case errors.Is(err, context.Canceled):
		return Canceled
	case errors.Is(err, context.DeadlineExceeded):
		return Unavailable
	}
	return Unknown
}

// Is reports whether err is of kind k.
func Is(err error, k Kind) bool { return err != nil && Of(err) == k }
