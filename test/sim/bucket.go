package main

import (
	"context"
	"crypto/md5" //nolint:gosec // as an S3 server computes its ETags
	"encoding/hex"
	"errors"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
	"github.com/bucketmesh/bucketmesh/pkg/reconcile"
)

// theKey is the object that users write. Other keys are conflict copies.
const theKey = "k"

// object is what a modelled bucket holds under theKey, and the truth about it that no synchronizer can see.
type object struct {
	present bool
	content int // the bytes: number of a user's content
	tag     string
	version string
	nonce   string
	mtime   time.Time
	op      int    // the user operation that made the content
	past    uint64 // user operations that this state follows, as a bit set
	claim   uint64 // past, and what a resolution or a join that was proven by a look added to it
	chain   int    // states between two writes of the engine have the same chain
	serial  int
}

// bucket is a modelled replica: linearizable, with native conditions, and a truth beside each state.
type bucket struct {
	w      *world
	name   string
	skew   time.Duration // of its clock
	etags  bool          // tags follow the content (S3) instead of being unique
	multi  bool          // versioned: version ids are told
	cur    object
	copies map[string]copied
	serial int
}

type copied struct {
	content int
	mark    string
}

var errFault = errors.New("injected")

// ask is the scheduling point before every request. It fails if the request would outlive its deadline or if a fault
// hits it on the way.
func (b *bucket) ask(ctx context.Context) error {
	b.w.await()
	if at, ok := ctx.Value(deadlineKey{}).(time.Time); ok && !b.w.now.Before(at) {
		return errkind.New(errkind.Unavailable, "deadline: %w", context.DeadlineExceeded)
	}
	if b.w.fault(b.w.p.loseRequest) {
		return errkind.New(errkind.Unavailable, "request lost: %w", errFault)
	}
	return nil
}

// answer can lose the response of a request that was carried out.
func (b *bucket) answer() error {
	if b.w.fault(b.w.p.loseAnswer) {
		return errkind.New(errkind.Unavailable, "answer lost: %w", errFault)
	}
	return nil
}

func (b *bucket) Capabilities() driver.Capabilities {
	return driver.Capabilities{
		Level: driver.C3, MaxPut: 1 << 30, MaxKey: 1024, PutMatch: driver.GuardNative, PutNotExist: driver.GuardNative,
		CompleteGuard: driver.GuardNative, DeleteGuard: driver.GuardNative, ReadMatch: driver.GuardNative,
	}
}

func (b *bucket) attrs(o object) *driver.Attrs {
	a := &driver.Attrs{Key: theKey, Size: int64(len(encode(o.content))), ETag: o.tag, Tag: o.tag, ModTime: o.mtime, MD5: digest(o.content)}
	if b.multi {
		a.VersionID = o.version
	}
	if b.w.p.opaque {
		a.MD5 = ""
	}
	if o.nonce != "" {
		a.Metadata = map[string]string{reconcile.MetaNonce: o.nonce}
	}
	return a
}

func (b *bucket) Stat(ctx context.Context, key, _ string) (*driver.Attrs, error) {
	if err := b.ask(ctx); err != nil {
		return nil, err
	}
	if key != theKey {
		c, ok := b.copies[key]
		if !ok {
			return nil, errkind.New(errkind.NotFound, "no such key")
		}
		return &driver.Attrs{
			Key: key, Size: int64(len(encode(c.content))), Tag: key, MD5: digest(c.content),
			Properties: driver.Properties{Metadata: map[string]string{reconcile.MetaPreserves: c.mark}},
		}, nil
	}
	b.w.looked(b.name, b.cur)
	if !b.cur.present {
		return nil, errkind.New(errkind.NotFound, "no such key")
	}
	return b.attrs(b.cur), b.answer()
}

