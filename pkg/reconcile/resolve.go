package reconcile

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/config"
	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/event"
	"github.com/bucketmesh/bucketmesh/pkg/policy"
	"github.com/bucketmesh/bucketmesh/pkg/reconcile/plan"
	"github.com/bucketmesh/bucketmesh/pkg/state"
	"github.com/bucketmesh/bucketmesh/pkg/version"
)

// Resolve is line 4: the policy picks a winner or merges, the losers are preserved and verified, and only then the resolution
// is stored. The key then needs Reconcile again, which the conflict.resolved event and its dirty entry see to. Conflicted means
// that somebody outside was asked and has time until a deadline. A key without a conflict is no error.
func (e *Engine) Resolve(ctx context.Context, key string) (Outcome, error) {
	return e.lookIfChanged(ctx, key, func() (Outcome, error) { return e.tries(ctx, key, (*clash).settle) })
}

// errChanged is the kind with which a clash says that a replica is not what the row says.
const errChanged = errkind.PreconditionFailed

// lookIfChanged does f, and if a head changed and the row does not know, line 1 looks again. It is done here and now, because the
// process that sweeps may be another one, and asleep. The dirty entry is for the case that this one dies.
func (e *Engine) lookIfChanged(ctx context.Context, key string, f func() (Outcome, error)) (Outcome, error) {
	out, err := f()
	if !errkind.Is(err, errChanged) {
		return out, err
	}
	if err := e.cfg.Store.MarkDirty(ctx, e.cfg.Group, []string{key}, e.cfg.Clock.Now(), "a replica changed while its conflict was resolved"); err != nil {
		return Pending, fmt.Errorf("mark key dirty: %w", err)
	}
	return e.Reconcile(ctx, key, nil, 0)
}

// tries does f to the conflict of a key until nobody changes the row meanwhile.
func (e *Engine) tries(ctx context.Context, key string, f func(*clash, context.Context) (Outcome, bool, error)) (Outcome, error) {
	unlock, err := e.locks.lock(ctx, key, e.cfg.LockWait)
	if err != nil {
		return Pending, err
	}
	defer unlock()
	for range e.cfg.Passes {
		c, err := e.clash(ctx, key)
		if err != nil || c == nil {
			return Settled, err
		}
		out, again, err := f(c, ctx)
		if !again {
			return out, err
		}
		// The row changed meanwhile, often by no more than the note of a late notification: the copies are kept, the decision is
		// made again.
	}
	return Pending, errkind.New(errChanged, "resolve conflict: the row of %q keeps changing", key)
}

// clash is one try to settle the conflict of a key, on the row as it was read.
type clash struct {
	*Engine
	key     string
	row     state.Row
	heads   []version.ID
	ranked  []policy.Head // the heads, as the policy sees them
	rule    config.ConflictRule
	verdict policy.Verdict
	rec     state.Conflict
}

// clash is the conflict that the row of a key has; nil if it has none.
func (e *Engine) clash(ctx context.Context, key string) (*clash, error) {
	row, err := e.cfg.Store.Get(ctx, e.cfg.Group, key)
	if err != nil {
		return nil, fmt.Errorf("read row: %w", err)
	}
	heads := plan.Heads(&row, e.members)
	if len(heads) < 2 {
		return nil, nil //nolint:nilnil // no conflict is no error
	}
	c := &clash{Engine: e, key: key, row: row, heads: heads, ranked: e.policyHeads(&row, heads), rule: e.cfg.Rule(key)}
	c.verdict = policy.Decide(c.rule, c.ranked, len(e.members))
	if e.cfg.Mutant == plan.FirstHeadWins {
		c.choose(heads[0], "it is the first")
	}
	now := e.cfg.Clock.Now()
	c.rec = state.Conflict{ID: conflictID(e.cfg.Group, key, heads), Group: e.cfg.Group, Key: key, Detected: now}
	if old, err := e.cfg.Store.Conflict(ctx, e.cfg.Group, c.rec.ID); err == nil { // the record is for people: a key is settled without it
		c.rec = old
	}
	return c, nil
}

func (e *Engine) policyHeads(row *state.Row, heads []version.ID) []policy.Head {
	out := make([]policy.Head, 0, len(heads))
	for _, id := range heads {
		h := policy.Head{Version: believed(row, plan.Lookup(row, id)), Writable: true}
		for _, m := range e.members {
			if r, ok := row.Replicas[m.Name]; ok && plan.Effective(r) == id {
				h.Replicas = append(h.Replicas, m.Name)
			}
			if m.Name == h.Version.Origin {
				h.Writable = m.Writable
			}
		}
		if len(h.Replicas) > 0 {
			h.Replica = h.Replicas[max(slices.IndexFunc(h.Replicas, func(name string) bool { return row.Replicas[name].Print.Present }), 0)]
		}
		out = append(out, h)
	}
	return out
}

