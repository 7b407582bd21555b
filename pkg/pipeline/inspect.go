package pipeline

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
)

// Inspect opens the state and the events of a group that nobody works on, to look at them and to replay dead letters: no
// bucket is opened, no event handled. Backfill and Counters need Start.
func Inspect(ctx context.Context, o Options) (*Pipeline, error) {
	if err := o.defaults(); err != nil {
		return nil, err
	}
	if _, err := os.Stat(o.DataDir); err != nil {
		return nil, errkind.New(errkind.NotFound, "inspect group: %w", err)
	}
	p := &Pipeline{opts: o, log: o.Logger, began: time.Now(), failed: make(chan struct{})}
	if err := p.open(ctx, false); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}
