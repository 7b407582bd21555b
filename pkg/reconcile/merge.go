package reconcile

import (
	"bytes"
	"context"
	"crypto/md5" //nolint:gosec // S3 ETags are MD5: it identifies contents, it does not protect them
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/config"
	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/merge"
	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
	"github.com/bucketmesh/bucketmesh/pkg/reconcile/plan"
	"github.com/bucketmesh/bucketmesh/pkg/state"
	"github.com/bucketmesh/bucketmesh/pkg/transfer"
	"github.com/bucketmesh/bucketmesh/pkg/version"
)

// merge is line 4 with a content of its own: what all heads hold is preserved, the merge is written over one of them under the
// condition that it still is there, and travels from there. done means that this is stored. If the contents can't be merged, the
// fallback's verdict stands, and its reason says why.
func (c *clash) merge(ctx context.Context) (out Outcome, done, again bool, err error) {
	sides, err := c.read(ctx)
	if err == nil {
		err = c.combine(ctx, sides)
	}
	switch kind := errkind.Of(err); {
	case err == nil:
	case kind == errkind.Invalid: // can't be merged
		c.verdict.Reason = fmt.Sprintf("can't be merged (%v), so %s", err, c.verdict.Reason)
		return Pending, false, false, nil
	default:
		return Pending, false, false, c.changed(err)
	}
	c.verdict.Policy = string(config.Merge)
	for _, s := range sides.all { // one of them has it all already
		if bytes.Equal(s.body, sides.content) && MetaHash(s.properties) == MetaHash(sides.properties) {
			c.choose(s.id, fmt.Sprintf("what %s of %s holds has the edits of all others", s.id, s.replica))
			return Pending, false, false, nil
		}
	}
	c.verdict.Reason = fmt.Sprintf("the edits of %d versions were merged", len(sides.all))
	c.rec.Base = sides.base
	out, again, err = c.write(ctx, sides.content, sides.properties)
	return out, true, again, err
}

// limit is how large a content may be that is held in memory to be merged, or shown.
func (c *clash) limit() int64 {
	if c.rule.MaxSize > 0 {
		return c.rule.MaxSize
	}
	return config.DefaultMaxSize
}

// side is what one head holds.
type side struct {
	id         version.ID
	replica    string
	body       []byte
	properties driver.Properties
}

// sides are all of them, and what they become.
type sides struct {
	all        []side
	base       version.Content
	content    []byte
	properties driver.Properties
}

// read reads the contents of all heads, pinned.
func (c *clash) read(ctx context.Context) (*sides, error) {
	var s sides
	for _, h := range c.ranked {
		if size := h.Version.Content.Size; size > c.limit() {
			return nil, errkind.New(errkind.Invalid, "%s has %d bytes, more than maxSize (%d)", h.Replica, size, c.limit())
		}
		seen := c.row.Replicas[h.Replica].Print
		body, attrs, err := c.whole(ctx, h.Replica, c.key, &driver.ReadOptions{IfMatch: seen.Tag}, c.limit())
		if err != nil {
			return nil, fmt.Errorf("read %s of %s: %w", h.Version.ID, h.Replica, err)
		}
		if MetaHash(attrs.Properties) != seen.MetaHash {
			return nil, errkind.New(errChanged, "read %s of %s: its properties were edited since it was looked at", h.Version.ID, h.Replica)
		}
		if attrs.ContentEncoding != "" {
			return nil, errkind.New(errkind.Invalid, "%s is encoded (%s)", h.Replica, attrs.ContentEncoding)
		}
		s.all = append(s.all, side{id: h.Version.ID, replica: h.Replica, body: body, properties: UserProperties(attrs.Properties)})
	}
	return &s, nil
}

// whole reads an object of at most limit bytes into memory.
func (e *Engine) whole(ctx context.Context, replica, key string, opts *driver.ReadOptions, limit int64) ([]byte, *driver.Attrs, error) {
	body, attrs, err := e.sites[replica].Open(ctx, key, opts)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = body.Close() }()
	if attrs.Size > limit {
		return nil, nil, errkind.New(errkind.Invalid, "%d bytes are more than maxSize (%d)", attrs.Size, limit)
	}
	b, err := io.ReadAll(io.LimitReader(body, limit+1))
	if err != nil {
		return nil, nil, err
	}
	if int64(len(b)) != attrs.Size {
		return nil, nil, errkind.New(errkind.Unavailable, "%d bytes of %d", len(b), attrs.Size)
	}
	return b, attrs, nil
}

