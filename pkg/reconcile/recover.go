package reconcile

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
	"github.com/bucketmesh/bucketmesh/pkg/policy"
	"github.com/bucketmesh/bucketmesh/pkg/reconcile/plan"
	"github.com/bucketmesh/bucketmesh/pkg/state"
	"github.com/bucketmesh/bucketmesh/pkg/transfer"
	"github.com/bucketmesh/bucketmesh/pkg/version"
)

// Line 5d. A condition on an S3 ETag does not see a write that leaves the bytes as they were: an edit of the metadata,
// or the same bytes put back. On a versioned bucket such a write is still there, right below ours. Looking for it after
// every write would cost a LIST each; it is looked for when there is reason to: a write of ours was not acknowledged, or
// a notification tells of a version that the row never knew. Such a notification can come when more was written on top,
// by us or by users, and the row has moved on: so each of our versions says in its metadata which one it was meant to replace.

// recoverHidden preserves what our writes replaced without having seen it.
func (w *work) recoverHidden(ctx context.Context, before, after *state.Row, l looked) error {
	for _, m := range w.members {
		if _, seen := l.seen[m.Name]; !seen {
			continue
		}
		over, look := w.suspect(before, after, m.Name)
		told := toldAt(after, m.Name)
		if t := w.toldOf(before, after, m.Name); t != "" && !slices.Contains(told, t) {
			told = append(told, t)
		}
		if late := w.lateWriteOver(before, after, m.Name); late != "" && !slices.Contains(told, late) {
			told = append(told, late)
		}
		if look || len(told) > 0 {
			if err := w.recoverAt(ctx, m.Name, after, over, look, told); err != nil {
				return fmt.Errorf("recover what was replaced at %s: %w", m.Name, err)
			}
		}
		after.Told = slices.DeleteFunc(after.Told, func(t state.Told) bool { return t.Replica == m.Name })
		if w.hint != nil && w.hint.Replica == m.Name {
			w.lookedUp = true
		}
	}
	return nil
}

func toldAt(row *state.Row, replica string) (versions []string) {
	for _, t := range row.Told {
		if t.Replica == replica {
			versions = append(versions, t.VersionID)
		}
	}
	return versions
}

// maxTold bounds Row.Told. An event that finds it full comes again.
const maxTold = 64

// owe notes in a row what the hint told of, if that was not looked up: the event does not come again, and nothing else tells of a
// version that a write of ours has hidden.
func (e *Engine) owe(row *state.Row, h *Hint) {
	if h == nil || e.cfg.Mutant == plan.HintForgotten || h.Kind != Written || h.VersionID == "" || !e.sites[h.Replica].Capabilities().Versioned {
		return
	}
	r := row.Replicas[h.Replica]
	t := state.Told{Replica: h.Replica, VersionID: h.VersionID}
	if h.VersionID != r.Print.VersionID && h.VersionID != r.Over && !slices.Contains(row.Told, t) {
		row.Told = append(slices.Clone(row.Told), t)
	}
}

// Defer leaves a notification to the dirty set, for somebody who can't wait until its key is free.
func (e *Engine) Defer(ctx context.Context, key string, h *Hint, due time.Time, why string) error {
	return e.leave(ctx, key, h, state.Effects{Reason: why}, due)
}

// leave makes the key due, and notes what the hint told of.
func (e *Engine) leave(ctx context.Context, key string, h *Hint, fx state.Effects, due time.Time) error {
	fx.Dirty = &due
	for range e.cfg.Passes {
		row, err := e.cfg.Store.Get(ctx, e.cfg.Group, key)
		if err != nil {
			return fmt.Errorf("postpone key: %w", err)
		}
		known := len(row.Told)
		e.owe(&row, h)
		if len(row.Told) > maxTold {
			return errkind.New(errkind.Conflict, "postpone key: %d versions of %q wait to be looked up", maxTold, key)
		}
		fx.Remove = row.Rev == 0 && len(row.Told) == 0
		switch _, err = e.cfg.Store.Commit(ctx, row, fx); {
		case err == nil:
			return nil
		case !errkind.Is(err, errkind.Conflict):
			return fmt.Errorf("postpone key: %w", err)
		case len(row.Told) == known: // somebody else is at work on it: an entry that is due earlier may stay
			if err := e.cfg.Store.MarkDirty(ctx, e.cfg.Group, []string{key}, due, fx.Reason); err != nil {
				return fmt.Errorf("postpone key: %w", err)
			}
			return nil
		}
	}
	return errkind.New(errkind.Conflict, "postpone key: the row of %q keeps changing", key)
}

