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
	"slices"
	"strings"

	"github.com/bucketmesh/bucketmesh/pkg/config"
	"github.com/bucketmesh/bucketmesh/pkg/errkind"
)

// Provider is the name of all dialects' provider in events.
const Provider = "s3"

// Reserved is the prefix of keys, at the root of a replica, that are the project's own (capability probes, markers).
// Their events are dropped.
const Reserved = ".bucketmesh/"

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

// Store is a bucket that may send notifications.
type Store struct {
	Name    string // last element of the path that it posts to: /s3/<Name>
	Source  string // CloudEvents source, an absolute URI
	Server  string // stores with the same Server are buckets of one server and may share one endpoint
	Bucket  string
	Prefix  string // of the replica in the bucket, "" or ends with "/"
	Dialect Dialect
	Auth    Auth

	prefixes []string // of all replicas in the bucket, set by NewHandler
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
	server := r.Endpoint
	if server == "" {
		server = "amazonaws.com" // bucket names are unique in all of Amazon
	}
	return Store{
		Name: r.Name, Source: r.Source(), Server: server, Bucket: r.Bucket, Prefix: r.Prefix, Dialect: Dialect(r.Dialect),
	}
}

// validate reports what a store lacks. Errors are Invalid.
func (s Store) validate() error {
	switch {
	case s.Name == "" || strings.ContainsAny(s.Name, "/?#"):
		return errkind.New(errkind.Invalid, "store name %q: must be one element of a path", s.Name)
	case s.Source == "" || s.Bucket == "":
		return errkind.New(errkind.Invalid, "store %s: source and bucket are required", s.Name)
	}
	switch s.Dialect {
	case AWS, MinIO, VersityGW, RGW:
	default:
		return errkind.New(errkind.Invalid, "store %s: dialect %q is not one of aws, minio, versitygw, rgw", s.Name, s.Dialect)
	}
	for _, t := range s.Auth.Tokens {
		if strings.TrimSpace(t) == "" {
			return errkind.New(errkind.Invalid, "store %s: an empty token would let everybody in", s.Name)
		}
	}
	if len(s.Auth.Tokens) == 0 && len(s.Auth.Topics) == 0 && !s.Auth.Open {
		return errkind.New(errkind.Invalid, "store %s: nobody may send: set tokens, topics or open", s.Name)
	}
	return nil
}

// reserved reports whether a key is one of the project's own, for this or another replica in the same bucket.
func (s Store) reserved(key string) bool {
	if strings.HasPrefix(key, Reserved) || strings.HasPrefix(key, s.Prefix+Reserved) {
		return true
	}
	return slices.ContainsFunc(s.prefixes, func(p string) bool { return strings.HasPrefix(key, p+Reserved) })
}
