package reconcile

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
	"github.com/bucketmesh/bucketmesh/pkg/policy"
	"github.com/bucketmesh/bucketmesh/pkg/reconcile/plan"
	"github.com/bucketmesh/bucketmesh/pkg/state"
	"github.com/bucketmesh/bucketmesh/pkg/transfer"
	"github.com/bucketmesh/bucketmesh/pkg/version"
)

// quarantine makes sure that what a delete is about to take away can be brought back, before line 5a. One replica is enough
// for each version: a versioned bucket has it anyway, which costs no request; otherwise one of them gets a copy, verified.
func (w *work) quarantine(ctx context.Context, s *plan.Step) error {
	w.taken = nil
	if w.cfg.Quarantine <= 0 || w.target(s).Kind != version.Delete {
		return nil
	}
	at := map[version.ID]string{} // the best replica of each version
	var order []version.ID
	for _, name := range s.Dests {
		r := s.Row.Replicas[name]
		if !r.Print.Present {
			continue
		}
		id := plan.Effective(r)
		best, seen := at[id]
		if !seen {
			order = append(order, id)
		}
		if !seen || !w.keepsVersion(&s.Row, best) && w.keepsVersion(&s.Row, name) {
			at[id] = name
		}
	}
	now := w.cfg.Clock.Now()
	for _, id := range order {
		name := at[id]
		r := state.Removed{
			ID: removedID(w.cfg.Group, w.key, id, name), Group: w.cfg.Group, Key: w.key, Version: *plan.Lookup(&s.Row, id), Replica: name,
			When: now, Expires: now.Add(w.cfg.Quarantine),
		}
		if w.keepsVersion(&s.Row, name) {
			r.VersionID = s.Row.Replicas[name].Print.VersionID
		} else {
			r.Copy = policy.QuarantineKey(w.key, id)
			if err := w.setAside(ctx, name, s.Row.Replicas[name].Print, r); err != nil {
				return fmt.Errorf("keep what the delete takes away from %s: %w", name, err)
			}
		}
		w.taken = append(w.taken, r)
	}
	return nil
}

// keepsVersion reports that a replica's bucket still has an object after its delete, as a version whose id is known.
func (w *work) keepsVersion(row *state.Row, name string) bool {
	return w.sites[name].Capabilities().Versioned && row.Replicas[name].Print.VersionID != ""
}

// setAside copies an object within its bucket, from the very state that the delete will be conditional on.
func (w *work) setAside(ctx context.Context, name string, expect state.Fingerprint, r state.Removed) error {
	body, attrs, err := w.sites[name].Open(ctx, w.key, &driver.ReadOptions{IfMatch: expect.Tag})
	if err != nil {
		return fmt.Errorf("open object: %w", err)
	}
	defer func() { _ = body.Close() }()
	if MetaHash(attrs.Properties) != expect.MetaHash {
		return errkind.New(errkind.PreconditionFailed, "open object: its properties were edited since it was looked at")
	}
	mark := string(r.Version.ID)
	content, results, err := w.cfg.Copier.Fan(ctx, body, attrs.Size, []transfer.Dest{w.copyTo(name, r.Copy, mark, attrs.Properties)})
	if err != nil {
		return fmt.Errorf("read object: %w", err)
	}
	if err := results[0].Err; err != nil && !errkind.Is(err, errkind.PreconditionFailed) {
		return errkind.New(retryable(err), "write copy: %w", err)
	}
	switch ok, err := w.marked(ctx, name, r.Copy, mark, content); {
	case err != nil:
		return errkind.New(retryable(err), "verify copy: %w", err)
	case !ok:
		return errkind.New(errkind.Invalid, "verify copy: %s is another object than the version %s that it should keep; remove it", r.Copy, mark)
	}
	return nil
}

// setAsideFailed ends a call whose delete can't be carried on, because what it takes away could not be kept.
func (w *work) setAsideFailed(ctx context.Context, s plan.Step, err error) (Outcome, bool, error) {
	if ctx.Err() != nil {
		return Pending, false, fmt.Errorf("reconcile key: %w", ctx.Err())
	}
	switch errkind.Of(err) {
	case errkind.PreconditionFailed, errkind.NotFound: // it changed: the next look tells
		w.full = true
		return w.goOn(ctx, s)
	}
	return w.postponed(ctx, s, err.Error())
}

// removedID names the replica, too: a delete that is tried again may keep its object elsewhere, and each copy has its own end.
func removedID(group, key string, id version.ID, replica string) string {
	h := sha256.New()
	for _, s := range []string{group, key, string(id), replica} {
		fmt.Fprintf(h, "%d:%s", len(s), s)
	}
	return hex.EncodeToString(h.Sum(nil)[:12])
}

// How a removed object ended.
const (
	EndRestored = "restored" // Undelete brought it back
	EndExpired  = "expired"  // its time was over
	EndLost     = "lost"     // where it was kept it is no more, or the replica left the group
)

// Undeleted is what became of a removed object.
type Undeleted struct {
	Key     string    `json:"key"`
	Size    int64     `json:"size"`
	Removed time.Time `json:"removed"`
	From    string    `json:"from"`         // replica where it was kept
	At      string    `json:"at,omitempty"` // replica where it was written
	What    string    `json:"what"`         // restored, exists, lost, or would be restored
}