// hides says that a write of ours can replace one that its condition did not see, and that the bucket's versions have it then. A condition
// on a tag that names the write sees everything.
func (w *work) hides(name string) bool {
	caps := w.sites[name].Capabilities()
	return w.cfg.Mutant != plan.NoRecovery && caps.Versioned && caps.Level < driver.C3
}

// suspect says whether the newest version at a replica is ours and may hide one that nobody saw; over is the version
// that it was meant to replace.
func (w *work) suspect(before, after *state.Row, name string) (over string, look bool) {
	was, is := before.Replicas[name], after.Replicas[name]
	if !is.Print.Present { // a delete marker of ours, adopted: on some servers nobody checked what is below it
		for _, it := range before.Intents {
			if it.Replica == name && was.Print.Present && it.Version == is.Version {
				return it.Expect.VersionID, true
			}
		}
		return "", false
	}
	if is.Print.Nonce == "" || is.Print.VersionID == "" {
		return "", false
	}
	adopted := was.Print.Nonce != is.Print.Nonce && hasIntent(*before, is.Print.Nonce)
	h := w.hint
	told := h != nil && h.Replica == name && h.Kind == Written && h.VersionID != "" && h.VersionID != is.Print.VersionID && h.VersionID != is.Over
	return is.Over, adopted || told
}

// lateWriteOver is the version that the row knew, if what is there now has a nonce of ours that no intent has. Where a driver stands in for conditions,
// that may be a write of ours that landed on a user's and stood still until its intent had ended: nobody took it back.
func (w *work) lateWriteOver(before, after *state.Row, name string) string {
	was, is, caps := before.Replicas[name].Print, after.Replicas[name].Print, w.sites[name].Capabilities()
	switch {
	case !stoodIn(caps):
	case is.Nonce == "" || is.Nonce == was.Nonce || hasIntent(*before, is.Nonce):
	default:
		return was.VersionID
	}
	return ""
}

// toldOf is the version that the hint tells of, if the row knew nothing of it before and it is not the current one.
func (w *work) toldOf(before, after *state.Row, name string) string {
	h := w.hint
	if h == nil || h.Replica != name || h.Kind != Written || !w.hides(name) {
		return ""
	}
	for _, r := range []state.Replica{before.Replicas[name], after.Replicas[name]} {
		if h.VersionID == r.Print.VersionID || h.VersionID == r.Over {
			return ""
		}
	}
	return h.VersionID
}

// recoverAt looks at the version right below the current one if the current one is suspect, and at those that
// notifications told of.
func (w *work) recoverAt(ctx context.Context, name string, row *state.Row, over string, suspect bool, told []string) error {
	bucket := w.sites[name]
	versions, ok := bucket.(driver.Versioner)
	if !ok || !w.hides(name) {
		return nil
	}
	w.cfg.Trace(Point{Line: "5d", Key: w.key, Replica: name})
	all, err := versions.Versions(ctx, w.key)
	if err != nil && !errkind.Of(err).Retryable() {
		return nil // who may not list versions has what an ETag condition can do, and no more
	}
	if err != nil {
		return fmt.Errorf("list versions: %w", err)
	}
	for i := 1; i < len(all); i++ {
		if slices.Contains(told, all[i].VersionID) {
			if err := w.recoverTold(ctx, name, row, all[i], all[i-1], all[i+1:]); err != nil {
				return err
			}
		}
	}
	current := row.Replicas[name].Print
	if !suspect || len(all) < 2 || current.Present && all[0].VersionID != current.VersionID || !current.Present && !all[0].DeleteMarker {
		return nil // the newest version is no longer the one that was looked at: the next look tells
	}
	if hidden := all[1]; !hidden.DeleteMarker && hidden.VersionID != over {
		return w.keepHidden(ctx, name, row, hidden)
	}
	return nil
}

