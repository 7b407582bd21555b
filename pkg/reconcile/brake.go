package reconcile

import (
	"context"
	"fmt"

	"github.com/bucketmesh/bucketmesh/pkg/event"
	"github.com/bucketmesh/bucketmesh/pkg/guard"
	"github.com/bucketmesh/bucketmesh/pkg/reconcile/plan"
	"github.com/bucketmesh/bucketmesh/pkg/state"
	"github.com/bucketmesh/bucketmesh/pkg/version"
)

// The delete brake stands between line 3 and line 5a: a delete that is held is in its row as the head that it is, and is not
// carried on. Nothing is lost by it: the key stays dirty, and the next pass finds the same, or a user who wrote since.

// brake asks the delete brake about a step that is about to carry a delete on. go is false if the delete is held; the call has
// ended then.
func (w *work) brake(ctx context.Context, s *plan.Step) (released bool, out Outcome, done bool, err error) {
	if w.cfg.Brake == nil || w.target(s).Kind != version.Delete {
		return true, Pending, false, nil
	}
	if s.Row.Held && !w.full { // it waited, and the key may be there again at any replica
		w.full = true
		return false, Pending, false, nil
	}
	v, err := w.weigh(ctx, s)
	if err != nil {
		return false, Pending, false, err
	}
	if s.Row.Held = !v.Go; v.Go {
		return true, Pending, false, nil
	}
	out, done, err = w.store(ctx, *s, state.Effects{Dirty: &v.Until, Attempts: w.attempts, Reason: v.Why}, Pending)
	return false, out, done, err
}

func (w *work) weigh(ctx context.Context, s *plan.Step) (v guard.Verdict, err error) {
	limits, now := *w.cfg.Brake, w.cfg.Clock.Now()
	if limits.Off() && !s.Row.Held { // most likely there is nothing to write down
		b, err := w.cfg.Store.Brake(ctx, w.cfg.Group)
		if err != nil {
			return v, fmt.Errorf("read delete brake: %w", err)
		}
		if b.State != state.Paused {
			return guard.Verdict{Go: true}, nil
		}
	}
	err = w.cfg.Store.Weigh(ctx, w.cfg.Group, w.key, func(x *state.Weighing) error {
		if v = guard.Weigh(x, s.Target, limits, now); !v.Tripped {
			return nil
		}
		e, err := w.cfg.Announce(ctx, event.GuardTripped, event.Guard{
			Group: w.cfg.Group, Guard: "delete-brake", Reason: x.Brake.Reason, Tripped: now.UTC(), Waiting: x.Brake.Waiting,
		})
		x.Events = append(x.Events, e)
		return err
	})
	if err != nil {
		return v, fmt.Errorf("ask delete brake: %w", err)
	}
	return v, nil
}

// unhold forgets a held delete whose key has something else to do by now: a user wrote it again. look is true if all replicas
// have to be looked at before: the dirty entry that says "held" goes only then.
func (w *work) unhold(ctx context.Context, s *plan.Step) (look bool, err error) {
	if !s.Row.Held || s.Action == plan.Identify || s.Action != plan.Conflict && w.target(s).Kind == version.Delete {
		return false, nil
	}
	if !w.full {
		w.full = true
		return true, nil
	}
	return false, w.release(ctx, s)
}

func (w *work) release(ctx context.Context, s *plan.Step) error {
	if err := w.withdraw(ctx, w.key); err != nil {
		return err
	}
	s.Row.Held, s.Changed = false, true
	return nil
}

func (e *Engine) withdraw(ctx context.Context, key string) error {
	err := e.cfg.Store.Weigh(ctx, e.cfg.Group, key, func(x *state.Weighing) error {
		guard.Withdraw(x)
		return nil
	})
	if err != nil {
		return fmt.Errorf("withdraw from delete brake: %w", err)
	}
	return nil
}

func (w *work) target(s *plan.Step) *version.Version { return plan.Lookup(&s.Row, s.Target) }

// Undo brings a key back whose delete is held: what the other replicas still have wins over the delete, as a resolution that
// follows both. It is a change like any other from there on: where the key was deleted it is written only if nothing is
// there, and whoever wrote it again meanwhile is in a conflict that keeps both. done is false if the key had nothing to undo:
// somebody wrote it again.
func (e *Engine) Undo(ctx context.Context, key string) (done bool, err error) {
	unlock, err := e.locks.lock(ctx, key, e.cfg.LockWait)
	if err != nil {
		return false, err
	}
	defer unlock()
	row, err := e.cfg.Store.Get(ctx, e.cfg.Group, key)
	if err != nil {
		return false, fmt.Errorf("read row: %w", err)
	}
	now := e.cfg.Clock.Now()
	if tombstone, put := e.held(&row); put != "" {
		row, _ = plan.Resolve(row, e.members, []version.ID{tombstone, put}, put, now, e.cfg.Mutant)
		row.Held, done = false, true
		e.cfg.Trace(Point{Line: "undo", Key: key, Version: plan.Lookup(&row, put)})
		if _, err := e.cfg.Store.Commit(ctx, row, state.Effects{Dirty: &now, Reason: "a delete was undone"}); err != nil {
			return false, fmt.Errorf("undo delete of %q: %w", key, err)
		}
	}
	return done, e.withdraw(ctx, key)
}

// held finds the tombstone of a row whose delete is held, and the best of what the replicas still have.
func (e *Engine) held(row *state.Row) (tombstone, put version.ID) {
	heads := plan.Heads(row, e.members)
	if len(heads) != 1 || row.Versions[heads[0]] == nil || row.Versions[heads[0]].Kind != version.Delete {
		return "", ""
	}
	for _, m := range e.members {
		r := row.Replicas[m.Name]
		id := plan.Effective(r)
		v, best := plan.Lookup(row, id), plan.Lookup(row, put)
		if !r.Print.Present || v.Kind != version.Put {
			continue
		}
		if put == "" || best.Vector.Before(v.Vector) || !v.Vector.Before(best.Vector) && v.HLC > best.HLC {
			put = id
		}
	}
	return heads[0], put
}
