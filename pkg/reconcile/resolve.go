package reconcile

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/event"
	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
	"github.com/bucketmesh/bucketmesh/pkg/policy"
	"github.com/bucketmesh/bucketmesh/pkg/reconcile/plan"
	"github.com/bucketmesh/bucketmesh/pkg/state"
	"github.com/bucketmesh/bucketmesh/pkg/transfer"
	"github.com/bucketmesh/bucketmesh/pkg/version"
)

// detect stores the heads and hands the key to the conflict-resolver.
func (w *work) detect(ctx context.Context, s plan.Step) (Outcome, bool, error) {
	now := w.cfg.Clock.Now()
	rec := state.Conflict{
		ID: conflictID(w.cfg.Group, w.key, s.Heads), Group: w.cfg.Group, Key: w.key, State: "detected",
		Policy: string(w.cfg.Rule(w.key).Policy), Detected: now,
	}
	if old, err := w.cfg.Store.Conflict(ctx, w.cfg.Group, rec.ID); err == nil {
		rec.Detected = old.Detected
	}
	for _, h := range w.policyHeads(&s.Row, s.Heads) {
		rec.Losers = append(rec.Losers, state.Loser{Version: *h.Version, Replica: h.Replica})
	}
	e, err := w.cfg.Announce(event.ConflictDetected, event.Conflict{
		Group: w.cfg.Group, Key: w.key, ID: rec.ID, Heads: ids(s.Heads), Policy: rec.Policy,
	})
	if err != nil {
		return Pending, false, fmt.Errorf("announce conflict: %w", err)
	}
	due := now.Add(w.backoff(w.attempts + 4)) // should the resolver never answer
	return w.store(ctx, s, state.Effects{
		Conflicts: append(w.supersede(ctx, &s.Row, rec.ID), rec), Events: []state.OutboxEvent{e},
		Dirty: &due, Attempts: w.attempts + 1, Reason: "a conflict waits for the conflict-resolver",
	}, Conflicted)
}

// supersede closes the record of a conflict that was detected and whose heads changed before anybody decided it: what was
// in it is in a later conflict, or was overwritten by a user. now is the conflict that the key is in, "" for none.
func (e *Engine) supersede(ctx context.Context, row *state.Row, now string) []state.Conflict {
	was := row.Pending
	row.Pending = now
	if was == "" || was == now {
		return nil
	}
	old, err := e.cfg.Store.Conflict(ctx, e.cfg.Group, was)
	if err != nil || old.State != "detected" { // the record is for people: it never holds up a key
		return nil
	}
	old.State, old.Resolved = "superseded", e.cfg.Clock.Now()
	old.Reason = "its versions changed before it was decided"
	return []state.Conflict{old}
}

func conflictID(group, key string, heads []version.ID) string {
	h := sha256.New()
	for _, s := range append([]string{group, key}, ids(heads)...) {
		fmt.Fprintf(h, "%d:%s", len(s), s)
	}
	return hex.EncodeToString(h.Sum(nil)[:12])
}

func ids(vs []version.ID) []string {
	out := make([]string, len(vs))
	for i, v := range vs {
		out[i] = string(v)
	}
	return out
}

func (e *Engine) policyHeads(row *state.Row, heads []version.ID) []policy.Head {
	out := make([]policy.Head, 0, len(heads))
	for _, id := range heads {
		h := policy.Head{Version: plan.Lookup(row, id), Writable: true}
		for _, m := range e.members {
			if r, ok := row.Replicas[m.Name]; ok && plan.Effective(r) == id {
				h.Replicas = append(h.Replicas, m.Name)
				h.Replica = h.Replicas[0]
			}
			if m.Name == h.Version.Origin {
				h.Writable = m.Writable
			}
		}
		out = append(out, h)
	}
	return out
}

// Resolve is line 4: the policy picks a winner, the losers are preserved and verified, and only then the resolution is
// stored. The key then needs Reconcile again, which the conflict.resolved event and its dirty entry see to. A key
// without a conflict is no error.
func (e *Engine) Resolve(ctx context.Context, key string) (Outcome, error) {
	out, err := e.decide(ctx, key)
	if !errkind.Is(err, errChanged) {
		return out, err
	}
	// A head changed and the row does not know: line 1 has to look again. It is done here and now, because the process that sweeps may
	// be another one, and asleep. The dirty entry is for the case that this one dies.
	if err := e.cfg.Store.MarkDirty(ctx, e.cfg.Group, []string{key}, e.cfg.Clock.Now(), "a replica changed while its conflict was resolved"); err != nil {
		return Pending, fmt.Errorf("mark key dirty: %w", err)
	}
	return e.Reconcile(ctx, key, nil, 0)
}