// recoverTold preserves a version if the one above it is ours and was meant to replace another one. (A user's copy of an object
// carries our metadata along: then the copy is one too many, which does no harm.) A delete marker does not say whose it is. If it is ours, and
// only a condition on the tag stood before it, the tag was one that an older version has, too; what a user edited and deleted at
// once is kept as well then.
func (w *work) recoverTold(ctx context.Context, name string, row *state.Row, told, above driver.Attrs, older []driver.Attrs) error {
	switch {
	case told.DeleteMarker:
		return nil
	case above.DeleteMarker:
		unseen := slices.ContainsFunc(older, func(a driver.Attrs) bool { return !a.DeleteMarker && a.Tag == told.Tag })
		if !unseen || w.sites[name].Capabilities().DeleteGuard != driver.GuardNative { // otherwise what is below it was checked when it was made
			return nil
		}
		return w.keepHidden(ctx, name, row, told)
	}
	a, err := w.sites[name].Stat(ctx, w.key, above.VersionID)
	switch {
	case errkind.Is(err, errkind.NotFound):
		return nil
	case err != nil:
		return fmt.Errorf("stat version: %w", err)
	case a.Metadata[MetaNonce] == "" || a.Metadata[MetaOver] == told.VersionID:
		return nil
	}
	return w.keepHidden(ctx, name, row, told)
}

// keepHidden makes a conflict copy of a noncurrent version. Its record goes into the next commit.
func (w *work) keepHidden(ctx context.Context, name string, row *state.Row, hidden driver.Attrs) error {
	id := version.ID(name + "." + hidden.VersionID)
	if slices.ContainsFunc(w.recovered, func(c state.Conflict) bool { return c.Losers[0].Version.ID == id }) {
		return nil // in an earlier pass of this call
	}
	body, attrs, err := w.sites[name].Open(ctx, w.key, &driver.ReadOptions{VersionID: hidden.VersionID})
	if errkind.Is(err, errkind.NotFound) {
		return nil // somebody removed that version for good
	}
	if err != nil {
		return err
	}
	defer func() { _ = body.Close() }()
	copyKey := policy.CopyKey(w.key, id)
	at := w.writableAt(name)
	content, results, err := w.cfg.Copier.Fan(ctx, body, attrs.Size, []transfer.Dest{w.copyTo(at, copyKey, string(id), attrs.Properties)})
	if err != nil {
		return err
	}
	if err := results[0].Err; err != nil && !errkind.Is(err, errkind.PreconditionFailed) {
		return err
	}
	if err := w.verify(ctx, at, copyKey, string(id), content); err != nil {
		return err
	}
	now := w.cfg.Clock.Now()
	lost := version.Version{ID: id, Kind: version.Put, Content: content, MetaHash: MetaHash(attrs.Properties), Origin: name, ProviderTime: unixNano(attrs.ModTime)}
	w.recovered = append(w.recovered, state.Conflict{
		ID: conflictID(w.cfg.Group, w.key, []version.ID{id}), Group: w.cfg.Group, Key: w.key, State: "resolved", Policy: "recovered",
		Reason:   "a write that left the ETag as it was came just before ours; the bucket's versions still had it",
		Winner:   *plan.Lookup(row, plan.Effective(row.Replicas[name])),
		WinnerAt: name, Losers: []state.Loser{{Version: lost, Replica: name, Copy: copyKey}}, Detected: now, Resolved: now,
	})
	return nil
}