// believed is a version whose lineage is not known to be wrong. An object with our nonce is supposed to hold what we were writing
// while nobody knows what that was; once both contents are known, and differ, it was a user's edit of it, and nobody else has seen that.
func believed(row *state.Row, v *version.Version) *version.Version {
	for _, u := range row.Versions {
		if v.Lineage == nil || u.ID == v.ID || u.Kind != v.Kind || !u.Vector.LessEqual(v.Lineage) || !v.Lineage.LessEqual(u.Vector) {
			continue
		}
		if u.MetaHash != v.MetaHash || u.Content.Compare(v.Content) == version.Different {
			w := *v
			w.Lineage, w.Supposed = nil, false
			return &w
		}
	}
	return v
}

// settle is line 4; again means that somebody else changed the row meanwhile.
func (c *clash) settle(ctx context.Context) (out Outcome, again bool, err error) {
	switch c.verdict.Action {
	case policy.Ask:
		if waits, again, err := c.ask(ctx); waits || again || err != nil {
			return Conflicted, again, err
		}
	case policy.Merge:
		if out, done, again, err := c.merge(ctx); done || again || err != nil {
			return out, again, err
		}
	case policy.Take:
	}
	return c.take(ctx)
}

// take is line 4 with a winner among the heads.
func (c *clash) take(ctx context.Context) (out Outcome, again bool, err error) {
	if c.cfg.Mutant == plan.OverwriteFirst {
		if _, err := c.resolved(ctx, nil); err != nil {
			return Pending, false, nil //nolint:nilerr // a fault
		}
		_, err := c.preserveAll(ctx, c.verdict.Winner, c.verdict.Keep)
		return Settled, false, err
	}
	losers, err := c.preserveAll(ctx, c.verdict.Winner, c.verdict.Keep) // 4a, 4b
	if err != nil {
		return Pending, false, c.changed(err)
	}
	out, err = c.resolved(ctx, losers) // 4c
	return out, errkind.Is(err, errkind.Conflict), err
}

// changed is the error of a read of a head, which may say that the head is not there any more.
func (c *clash) changed(err error) error {
	if k := errkind.Of(err); k == errkind.PreconditionFailed || k == errkind.NotFound {
		return errkind.New(errChanged, "resolve conflict: %w", err)
	}
	return err
}

// resolved is 4c.
func (c *clash) resolved(ctx context.Context, losers []state.Loser) (Outcome, error) {
	row, id := plan.Resolve(c.row, c.members, c.heads, c.verdict.Winner, c.cfg.Clock.Now(), c.cfg.Mutant)
	at := ""
	for _, m := range c.members {
		if plan.Effective(row.Replicas[m.Name]) == id {
			at = m.Name
		}
	}
	c.rec.Winner, c.rec.WinnerAt, c.rec.Losers = *plan.Lookup(&c.row, c.verdict.Winner), at, losers
	c.cfg.Trace(Point{Line: "4c", Key: c.key, Version: plan.Lookup(&row, id)})
	return c.close(ctx, row)
}

// close stores the row of a conflict that is decided, with its record and its event.
func (c *clash) close(ctx context.Context, row state.Row) (Outcome, error) {
	now := c.cfg.Clock.Now()
	c.rec.State, c.rec.Policy, c.rec.Reason = state.ConflictResolved, c.verdict.Policy, c.verdict.Reason
	c.rec.Resolved, c.rec.Deadline = now, time.Time{}
	closed := []state.Conflict{c.rec}
	if row.Pending != c.rec.ID {
		closed = append(c.supersede(ctx, &row, ""), c.rec)
	}
	row.Pending = ""
	ev, err := c.cfg.Announce(ctx, event.ConflictResolved, event.Conflict{
		Group: c.cfg.Group, Key: c.key, ID: c.rec.ID, Heads: ids(c.heads), Winner: string(c.rec.Winner.ID), Policy: c.rec.Policy,
		Copies: copies(c.rec.Losers), Reason: c.rec.Reason,
	})
	if err != nil {
		return Pending, fmt.Errorf("announce resolution: %w", err)
	}
	due := now.Add(5 * time.Second) // should the event be lost
	_, err = c.cfg.Store.Commit(ctx, row, state.Effects{
		Conflicts: closed, Events: []state.OutboxEvent{ev}, Dirty: &due, Reason: "a resolved conflict waits to be propagated",
	})
	if err != nil {
		return Pending, fmt.Errorf("store resolution: %w", err)
	}
	return Settled, nil
}

func copies(losers []state.Loser) []string {
	var keys []string
	for _, l := range losers {
		if l.Copy != "" {
			keys = append(keys, l.Copy)
		}
	}
	return keys
}

func ids(vs []version.ID) []string {
	out := make([]string, len(vs))
	for i, v := range vs {
		out[i] = string(v)
	}
	return out
}