// combine merges the contents and the properties.
func (c *clash) combine(ctx context.Context, s *sides) error {
	base, err := c.base(ctx)
	if err != nil {
		return err
	}
	format := merge.Format(c.rule.Format)
	if c.rule.Format == config.FormatAuto {
		var ok bool
		if format, ok = merge.FormatOf(c.key, s.all[0].properties.ContentType); !ok {
			return errkind.New(errkind.Invalid, "neither the name nor the content type %q tells the format: name it in the rule", s.all[0].properties.ContentType)
		}
	}
	var old []byte
	var was *driver.Properties
	if base != nil {
		old, was, s.base = base.body, &base.properties, contentOfBytes(base.body)
	}
	bodies := make([][]byte, len(s.all))
	first := 0
	for i, one := range s.all {
		bodies[i] = one.body
		if one.id == c.verdict.Winner {
			first = i
		}
	}
	if s.content, err = merge.Merge(format, old, bodies...); err != nil {
		return err //nolint:wrapcheck // says where
	}
	s.properties = s.all[first].properties
	for i, one := range s.all {
		if i != first {
			s.properties = mergeProperties(was, s.properties, one.properties)
		}
	}
	return nil
}

// base finds what all heads followed: at a replica that still holds it, or among the versions that a bucket keeps. Nil if it is
// not known any more.
func (c *clash) base(ctx context.Context) (*side, error) {
	for _, a := range c.common() {
		for _, m := range c.members {
			found, err := c.find(ctx, m.Name, a)
			if found != nil || err != nil {
				return found, err
			}
		}
	}
	return nil, nil //nolint:nilnil // there is none
}

// common are the ancestors that all heads share, the latest first: before all others the very versions that all of them followed, then
// those of equal content.
func (c *clash) common() []version.Ancestor {
	var versions, contents []version.Ancestor
	for _, a := range c.ranked[0].Version.Past {
		if a.Content.Size > c.limit() {
			continue
		}
		followed, had := true, true
		for _, h := range c.ranked[1:] {
			followed = followed && slices.ContainsFunc(h.Version.Past, func(p version.Ancestor) bool { return p.ID == a.ID })
			had = had && hasAncestor(h.Version.Past, a)
		}
		switch {
		case followed:
			versions = append(versions, a)
		case had:
			contents = append(contents, a)
		}
	}
	return append(versions, contents...)
}

func hasAncestor(past []version.Ancestor, a version.Ancestor) bool {
	return slices.ContainsFunc(past, func(p version.Ancestor) bool {
		return p.ID == a.ID || p.Content.Compare(a.Content) == version.Equal
	})
}

// maxOld bounds how many old versions of one bucket are read in search of a base.
const maxOld = 8

// find looks for an ancestor at one replica. Trouble with a replica is no reason not to look at the next one.
func (c *clash) find(ctx context.Context, replica string, a version.Ancestor) (*side, error) {
	try := func(opts *driver.ReadOptions) (*side, error) {
		body, attrs, err := c.whole(ctx, replica, c.key, opts, c.limit())
		if err != nil || contentOfBytes(body).Compare(a.Content) != version.Equal {
			return nil, ctx.Err() //nolint:wrapcheck // of this very call
		}
		return &side{id: a.ID, replica: replica, body: body, properties: UserProperties(attrs.Properties)}, nil
	}
	if r := c.row.Replicas[replica]; r.Print.Present && plan.Effective(r) == a.ID {
		if found, err := try(&driver.ReadOptions{IfMatch: r.Print.Tag}); found != nil || err != nil {
			return found, err
		}
	}
	versions, ok := c.sites[replica].(driver.Versioner)
	if !ok || !c.sites[replica].Capabilities().Versioned {
		return nil, nil //nolint:nilnil // it keeps none
	}
	all, err := versions.Versions(ctx, c.key)
	if err != nil {
		return nil, ctx.Err() //nolint:wrapcheck // of this very call
	}
	tried := 0
	for i := range all {
		if old := &all[i]; !old.DeleteMarker && contentOf(old).Compare(a.Content) != version.Different && tried < maxOld {
			tried++
			if found, err := try(&driver.ReadOptions{VersionID: old.VersionID}); found != nil || err != nil {
				return found, err
			}
		}
	}
	return nil, nil //nolint:nilnil // it is not there
}

// contentOfBytes is all that can be known of a content.
func contentOfBytes(b []byte) version.Content {
	weak, strong := md5.Sum(b), sha256.Sum256(b) //nolint:gosec // see the import
	return version.Content{Size: int64(len(b)), MD5: hex.EncodeToString(weak[:]), SHA256: hex.EncodeToString(strong[:])}
}

