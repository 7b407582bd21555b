package pipeline

import (
	"context"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/reconcile"
	"github.com/bucketmesh/bucketmesh/pkg/state"
	"github.com/bucketmesh/bucketmesh/pkg/version"
)

// Choose decides an open conflict; see reconcile.Engine.Choose.
func (p *Pipeline) Choose(ctx context.Context, id string, c reconcile.Choice) (state.Conflict, error) {
	if p.worker == nil || p.looking {
		return state.Conflict{}, errkind.New(errkind.Unsupported, "decide conflict: the group was opened to look at it only")
	}
	return p.worker.Engine().Choose(ctx, id, c) //nolint:wrapcheck // says "decide conflict"
}

// Restore brings a loser of a conflict back; see reconcile.Engine.Restore.
func (p *Pipeline) Restore(ctx context.Context, id string, lost version.ID) (reconcile.Restored, error) {
	if p.worker == nil || p.looking {
		return reconcile.Restored{}, errkind.New(errkind.Unsupported, "restore version: the group was opened to look at it only")
	}
	return p.worker.Engine().Restore(ctx, id, lost) //nolint:wrapcheck // says "restore version"
}

// Sides are the versions of a conflict with their contents; see reconcile.Engine.Sides.
func (p *Pipeline) Sides(ctx context.Context, id string, limit int64) (reconcile.Sides, error) {
	if p.worker == nil {
		return reconcile.Sides{}, errkind.New(errkind.Unsupported, "show conflict: the group was opened without its buckets")
	}
	return p.worker.Engine().Sides(ctx, id, limit) //nolint:wrapcheck // says "show conflict"
}

// Try tells what would happen to a key; see reconcile.Engine.Try.
func (p *Pipeline) Try(ctx context.Context, key string) (reconcile.Proposal, error) {
	if p.worker == nil {
		return reconcile.Proposal{}, errkind.New(errkind.Unsupported, "try policy: the group was opened without its buckets")
	}
	return p.worker.Engine().Try(ctx, key) //nolint:wrapcheck // says what could not be read
}
