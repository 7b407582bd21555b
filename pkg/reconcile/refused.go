package reconcile

import (
	"context"
	"fmt"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/event"
	"github.com/bucketmesh/bucketmesh/pkg/state"
	"github.com/bucketmesh/bucketmesh/pkg/version"
)

// unportable notes replicas whose object has something that can't be carried anywhere else (its driver says Invalid), and
// announces each once: a person has to mend the object.
func (w *work) unportable(ctx context.Context, row *state.Row, l looked) ([]state.OutboxEvent, error) {
	var events []state.OutboxEvent
	for _, m := range w.members {
		r := row.Replicas[m.Name]
		if !l.invalid[m.Name] || r.Status == state.StatusUnreadable {
			continue
		}
		r.Status, r.Detail = state.StatusUnreadable, l.why[m.Name]
		row.Replicas[m.Name] = r
		d := event.Sync{
			Group: w.cfg.Group, Key: w.key, Kind: string(version.Put), Origin: m.Name, Replicas: []string{m.Name},
			Applied: w.cfg.Clock.Now().UTC(), Reason: r.Detail, Error: errkind.Invalid.String(), Attempts: w.attempts,
		}
		if h := w.hint; h != nil && h.Replica == m.Name {
			d.Written = h.Time
		}
		e, err := w.cfg.Announce(ctx, event.SyncFailed, d)
		if err != nil {
			return nil, fmt.Errorf("announce failure: %w", err)
		}
		events = append(events, e)
	}
	return events, nil
}

// Refused says which replicas can't hold a key, or have an object at it that can't be carried elsewhere, and why. It asks the
// row and no bucket.
func (e *Engine) Refused(ctx context.Context, key string) (map[string]string, error) {
	row, err := e.cfg.Store.Get(ctx, e.cfg.Group, key)
	if err != nil {
		return nil, fmt.Errorf("read row: %w", err)
	}
	why := map[string]string{}
	for name, r := range row.Replicas {
		if r.Status != state.StatusOK && r.Status != state.StatusEvicted {
			why[name] = r.Detail
		}
	}
	return why, nil
}
