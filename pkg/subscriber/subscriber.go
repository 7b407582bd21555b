// Package subscriber holds the handlers of events: Sync reconciles keys, Resolver settles conflicts, and record, a package of
// its own, records everything. The same handlers run as services of their own behind a Knative Broker and together in one process. Which
// events each of them gets is in config/600-triggers.yaml.
//
// Errors: nil means that the event is dealt with for good. An error of a retryable kind brings the event back; any other
// makes it a dead letter. Trouble with a bucket is no error: the key is in the dirty set, with its reason, so that a
// key that one replica can't hold blocks neither other keys nor other replicas.
//
// Concurrency: all handlers may be used from many goroutines.
package subscriber

import (
	"context"
	"time"

	cloudevents "github.com/cloudevents/sdk-go/v2/event"

	"github.com/bucketmesh/bucketmesh/pkg/ledger"
	"github.com/bucketmesh/bucketmesh/pkg/reconcile"
)

// Names of the subscribers, which are those of their triggers.
const (
	NameSync        = ledger.Trigger
	NameResolver    = "conflict-resolver"
	NameAudit       = "audit"
	NameDeadLetters = "dead-letters" // services only: in one process the broker keeps dead letters itself
)

// Handler handles one event (serve.Handler, broker.Handler).
type Handler interface {
	Handle(ctx context.Context, e cloudevents.Event) error
}

// Reconciler brings one key to the same version on all replicas (*reconcile.Engine).
type Reconciler interface {
	Reconcile(ctx context.Context, key string, hint *reconcile.Hint, attempts int) (reconcile.Outcome, error)
	// Defer leaves what a notification told of to the dirty set.
	Defer(ctx context.Context, key string, hint *reconcile.Hint, due time.Time, why string) error
	// Refused says which replicas can't hold a key, and why.
	Refused(ctx context.Context, key string) (map[string]string, error)
}