// write brings a content that no head holds: 4a and 4b for all heads, then 5a, 5c and 5e at one replica, where the record is
// closed.
func (c *clash) write(ctx context.Context, content []byte, p driver.Properties) (out Outcome, again bool, err error) {
	at := c.writableAt(c.place())
	now := c.cfg.Clock.Now()
	if until, busy := liveIntent(c.row, at, now); busy {
		if err := c.cfg.Store.MarkDirty(ctx, c.cfg.Group, []string{c.key}, until, "another worker is writing replica "+at); err != nil {
			return Pending, false, fmt.Errorf("mark key dirty: %w", err)
		}
		return Pending, false, nil
	}
	losers, err := c.preserveAll(ctx, "", c.puts("")) // 4a, 4b
	if err != nil {
		return Pending, false, c.changed(err)
	}
	row, id := plan.Merge(c.row, c.heads, contentOfBytes(content), MetaHash(p), now)
	c.rec.State, c.rec.Policy, c.rec.Reason = state.ConflictMerging, c.verdict.Policy, c.verdict.Reason
	c.rec.Winner, c.rec.WinnerAt, c.rec.Losers = *plan.Lookup(&row, id), at, losers
	lease := now.Add(c.cfg.Lease)
	row, orders := plan.Intend(row, id, []string{at}, c.cfg.Nonce, lease, c.cfg.Owner, c.cfg.Mutant) // 5a
	o := &order{Order: orders[0]}
	c.cfg.Trace(Point{Line: "5a", Key: c.key, Replica: at, Version: plan.Lookup(&row, id), Nonce: o.Nonce})
	record := []state.Conflict{c.rec}
	if row.Pending != c.rec.ID {
		record = append(c.supersede(ctx, &row, c.rec.ID), c.rec)
	}
	if row.Rev, err = c.cfg.Store.Commit(ctx, row, state.Effects{Lease: &lease, Conflicts: record}); err != nil {
		return Pending, errkind.Is(err, errkind.Conflict), fmt.Errorf("store merge: %w", err)
	}
	c.put(ctx, o, plan.Lookup(&row, id), content, p, lease)
	if o.result.Err != nil {
		return Pending, false, c.unmerged(ctx, row, o)
	}
	c.row = row
	row = plan.Clone(row)
	plan.Written(&row, o.Order, id, landed(o.result.Attrs), c.cfg.Mutant) // 5e
	plan.Prune(&row)
	c.cfg.Trace(Point{Line: "5e", Key: c.key, Replica: at, Version: plan.Lookup(&row, id), Nonce: o.Nonce})
	out, err = c.close(ctx, row)
	return out, errkind.Is(err, errkind.Conflict), err
}

// place is the replica of the head that the fallback prefers.
func (c *clash) place() string {
	for _, h := range c.ranked {
		if h.Version.ID == c.verdict.Winner {
			return h.Replica
		}
	}
	return c.ranked[0].Replica
}

// put is line 5c.
func (c *clash) put(ctx context.Context, o *order, v *version.Version, content []byte, p driver.Properties, lease time.Time) {
	within, cancel := c.cfg.Clock.WithDeadline(ctx, lease.Add(-c.cfg.Margin))
	defer cancel()
	d := transfer.Dest{
		Bucket: c.sites[o.Replica], Key: c.key,
		Put: driver.PutOptions{Properties: withMeta(p, MetaNonce, o.Nonce), If: c.condition(o, plan.UnconditionalPut)},
	}
	if o.Expect.VersionID != "" {
		d.Put.Metadata[MetaOver] = o.Expect.VersionID
	}
	if d.Put.If == (driver.Precondition{}) {
		d.Finish = func(ctx context.Context) error { return c.lookBefore(ctx, c.key, o) }
	}
	c.cfg.Trace(Point{Line: "5c", Key: c.key, Replica: o.Replica, Version: v, Nonce: o.Nonce})
	_, results, err := c.cfg.Copier.Fan(within, bytes.NewReader(content), int64(len(content)), []transfer.Dest{d})
	o.result = results[0]
	if err != nil && o.result.Err == nil {
		o.result.Err = err
	}
	c.cfg.Trace(Point{Line: "5c-answered", Key: c.key, Replica: o.Replica, Version: v, Nonce: o.Nonce})
}

// unmerged follows a merge that was not acknowledged. If it surely did not land, its intent goes; if nobody knows, a look tells,
// after its lease if it is not there.
func (c *clash) unmerged(ctx context.Context, row state.Row, o *order) error {
	err := fmt.Errorf("write merge at %s: %w", o.Replica, o.result.Err)
	if o.unknownEnd() {
		return errkind.New(errkind.Unavailable, "%w", err)
	}
	if k := errkind.Of(err); k == errkind.PreconditionFailed || k == errkind.NotFound { // or it landed, and somebody below sent it twice
		return c.changed(err)
	}
	row = plan.Clone(row)
	plan.Withdraw(&row, o.Nonce)
	plan.Prune(&row)
	if _, serr := c.cfg.Store.Commit(ctx, row, state.Effects{}); serr != nil && !errkind.Is(serr, errkind.Conflict) {
		return fmt.Errorf("store failed merge: %w", serr)
	}
	return c.changed(err)
}
