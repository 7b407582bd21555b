package reconcile

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"

	"github.com/bucketmesh/bucketmesh/pkg/config"
	"github.com/bucketmesh/bucketmesh/pkg/event"
	"github.com/bucketmesh/bucketmesh/pkg/reconcile/plan"
	"github.com/bucketmesh/bucketmesh/pkg/state"
	"github.com/bucketmesh/bucketmesh/pkg/version"
)

// detect stores the heads and hands the key to the conflict-resolver.
func (w *work) detect(ctx context.Context, s plan.Step) (Outcome, bool, error) {
	now := w.cfg.Clock.Now()
	rule := w.cfg.Rule(w.key)
	rec := state.Conflict{
		ID: conflictID(w.cfg.Group, w.key, s.Heads), Group: w.cfg.Group, Key: w.key, State: state.ConflictDetected,
		Policy: string(rule.Policy), Detected: now,
	}
	if old, err := w.cfg.Store.Conflict(ctx, w.cfg.Group, rec.ID); err == nil {
		if rec.Detected = old.Detected; old.Open() {
			rec = old
		}
	}
	rec.Losers = nil
	for _, h := range w.policyHeads(&s.Row, s.Heads) {
		rec.Losers = append(rec.Losers, state.Loser{Version: *h.Version, Replica: h.Replica})
	}
	if rec.State == state.ConflictPending && rule.Policy == config.Manual && now.Before(rec.Deadline) {
		// The resolver knows, and can do nothing before the deadline.
		return w.store(ctx, s, state.Effects{
			Conflicts: append(w.supersede(ctx, &s.Row, rec.ID), rec), Dirty: &rec.Deadline, Reason: rec.Reason,
		}, Conflicted)
	}
	told := event.Conflict{Group: w.cfg.Group, Key: w.key, ID: rec.ID, Heads: ids(s.Heads), Policy: rec.Policy}
	if rec.State == state.ConflictPending { // it is time to ask again, or for the fallback: the resolver has to hear of it anew
		told.Again = now
	}
	e, err := w.cfg.Announce(ctx, event.ConflictDetected, told)
	if err != nil {
		return Pending, false, fmt.Errorf("announce conflict: %w", err)
	}
	w.cfg.Trace(Point{Line: "4", Key: w.key})
	due := now.Add(w.backoff(w.attempts + 4)) // should the resolver never answer
	return w.store(ctx, s, state.Effects{
		Conflicts: append(w.supersede(ctx, &s.Row, rec.ID), rec), Events: []state.OutboxEvent{e},
		Dirty: &due, Attempts: w.attempts + 1, Reason: "a conflict waits for the conflict-resolver",
	}, Conflicted)
}

// supersede closes the record of a conflict whose heads changed before anybody decided it: what was in it is in a later
// conflict, or was overwritten by a user, or was merged by somebody who died before saying so. now is the conflict that the key
// is in, "" for none.
func (e *Engine) supersede(ctx context.Context, row *state.Row, now string) []state.Conflict {
	was := row.Pending
	row.Pending = now
	if was == "" || was == now {
		return nil
	}
	old, err := e.cfg.Store.Conflict(ctx, e.cfg.Group, was)
	if err != nil || !old.Open() { // the record is for people: it never holds up a key
		return nil
	}
	old.Resolved = e.cfg.Clock.Now()
	if old.State == state.ConflictMerging && e.landed(row, old.Winner) {
		old.State = state.ConflictResolved
		return []state.Conflict{old}
	}
	old.State, old.Reason = state.ConflictSuperseded, "its versions changed before it was decided"
	return []state.Conflict{old}
}

// landed reports that some replica counts as holding a version or what followed it.
func (e *Engine) landed(row *state.Row, v version.Version) bool {
	return slices.ContainsFunc(e.members, func(m plan.Member) bool {
		return v.Vector.LessEqual(plan.Lookup(row, plan.Effective(row.Replicas[m.Name])).Vector)
	})
}

func conflictID(group, key string, heads []version.ID) string {
	h := sha256.New()
	for _, s := range append([]string{group, key}, ids(heads)...) {
		fmt.Fprintf(h, "%d:%s", len(s), s)
	}
	return hex.EncodeToString(h.Sum(nil)[:12])
}
