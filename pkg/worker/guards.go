package worker

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/bucketmesh/bucketmesh/pkg/config"
	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/guard"
	"github.com/bucketmesh/bucketmesh/pkg/reconcile"
	"github.com/bucketmesh/bucketmesh/pkg/state"
)

const (
	// tidyEvery is how often what has expired is looked for, tidyPage how much of it is read at a time, and tidyPages how often then.
	tidyEvery = 5 * time.Minute
	tidyPage  = 100
	tidyPages = 100
	// tidyKeep is how long the record of a removed object stays after its time.
	tidyKeep = 30 * 24 * time.Hour
)

// Limits are those of a group's delete brake.
func Limits(g *config.Group) guard.Limits {
	b := g.Deletes.Brake
	return guard.Limits{Keys: b.Keys, Percent: b.Percent, Within: b.Within, PerMinute: b.PerMinute, Hold: g.Deletes.Hold}
}

// Done is how far something has come that is done for many keys.
type Done struct {
	All    int64             `json:"all"`              // as far as is known
	Keys   int64             `json:"keys"`             // dealt with
	By     map[string]int64  `json:"by"`               // what became of them
	Failed map[string]string `json:"failed,omitempty"` // keys that are left over, some of them, and why
}

// Left reports that keys are left over.
func (d Done) Left() bool { return len(d.Failed) > 0 }

const maxFailed = 20 // keys that a Done names

func (d *Done) add(what string) {
	d.Keys++
	d.By[what]++
}

func (d *Done) fail(key string, err error) {
	d.add("left over")
	if len(d.Failed) < maxFailed {
		d.Failed[key] = err.Error()
	}
}

func newDone(all int64) Done {
	return Done{All: all, By: map[string]int64{}, Failed: map[string]string{}}
}

// EachDeletion calls f for the pages of deletes that wait, one after the other.
func EachDeletion(ctx context.Context, s state.Store, group string, f func([]state.Deletion) error) error {
	for after := ""; ; {
		page, err := s.Deletions(ctx, group, after, sweepPage)
		if err != nil {
			return fmt.Errorf("read held deletes: %w", err)
		}
		if len(page) == 0 {
			return nil
		}
		after = page[len(page)-1].Key
		if err := f(page); err != nil {
			return err
		}
	}
}

// Undo brings back every key whose delete waits at the brake, and arms the brake again when none is left over. progress, if
// not nil, is told now and then.
func (w *Worker) Undo(ctx context.Context, progress func(Done)) (Done, error) {
	b, err := w.store.Brake(ctx, w.o.Group.Name)
	if err != nil {
		return Done{}, fmt.Errorf("undo deletes: %w", err)
	}
	d := newDone(b.Waiting)
	err = EachDeletion(ctx, w.store, w.o.Group.Name, func(page []state.Deletion) error {
		for _, x := range page {
			switch done, err := w.undo(ctx, x.Key); {
			case ctx.Err() != nil:
				return errkind.New(errkind.Canceled, "undo deletes: %w", ctx.Err())
			case err != nil:
				d.fail(x.Key, err)
			case done:
				d.add("undone")
			default:
				d.add("there again")
			}
		}
		if progress != nil {
			progress(d)
		}
		return nil
	})
	if err != nil || d.Left() {
		return d, err
	}
	err = w.store.Weigh(ctx, w.o.Group.Name, "", func(x *state.Weighing) error {
		guard.Undone(&x.Brake, Limits(w.o.Group), time.Now())
		return nil
	})
	if err != nil {
		return d, fmt.Errorf("arm delete brake: %w", err)
	}
	if err := w.wakeHeld(ctx); err != nil {
		return d, err
	}
	return d, w.Sweep(ctx) // whoever asked wants the objects back, not a promise
}

// undo undoes one delete; another worker may be at the key for a moment.
func (w *Worker) undo(ctx context.Context, key string) (done bool, err error) {
	for range 5 {
		if done, err = w.engine.Undo(ctx, key); !errkind.Is(err, errkind.Conflict) {
			break
		}
	}
	return done, err //nolint:wrapcheck // the caller names the key
}

// wakeHeld has the deletes looked at that came up while others were undone.
func (w *Worker) wakeHeld(ctx context.Context) error {
	return EachDeletion(ctx, w.store, w.o.Group.Name, func(page []state.Deletion) error { return Wake(ctx, w.store, w.o.Group.Name, page) })
}

// Wake has the keys of deletes looked at now.
func Wake(ctx context.Context, s state.Store, group string, page []state.Deletion) error {
	keys := make([]string, len(page))
	for i, d := range page {
		keys[i] = d.Key
	}
	if err := s.MarkDirty(ctx, group, keys, time.Now(), "the delete brake was released"); err != nil {
		return fmt.Errorf("wake held deletes: %w", err)
	}
	return nil
}

