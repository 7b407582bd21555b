package worker

import (
	"context"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/state"
)

// notifying tells of commits that leave something to do, so that nobody has to poll.
type notifying struct {
	state.Store
	committed func()          // events are in the outbox
	due       func(time.Time) // a key is due then
}

// Commit implements state.Store.
func (s *notifying) Commit(ctx context.Context, row state.Row, fx state.Effects) (int64, error) {
	rev, err := s.Store.Commit(ctx, row, fx)
	if errkind.Is(err, errkind.Conflict) { // for sure nothing happened
		return rev, err //nolint:wrapcheck // a decorator
	}
	if len(fx.Events) > 0 {
		s.committed()
	}
	for _, at := range []*time.Time{fx.Dirty, fx.Lease} {
		if at != nil {
			s.due(*at)
		}
	}
	return rev, err //nolint:wrapcheck // a decorator
}

// MarkDirty implements state.Store.
func (s *notifying) MarkDirty(ctx context.Context, group string, keys []string, at time.Time, reason string) error {
	err := s.Store.MarkDirty(ctx, group, keys, at, reason)
	s.due(at)
	return err //nolint:wrapcheck // a decorator
}
