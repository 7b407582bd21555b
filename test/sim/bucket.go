package main

import (
	"context"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
	"github.com/bucketmesh/bucketmesh/pkg/object/guard"
	"github.com/bucketmesh/bucketmesh/pkg/reconcile"
)

// theKey is the object that users write. Other keys are conflict copies.
const theKey = "k"

// object is one state of theKey at a bucket, and the truth about it that no synchronizer can see.
type object struct {
	present bool
	value   int    // what users made of it: bytes and metadata
	tag     string // what conditions name
	version string // "" where the bucket has no version ids; markers have one, too
	metagen int
	parts   bool // made of parts: nobody vouches for a digest
	nonce   string
	over    string
	mtime   time.Time
	request string
	op      int    // the user operation that made the value
	past    uint64 // user operations that this state follows, as a bit set
	claim   uint64 // past, and what a resolution or a join that was proven by a look added to it
	chain   int    // states between two writes of the engine have the same chain
	serial  int
	again   bool // it may have the bytes, and so the tag, of an earlier state
	copied  bool // by the server: the notification says so
	told    bool // its notification was delivered, or will be
}

// bucket is a modelled replica: linearizable, with the conditions of its cloud, and a truth beside each state.
type bucket struct {
	w       *world
	name    string
	cloud   *cloud
	users   bool          // may write here (mode ReadWrite)
	skew    time.Duration // of its clock
	cur     *object
	hist    []*object // oldest first, the current state included; of a bucket that remembers
	copies  map[string]copied
	uploads map[string]*upload
	serial  int
	trouble trouble

	unlist    bool // its versions could not be listed at some time
	unaborted bool // uploads could not be aborted at some time
}

type copied struct {
	value int // 0: not what any user wrote
	mark  string
}

var errFault = errors.New("injected")

func newBucket(w *world, name string, c *cloud, users bool) *bucket {
	return &bucket{w: w, name: name, cloud: c, users: users, cur: &object{}, copies: map[string]copied{}, uploads: map[string]*upload{}}
}

// Capabilities implements driver.Bucket.
func (b *bucket) Capabilities() driver.Capabilities { return b.cloud.capabilities() }

func (b *bucket) attrs(o *object) *driver.Attrs {
	v := b.w.values[o.value]
	a := &driver.Attrs{Key: theKey, Size: int64(len(b.w.encode(v.bytes))), ETag: o.tag, Tag: o.tag, ModTime: o.mtime, RequestID: o.request}
	if !b.w.p.opaque && !o.parts {
		a.MD5 = b.w.digest(v.bytes)
	}
	if b.versioned() {
		a.VersionID = o.version
	}
	if b.cloud.metagen {
		a.Metageneration = strconv.Itoa(o.metagen)
	}
	if v.meta != 0 || o.nonce != "" || o.over != "" {
		a.Metadata = make(map[string]string, 3)
		if v.meta != 0 {
			a.Metadata[metaKey] = strconv.Itoa(v.meta)
		}
		if o.nonce != "" {
			a.Metadata[reconcile.MetaNonce] = o.nonce
		}
		if o.over != "" {
			a.Metadata[reconcile.MetaOver] = o.over
		}
	}
	return a
}

// versioned says that states have version ids.
func (b *bucket) versioned() bool { return b.cloud.versions || b.cloud.generations }

func notFound() error { return errkind.New(errkind.NotFound, "no such key") }

// Stat implements driver.Bucket.
func (b *bucket) Stat(ctx context.Context, key, version string) (*driver.Attrs, error) {
	if err := b.ask(ctx, opStat); err != nil {
		return nil, err
	}
	if key != theKey {
		c, ok := b.copies[key]
		if !ok {
			return nil, notFound()
		}
		v := b.w.values[c.value]
		return &driver.Attrs{
			Key: key, Size: int64(len(b.w.encode(v.bytes))), Tag: key, MD5: b.w.digest(v.bytes),
			Properties: driver.Properties{Metadata: map[string]string{reconcile.MetaPreserves: c.mark}},
		}, nil
	}
	if version != "" {
		o := b.find(version)
		if o == nil || !o.present {
			return nil, notFound()
		}
		return b.attrs(o), b.answer()
	}
	if b.blinks() {
		return nil, notFound()
	}
	b.w.looked(b, true)
	if !b.cur.present {
		return nil, notFound()
	}
	return b.attrs(b.cur), b.answer()
}

