package ledger

import (
	"context"
	"fmt"
	"time"
)

// Horizon is how long an event may be under way where nobody can see what is: behind a Knative Broker. The triggers try for about
// ten minutes, each time for ten at most; an event that takes longer than this was not only slow.
const Horizon = time.Hour

// SinceHorizon is the time before which nothing is under way, for a Keeper that can't see what is.
func SinceHorizon(context.Context) (time.Time, error) { return time.Now().Add(-Horizon), nil }

// Keeper keeps the ledger of one group. Make one with New.
type Keeper struct {
	ledger Ledger
	group  string
	before func(ctx context.Context) (time.Time, error)
	clerk  clerk
}

// New makes a Keeper. before says up to which time nothing is under way any more; it is asked before the ledger is.
func New(l Ledger, group string, before func(ctx context.Context) (time.Time, error)) *Keeper {
	return &Keeper{ledger: l, group: group, before: before, clerk: clerk{write: func(ctx context.Context, notes []Note) error {
		return l.Note(ctx, group, notes...)
	}}}
}

// Begin opens the books if they are not open yet.
func (k *Keeper) Begin(ctx context.Context) error {
	if err := k.ledger.Begin(ctx, k.group); err != nil {
		return fmt.Errorf("open ledger: %w", err)
	}
	return nil
}

// Note notes the outcome of an event, with those that others note at the same time. It is kept when Note returns nil.
func (k *Keeper) Note(ctx context.Context, n Note) error {
	if err := Check(k.group, n); err != nil { // alone: it must not spoil the others'
		return err
	}
	return k.clerk.note(ctx, n)
}

// Balance draws up the books.
func (k *Keeper) Balance(ctx context.Context) (Balance, error) {
	before, err := k.before(ctx)
	if err != nil {
		return Balance{}, fmt.Errorf("draw up ledger: %w", err)
	}
	b, err := k.ledger.Balance(ctx, k.group, before)
	if err != nil {
		return Balance{}, fmt.Errorf("draw up ledger: %w", err)
	}
	return b, nil
}

// Fold folds everything that is settled.
func (k *Keeper) Fold(ctx context.Context) error {
	before, err := k.before(ctx)
	if err != nil {
		return fmt.Errorf("fold ledger: %w", err)
	}
	return k.fold(ctx, before)
}

func (k *Keeper) fold(ctx context.Context, before time.Time) error {
	for more := true; more; {
		var err error
		if more, err = k.ledger.Fold(ctx, k.group, before); err != nil {
			return fmt.Errorf("fold ledger: %w", err)
		}
	}
	return nil
}

// Compared tells that a comparison of all buckets is complete that began then. It makes up for events that were lost before, and
// for those that were under way then: whatever they had to tell is known.
func (k *Keeper) Compared(ctx context.Context, began time.Time) error {
	if err := k.fold(ctx, began); err != nil {
		return err
	}
	if err := k.ledger.Forgive(ctx, k.group, began); err != nil {
		return fmt.Errorf("close ledger: %w", err)
	}
	return k.fold(ctx, began)
}
