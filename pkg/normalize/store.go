package normalize

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/bucketmesh/bucketmesh/pkg/config"
	"github.com/bucketmesh/bucketmesh/pkg/errkind"
)

// Store is a bucket that may send notifications, as far as all providers have it in common.
type Store struct {
	Name   string // the replica's; last element of the path that it posts to
	Source string // CloudEvents source, an absolute URI
	Server string // stores with the same Server are buckets of one server and may share one endpoint
	Bucket string
	Prefix string // of the replica in the bucket, "" or ends with "/"

	prefixes []string // of all replicas in the bucket, set by Siblings
}

// StoreOf is the store of a configured replica; server is where the provider itself is.
func StoreOf(r config.Replica, server string) Store {
	if r.Endpoint != "" {
		server = r.Endpoint
	}
	return Store{Name: r.Name, Source: r.Source(), Server: server, Bucket: r.Bucket, Prefix: r.Prefix}
}

// Validate reports what a store lacks. Errors: Invalid.
func (s Store) Validate() error {
	switch {
	case s.Name == "" || strings.ContainsAny(s.Name, "/?#"):
		return errkind.New(errkind.Invalid, "store name %q: must be one element of a path", s.Name)
	case s.Source == "" || s.Bucket == "":
		return errkind.New(errkind.Invalid, "store %s: source and bucket are required", s.Name)
	}
	return nil
}

// Reserved reports whether a key is one of the project's own (capability probes, markers), for this or another replica
// in the same bucket. Such events are dropped.
func (s Store) Reserved(key string) bool {
	if strings.HasPrefix(key, config.ReservedPrefix) || strings.HasPrefix(key, s.Prefix+config.ReservedPrefix) {
		return true
	}
	return slices.ContainsFunc(s.prefixes, func(p string) bool { return strings.HasPrefix(key, p+config.ReservedPrefix) })
}

// maxKey is the bytes of a key that S3 and GCS allow.
const maxKey = 1024

// BadKey says what is wrong with a key that neither S3 nor GCS can hold, or that no state can: such a record would only
// fail again and again further on. "" is nothing.
func BadKey(key string) string {
	switch {
	case len(key) > maxKey:
		return fmt.Sprintf("of %d bytes: %d are allowed", len(key), maxKey)
	case !utf8.ValidString(key):
		return "that is not UTF-8"
	case strings.ContainsRune(key, 0):
		return "with a NUL"
	}
	return ""
}

// Siblings are the buckets, by name, that a server may tell of on the path of one of its stores. A bucket with several
// replicas (prefixes of it) is one source, so any of its stores will do.
func Siblings(of Store, all []Store) map[string]Store {
	m := map[string]Store{of.Bucket: of}
	for _, s := range all {
		if s.Server != of.Server || s.Server == "" {
			continue
		}
		known, ok := m[s.Bucket]
		if !ok {
			known = s
		}
		known.prefixes = append(slices.Clip(known.prefixes), s.Prefix)
		m[s.Bucket] = known
	}
	return m
}