// find is a remembered version.
func (b *bucket) find(version string) *object {
	for _, o := range b.hist {
		if o.version == version {
			return o
		}
	}
	return nil
}

// Open implements driver.Bucket.
func (b *bucket) Open(ctx context.Context, key string, opts *driver.ReadOptions) (io.ReadCloser, *driver.Attrs, error) {
	if err := b.ask(ctx, opOpen); err != nil {
		return nil, nil, err
	}
	o := b.cur
	if opts != nil && opts.VersionID != "" {
		if o = b.find(opts.VersionID); o == nil {
			return nil, nil, notFound()
		}
	} else {
		b.w.looked(b, false)
	}
	switch {
	case key != theKey || !o.present:
		return nil, nil, notFound()
	case opts != nil && opts.IfMatch != "" && opts.IfMatch != o.tag:
		return nil, nil, errkind.New(errkind.PreconditionFailed, "another tag")
	}
	if err := b.answer(); err != nil {
		return nil, nil, err
	}
	return io.NopCloser(strings.NewReader(b.w.encode(b.w.values[o.value].bytes))), b.attrs(o), nil
}

func (b *bucket) holds(p driver.Precondition) bool {
	switch {
	case p.NotExist:
		return !b.cur.present
	case p.Match != "":
		return b.cur.present && b.cur.tag == p.Match && (p.Metageneration == "" || p.Metageneration == strconv.Itoa(b.cur.metagen))
	}
	return true
}

// Put implements driver.Bucket.
func (b *bucket) Put(ctx context.Context, key string, body io.ReadSeeker, opts *driver.PutOptions) (*driver.Attrs, error) {
	raw, err := io.ReadAll(body)
	if err != nil {
		return nil, err
	}
	if key != theKey {
		if err := b.ask(ctx, opPut); err != nil {
			return nil, err
		}
		return b.preserve(key, raw, opts)
	}
	next := b.written(raw, opts)
	return b.guarded(ctx, opts.If, b.cloud.put, b.cloud.put, func(ctx context.Context, cond driver.Precondition) (*driver.Attrs, landing, error) {
		if err := b.ask(ctx, opPut); err != nil {
			return nil, landing{}, err
		}
		return b.land(next, cond)
	})
}

// written is the state that a write of the engine's makes.
func (b *bucket) written(raw []byte, opts *driver.PutOptions) object {
	return object{
		present: true, value: b.w.decode(b.name, raw, opts.Metadata), nonce: opts.Metadata[reconcile.MetaNonce], over: opts.Metadata[reconcile.MetaOver],
	}
}

// preserve is the write of a conflict copy.
func (b *bucket) preserve(key string, raw []byte, opts *driver.PutOptions) (*driver.Attrs, error) {
	if b.cloud.put == driver.GuardNone && opts.If.NotExist {
		return nil, errkind.New(errkind.Unsupported, "the bucket keeps no condition")
	}
	if _, taken := b.copies[key]; !taken && b.w.fault(b.w.p.squat) {
		b.w.logf("  something else is in the way at %s of %s", key, b.name)
		b.copies[key] = copied{mark: "x"}
		b.w.squatted = append(b.w.squatted, func() { delete(b.copies, key) })
	}
	if _, ok := b.copies[key]; ok {
		return nil, errkind.New(errkind.PreconditionFailed, "exists")
	}
	value := b.w.decode("", raw, opts.Metadata)
	b.copies[key] = copied{value: value, mark: opts.Metadata[reconcile.MetaPreserves]}
	b.w.preserved |= 1 << value
	b.w.logf("  %s keeps value %d as %s", b.name, value, key)
	return &driver.Attrs{Key: key, Tag: key}, b.answer()
}