func (b *bucket) Open(ctx context.Context, key string, opts *driver.ReadOptions) (io.ReadCloser, *driver.Attrs, error) {
	if err := b.ask(ctx); err != nil {
		return nil, nil, err
	}
	b.w.looked(b.name, b.cur)
	switch {
	case key != theKey || !b.cur.present:
		return nil, nil, errkind.New(errkind.NotFound, "no such key")
	case opts != nil && opts.IfMatch != "" && opts.IfMatch != b.cur.tag:
		return nil, nil, errkind.New(errkind.PreconditionFailed, "another tag")
	}
	if err := b.answer(); err != nil {
		return nil, nil, err
	}
	return io.NopCloser(strings.NewReader(encode(b.cur.content))), b.attrs(b.cur), nil
}

func (b *bucket) holds(p driver.Precondition) bool {
	switch {
	case p.NotExist:
		return !b.cur.present
	case p.Match != "":
		return b.cur.present && b.cur.tag == p.Match
	}
	return true
}

func (b *bucket) Put(ctx context.Context, key string, body io.ReadSeeker, opts *driver.PutOptions) (*driver.Attrs, error) {
	if err := b.ask(ctx); err != nil {
		return nil, err
	}
	raw, err := io.ReadAll(body)
	if err != nil {
		return nil, err
	}
	content := decode(raw)
	if key != theKey {
		if _, ok := b.copies[key]; ok {
			return nil, errkind.New(errkind.PreconditionFailed, "exists")
		}
		b.copies[key] = copied{content: content, mark: opts.Metadata[reconcile.MetaPreserves]}
		b.w.preserved |= 1 << content
		return &driver.Attrs{Key: key, Tag: key}, b.answer()
	}
	if !b.holds(opts.If) {
		return nil, errkind.New(errkind.PreconditionFailed, "condition does not hold")
	}
	v := b.w.writing(b.name)
	b.w.checkOverwrite(b, v, content, true)
	b.become(object{present: true, content: content, nonce: opts.Metadata[reconcile.MetaNonce], op: b.w.opOf(content), past: b.w.pastOf(v), claim: b.w.pastOf(v), chain: b.serial})
	b.w.engineWrote(b)
	return b.attrs(b.cur), b.answer()
}

func (b *bucket) Delete(ctx context.Context, _ string, opts *driver.DeleteOptions) (*driver.Attrs, error) {
	if err := b.ask(ctx); err != nil {
		return nil, err
	}
	if !b.holds(opts.If) {
		return nil, errkind.New(errkind.PreconditionFailed, "condition does not hold")
	}
	v := b.w.writing(b.name)
	b.w.checkOverwrite(b, v, 0, false)
	b.become(object{past: b.w.pastOf(v), claim: b.w.pastOf(v), chain: b.serial})
	b.w.engineWrote(b)
	return &driver.Attrs{}, b.answer()
}

// become makes o the current state and tells of it.
func (b *bucket) become(o object) {
	b.serial++
	o.mtime, o.serial = b.w.now.Add(b.skew), b.serial
	if o.present {
		o.version = "v" + strconv.Itoa(b.serial)
		o.tag = "t" + strconv.Itoa(b.serial)
		if b.etags {
			o.tag = "c" + strconv.Itoa(o.content)
		}
	}
	b.cur = o
	b.w.notify(b, o)
}

func (b *bucket) List(context.Context, *driver.ListOptions) (*driver.Page, error) {
	return nil, errkind.New(errkind.Unsupported, "the engine never lists")
}

func (b *bucket) Close() error { return nil }

// encode gives contents bytes of one length, so that no comparison ends early.
func encode(content int) string { return "content " + strconv.Itoa(100+content) }

func digest(content int) string {
	sum := md5.Sum([]byte(encode(content))) //nolint:gosec // as an S3 server computes its ETags
	return hex.EncodeToString(sum[:])
}

func decode(raw []byte) int {
	n, err := strconv.Atoi(strings.TrimPrefix(string(raw), "content "))
	if err != nil {
		panic("a content that no user wrote: " + string(raw))
	}
	return n - 100
}

// deadlineKey carries a deadline of the modelled clock in a context.
type deadlineKey struct{}