// errChanged is the kind with which decide says that a replica is not what the row says.
const errChanged = errkind.PreconditionFailed

// decide is Resolve but for looking again.
func (e *Engine) decide(ctx context.Context, key string) (Outcome, error) {
	unlock, err := e.locks.lock(ctx, key, e.cfg.LockWait)
	if err != nil {
		return Pending, err
	}
	defer unlock()
	for range e.cfg.Passes {
		out, again, err := e.resolve(ctx, key)
		if !again {
			return out, err
		}
		// The row changed meanwhile, often by no more than the note of a late notification: the copies are kept, the decision is
		// made again.
	}
	return Pending, errkind.New(errChanged, "resolve conflict: the row of %q keeps changing", key)
}

// resolve is one try; again means that somebody else changed the row meanwhile.
func (e *Engine) resolve(ctx context.Context, key string) (out Outcome, again bool, err error) {
	row, err := e.cfg.Store.Get(ctx, e.cfg.Group, key)
	if err != nil {
		return Pending, false, fmt.Errorf("read row: %w", err)
	}
	heads := plan.Heads(&row, e.members)
	if len(heads) < 2 {
		return Settled, false, nil
	}
	verdict := policy.Decide(e.cfg.Rule(key), e.policyHeads(&row, heads), len(e.members))
	preserve := func() ([]state.Loser, error) { return e.preserveAll(ctx, key, &row, heads, verdict) }
	if e.cfg.Mutant == plan.OverwriteFirst {
		if _, err := e.resolved(ctx, row, heads, verdict, nil); err != nil {
			return Pending, false, nil //nolint:nilerr // a fault
		}
		_, err := preserve()
		return Settled, false, err
	}
	losers, err := preserve() // 4a, 4b
	if k := errkind.Of(err); k == errkind.PreconditionFailed || k == errkind.NotFound {
		return Pending, false, errkind.New(errChanged, "resolve conflict: %w", err)
	}
	if err != nil {
		return Pending, false, err
	}
	out, err = e.resolved(ctx, row, heads, verdict, losers) // 4c
	return out, errkind.Is(err, errkind.Conflict), err
}

// preserveAll is 4a and 4b for every loser that the policy keeps.
func (e *Engine) preserveAll(ctx context.Context, key string, row *state.Row, heads []version.ID, v policy.Verdict) ([]state.Loser, error) {
	var losers []state.Loser
	for _, h := range e.policyHeads(row, heads) {
		if h.Version.ID == v.Winner {
			continue
		}
		l := state.Loser{Version: *h.Version, Replica: h.Replica}
		if slices.Contains(v.Keep, h.Version.ID) {
			name, err := e.preserve(ctx, key, row, h)
			if err != nil {
				return nil, fmt.Errorf("preserve version %s of %s: %w", h.Version.ID, h.Replica, err)
			}
			l.Copy = name
		}
		losers = append(losers, l)
	}
	return losers, nil
}

// preserve copies one loser to its conflict key and proves that the copy is there. The copy is made where the loser is,
// if users may write there, and then travels like any object; otherwise at the first writable replica.
func (e *Engine) preserve(ctx context.Context, key string, row *state.Row, h policy.Head) (string, error) {
	name := policy.CopyKey(key, h.Version.ID)
	at := e.writableAt(h.Replica)
	body, attrs, err := e.sites[h.Replica].Open(ctx, key, &driver.ReadOptions{IfMatch: row.Replicas[h.Replica].Print.Tag})
	if err != nil {
		return "", fmt.Errorf("open loser: %w", err)
	}
	defer func() { _ = body.Close() }()
	mark := string(h.Version.ID)
	e.cfg.Trace(Point{Line: "4a", Key: key, Replica: h.Replica, Version: h.Version})
	content, results, err := e.cfg.Copier.Fan(ctx, body, attrs.Size, []transfer.Dest{{
		Bucket: e.sites[at], Key: name,
		Put: driver.PutOptions{Properties: withMeta(attrs.Properties, MetaPreserves, mark), If: driver.Precondition{NotExist: true}},
	}})
	if err != nil {
		return "", fmt.Errorf("read loser: %w", err)
	}
	if err := results[0].Err; err != nil && !errkind.Is(err, errkind.PreconditionFailed) {
		return "", errkind.New(retryable(err), "write conflict copy: %w", err)
	}
	return name, e.verify(ctx, at, name, mark, content) // 4b; a copy that was there before must be this very one
}

