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

	"github.com/bucketmesh/bucketmesh/pkg/config"
	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/normalize"
	"github.com/bucketmesh/bucketmesh/pkg/normalize/internal/httpin"
)

// Provider is the name of the provider in events.
const Provider = "azure"

// EventGridApp is the id of Event Grid's own application in every Entra tenant of the public cloud: the bearer of the
// tokens that it sends.
const EventGridApp = "4962773b-9cdb-44cf-a8bf-237846a00ab7"

// Store is a container that may send notifications, on the path /azure/<Name>.
type Store struct {
	normalize.Store // its Bucket is the container

	Account string // storage account
	Auth    Auth
}

// Auth says who may send for a store. Any one of the ways is enough; with none of them nobody may.
type Auth struct {
	// Tokens are shared secrets; several, so that they can be rotated. A sender shows one as the parameter token or code of
	// the URL, or in a delivery header (Authorization, X-Api-Key).
	Tokens []string
	// Apps are the ids of the Entra applications that may send, each with a bearer token that HandlerConfig.Verifier finds good.
	Apps []string
	// Open lets senders in that prove nothing. For loopback, or behind something that verifies them.
	Open bool
}

// StoreOf is the store of a configured replica, without Auth.
func StoreOf(r config.Replica) Store {
	s := Store{Store: normalize.StoreOf(r, "azure"), Account: r.Account}
	s.Server += "/" + r.Account
	return s
}

// validate reports what a store lacks. Errors are Invalid.
func (s Store) validate() error {
	if err := s.Validate(); err != nil {
		return err //nolint:wrapcheck // names the store
	}
	if s.Account == "" {
		return errkind.New(errkind.Invalid, "store %s: account is required", s.Name)
	}
	if err := httpin.CheckTokens(s.Name, s.Auth.Tokens); err != nil {
		return err //nolint:wrapcheck // names the store
	}
	if slices.Contains(s.Auth.Apps, "") {
		return errkind.New(errkind.Invalid, "store %s: an empty application id", s.Name)
	}
	if len(s.Auth.Tokens) == 0 && len(s.Auth.Apps) == 0 && !s.Auth.Open {
		return errkind.New(errkind.Invalid, "store %s: nobody may send: set tokens, apps or open", s.Name)
	}
	return nil
}

// Account is a storage account with those of its containers that are replicas. Subscriptions are of whole accounts: one of
// them tells of all containers, on the path of any of them.
type Account struct {
	name   string
	stores map[string]normalize.Store // by container
}

// AccountOf is the account of a store, with the containers that all has of it.
func AccountOf(of Store, all []Store) Account {
	common := make([]normalize.Store, 0, len(all))
	for _, s := range all {
		common = append(common, s.Store)
	}
	return Account{name: of.Account, stores: normalize.Siblings(of.Store, common)}
}

// reserved reports whether a key is one of the project's own.
func (a Account) reserved(container, key string) bool {
	store, ok := a.stores[container]
	return ok && store.Reserved(key)
}
