package worker

import (
	"context"
	"fmt"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/policy"
	"github.com/bucketmesh/bucketmesh/pkg/state"
	"github.com/bucketmesh/bucketmesh/pkg/version"
)

// notifying tells of commits that leave something to do, so that nobody has to poll.
type notifying struct {
	state.Store
	committed func()          // events are in the outbox
	due       func(time.Time) // a key is due then
}

// Commit implements state.Store.
func (s *notifying) Commit(ctx context.Context, row state.Row, fx state.Effects) (int64, error) {
	if err := s.carryCopies(ctx, row.Group, fx.Conflicts); err != nil {
		return 0, err
	}
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

// Weigh implements state.Guards.
func (s *notifying) Weigh(ctx context.Context, group, key string, f func(w *state.Weighing) error) error {
	events := 0
	err := s.Store.Weigh(ctx, group, key, func(w *state.Weighing) error {
		err := f(w)
		events = len(w.Events)
		return err
	})
	if events > 0 {
		s.committed()
	}
	return err //nolint:wrapcheck // a decorator
}

// carryCopies makes conflict copies known. They are objects like any other and go to all replicas, but they were written by
// the conflict-resolver: should the notification of that write be lost, nobody would ever look at them. It happens before
// the resolution is stored, so that a crash in between costs a look at most. A conflict that was superseded may have copies,
// too, of a resolver that died before its resolution, and no resolution will ever name them.
func (s *notifying) carryCopies(ctx context.Context, group string, conflicts []state.Conflict) error {
	var keys []string
	for _, c := range conflicts {
		for _, l := range c.Losers {
			switch {
			case c.State == state.ConflictResolved && l.Copy != "":
				keys = append(keys, l.Copy)
			case c.State == state.ConflictSuperseded && l.Version.Kind == version.Put:
				keys = append(keys, policy.CopyKey(c.Key, l.Version.ID))
			}
		}
	}
	if len(keys) == 0 {
		return nil
	}
	if err := s.MarkDirty(ctx, group, keys, time.Now(), "a conflict copy has to go to the other replicas"); err != nil {
		return fmt.Errorf("mark conflict copies: %w", err)
	}
	return nil
}

// MarkDirty implements state.Store.
func (s *notifying) MarkDirty(ctx context.Context, group string, keys []string, at time.Time, reason string) error {
	err := s.Store.MarkDirty(ctx, group, keys, at, reason)
	s.due(at)
	return err //nolint:wrapcheck // a decorator
}
