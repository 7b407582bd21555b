package normalize

import (
	"slices"
	"strings"

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
