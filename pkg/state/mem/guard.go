package mem

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/state"
	"github.com/bucketmesh/bucketmesh/pkg/state/internal/record"
)

// Weigh implements state.Guards.
func (s *Store) Weigh(ctx context.Context, group, key string, f func(w *state.Weighing) error) error {
	if err := ended(ctx); err != nil {
		return err
	}
	if err := record.CheckKeys(group); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	g, k := id{group, ""}, id{group, key}
	w := state.Weighing{Brake: cloneBrake(s.brakes[g]), Deletion: s.deletions[k], Keys: count(s.rows, group)}
	if err := f(&w); err != nil {
		return err
	}
	put(&s.brakes, g, cloneBrake(w.Brake))
	switch {
	case key == "":
	case w.Deletion.Version == "":
		delete(s.deletions, k)
	default:
		w.Deletion.Key, w.Deletion.Noted = key, due(w.Deletion.Noted)
		put(&s.deletions, k, w.Deletion)
	}
	s.apply(g, state.Effects{Events: w.Events})
	return nil
}

func cloneBrake(b state.Brake) state.Brake {
	b.Counts = slices.Clone(b.Counts)
	return b
}

// Brake implements state.Guards.
func (s *Store) Brake(ctx context.Context, group string) (state.Brake, error) {
	if err := ended(ctx); err != nil {
		return state.Brake{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return cloneBrake(s.brakes[id{group, ""}]), nil
}

// Deletions implements state.Guards.
func (s *Store) Deletions(ctx context.Context, group, after string, limit int) ([]state.Deletion, error) {
	if err := ended(ctx); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []state.Deletion
	for k, d := range s.deletions {
		if k.group == group && k.name > after && d.Waiting {
			out = append(out, d)
		}
	}
	return first(out, limit, func(a, b state.Deletion) int { return cmp.Compare(a.Key, b.Key) }), nil
}

// ForgetDeletions implements state.Guards.
func (s *Store) ForgetDeletions(ctx context.Context, group string, before time.Time, limit int) (n int, err error) {
	if err := ended(ctx); err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for k, d := range s.deletions {
		if n < record.Limit(limit) && k.group == group && !d.Waiting && d.Noted.Before(before) {
			delete(s.deletions, k)
			n++
		}
	}
	return n, nil
}

// Removed implements state.Guards.
func (s *Store) Removed(ctx context.Context, group string, q state.RemovedQuery) ([]state.Removed, error) {
	if err := ended(ctx); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []state.Removed
	for _, r := range s.removed {
		switch {
		case r.Group != group, !strings.HasPrefix(r.Key, q.Prefix), r.When.Before(q.Since), q.Kept && r.End != "",
			!q.ExpiredBefore.IsZero() && !r.Expires.Before(q.ExpiredBefore),
			r.Key < q.AfterKey, r.Key == q.AfterKey && r.ID <= q.AfterID:
		default:
			out = append(out, r)
		}
	}
	return first(out, q.Limit, func(a, b state.Removed) int { return cmp.Or(cmp.Compare(a.Key, b.Key), cmp.Compare(a.ID, b.ID)) }), nil
}

// SetRemoved implements state.Guards.
func (s *Store) SetRemoved(ctx context.Context, r state.Removed) error {
	if err := ended(ctx); err != nil {
		return err
	}
	if err := record.CheckRemoved(r); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	put(&s.removed, id{r.Group, r.ID}, r)
	return nil
}

// ForgetRemoved implements state.Guards.
func (s *Store) ForgetRemoved(ctx context.Context, group string, before time.Time, limit int) (n int, err error) {
	if err := ended(ctx); err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for k, r := range s.removed {
		if n < record.Limit(limit) && r.Group == group && r.End != "" && r.Expires.Before(before) {
			delete(s.removed, k)
			n++
		}
	}
	return n, nil
}
