// Package refuse makes the errors by which senders are sent away. Each has a reason out of a closed list, so that
// refusals can be counted by it.
//
// Errors: what New makes has the kind that it is given. Concurrency: values and functions only.
package refuse

import (
	"errors"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
)

// Reason is why a sender was refused. It is an attribute of a metric: never make one out of what a sender wrote.
type Reason string

// Reasons that all providers share; Other is that of an error without one.
const (
	Other     Reason = "other"
	NoToken   Reason = "no token"
	Crowd     Reason = "too many strangers"
	NoStore   Reason = "no such store"
	Method    Reason = "method"
	TooLarge  Reason = "too large"
	Body      Reason = "body not read"
	Delivery  Reason = "delivery"
	Principal Reason = "principal" // proved who they are, and may not send
)

// Refusal is an error with a reason. Make one with New.
type Refusal struct {
	reason Reason
	err    error
}

// New makes a refusal; kind, format and args are as in errkind.New. Nothing secret belongs into it.
func New(kind errkind.Kind, reason Reason, format string, args ...any) error {
	return &Refusal{reason: reason, err: errkind.New(kind, format, args...)}
}

// Nobody is the refusal of who shows nothing that proves who they are.
func Nobody() error {
	return New(errkind.Unauthenticated, NoToken, "the sender shows no valid token")
}

// Error implements error.
func (r *Refusal) Error() string { return r.err.Error() }

// Unwrap gives errkind the kind.
func (r *Refusal) Unwrap() error { return r.err }

// Of is the reason of an error.
func Of(err error) Reason {
	if r := new(Refusal); errors.As(err, &r) {
		return r.reason
	}
	return Other
}
