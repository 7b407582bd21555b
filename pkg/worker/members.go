package worker

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/reconcile/plan"
	"github.com/bucketmesh/bucketmesh/pkg/state"
)

const (
	// membersCursor holds the names of the replicas that the state knows of, those of the last start.
	membersCursor = "members"
	// forgetCursor holds a leaving that is not finished.
	forgetCursor = "members/forget"
)

// leaving is a run that forgets replicas, and how far it has come.
type leaving struct {
	Names []string `json:"names"`
	After string   `json:"after"`
}

// forgetLeft makes the state forget the replicas that are not in the document any more. Should one of them come back, it is a new
// replica, and is filled: what is not in it then was not deleted by anybody. It is done before anything else, and a run that was
// interrupted is finished first, so that no replica comes back while it is remembered in part.
func (w *Worker) forgetLeft(ctx context.Context) error {
	var unfinished leaving
	if ok, err := w.recall(ctx, forgetCursor, &unfinished); err != nil {
		return err
	} else if ok {
		if err := w.forget(ctx, unfinished); err != nil {
			return err
		}
	}
	var known, now []string
	if _, err := w.recall(ctx, membersCursor, &known); err != nil {
		return err
	}
	for _, r := range w.o.Group.Replicas {
		now = append(now, r.Name)
	}
	slices.Sort(now)
	if slices.Equal(known, now) {
		return nil
	}
	for _, cursor := range []string{backfillCursor, comparisonCursor} { // a comparison of other replicas than these
		if err := w.o.Store.SetCursor(ctx, w.o.Group.Name, cursor, ""); err != nil {
			return fmt.Errorf("begin comparison anew: %w", err)
		}
	}
	left := slices.DeleteFunc(slices.Clone(known), func(name string) bool { return slices.Contains(now, name) })
	if len(left) > 0 {
		w.log.InfoContext(ctx, "replicas left the group; the state forgets them", "replicas", left)
		if err := w.forget(ctx, leaving{Names: left}); err != nil {
			return err
		}
	}
	return w.note(ctx, membersCursor, now)
}

// recall reads a cursor that note wrote; ok is false if there is none.
func (w *Worker) recall(ctx context.Context, cursor string, into any) (ok bool, err error) {
	text, err := w.o.Store.Cursor(ctx, w.o.Group.Name, cursor)
	if err != nil || text == "" {
		return false, err //nolint:wrapcheck // says "read cursor"
	}
	if err := json.Unmarshal([]byte(text), into); err != nil {
		return false, errkind.New(errkind.Invalid, "read cursor %s: %w", cursor, err)
	}
	return true, nil
}

func (w *Worker) note(ctx context.Context, cursor string, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return errkind.New(errkind.Invalid, "write cursor %s: %w", cursor, err)
	}
	return w.o.Store.SetCursor(ctx, w.o.Group.Name, cursor, string(text)) //nolint:wrapcheck // says "write cursor"
}

// forget takes replicas out of all rows, and drops their identities.
func (w *Worker) forget(ctx context.Context, l leaving) error {
	for {
		if err := w.note(ctx, forgetCursor, l); err != nil {
			return err
		}
		rows, err := w.o.Store.Rows(ctx, w.o.Group.Name, l.After, sweepPage)
		if err != nil {
			return fmt.Errorf("forget replicas %v: %w", l.Names, err)
		}
		for _, row := range rows {
			if err := w.forgetAt(ctx, row, l.Names); err != nil {
				return fmt.Errorf("forget replicas %v: %w", l.Names, err)
			}
			l.After = row.Key
		}
		if len(rows) < sweepPage {
			break
		}
	}
	for _, cursor := range append(identities(l.Names), forgetCursor) {
		if err := w.o.Store.SetCursor(ctx, w.o.Group.Name, cursor, ""); err != nil {
			return fmt.Errorf("forget replicas %v: %w", l.Names, err)
		}
	}
	return nil
}

func identities(names []string) []string {
	cursors := make([]string, len(names))
	for i, name := range names {
		cursors[i] = identityCursor(name)
	}
	return cursors
}

// forgetAt takes replicas out of one row. Their intents end with their leases: the planner drops them then.
func (w *Worker) forgetAt(ctx context.Context, row state.Row, names []string) error {
	for {
		next := plan.Clone(row)
		maps.DeleteFunc(next.Replicas, func(name string, _ state.Replica) bool { return slices.Contains(names, name) })
		// What was told of them nobody will look up, and a row that waits for it never goes.
		next.Told = slices.DeleteFunc(next.Told, func(t state.Told) bool { return slices.Contains(names, t.Replica) })
		next.Late = slices.DeleteFunc(next.Late, func(l state.Late) bool { return slices.Contains(names, l.Replica) })
		if len(next.Replicas) == len(row.Replicas) && len(next.Told) == len(row.Told) && len(next.Late) == len(row.Late) {
			return nil
		}
		plan.Prune(&next)
		fx := state.Effects{}
		if len(next.Replicas) == 0 && len(next.Intents) == 0 && len(next.Told) == 0 {
			fx.Remove = true
		}
		for _, r := range next.Replicas {
			if now := time.Now(); r.Status == state.StatusEvicted && !fx.Remove { // who left may have been the only one that still had it
				fx.Dirty, fx.Reason = &now, "a replica left the group"
			}
		}
		_, err := w.o.Store.Commit(ctx, next, fx)
		if !errkind.Is(err, errkind.Conflict) {
			return err //nolint:wrapcheck // says which row
		}
		if row, err = w.o.Store.Get(ctx, row.Group, row.Key); err != nil || row.Rev == 0 {
			return err //nolint:wrapcheck // says "read row"
		}
	}
}
