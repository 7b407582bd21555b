// Package gcs turns the notifications of Google Cloud Storage into changes, and takes them over HTTP on one path per
// replica: Pub/Sub push (wrapped, or unwrapped with its metadata written) and Eventarc's CloudEvents.
//
// Decode and DecodeCloudEvent are pure; Decode is also for whoever pulls messages out of a subscription. Handler does the
// rest: who may send, how much, and what to answer.
//
// Errors: a message that can never work is no error but Poison, which goes to the dead letters. Senders that can't be
// verified are Unauthenticated or PermissionDenied (401, 403); what may work later is Unavailable (503).
//
// Concurrency: Handler may be used from many goroutines; the rest are values and functions.
package gcs

import (
	"slices"

	"github.com/bucketmesh/bucketmesh/pkg/config"
	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/normalize"
	"github.com/bucketmesh/bucketmesh/pkg/normalize/internal/httpin"
)

// Provider is the name of the provider in events.
const Provider = "gcs"

// Store is a bucket that may send notifications, at /gcs/<Name>.
type Store struct {
	normalize.Store

	Auth Auth
}

// Auth says who may send for a store. Any one of the ways is enough; with none of them nobody may.
type Auth struct {
	// Accounts are the e-mail addresses of the service accounts that may send, each with a bearer token that
	// HandlerConfig.Verifier finds good.
	Accounts []string
	// Tokens are shared secrets; several, so that they can be rotated. A push subscription can show one as the parameter
	// token of its URL only.
	Tokens []string
	// Open lets senders in that prove nothing. For loopback, or behind something that verifies them.
	Open bool
}

// StoreOf is the store of a configured replica, without Auth.
func StoreOf(r config.Replica) Store {
	return Store{Store: normalize.StoreOf(r, "storage.googleapis.com")} // bucket names are unique in all of Google
}

// validate reports what a store lacks. Errors: Invalid.
func (s Store) validate() error {
	if err := s.Validate(); err != nil {
		return err //nolint:wrapcheck // names the store
	}
	if err := httpin.CheckTokens(s.Name, s.Auth.Tokens); err != nil {
		return err //nolint:wrapcheck // names the store
	}
	if slices.Contains(s.Auth.Accounts, "") {
		return errkind.New(errkind.Invalid, "store %s: an empty account would let everybody in", s.Name)
	}
	if len(s.Auth.Tokens) == 0 && len(s.Auth.Accounts) == 0 && !s.Auth.Open {
		return errkind.New(errkind.Invalid, "store %s: nobody may send: set accounts, tokens or open", s.Name)
	}
	return nil
}

// Resolve finds the store of a bucket that a message names.
type Resolve func(bucket string) (normalize.Store, bool)

// ResolveIn is Resolve for the messages that come by way of one store: its bucket, and those that all has at the same
// server, because one topic can be that of many buckets.
func ResolveIn(of Store, all []Store) Resolve {
	bases := make([]normalize.Store, 0, len(all))
	for _, s := range all {
		bases = append(bases, s.Store)
	}
	siblings := normalize.Siblings(of.Store, bases)
	return func(bucket string) (normalize.Store, bool) {
		s, ok := siblings[bucket]
		return s, ok
	}
}
