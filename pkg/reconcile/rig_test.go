package reconcile_test

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/config"
	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/event"
	"github.com/bucketmesh/bucketmesh/pkg/guard"
	"github.com/bucketmesh/bucketmesh/pkg/object"
	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
	"github.com/bucketmesh/bucketmesh/pkg/object/mem"
	"github.com/bucketmesh/bucketmesh/pkg/policy"
	"github.com/bucketmesh/bucketmesh/pkg/reconcile"
	"github.com/bucketmesh/bucketmesh/pkg/reconcile/plan"
	"github.com/bucketmesh/bucketmesh/pkg/state"
	statemem "github.com/bucketmesh/bucketmesh/pkg/state/mem"
	"github.com/bucketmesh/bucketmesh/pkg/transfer"
)

const (
	group = "g"
	key   = "dir/object.txt"
)

// clock stands still until a test moves it; deadlines that it passes end their contexts.
type clock struct {
	mu    sync.Mutex
	at    time.Time
	alarm []alarm
}

type alarm struct {
	at     time.Time
	cancel context.CancelCauseFunc
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) WithDeadline(ctx context.Context, at time.Time) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	c.mu.Lock()
	c.alarm = append(c.alarm, alarm{at, cancel})
	c.mu.Unlock()
	c.advance(0)
	return ctx, func() { cancel(nil) }
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
	c.alarm = slices.DeleteFunc(c.alarm, func(a alarm) bool {
		if c.at.Before(a.at) {
			return false
		}
		a.cancel(context.DeadlineExceeded)
		return true
	})
}

// site is a replica: a modelled bucket as users see it, and what the engine's requests to it meet.
type site struct {
	*mem.Bucket
	name          string
	skew          time.Duration // of the bucket's clock
	readOnly      bool
	requests      object.Counter
	before, after object.Hook
}

// kinds of buckets that every scenario has to hold on.
func kinds() map[string]mem.Config {
	return map[string]mem.Config{
		"s3":              {},
		"s3-versioned":    {Versioned: true},
		"gcs":             {UniqueTags: true, Versioned: true},
		"minio-versioned": {Versioned: true, Lies: mem.Lies{IgnoreDelete: true, ReuseMarker: true}},
	}
}

// everywhere runs a scenario on every kind of bucket.
func everywhere(t *testing.T, names string, scenario func(t *testing.T, r *rig)) {
	t.Helper()
	for kind, cfg := range kinds() {
		t.Run(kind, func(t *testing.T) { scenario(t, newRig(t, options{names: names, bucket: cfg})) })
	}
}

// options of a rig.
type options struct {
	names     string // one letter each; upper case: users may not write there
	bucket    mem.Config
	rule      config.ConflictRule
	noDeletes bool
	mutant    plan.Mutant
	part      int64 // objects above this size go in parts

	brake       *guard.Limits
	quarantine  time.Duration
	keepExpired bool
}

// rig is a group of modelled buckets with an engine, a clock that stands still, and an outbox that nobody publishes.
type rig struct {
	t      *testing.T
	o      options
	clock  *clock
	store  *tapped
	sites  map[string]*site
	order  []string
	engine *reconcile.Engine
	trace  func(reconcile.Point)
	events []announced          // of the outbox
	made   map[string]announced // by id, committed or not
	nonces int
	judge  reconcile.Judge
}

type announced struct {
	typ  string
	data any
}

// tapped is a store that calls back after each commit.
type tapped struct {
	*statemem.Store
	committed func()
	events    func([]state.OutboxEvent)
}

func (s *tapped) Commit(ctx context.Context, row state.Row, fx state.Effects) (int64, error) {
	rev, err := s.Store.Commit(ctx, row, fx)
	if err == nil {
		s.events(fx.Events)
	}
	if err == nil && s.committed != nil {
		s.committed()
	}
	return rev, err
}

func (s *tapped) Weigh(ctx context.Context, group, key string, f func(w *state.Weighing) error) error {
	var made []state.OutboxEvent
	err := s.Store.Weigh(ctx, group, key, func(w *state.Weighing) error {
		err := f(w)
		made = w.Events
		return err
	})
	if err == nil {
		s.events(made)
	}
	return err
}