// writableAt is the replica itself if users may write there, otherwise the first one where they may.
func (e *Engine) writableAt(name string) string {
	first := ""
	for _, m := range e.members {
		switch {
		case m.Name == name && m.Writable:
			return name
		case m.Writable && first == "":
			first = m.Name
		}
	}
	return first
}

// retryable keeps the kind of a failed copy from being taken for a change of the loser.
func retryable(err error) errkind.Kind {
	if k := errkind.Of(err); k != errkind.NotFound {
		return k
	}
	return errkind.Unavailable
}

// verify is 4b.
func (e *Engine) verify(ctx context.Context, at, name, mark string, want version.Content) error {
	switch ok, err := e.marked(ctx, at, name, mark, want); {
	case err != nil:
		return errkind.New(retryable(err), "verify conflict copy: %w", err)
	case ok:
		return nil
	}
	// An earlier attempt, which the loser's twin at another replica was read for, may have made the copy there. It has come here
	// like any object since then, and left its mark behind.
	for _, m := range e.members {
		switch ok, err := e.marked(ctx, m.Name, name, mark, want); {
		case err != nil && !errkind.Is(err, errkind.NotFound):
			return errkind.New(retryable(err), "verify conflict copy at %s: %w", m.Name, err)
		case ok:
			return nil
		}
	}
	return errkind.New(errkind.Invalid, "verify conflict copy: %s at %s is another object than the version %s that it should preserve; "+
		"move it away, then resolve again", name, at, mark)
}

// marked says whether a replica has the copy as it was made: the content, and the id of the version that it preserves.
func (e *Engine) marked(ctx context.Context, at, name, mark string, want version.Content) (bool, error) {
	a, err := e.sites[at].Stat(ctx, name, "")
	if err != nil {
		return false, err
	}
	got := contentOf(a)
	return a.Metadata[MetaPreserves] == mark && got.Size == want.Size && got.Compare(want) != version.Different, nil
}

// resolved is 4c.
func (e *Engine) resolved(ctx context.Context, before state.Row, heads []version.ID, v policy.Verdict, losers []state.Loser) (Outcome, error) {
	now := e.cfg.Clock.Now()
	winner := plan.Lookup(&before, v.Winner)
	row, id := plan.Resolve(before, e.members, heads, v.Winner, now, e.cfg.Mutant)
	at := ""
	for _, m := range e.members {
		if plan.Effective(row.Replicas[m.Name]) == id {
			at = m.Name
		}
	}
	rec := state.Conflict{
		ID: conflictID(e.cfg.Group, row.Key, heads), Group: e.cfg.Group, Key: row.Key, State: "resolved", Policy: v.Policy, Reason: v.Reason,
		Winner: *winner, WinnerAt: at, Losers: losers, Detected: now, Resolved: now,
	}
	if old, err := e.cfg.Store.Conflict(ctx, e.cfg.Group, rec.ID); err == nil {
		rec.Detected = old.Detected
	}
	closed := []state.Conflict{rec}
	if row.Pending != rec.ID {
		closed = append(e.supersede(ctx, &row, ""), rec)
	}
	row.Pending = ""
	ev, err := e.cfg.Announce(event.ConflictResolved, event.Conflict{
		Group: e.cfg.Group, Key: row.Key, ID: rec.ID, Heads: ids(heads), Winner: string(v.Winner), Policy: v.Policy, Copies: copies(losers), Reason: v.Reason,
	})
	if err != nil {
		return Pending, fmt.Errorf("announce resolution: %w", err)
	}
	e.cfg.Trace(Point{Line: "4c", Key: row.Key, Version: plan.Lookup(&row, id)})
	due := now.Add(5 * time.Second) // should the event be lost
	_, err = e.cfg.Store.Commit(ctx, row, state.Effects{
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
