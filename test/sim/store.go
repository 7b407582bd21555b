package main

import (
	"context"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/state"
)

// store is the state store with a scheduling point before every call. It is linearizable; what it can do is to be away for a
// while, and to make a commit without saying so.
type store struct {
	state.Store
	w    *world
	down time.Time
	deaf bool // the answer of the next commit is lost, and then it is down
}

func (s *store) ask() error {
	s.w.await()
	if !s.w.quiet && !s.deaf && s.w.now.Before(s.down) {
		return errkind.New(errkind.Unavailable, "no leader: %w", errFault)
	}
	return nil
}

// Get implements state.Store.
func (s *store) Get(ctx context.Context, g, key string) (state.Row, error) {
	if err := s.ask(); err != nil {
		return state.Row{}, err
	}
	if k := s.w.running; k != nil {
		clear(k.looks) // a new pass
	}
	return s.Store.Get(ctx, g, key)
}

// Commit implements state.Store.
func (s *store) Commit(ctx context.Context, row state.Row, fx state.Effects) (int64, error) {
	if err := s.ask(); err != nil {
		return 0, err
	}
	if s.w.mutant == CompareAndSetBroken {
		row.Rev = s.w.row().Rev
	}
	rev, err := s.Store.Commit(ctx, row, fx)
	if err != nil {
		s.w.logf("  commit refused: %v", err)
		return rev, err
	}
	s.w.committed(row, fx)
	deaf := s.deaf && !s.w.quiet
	s.deaf = false
	if deaf || s.w.fault(s.w.p.loseAnswer/4) {
		s.w.logf("  the answer of the store is lost")
		return 0, errkind.New(errkind.Unavailable, "answer of the store lost: %w", errFault)
	}
	return rev, nil
}

// MarkDirty implements state.Store.
func (s *store) MarkDirty(ctx context.Context, g string, keys []string, due time.Time, reason string) error {
	if err := s.ask(); err != nil {
		return err
	}
	return s.Store.MarkDirty(ctx, g, keys, due, reason)
}