// Undelete brings a removed object back, as a user's write at a replica where users write, which then travels. Something that
// is there now is never written over: the outcome is "exists" then. dry says what would be done.
func (e *Engine) Undelete(ctx context.Context, r state.Removed, dry bool) (Undeleted, error) {
	u := Undeleted{Key: r.Key, Size: r.Version.Content.Size, Removed: r.When, From: r.Replica, At: e.writableAt(r.Replica), What: EndRestored}
	unlock, err := e.locks.lock(ctx, r.Key, e.cfg.LockWait)
	if err != nil {
		return u, err
	}
	defer unlock()
	row, err := e.cfg.Store.Get(ctx, e.cfg.Group, r.Key)
	if err != nil {
		return u, fmt.Errorf("read row: %w", err)
	}
	for _, m := range e.members {
		if row.Replicas[m.Name].Print.Present {
			u.What, u.At = "exists", m.Name
			return u, nil
		}
	}
	if e.sites[r.Replica] == nil {
		u.What = EndLost
	} else if !dry {
		if u.What, err = e.bringBack(ctx, r, u.At); err != nil {
			return u, fmt.Errorf("bring %q back: %w", r.Key, err)
		}
	}
	if dry || u.What == "exists" {
		return u, nil
	}
	r.End, r.Ended = u.What, e.cfg.Clock.Now()
	if err := e.cfg.Store.SetRemoved(ctx, r); err != nil {
		return u, fmt.Errorf("note what was brought back: %w", err)
	}
	return u, nil
}

// bringBack writes a removed object and says what became of it.
func (e *Engine) bringBack(ctx context.Context, r state.Removed, at string) (string, error) {
	from := r.Copy
	if from == "" {
		from = r.Key
	}
	body, attrs, err := e.sites[r.Replica].Open(ctx, from, &driver.ReadOptions{VersionID: r.VersionID})
	if errkind.Is(err, errkind.NotFound) {
		return EndLost, nil
	}
	if err != nil {
		return "", fmt.Errorf("open what was kept: %w", err)
	}
	defer func() { _ = body.Close() }()
	if c := contentOf(attrs); c.Size != r.Version.Content.Size || MetaHash(attrs.Properties) != r.Version.MetaHash || r.Version.Content.Compare(c) == version.Different {
		return "", errkind.New(errkind.Invalid, "what was kept at %s as %s is not what the delete took away", r.Replica, from)
	}
	caps := e.sites[at].Capabilities()
	guarded := caps.PutNotExist != driver.GuardNone && caps.CompleteGuard != driver.GuardNone
	if !guarded {
		_, err := e.sites[at].Stat(ctx, r.Key, "")
		if err == nil {
			return "exists", nil
		}
		if !errkind.Is(err, errkind.NotFound) {
			return "", fmt.Errorf("look before an unguarded write: %w", err)
		}
	}
	// The dirty entry comes first: the write is a user's, and its notification may get lost.
	err = e.cfg.Store.MarkDirty(ctx, e.cfg.Group, []string{r.Key}, e.cfg.Clock.Now().Add(e.cfg.Lease), "an object was brought back")
	if err != nil {
		return "", fmt.Errorf("mark key dirty: %w", err)
	}
	_, results, err := e.cfg.Copier.Fan(ctx, body, attrs.Size, []transfer.Dest{{
		Bucket: e.sites[at], Key: r.Key,
		Put: driver.PutOptions{Properties: UserProperties(attrs.Properties), If: driver.Precondition{NotExist: guarded}},
	}})
	if err == nil {
		err = results[0].Err
	}
	if errkind.Is(err, errkind.PreconditionFailed) {
		return "exists", nil
	}
	if err != nil {
		return "", fmt.Errorf("write object at %s: %w", at, err)
	}
	err = e.cfg.Store.MarkDirty(ctx, e.cfg.Group, []string{r.Key}, e.cfg.Clock.Now(), "an object was brought back")
	if err != nil {
		return "", fmt.Errorf("mark key dirty: %w", err)
	}
	return EndRestored, nil
}

// Expire removes the copy of a removed object whose time is over. Only what was put below the prefix of the quarantine, and
// says that it keeps that very version, is deleted.
func (e *Engine) Expire(ctx context.Context, r state.Removed) error {
	r.End, r.Ended = EndExpired, e.cfg.Clock.Now()
	bucket := e.sites[r.Replica]
	switch {
	case r.Copy == "": // the provider's versions are the provider's
	case bucket == nil, r.Copy != policy.QuarantineKey(r.Key, r.Version.ID):
		r.End = EndLost
	default:
		a, err := bucket.Stat(ctx, r.Copy, "")
		if errkind.Is(err, errkind.NotFound) {
			break
		}
		if err != nil {
			return fmt.Errorf("look at quarantine: %w", err)
		}
		if a.Metadata[MetaPreserves] != string(r.Version.ID) {
			r.End = EndLost
			break
		}
		if _, err := bucket.Delete(ctx, r.Copy, nil); err != nil && !errkind.Is(err, errkind.NotFound) {
			return fmt.Errorf("empty quarantine: %w", err)
		}
	}
	if err := e.cfg.Store.SetRemoved(ctx, r); err != nil {
		return fmt.Errorf("note what expired: %w", err)
	}
	return nil
}