// Delete implements driver.Bucket.
func (b *bucket) Delete(ctx context.Context, _ string, opts *driver.DeleteOptions) (*driver.Attrs, error) {
	return b.guarded(ctx, opts.If, b.cloud.delete, driver.GuardNone, func(ctx context.Context, cond driver.Precondition) (*driver.Attrs, landing, error) {
		if err := b.ask(ctx, opDelete); err != nil {
			return nil, landing{}, err
		}
		return b.land(object{}, cond)
	})
}

// landing is what a write put over what.
type landing struct {
	over  *object
	made  *object // nil: nothing
	value int
}

// request is one write at the provider.
type request func(ctx context.Context, cond driver.Precondition) (*driver.Attrs, landing, error)

// guarded keeps a condition as the drivers do: at the provider, or by looking what the new version covers.
func (b *bucket) guarded(ctx context.Context, cond driver.Precondition, match, notExist driver.Guard, do request) (*driver.Attrs, error) {
	how, err := driver.GuardOf(cond, match, notExist)
	if err != nil {
		return nil, err
	}
	if how == driver.GuardMarker && b.w.mutant == MarkerUnchecked {
		how, cond = driver.GuardNative, driver.Precondition{}
	}
	if how != driver.GuardMarker {
		a, _, err := do(ctx, cond)
		return a, err
	}
	var l landing
	raw := guard.Raw{
		Stat: b.head,
		Write: func(ctx context.Context) (a *driver.Attrs, err error) {
			a, l, err = do(ctx, driver.Precondition{})
			return a, err
		},
		Remove: func(ctx context.Context, version string) (*driver.Attrs, error) {
			if err := b.ask(ctx, opDelete); err != nil {
				return nil, err
			}
			b.drop(version)
			b.disown(l, b.w.pastOf(b.w.writing(b.name)))
			return &driver.Attrs{VersionID: version}, b.answer()
		},
		Versions: func(ctx context.Context) ([]driver.Attrs, error) { return b.Versions(ctx, theKey) },
	}
	v := b.w.writing(b.name)
	a, err := guard.Write(ctx, cond, raw)
	if err == nil {
		b.w.checkOverwrite(b, l.over, v, cond, l.value)
	}
	return a, err
}

// head is a look of the driver's own, that the engine learns nothing of.
func (b *bucket) head(ctx context.Context) (*driver.Attrs, error) {
	if err := b.ask(ctx, opStat); err != nil {
		return nil, err
	}
	if !b.cur.present {
		return nil, notFound()
	}
	return b.attrs(b.cur), b.answer()
}

// land makes a write of the engine's the current state, if the condition holds.
func (b *bucket) land(next object, cond driver.Precondition) (*driver.Attrs, landing, error) {
	if !b.holds(cond) && !(b.w.mutant == CompleteUnchecked && next.parts) {
		return nil, landing{}, errkind.New(errkind.PreconditionFailed, "condition does not hold")
	}
	over, v := b.cur, b.w.writing(b.name)
	if cond != (driver.Precondition{}) || !b.standsIn(next.present) {
		b.w.checkOverwrite(b, over, v, cond, next.value)
	}
	if !next.present && !over.present && b.cloud.sharedMark && len(b.hist) > 0 {
		return &driver.Attrs{VersionID: over.version, DeleteMarker: true}, landing{over: over}, b.answer()
	}
	next.past, next.chain = b.w.pastOf(v), b.serial
	if next.op = b.w.opOf(next.value); next.op >= 0 && b.w.ops[next.op].merged {
		b.w.truth[v] |= 1 << next.op
		next.past |= 1 << next.op
	}
	next.claim = next.past
	if cond == (driver.Precondition{}) && b.standsIn(next.present) {
		next.past |= over.past // who writes on top of it follows what it covers
	}
	b.become(next)
	b.w.engineWrote(b)
	l := landing{over, b.cur, next.value}
	if !next.present {
		a := &driver.Attrs{RequestID: b.cur.request}
		if b.cloud.versions && !b.cloud.generations {
			a.VersionID, a.DeleteMarker = b.cur.version, true
		}
		return a, l, b.answer()
	}
	return b.attrs(b.cur), l, b.answer()
}

