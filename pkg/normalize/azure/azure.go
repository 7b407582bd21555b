// Package azure turns the notifications of Azure Blob Storage, which Event Grid sends, into changes, and takes them over
// HTTP: the Event Grid schema and CloudEvents 1.0, one event or a batch of them, on one path per replica.
//
// Decode is pure, as is DecodeQueueMessage for whoever drains a Storage Queue. Handler does the rest: who may send, how
// much, both handshakes, and what to answer so that Event Grid does the right thing.
//
// Errors: a message or a record that can never work is no error but Poison, which goes to the dead letters. Senders that
// can't be verified are Unauthenticated or PermissionDenied (401, 403), and Event Grid never sends their events again; so
// what may work later is Unavailable (503).
//
// Concurrency: Handler may be used from many goroutines; the rest are values and functions.
package azure

import (
	"slices"
	"strings"

	"github.com/bucketmesh/bucketmesh/pkg/config"
)

// Provider is the name of the provider in events.
const Provider = "azure"

// Store is a container that may send notifications.
type Store struct {
	Name      string // last element of the path that is posted to: /azure/<Name>
	Source    string // CloudEvents source, an absolute URI
	Server    string // "" is Azure itself, else the endpoint of an emulator
	Account   string // storage account
	Container string
	Prefix    string // of the replica in the container, "" or ends with "/"
	Auth      Auth

	prefixes []string // of all replicas in the container, set by AccountOf
}

// Auth says who may send for a store. Any one of the ways is enough; with none of them nobody may.
type Auth struct {
	// Tokens are shared secrets; several, so that they can be rotated. A sender shows one as the parameter token or code of
	// the URL, or in a delivery header (Authorization, X-Api-Key).
	Tokens []string
	// Entra lets senders in that show a bearer token of Microsoft Entra ID; it needs the handler's Tokens verifier.
	Entra bool
	// Open lets senders in that prove nothing. For loopback, or behind something that verifies them.
	Open bool
}

// StoreOf is the store of a configured replica, without Auth.
func StoreOf(r config.Replica) Store {
	return Store{
		Name: r.Name, Source: r.Source(), Server: r.Endpoint, Account: r.Account, Container: r.Bucket, Prefix: r.Prefix,
	}
}

// reserved reports whether a key is one of the project's own, for this or another replica in the same container.
func (s Store) reserved(key string) bool {
	if strings.HasPrefix(key, config.ReservedPrefix) || strings.HasPrefix(key, s.Prefix+config.ReservedPrefix) {
		return true
	}
	return slices.ContainsFunc(s.prefixes, func(p string) bool { return strings.HasPrefix(key, p+config.ReservedPrefix) })
}

// Account is a storage account with those of its containers that are replicas. Subscriptions are of whole accounts: one of
// them tells of all containers, on the path of any of them.
type Account struct {
	name   string
	stores map[string]Store // by container
}

// AccountOf is the account of a store, with the containers that all has of it. A container with several replicas (prefixes
// of it) is one source, so any of its stores will do.
func AccountOf(of Store, all []Store) Account {
	a := Account{name: of.Account, stores: map[string]Store{of.Container: of}}
	for _, s := range all {
		if s.Account != of.Account || s.Server != of.Server {
			continue
		}
		known, ok := a.stores[s.Container]
		if !ok {
			known = s
		}
		known.prefixes = append(known.prefixes, s.Prefix)
		a.stores[s.Container] = known
	}
	return a
}