func newRig(t *testing.T, o options) *rig {
	t.Helper()
	r := &rig{t: t, o: o, clock: &clock{at: time.Unix(1_800_000_000, 0).UTC()}, sites: map[string]*site{}}
	r.made = map[string]announced{}
	r.store = &tapped{Store: statemem.New(r.clock.Now), events: func(all []state.OutboxEvent) {
		for _, e := range all {
			r.events = append(r.events, r.made[e.ID])
		}
	}}
	for letter := range strings.SplitSeq(o.names, "") {
		s := &site{name: strings.ToLower(letter), readOnly: letter != strings.ToLower(letter)}
		cfg := o.bucket
		cfg.Now = func() time.Time { return r.clock.Now().Add(s.skew) }
		s.Bucket = mem.New(cfg)
		r.sites[s.name] = s
		r.order = append(r.order, s.name)
	}
	r.engine = r.newEngine(r.order...)
	return r
}

func inOrder(fns ...func()) {
	for _, f := range fns {
		f()
	}
}

// newEngine is another process over the same state and the same buckets.
func (r *rig) newEngine(names ...string) *reconcile.Engine {
	r.t.Helper()
	copier, err := transfer.New(transfer.Config{PartSize: r.o.part, Run: inOrder, Attempts: 1})
	if err != nil {
		r.t.Fatalf("make copier: %v", err)
	}
	cfg := reconcile.Config{
		Group: group, Store: r.store, Copier: copier, Deletes: !r.o.noDeletes, Clock: r.clock, Run: inOrder, Mutant: r.o.mutant,
		Brake: r.o.brake, Quarantine: r.o.quarantine, KeepExpired: r.o.keepExpired,
		Rule: func(string) config.ConflictRule { return r.o.rule }, Judge: r.judge,
		Nonce: func() string { r.nonces++; return "nonce" + strconv.Itoa(r.nonces) },
		Trace: func(p reconcile.Point) {
			if r.trace != nil {
				r.trace(p)
			}
		},
		Announce: func(_ context.Context, typ string, data any) (state.OutboxEvent, error) {
			id := fmt.Sprint(typ, len(r.made))
			r.made[id] = announced{typ, data}
			return state.OutboxEvent{ID: id, JSON: []byte("{}")}, nil
		},
	}
	for _, name := range names {
		s := r.sites[name]
		faults := object.Faults{
			Before: func(op object.Op, k string) error { return call(s.before, op, k) },
			After:  func(op object.Op, k string) error { return call(s.after, op, k) },
		}
		cfg.Sites = append(cfg.Sites, reconcile.Site{
			Member: plan.Member{Name: name, Writable: !s.readOnly},
			Bucket: object.Checked(object.Count(object.Fault(s.Bucket, faults), &s.requests)),
		})
	}
	e, err := reconcile.New(cfg)
	if err != nil {
		r.t.Fatalf("make engine: %v", err)
	}
	return e
}

func call(h object.Hook, op object.Op, k string) error {
	if h == nil {
		return nil
	}
	return h(op, k)
}

// once makes a hook for the first call of op that meets the key.
func once(op object.Op, do func() error) object.Hook {
	done := false
	return func(o object.Op, k string) error {
		if done || o != op || k != key {
			return nil
		}
		done = true
		return do()
	}
}

// always makes a hook for all calls of op that meet the key.
func always(err error, ops ...object.Op) object.Hook {
	return func(o object.Op, k string) error {
		if k == key && slices.Contains(ops, o) {
			return err
		}
		return nil
	}
}

func unavailable() error { return errkind.New(errkind.Unavailable, "injected") }

// crash ends the process in the middle of what it does.
type crash struct{}

func crashed() error { panic(crash{}) }

// untilCrash runs do, which is expected to crash.
func (r *rig) untilCrash(do func()) {
	r.t.Helper()
	defer func() {
		r.t.Helper()
		switch c := recover(); c.(type) {
		case crash:
			r.engine = r.newEngine(r.order...) // the process starts again
		case nil:
			r.t.Fatal("the process was expected to crash, and did not")
		default:
			panic(c)
		}
	}()
	do()
}

