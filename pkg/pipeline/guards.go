package pipeline

import (
	"context"
	"fmt"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/config"
	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/guard"
	"github.com/bucketmesh/bucketmesh/pkg/reconcile"
	"github.com/bucketmesh/bucketmesh/pkg/state"
	"github.com/bucketmesh/bucketmesh/pkg/worker"
)

// What can be done to the delete brake.
const (
	BrakeStatus  = "status"
	BrakeApprove = "approve"
	BrakePause   = "pause"
	BrakeResume  = "resume"
	BrakeUndo    = "undo"
)

// BrakeRequest asks for something about the delete brake.
type BrakeRequest struct {
	Do      string        `json:"do"`
	For     time.Duration `json:"for,omitempty"`     // approve: also deletes that come up within it
	Further int64         `json:"further,omitempty"` // approve: also so many more
}

// Brake is how the delete brake is.
type Brake struct {
	Group   string           `json:"group"`
	State   string           `json:"state"` // armed, tripped, paused
	Since   time.Time        `json:"since,omitzero"`
	Reason  string           `json:"reason,omitempty"`
	Waiting int64            `json:"waiting"` // deletes that are held, or wait a moment
	Counted int64            `json:"counted"` // deletes within the window
	Keys    int64            `json:"keys"`    // of the group
	Limit   int64            `json:"limit"`   // more than so many trip it; -1: there is no such limit
	Within  string           `json:"within"`
	Until   time.Time        `json:"approvedUntil,omitzero"`
	Further int64            `json:"approvedFurther,omitempty"`
	Some    []state.Deletion `json:"some"`           // of those that wait
	Done    *worker.Done     `json:"done,omitempty"` // of undo, and how many approve let go
}

const someDeletions = 20

// Brake does something about the delete brake, and says how it is then. progress, if not nil, is told how an undo comes along.
func (p *Pipeline) Brake(ctx context.Context, r BrakeRequest, progress func(worker.Done)) (b Brake, err error) {
	var done *worker.Done
	switch r.Do {
	case BrakeStatus:
	case BrakeApprove:
		done, err = p.approve(ctx, r)
	case BrakePause:
		err = p.changeBrake(ctx, func(x *state.Brake, now time.Time) error { guard.Pause(x, now); return nil })
	case BrakeResume:
		if err = p.changeBrake(ctx, func(x *state.Brake, now time.Time) error { return guard.Resume(x, worker.Limits(p.opts.Group), now) }); err == nil {
			err = p.wakeHeld(ctx)
		}
	case BrakeUndo:
		if p.worker == nil || p.looking {
			return b, errkind.New(errkind.Unsupported, "undo deletes: the group was opened for inspection only")
		}
		var d worker.Done
		d, err = p.worker.Undo(ctx, progress)
		done = &d
	default:
		err = errkind.New(errkind.Invalid, "delete brake: %q is not known", r.Do)
	}
	if err != nil {
		return b, err
	}
	b, err = brakeOf(ctx, p.opts.Group, p.store)
	b.Done = done
	return b, err
}

func brakeOf(ctx context.Context, g *config.Group, store state.Store) (Brake, error) {
	group, now := g.Name, time.Now()
	x, err := store.Brake(ctx, group)
	if err != nil {
		return Brake{}, fmt.Errorf("read delete brake: %w", err)
	}
	stats, err := store.Stats(ctx, group)
	if err != nil {
		return Brake{}, fmt.Errorf("read statistics: %w", err)
	}
	l := worker.Limits(g)
	b := Brake{
		Group: group, State: "armed", Since: x.Since, Reason: x.Reason, Waiting: x.Waiting, Counted: guard.Counted(x, l, now), Keys: stats.Keys,
		Limit: guard.Most(state.Weighing{Brake: x, Keys: stats.Keys}, l, now), Within: l.Within.String(), Further: x.Further,
	}
	if x.State != state.Armed {
		b.State = string(x.State)
	}
	if now.Before(x.Until) {
		b.Until = x.Until
	}
	if b.Some, err = store.Deletions(ctx, group, "", someDeletions); err != nil {
		return b, fmt.Errorf("read held deletes: %w", err)
	}
	if b.Some == nil {
		b.Some = []state.Deletion{} // JSON: a list
	}
	return b, nil
}

func (p *Pipeline) changeBrake(ctx context.Context, f func(b *state.Brake, now time.Time) error) error {
	err := p.store.Weigh(ctx, p.opts.Group.Name, "", func(x *state.Weighing) error { return f(&x.Brake, time.Now()) })
	if err != nil {
		return fmt.Errorf("change delete brake: %w", err)
	}
	return nil
}

func (p *Pipeline) approve(ctx context.Context, r BrakeRequest) (*worker.Done, error) {
	var n int64
	err := p.changeBrake(ctx, func(x *state.Brake, now time.Time) error {
		n = x.Waiting
		guard.Approve(x, now, r.For, r.Further)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &worker.Done{All: n, Keys: n, By: map[string]int64{"approved": n}}, p.wakeHeld(ctx)
}

// wakeHeld has the deletes looked at that are held; the store that wakes the sweep is the worker's.
func (p *Pipeline) wakeHeld(ctx context.Context) error {
	store := p.store
	if p.worker != nil {
		store = p.worker.Store()
	}
	return worker.EachDeletion(ctx, store, p.opts.Group.Name, func(page []state.Deletion) error {
		return worker.Wake(ctx, store, p.opts.Group.Name, page)
	})
}

// UndeleteResult is what became of the objects of an undelete.
type UndeleteResult struct {
	worker.Done
	Objects []reconcile.Undeleted `json:"objects"` // the first ones
}

const someUndeleted = 1000

// Undelete brings removed objects back.
func (p *Pipeline) Undelete(ctx context.Context, sel worker.Select, progress func(worker.Done)) (r UndeleteResult, err error) {
	if p.worker == nil || p.looking {
		return r, errkind.New(errkind.Unsupported, "undelete: the group was opened for inspection only")
	}
	r.Objects = []reconcile.Undeleted{}
	r.Done, err = p.worker.Undelete(ctx, sel, func(u reconcile.Undeleted) {
		if len(r.Objects) < someUndeleted {
			r.Objects = append(r.Objects, u)
		}
	}, progress)
	return r, err
}
