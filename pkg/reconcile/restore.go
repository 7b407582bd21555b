package reconcile

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
	"github.com/bucketmesh/bucketmesh/pkg/policy"
	"github.com/bucketmesh/bucketmesh/pkg/reconcile/plan"
	"github.com/bucketmesh/bucketmesh/pkg/state"
	"github.com/bucketmesh/bucketmesh/pkg/transfer"
	"github.com/bucketmesh/bucketmesh/pkg/version"
)

// Restored says where a version was brought back.
type Restored struct {
	Key     string           `json:"key"`
	Replica string           `json:"replica"`
	Version version.ID       `json:"version"`           // of the conflict, that is back
	Was     *version.Content `json:"was,omitempty"`     // what the key held there before; nil is nothing
	Copy    string           `json:"copy,omitempty"`    // which is kept under this key
	Pending bool             `json:"pending,omitempty"` // not all replicas have it yet
}

// Restore brings a loser of a conflict back, as a user's write: what the key holds is preserved and verified first, and the
// write demands that it still is there. It travels like any other. Without a version it is the only loser that was kept. NotFound:
// no such conflict, no such loser of it, or no copy. Conflict: it is not decided.
func (e *Engine) Restore(ctx context.Context, id string, lost version.ID) (Restored, error) {
	rec, err := e.record(ctx, id)
	if err != nil {
		return Restored{}, fmt.Errorf("restore version: %w", err)
	}
	l, err := kept(&rec, lost)
	if err != nil {
		return Restored{}, err
	}
	r, err := e.restore(ctx, rec.Key, l)
	if err != nil {
		return r, err
	}
	out, err := e.Reconcile(ctx, rec.Key, nil, 0)
	r.Pending = err != nil || out != Settled // it is in the dirty set
	return r, nil                            //nolint:nilerr // the version is back; what failed is left to whoever looks next
}

// kept is the loser of a conflict that can come back.
func kept(rec *state.Conflict, lost version.ID) (state.Loser, error) {
	if rec.Open() {
		return state.Loser{}, errkind.New(errkind.Conflict, "restore version: %s is not decided yet, nothing has lost: decide it with "+
			"`bucketmesh conflicts resolve %s`", rec.ID, rec.ID)
	}
	var copies []state.Loser
	var ids []string
	for _, l := range rec.Losers {
		if l.Copy != "" {
			copies, ids = append(copies, l), append(ids, string(l.Version.ID))
		}
	}
	i := slices.IndexFunc(copies, func(l state.Loser) bool { return l.Version.ID == lost })
	switch {
	case i >= 0:
		return copies[i], nil
	case len(copies) == 0:
		return state.Loser{}, errkind.New(errkind.NotFound, "restore version: of %s no copy was made: what lost was a delete, its policy keeps nothing, "+
			"or its versions changed before it was decided", rec.ID)
	case lost == "" && len(copies) == 1:
		return copies[0], nil
	case lost == "":
		return state.Loser{}, errkind.New(errkind.Invalid, "restore version: several versions of %s were kept: name one of %s", rec.ID, strings.Join(ids, ", "))
	}
	return state.Loser{}, errkind.New(errkind.NotFound, "restore version: there is no copy of a loser %q of %s; there is one of %s", lost, rec.ID, strings.Join(ids, ", "))
}

func (e *Engine) restore(ctx context.Context, key string, l state.Loser) (Restored, error) {
	r := Restored{Key: key, Replica: e.writableAt(l.Replica), Version: l.Version.ID}
	unlock, err := e.locks.lock(ctx, key, e.cfg.LockWait)
	if err != nil {
		return r, err
	}
	defer unlock()
	source, err := e.copyAt(ctx, l)
	if err != nil {
		return r, err
	}
	o := &order{Order: plan.Order{Replica: r.Replica}}
	switch a, err := e.sites[r.Replica].Stat(ctx, key, ""); {
	case errkind.Is(err, errkind.NotFound):
	case err != nil:
		return r, fmt.Errorf("look at %s: %w", r.Replica, err)
	default:
		// It is not a version that the row has to know: a name that only this state of the object has is enough.
		now := &version.Version{ID: version.ID(r.Replica + "." + stateName(a)), Kind: version.Put}
		o.Expect = Observe(a).Print
		row := state.Row{Replicas: map[string]state.Replica{r.Replica: {Print: o.Expect}}}
		if r.Copy, err = e.preserve(ctx, key, &row, policy.Head{Version: now, Replica: r.Replica, Writable: true}); err != nil {
			return r, fmt.Errorf("preserve what is there: %w", err)
		}
		was := contentOf(a)
		r.Was = &was
	}
	body, attrs, err := e.sites[source].Open(ctx, l.Copy, nil)
	if err != nil {
		return r, fmt.Errorf("open copy at %s: %w", source, err)
	}
	defer func() { _ = body.Close() }()
	d := transfer.Dest{
		Bucket: e.sites[r.Replica], Key: key,
		Put: driver.PutOptions{Properties: UserProperties(attrs.Properties), If: e.condition(o, plan.UnconditionalPut)},
	}
	if d.Put.If == (driver.Precondition{}) {
		d.Finish = func(ctx context.Context) error { return e.lookBefore(ctx, key, o) }
	}
	_, results, err := e.cfg.Copier.Fan(ctx, body, attrs.Size, []transfer.Dest{d})
	if err == nil {
		err = results[0].Err
	}
	if err != nil {
		return r, fmt.Errorf("write version at %s: %w", r.Replica, err)
	}
	return r, e.markRestored(ctx, r)
}

// markRestored sees to it that the write travels, and the copy of what was there, also where notifications are lost.
func (e *Engine) markRestored(ctx context.Context, r Restored) error {
	keys := []string{r.Key}
	if r.Copy != "" {
		keys = append(keys, r.Copy)
	}
	if err := e.cfg.Store.MarkDirty(ctx, e.cfg.Group, keys, e.cfg.Clock.Now(), "a version was restored"); err != nil {
		return fmt.Errorf("mark key dirty: %w", err)
	}
	return nil
}

// copyAt is a replica that has the copy of a loser.
func (e *Engine) copyAt(ctx context.Context, l state.Loser) (string, error) {
	var last error
	for _, m := range e.members {
		a, err := e.sites[m.Name].Stat(ctx, l.Copy, "")
		switch {
		case err != nil:
			last = err
		case contentOf(a).Compare(l.Version.Content) != version.Different:
			return m.Name, nil
		default:
			last = errkind.New(errkind.Invalid, "%s at %s is not what was kept there", l.Copy, m.Name)
		}
	}
	return "", fmt.Errorf("find the copy %q: %w", l.Copy, last)
}

// stateName is a name for the state of an object that no other state of it has.
func stateName(a *driver.Attrs) string {
	sum := sha256.Sum256([]byte(a.Tag + "\x00" + a.VersionID + "\x00" + a.ModTime.String() + "\x00" + MetaHash(a.Properties)))
	return hex.EncodeToString(sum[:10])
}