// standsIn says that a write of this kind is checked after the fact.
func (b *bucket) standsIn(put bool) bool {
	how := b.cloud.delete
	if put {
		how = b.cloud.put
	}
	return how == driver.GuardMarker && b.w.mutant != MarkerUnchecked
}

// become makes o the current state and tells of it.
func (b *bucket) become(o object) {
	b.serial++
	edit := o.metagen > 0
	o.mtime, o.serial = b.w.now.Add(b.skew), b.serial
	n := strconv.Itoa(b.serial)
	if b.cloud.requestIDs {
		o.request = b.name + "r" + n
	}
	if o.present && !edit {
		o.metagen = 1
		switch {
		case !b.cloud.contentTags:
			o.tag = "t" + n
		case o.parts:
			o.tag = "c" + strconv.Itoa(b.w.values[o.value].bytes) + "-2"
		default:
			o.tag = "c" + strconv.Itoa(b.w.values[o.value].bytes)
		}
	}
	if !edit && (o.present || b.cloud.versions && !b.cloud.generations) {
		o.version = "v" + n
	}
	if edit {
		*b.cur = o // the same version
	} else {
		b.cur = &o
		if b.cloud.versions && (o.present || !b.cloud.generations) {
			b.hist = append(b.hist, b.cur)
		}
	}
	b.w.chooser.mixString(b.name)
	b.w.chooser.mix(uint64(o.value)<<20 | uint64(o.serial))
	b.w.chooser.mix(uint64(o.mtime.UnixNano()))
	b.w.notify(b, b.cur, edit)
}

// disown settles what a write that was taken back never was: users who wrote on top of it follow only what it covered.
func (b *bucket) disown(l landing, past uint64) {
	if l.made == nil {
		return
	}
	for _, o := range b.hist {
		if o.serial > l.made.serial && o.chain == l.made.chain {
			o.past &^= past &^ l.over.past
			if o.op >= 0 && o.op < len(b.w.ops) {
				b.w.ops[o.op].past &^= past &^ l.over.past
			}
		}
	}
}

// drop removes a version; what was below it is current again.
func (b *bucket) drop(version string) {
	i := slices.IndexFunc(b.hist, func(o *object) bool { return o.version == version })
	if i < 0 {
		return
	}
	gone := b.hist[i]
	b.hist = slices.Delete(b.hist, i, i+1)
	if gone != b.cur {
		return
	}
	b.cur = &object{}
	if i > 0 {
		b.cur = b.hist[i-1]
	}
	b.w.logf("  %s takes version %s back and holds %s", b.name, version, b.w.show(b.cur))
	b.w.chooser.mix(uint64(b.cur.serial))
	b.w.tell(b, reconcile.Hint{Replica: b.name, Kind: reconcile.Changed, Time: b.w.now.Add(b.skew)})
}

// Versions implements driver.Versioner.
func (b *bucket) Versions(ctx context.Context, _ string) ([]driver.Attrs, error) {
	if err := b.ask(ctx, opVersions); err != nil {
		return nil, err
	}
	var all []driver.Attrs
	for i, o := range slices.Backward(b.hist) {
		a := driver.Attrs{Key: theKey, VersionID: o.version, IsLatest: i == len(b.hist)-1, DeleteMarker: !o.present, ModTime: o.mtime}
		if o.present {
			a.Tag, a.ETag = o.tag, o.tag
		}
		all = append(all, a)
	}
	return all, b.answer()
}

// List implements driver.Bucket.
func (b *bucket) List(context.Context, *driver.ListOptions) (*driver.Page, error) {
	return nil, errkind.New(errkind.Unsupported, "the engine never lists")
}

// Close implements driver.Bucket.
func (b *bucket) Close() error { return nil }