// A user's operations, which go past the engine.

func (r *rig) put(at, content string, props ...driver.Properties) *driver.Attrs {
	r.t.Helper()
	return r.putKey(at, key, content, props...)
}

func (r *rig) putKey(at, name, content string, props ...driver.Properties) *driver.Attrs {
	r.t.Helper()
	r.clock.advance(time.Second)
	o := &driver.PutOptions{Size: int64(len(content))}
	for _, p := range props {
		o.Properties = p
	}
	a, err := r.sites[at].Put(r.t.Context(), name, strings.NewReader(content), o)
	if err != nil {
		r.t.Fatalf("user puts %q at %s: %v", content, at, err)
	}
	return a
}

func (r *rig) delete(at string) {
	r.t.Helper()
	r.clock.advance(time.Second)
	if _, err := r.sites[at].Delete(r.t.Context(), key, nil); err != nil {
		r.t.Fatalf("user deletes at %s: %v", at, err)
	}
}

// written is the notification of a write.
func written(at string, a *driver.Attrs) *reconcile.Hint {
	return &reconcile.Hint{
		Replica: at, Kind: reconcile.Written, Tag: a.Tag, VersionID: a.VersionID, RequestID: a.RequestID, Time: a.ModTime, Seq: "seq-" + a.RequestID,
	}
}

func (r *rig) deleted(at string) *reconcile.Hint {
	return &reconcile.Hint{Replica: at, Kind: reconcile.Deleted, Time: r.clock.Now()}
}

// sync handles one notification, or looks at all replicas.
func (r *rig) sync(h *reconcile.Hint) reconcile.Outcome {
	r.t.Helper()
	out, err := r.engine.Reconcile(r.t.Context(), key, h, 0)
	if err != nil {
		r.t.Fatalf("reconcile: %v", err)
	}
	return out
}

func (r *rig) wantSync(h *reconcile.Hint, want reconcile.Outcome) {
	r.t.Helper()
	if got := r.sync(h); got != want {
		r.t.Fatalf("reconcile ended as %v, want %v", got, want)
	}
}

func (r *rig) resolve() {
	r.t.Helper()
	if _, err := r.engine.Resolve(r.t.Context(), key); err != nil {
		r.t.Fatalf("resolve: %v", err)
	}
}

// rest does what events and the dirty set ask for, for any key, until nothing is left to do. No scan: a wake-up that was
// lost shows.
func (r *rig) rest() {
	r.t.Helper()
	seen := 0
	for range 200 {
		if seen < len(r.events) {
			e := r.events[seen]
			seen++
			r.handle(e)
			continue
		}
		due, ok, err := r.store.NextDue(r.t.Context(), group)
		if err != nil {
			r.t.Fatal(err)
		}
		if !ok {
			return
		}
		r.clock.advance(max(due.Sub(r.clock.Now()), 0))
		list, err := r.store.Due(r.t.Context(), group, r.clock.Now(), 1)
		if err != nil || len(list) != 1 {
			r.t.Fatalf("due keys: %v, %v", list, err)
		}
		if _, err := r.engine.Reconcile(r.t.Context(), list[0].Key, nil, list[0].Attempts); err != nil {
			r.t.Fatalf("reconcile due key: %v", err)
		}
	}
	r.t.Fatal("the key does not come to rest")
}

func (r *rig) handle(e announced) {
	r.t.Helper()
	c, ok := e.data.(event.Conflict)
	var err error
	switch {
	case ok && e.typ == event.ConflictDetected:
		_, err = r.engine.Resolve(r.t.Context(), c.Key)
	case ok && e.typ == event.ConflictResolved:
		_, err = r.engine.Reconcile(r.t.Context(), c.Key, nil, 0)
	}
	if err != nil {
		r.t.Fatalf("handle %s: %v", e.typ, err)
	}
}

// everyone brings a content everywhere.
func (r *rig) everyone(content string) {
	r.t.Helper()
	r.sync(written(r.order[0], r.put(r.order[0], content)))
	r.rest()
	r.wantAll(content)
}

// What the buckets hold.

