// Package s3 turns the notifications of Amazon S3 and of the servers that speak its language into changes, and takes
// them over HTTP: plain records (MinIO, versitygw, Ceph RGW, S3 behind a raw SNS delivery), SNS over HTTPS, and
// EventBridge API destinations, all on one path per replica.
//
// Decode is pure. Handler does the rest: who may send, how much, and what to answer so that every provider does the
// right thing. Verifier checks signatures of SNS.
//
// Errors: a message or a record that can never work is no error but Poison, which goes to the dead letters. Senders
// that can't be verified are Unauthenticated or PermissionDenied (401, 403); what may work later is Unavailable (503).
//
// Concurrency: Handler and Verifier may be used from many goroutines; the rest are values and functions.
package s3

import (
	"github.com/bucketmesh/bucketmesh/pkg/config"
	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/normalize"
	"github.com/bucketmesh/bucketmesh/pkg/normalize/internal/httpin"
)

// Provider is the name of all dialects' provider in events.
const Provider = "s3"

// Dialect is the server whose habits a notification follows. It is part of a replica's configuration: a record alone
// does not tell, versitygw says that it is aws:s3.
type Dialect string

// The dialects.
const (
	AWS       Dialect = "aws"       // keys form-encoded in records, raw in EventBridge events
	MinIO     Dialect = "minio"     // keys form-encoded; tags and retention are told as ObjectCreated
	VersityGW Dialect = "versitygw" // keys raw; the sequencer counts from 1 after each start; sizes not always told
	RGW       Dialect = "rgw"       // keys raw; the sequencer is a little-endian pair
)

// Store is a bucket that may send notifications, at /s3/<Name>.
type Store struct {
	normalize.Store

	Dialect Dialect
	Auth    Auth
}

// Auth says who may send for a store. Any one of the ways is enough; with none of them nobody may.
type Auth struct {
	// Tokens are shared secrets; several, so that they can be rotated. A sender shows one in Authorization (bare, or
	// after a scheme as MinIO does with its auth_token; or as the password of Basic, for senders that only know a
	// URL), in X-Api-Key (EventBridge connections), or as the parameter token of the URL.
	Tokens []string
	// Topics are the ARNs of the SNS topics that may send here.
	Topics []string
	// Open lets senders in that prove nothing. For loopback, or behind something that verifies them.
	Open bool
}

// StoreOf is the store of a configured replica, without Auth.
func StoreOf(r config.Replica) Store {
	return Store{Store: normalize.StoreOf(r, "amazonaws.com"), Dialect: Dialect(r.Dialect)} // bucket names are unique in all of Amazon
}

// validate reports what a store lacks. Errors are Invalid.
func (s Store) validate() error {
	if err := s.Validate(); err != nil {
		return err //nolint:wrapcheck // names the store
	}
	switch s.Dialect {
	case AWS, MinIO, VersityGW, RGW:
	default:
		return errkind.New(errkind.Invalid, "store %s: dialect %q is not one of aws, minio, versitygw, rgw", s.Name, s.Dialect)
	}
	if err := httpin.CheckTokens(s.Name, s.Auth.Tokens); err != nil {
		return err //nolint:wrapcheck // names the store
	}
	if len(s.Auth.Tokens) == 0 && len(s.Auth.Topics) == 0 && !s.Auth.Open {
		return errkind.New(errkind.Invalid, "store %s: nobody may send: set tokens, topics or open", s.Name)
	}
	return nil
}
