package pipeline

import (
	"context"

	"github.com/bucketmesh/bucketmesh/pkg/ledger"
	"github.com/bucketmesh/bucketmesh/pkg/subscriber"
)

// Between has something stand between the triggers and their subscribers: a seeded fault.
func (o *Options) Between(between func(name string, h subscriber.Handler) subscriber.Handler) {
	o.between = between
}

// Note notes an outcome, as sync does.
func (p *Pipeline) Note(ctx context.Context, n ledger.Note) error { return p.ledger.Note(ctx, n) }

// Fold folds the ledger, as the worker does every minute.
func (p *Pipeline) Fold(ctx context.Context) error { return p.ledger.Fold(ctx) }