const absent = "(absent)"

func (r *rig) get(at, name string) string {
	r.t.Helper()
	body, _, err := r.sites[at].Open(r.t.Context(), name, nil)
	if errkind.Is(err, errkind.NotFound) {
		return absent
	}
	if err != nil {
		r.t.Fatalf("open %s at %s: %v", name, at, err)
	}
	defer func() { _ = body.Close() }()
	b, err := io.ReadAll(body)
	if err != nil {
		r.t.Fatalf("read %s at %s: %v", name, at, err)
	}
	return string(b)
}

func (r *rig) stat(at string) *driver.Attrs {
	r.t.Helper()
	a, err := r.sites[at].Stat(r.t.Context(), key, "")
	if err != nil {
		r.t.Fatalf("stat at %s: %v", at, err)
	}
	return a
}

func (r *rig) want(at, content string) {
	r.t.Helper()
	if got := r.get(at, key); got != content {
		r.t.Errorf("%s holds %q, want %q", at, got, content)
	}
}

func (r *rig) wantAll(content string) {
	r.t.Helper()
	for _, name := range r.order {
		r.want(name, content)
	}
}

// copies are the contents of all conflict copies, at whatever replica.
func (r *rig) copies() []string {
	r.t.Helper()
	var all []string
	for _, name := range r.order {
		page, err := r.sites[name].List(r.t.Context(), &driver.ListOptions{Prefix: policy.CopyPrefix})
		if err != nil {
			r.t.Fatal(err)
		}
		for _, o := range page.Objects {
			if c := r.get(name, o.Key); !slices.Contains(all, c) {
				all = append(all, c)
			}
		}
	}
	slices.Sort(all)
	return all
}

func (r *rig) wantCopies(contents ...string) {
	r.t.Helper()
	if got := r.copies(); !slices.Equal(got, contents) {
		r.t.Errorf("conflict copies %q, want %q", got, contents)
	}
}

// somewhere reports that a content is current at some replica or kept as a copy.
func (r *rig) somewhere(content string) bool {
	r.t.Helper()
	for _, name := range r.order {
		if r.get(name, key) == content {
			return true
		}
	}
	return slices.Contains(r.copies(), content)
}

func (r *rig) row() state.Row {
	r.t.Helper()
	row, err := r.store.Get(r.t.Context(), group, key)
	if err != nil {
		r.t.Fatal(err)
	}
	return row
}

// dirty is the key's entry in the dirty set.
func (r *rig) dirty() (state.Dirty, bool) {
	r.t.Helper()
	all, err := r.store.Due(r.t.Context(), group, r.clock.Now().Add(1000*time.Hour), 100)
	if err != nil {
		r.t.Fatal(err)
	}
	i := slices.IndexFunc(all, func(d state.Dirty) bool { return d.Key == key })
	if i < 0 {
		return state.Dirty{}, false
	}
	return all[i], true
}

func (r *rig) wantDirty(want bool) state.Dirty {
	r.t.Helper()
	d, ok := r.dirty()
	if ok != want {
		r.t.Fatalf("the key's entry in the dirty set is %+v (%v), want one: %v", d, ok, want)
	}
	return d
}

func (r *rig) count(typ string) (n int) {
	for _, e := range r.events {
		if e.typ == typ {
			n++
		}
	}
	return n
}

// spent is what a step costs in requests, at one replica or at all of them.
func (r *rig) spent(step func()) map[string]object.Snapshot {
	before := map[string]object.Snapshot{}
	for n, s := range r.sites {
		before[n] = s.requests.Snapshot()
	}
	step()
	cost := map[string]object.Snapshot{}
	for n, s := range r.sites {
		d := s.requests.Snapshot().Sub(before[n])
		cost[n], cost["all"] = d, cost["all"].Add(d)
	}
	return cost
}

// everyoneBut brings a content everywhere but to a replica that takes none.
func (r *rig) everyoneBut(but, content string) {
	r.t.Helper()
	r.sync(written(r.order[0], r.put(r.order[0], content)))
	for _, name := range r.order {
		if name == but {
			r.want(name, absent)
		} else {
			r.want(name, content)
		}
	}
}
