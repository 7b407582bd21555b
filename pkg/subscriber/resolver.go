package subscriber

import (
	"context"
	"fmt"
	"log/slog"

	cloudevents "github.com/cloudevents/sdk-go/v2/event"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/event"
	"github.com/bucketmesh/bucketmesh/pkg/reconcile"
)

// Resolver settles conflicts: the policy picks a winner, the losers are preserved first.
type Resolver struct {
	Group  string
	Engine interface {
		Resolve(ctx context.Context, key string) (reconcile.Outcome, error)
	}
	Logger *slog.Logger
}

// Handle implements Handler.
func (r *Resolver) Handle(ctx context.Context, e cloudevents.Event) error {
	if e.Type() != event.ConflictDetected {
		return nil
	}
	c, err := event.ConflictOf(e)
	if err != nil {
		return fmt.Errorf("handle conflict: %w", err)
	}
	if c.Group != r.Group {
		return nil
	}
	out, err := r.Engine.Resolve(ctx, c.Key)
	if err != nil {
		// What stopped it is the state of a bucket, which an operator can mend: only an Invalid one needs a decision
		// before another try makes sense.
		kind := errkind.Of(err)
		if kind != errkind.Invalid && !kind.Retryable() {
			kind = errkind.Unavailable
		}
		return errkind.After(errkind.Delay(err), errkind.New(kind, "resolve conflict %s of %q: %w", c.ID, c.Key, err))
	}
	r.Logger.DebugContext(ctx, "conflict handled", "key", c.Key, "conflict", c.ID, "outcome", out.String())
	return nil
}
