package reconcile

import (
	"context"
	"fmt"
	"slices"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
	"github.com/bucketmesh/bucketmesh/pkg/policy"
	"github.com/bucketmesh/bucketmesh/pkg/reconcile/plan"
	"github.com/bucketmesh/bucketmesh/pkg/state"
	"github.com/bucketmesh/bucketmesh/pkg/transfer"
	"github.com/bucketmesh/bucketmesh/pkg/version"
)

// preserveAll is 4a and 4b for the heads in keep. All heads but the winner are losers; after a merge there is no winner among them.
func (c *clash) preserveAll(ctx context.Context, winner version.ID, keep []version.ID) ([]state.Loser, error) {
	var losers []state.Loser
	for _, h := range c.ranked {
		if h.Version.ID == winner {
			continue
		}
		l := state.Loser{Version: *h.Version, Replica: h.Replica}
		if slices.Contains(keep, h.Version.ID) && c.cfg.Mutant != plan.KeepNothing {
			name, err := c.preserve(ctx, c.key, &c.row, h)
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
	if e.cfg.Mutant == plan.OneCopy {
		name = policy.CopyKey(key, "v")
	}
	at := e.writableAt(h.Replica)
	body, attrs, err := e.sites[h.Replica].Open(ctx, key, &driver.ReadOptions{IfMatch: row.Replicas[h.Replica].Print.Tag})
	if err != nil {
		return "", fmt.Errorf("open loser: %w", err)
	}
	defer func() { _ = body.Close() }()
	mark := string(h.Version.ID)
	e.cfg.Trace(Point{Line: "4a", Key: key, Replica: h.Replica, Version: h.Version})
	content, results, err := e.cfg.Copier.Fan(ctx, body, attrs.Size, []transfer.Dest{e.copyTo(at, name, mark, attrs.Properties)})
	if err != nil {
		return "", fmt.Errorf("read loser: %w", err)
	}
	if err := results[0].Err; err != nil && !errkind.Is(err, errkind.PreconditionFailed) {
		return "", errkind.New(retryable(err), "write conflict copy: %w", err)
	}
	if e.cfg.Mutant == plan.NoVerify {
		return name, nil
	}
	e.cfg.Trace(Point{Line: "4b", Key: key, Replica: at, Version: h.Version})
	return name, e.verify(ctx, at, name, mark, content) // 4b; a copy that was there before must be this very one
}

// copyTo is the destination of a conflict copy: only if there is none. A bucket that keeps no such condition, which is in the group
// because the configuration accepts its loss window, is looked at instead; no user writes that key.
func (e *Engine) copyTo(at, name, mark string, p driver.Properties) transfer.Dest {
	bucket := e.sites[at]
	d := transfer.Dest{
		Bucket: bucket, Key: name,
		Put: driver.PutOptions{Properties: withMeta(p, MetaPreserves, mark), If: driver.Precondition{NotExist: true}},
	}
	if caps := bucket.Capabilities(); caps.PutNotExist != driver.GuardNone && caps.CompleteGuard != driver.GuardNone {
		return d
	}
	d.Put.If = driver.Precondition{}
	d.Finish = func(ctx context.Context) error {
		switch _, err := bucket.Stat(ctx, name, ""); {
		case errkind.Is(err, errkind.NotFound):
			return nil
		case err != nil:
			return fmt.Errorf("look before an unguarded write: %w", err)
		}
		return errkind.New(errkind.PreconditionFailed, "look before an unguarded write: the copy is there")
	}
	return d
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
