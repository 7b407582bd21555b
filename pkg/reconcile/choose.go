package reconcile

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/bucketmesh/bucketmesh/pkg/config"
	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
	"github.com/bucketmesh/bucketmesh/pkg/reconcile/plan"
	"github.com/bucketmesh/bucketmesh/pkg/state"
	"github.com/bucketmesh/bucketmesh/pkg/version"
)

// What a person does with conflicts: look at their sides, decide an open one, bring a loser back later, and try on paper what a
// rule would do.

// Choice is a person's decision: a version that wins, or a content of their own.
type Choice struct {
	Winner  version.ID // of the conflict's versions
	Replica string     // without a Winner: the version that this replica holds
	Merged  []byte     // without both
	By      string     // who decided, for the record
}

// Choose decides an open conflict. All versions are preserved first, but for one that wins. NotFound: no such conflict, or no
// such version of it. Conflict: its versions changed since it was recorded, or it is decided; the text says what to do.
func (e *Engine) Choose(ctx context.Context, id string, ch Choice) (state.Conflict, error) {
	rec, err := e.record(ctx, id)
	switch {
	case err != nil:
		return rec, fmt.Errorf("decide conflict: %w", err)
	case rec.State == state.ConflictSuperseded:
		return rec, errkind.New(errkind.Conflict, "decide conflict: the versions of %s changed before it was decided: if they still are in conflict, "+
			"`bucketmesh conflicts list --unresolved` shows it under another id", id)
	case !rec.Open():
		return rec, errkind.New(errkind.Conflict, "decide conflict: %s is decided already (%s): `bucketmesh conflicts show %s` shows how; "+
			"bring another version back with `bucketmesh conflicts restore %s --version V`", id, rec.Reason, id, id)
	}
	out, err := e.lookIfChanged(ctx, rec.Key, func() (Outcome, error) {
		return e.tries(ctx, rec.Key, func(c *clash, ctx context.Context) (Outcome, bool, error) { return c.chosen(ctx, id, ch) })
	})
	if err != nil {
		return rec, err
	}
	if rec, err = e.cfg.Store.Conflict(ctx, e.cfg.Group, id); err != nil {
		return rec, fmt.Errorf("decide conflict: %w", err)
	}
	if out == Conflicted || rec.State != state.ConflictResolved {
		return rec, errkind.New(errkind.Conflict, "decide conflict: the versions of %q changed meanwhile, nothing was decided: "+
			"`bucketmesh conflicts list --unresolved` shows what there is to decide now", rec.Key)
	}
	if _, err := e.Reconcile(ctx, rec.Key, nil, 0); err != nil { // what is left is in the dirty set
		return rec, fmt.Errorf("the conflict is decided, and is brought to all replicas as soon as that works; it does not yet: %w", err)
	}
	return rec, nil
}

// record is the record of a conflict that a person named.
func (e *Engine) record(ctx context.Context, id string) (state.Conflict, error) {
	rec, err := e.cfg.Store.Conflict(ctx, e.cfg.Group, id)
	if errkind.Is(err, errkind.NotFound) {
		return rec, errkind.New(errkind.NotFound, "the group %s has no conflict %q: `bucketmesh conflicts list` shows which it has", e.cfg.Group, id)
	}
	return rec, err //nolint:wrapcheck // whoever asked says for what
}

// chosen is line 4 with a person's decision.
func (c *clash) chosen(ctx context.Context, id string, ch Choice) (Outcome, bool, error) {
	if c.rec.ID != id {
		return Conflicted, false, nil // a later conflict: the person has not seen it
	}
	by := "decided by a person"
	if ch.By != "" {
		by = "decided by " + ch.By
	}
	if ch.Winner == "" && ch.Replica == "" {
		return c.chosenContent(ctx, ch.Merged, by)
	}
	winner, err := c.picked(ch)
	if err != nil {
		return Pending, false, err
	}
	if err := c.stillThere(ctx, winner); err != nil {
		return Pending, false, err
	}
	c.choose(winner, by)
	c.verdict.Policy = string(config.Manual)
	return c.take(ctx)
}

// picked is the head that a person chose.
func (c *clash) picked(ch Choice) (version.ID, error) {
	var have []string
	for _, h := range c.ranked {
		if ch.Winner == h.Version.ID || ch.Winner == "" && slices.Contains(h.Replicas, ch.Replica) {
			return h.Version.ID, nil
		}
		have = append(have, fmt.Sprintf("%s (at %s)", h.Version.ID, strings.Join(h.Replicas, ", ")))
	}
	all := strings.Join(have, ", ")
	if ch.Winner != "" {
		return "", errkind.New(errkind.NotFound, "decide conflict: %q is no version of %s; name one of %s", ch.Winner, c.rec.ID, all)
	}
	if c.sites[ch.Replica] == nil {
		return "", errkind.New(errkind.NotFound, "decide conflict: the group has no replica %q; the versions of %s are %s", ch.Replica, c.rec.ID, all)
	}
	return "", errkind.New(errkind.NotFound, "decide conflict: %s holds no version of %s, which are %s", ch.Replica, c.rec.ID, all)
}

// stillThere looks at the version that a person wants to win: a policy's winner that a user has overwritten meanwhile is found by
// the next look, but a person is told.
func (c *clash) stillThere(ctx context.Context, winner version.ID) error {
	for _, h := range c.ranked {
		if h.Version.ID != winner {
			continue
		}
		var now state.Fingerprint
		switch a, err := c.sites[h.Replica].Stat(ctx, c.key, ""); {
		case err == nil:
			now = Observe(a).Print
		case !errkind.Is(err, errkind.NotFound):
			return fmt.Errorf("look at %s: %w", h.Replica, err)
		}
		if !plan.Unchanged(c.row.Replicas[h.Replica].Print, now) {
			return errkind.New(errChanged, "decide conflict: %s holds something else than %s by now", h.Replica, winner)
		}
	}
	return nil
}

// chosenContent writes a person's content, with the properties of the version that the fallback prefers.
func (c *clash) chosenContent(ctx context.Context, content []byte, by string) (Outcome, bool, error) {
	var p driver.Properties
	for _, h := range c.ranked {
		if h.Version.Kind != version.Put || h.Version.ID != c.verdict.Winner && p.ContentType != "" {
			continue
		}
		a, err := c.sites[h.Replica].Stat(ctx, c.key, "")
		if err != nil {
			return Pending, false, c.changed(fmt.Errorf("look at %s: %w", h.Replica, err))
		}
		p = UserProperties(a.Properties)
	}
	p.ContentEncoding = ""
	c.verdict.Policy, c.verdict.Reason = string(config.Manual), "merged: "+by
	return c.write(ctx, content, p)
}