// Select says which removed objects are brought back: those of a key, or below a prefix, and removed since a time.
type Select struct {
	Key    string    `json:"key,omitempty"`
	Prefix string    `json:"prefix,omitempty"`
	Since  time.Time `json:"since,omitzero"`
	Dry    bool      `json:"dry,omitempty"` // say only what would be done
}

// newest is what a key was at last. One delete may have taken an old version away, too, of a replica that had not got the new one,
// and later than that: what another one followed is never it. Of the rest it is what was removed last.
func newest(all []state.Removed) state.Removed {
	followed := func(r state.Removed) bool {
		return slices.ContainsFunc(all, func(o state.Removed) bool { return r.Version.Vector.Before(o.Version.Vector) })
	}
	best := slices.DeleteFunc(slices.Clone(all), followed)
	return slices.MaxFunc(best, func(a, b state.Removed) int {
		return cmp.Or(a.When.Compare(b.When), cmp.Compare(a.Version.HLC, b.Version.HLC), strings.Compare(a.ID, b.ID))
	})
}

// Undelete brings removed objects back, of each key the newest one. each is told of every key.
func (w *Worker) Undelete(ctx context.Context, sel Select, each func(reconcile.Undeleted), progress func(Done)) (Done, error) {
	q := state.RemovedQuery{Prefix: sel.Prefix, Since: sel.Since, Kept: true, Limit: sweepPage}
	if sel.Key != "" {
		q.Prefix = sel.Key
	}
	d := newDone(0)
	var ofKey []state.Removed
	flush := func() {
		if len(ofKey) == 0 {
			return
		}
		r := newest(ofKey)
		u, err := w.engine.Undelete(ctx, r, sel.Dry)
		if err != nil {
			d.fail(r.Key, err)
			u.What = "left over"
		} else {
			d.add(u.What)
		}
		each(u)
		ofKey = nil
	}
	for {
		page, err := w.store.Removed(ctx, w.o.Group.Name, q)
		if err != nil {
			return d, fmt.Errorf("read removed objects: %w", err)
		}
		for i := range page {
			r := &page[i]
			q.AfterKey, q.AfterID = r.Key, r.ID
			if sel.Key != "" && r.Key != sel.Key {
				continue
			}
			if len(ofKey) > 0 && ofKey[0].Key != r.Key {
				flush()
			}
			ofKey = append(ofKey, *r)
			if ctx.Err() != nil {
				return d, errkind.New(errkind.Canceled, "undelete: %w", ctx.Err())
			}
		}
		if progress != nil {
			if d.All = d.Keys; len(ofKey) > 0 {
				d.All++
			}
			progress(d)
		}
		if len(page) < sweepPage {
			break
		}
	}
	flush()
	d.All = d.Keys
	if sel.Dry {
		return d, nil
	}
	return d, w.Sweep(ctx) // to the other replicas
}

// tidy removes what has expired: copies in the quarantine, their records, and deletes that don't count any more. It does a bounded part of
// it at a time. A replica that can't be tidied does not hold up the others.
func (w *Worker) tidy(ctx context.Context) error {
	group, now := w.o.Group.Name, time.Now()
	if err := forgetPages(ctx, w.store.ForgetDeletions, group, now.Add(-2*w.o.Group.Deletes.Brake.Within)); err != nil {
		return fmt.Errorf("forget deletes: %w", err)
	}
	if err := forgetPages(ctx, w.store.ForgetRemoved, group, now.Add(-tidyKeep)); err != nil {
		return fmt.Errorf("forget removed objects: %w", err)
	}
	q := state.RemovedQuery{Kept: true, ExpiredBefore: now, Limit: tidyPage}
	var failed error
	for range tidyPages {
		page, err := w.store.Removed(ctx, group, q)
		if err != nil {
			return fmt.Errorf("read removed objects: %w", err)
		}
		var g errgroup.Group
		g.SetLimit(4)
		for i := range page {
			g.Go(func() error { return w.engine.Expire(ctx, page[i]) })
		}
		failed = cmp.Or(failed, g.Wait())
		if len(page) < tidyPage || ctx.Err() != nil {
			break
		}
		q.AfterKey, q.AfterID = page[tidyPage-1].Key, page[tidyPage-1].ID
	}
	return failed //nolint:wrapcheck // says what failed
}

// forgetPages forgets what is older than a time, page by page.
func forgetPages(ctx context.Context, forget func(ctx context.Context, group string, before time.Time, limit int) (int, error), group string, before time.Time) error {
	for range tidyPages {
		if n, err := forget(ctx, group, before, tidyPage); err != nil || n < tidyPage {
			return err
		}
	}
	return nil
}

// tidyUp calls tidy now and then until ctx is done.
func (w *Worker) tidyUp(ctx context.Context) error {
	tick := time.NewTicker(tidyEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err() //nolint:wrapcheck // the caller asked
		case <-tick.C:
		}
		if err := w.tidy(ctx); err != nil && ctx.Err() == nil {
			w.log.WarnContext(ctx, "what has expired is not removed, it will be tried again", "error", err)
		}
	}
}
