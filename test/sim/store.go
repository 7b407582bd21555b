package main

import (
	"context"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/state"
)

// store is the state store with a scheduling point before every call.
type store struct {
	state.Store
	w *world
}

func (s *store) Get(ctx context.Context, g, key string) (state.Row, error) {
	s.w.await()
	return s.Store.Get(ctx, g, key)
}

func (s *store) Commit(ctx context.Context, row state.Row, fx state.Effects) (int64, error) {
	s.w.await()
	rev, err := s.Store.Commit(ctx, row, fx)
	if err != nil {
		s.w.logf("  commit refused: %v", err)
		return rev, err
	}
	s.w.committed(row)
	if s.w.fault(s.w.p.loseAnswer / 4) {
		return 0, errkind.New(errkind.Unavailable, "answer of the store lost: %w", errFault)
	}
	return rev, nil
}

func (s *store) MarkDirty(ctx context.Context, g string, keys []string, due time.Time, reason string) error {
	s.w.await()
	return s.Store.MarkDirty(ctx, g, keys, due, reason)
}
