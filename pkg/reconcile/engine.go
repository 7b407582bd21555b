package reconcile

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/config"
	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
	"github.com/bucketmesh/bucketmesh/pkg/reconcile/plan"
	"github.com/bucketmesh/bucketmesh/pkg/state"
	"github.com/bucketmesh/bucketmesh/pkg/version"
)

// Outcome says how a call ended.
type Outcome int

// The outcomes.
const (
	Settled    Outcome = iota // nothing is left to do, as far as was looked
	Echo                      // the hint told nothing new; no bucket was asked
	Conflicted                // the conflict-resolver has the key now
	Pending                   // something could not be done; the key is dirty and will be looked at again
	Known                     // settled, and the hint told nothing that the row did not know; but it took a look to see that
)

// String is the outcome in one word.
func (o Outcome) String() string {
	return [...]string{"settled", "echo", "conflicted", "pending", "known"}[o]
}

// Engine runs the algorithm for the keys of one group.
type Engine struct {
	cfg     Config
	members []plan.Member
	sites   map[string]driver.Bucket
	locks   *keyLocks
}

// New checks a configuration and makes an Engine.
func New(cfg Config) (*Engine, error) {
	switch {
	case cfg.Group == "":
		return nil, errkind.New(errkind.Invalid, "make engine: no group name")
	case len(cfg.Sites) < 2:
		return nil, errkind.New(errkind.Invalid, "make engine for group %s: %d replicas, at least 2 are needed", cfg.Group, len(cfg.Sites))
	case !slices.ContainsFunc(cfg.Sites, func(s Site) bool { return s.Writable }):
		return nil, errkind.New(errkind.Invalid, "make engine for group %s: users may write nowhere, so there is nothing to synchronize", cfg.Group)
	case cfg.Store == nil || cfg.Copier == nil || cfg.Announce == nil || cfg.Rule == nil:
		return nil, errkind.New(errkind.Invalid, "make engine for group %s: store, copier, announce and rule are required", cfg.Group)
	}
	cfg = withDefaults(cfg)
	e := &Engine{cfg: cfg, sites: make(map[string]driver.Bucket, len(cfg.Sites)), locks: newKeyLocks()}
	for _, s := range cfg.Sites {
		if _, twice := e.sites[s.Name]; twice || s.Name == "" || s.Name == version.Synchronizer {
			return nil, errkind.New(errkind.Invalid, "make engine for group %s: replica name %q is empty, reserved or used twice", cfg.Group, s.Name)
		}
		e.members = append(e.members, s.Member)
		e.sites[s.Name] = s.Bucket
	}
	return e, nil
}

// Reconcile brings one key to the same version on all replicas, or as far as it can. hint is what a notification told;
// nil looks at every replica. attempts is how often the key was tried before (of its dirty entry).
func (e *Engine) Reconcile(ctx context.Context, key string, hint *Hint, attempts int) (Outcome, error) {
	if hint != nil && e.sites[hint.Replica] == nil {
		return Pending, errkind.New(errkind.Invalid, "reconcile key: the group %s has no replica %q", e.cfg.Group, hint.Replica)
	}
	unlock, err := e.locks.lock(ctx, key, e.cfg.LockWait)
	if err != nil {
		return Pending, err
	}
	defer unlock()
	w := &work{Engine: e, key: key, hint: hint, attempts: attempts, full: hint == nil}
	defer w.closeBody()
	for range e.cfg.Passes {
		out, done, err := w.pass(ctx)
		w.closeBody()
		if err == nil && done && out == Settled && hint != nil && !w.news {
			out = Known
		}
		if err != nil || done {
			return out, err
		}
	}
	// A key that changes faster than it can be copied: others get their turn.
	return Pending, w.postpone(ctx, attempts+1, "the key changes faster than it can be copied")
}

// postpone keeps the key dirty, with back-off, when there is no step to store with it.
func (w *work) postpone(ctx context.Context, attempts int, why string) error {
	h := w.hint
	if w.lookedUp {
		h = nil
	}
	return w.leave(ctx, w.key, h, state.Effects{Attempts: attempts, Reason: why}, w.cfg.Clock.Now().Add(w.backoff(attempts)))
}

// backoff grows exponentially from BackoffMin to BackoffMax. It has no random part: keys of one outage were marked at
// different times, and a simulated run must be the same twice.
func (e *Engine) backoff(attempts int) time.Duration {
	d := e.cfg.BackoffMin
	for range min(max(attempts-1, 0), 30) {
		if d *= 2; d >= e.cfg.BackoffMax {
			return e.cfg.BackoffMax
		}
	}
	return d
}

// work is one call of Reconcile.
type work struct {
	*Engine
	key      string
	hint     *Hint
	attempts int

	full      bool              // look at every replica; otherwise at the hint's alone
	concluded map[string]bool   // nonces of our requests that were answered
	returned  []string          // nonces of all our requests: whatever became of them, this call takes none back any more
	out       map[string]string // replicas that are not asked again in this call, and why
	waited    bool              // a write of this call has an unknown end
	news      bool              // this call found a version that the row did not know, or had to write one somewhere
	read      map[string]contentAt

	recovered []state.Conflict // records of 5d, for the next commit
	lookedUp  bool             // the version that the hint told of
	sure      bool             // that what is not there is not there: it was looked at before
	taken     []state.Removed  // what the delete at hand takes away, and where it is kept

	body  io.ReadCloser // an object that is being read already, of replica bodyOf
	attrs *driver.Attrs
	of    string
}

// contentAt is a content that was read, at the tag where it was read.
type contentAt struct {
	tag     string
	content version.Content
}

func (w *work) closeBody() {
	if w.body != nil {
		_ = w.body.Close() // a reader that is given up has nothing to say
		w.body, w.attrs, w.of = nil, nil, ""
	}
}

// pass is once around the algorithm. It returns done, or wants another pass (goto 1).
func (w *work) pass(ctx context.Context) (out Outcome, done bool, err error) {
	w.cfg.Trace(Point{Line: "1", Key: w.key})
	w.lookedUp = false                                   // what an earlier pass saw may not have been stored
	row, err := w.cfg.Store.Get(ctx, w.cfg.Group, w.key) // line 1
	if err != nil {
		return Pending, false, fmt.Errorf("read row: %w", err)
	}
	if !w.full && w.read == nil {
		if told := w.hint.told(row); told != news {
			return w.known(ctx, row, told)
		}
		if until, busy := liveIntent(row, w.hint.Replica, w.cfg.Clock.Now()); busy {
			return w.busy(ctx, until)
		}
	}
	lookedAt := w.cfg.Clock.Now()
	w.cfg.Trace(Point{Line: "2", Key: w.key})
	l := w.look(ctx, row) // line 2
	if err := ctx.Err(); err != nil {
		return Pending, false, fmt.Errorf("look at replicas: %w", err)
	}
	w.cfg.Trace(Point{Line: "3", Key: w.key})
	s := plan.Plan(row, plan.View{ // line 3
		Members: w.members, Seen: l.seen, Unknown: l.unknown, Concluded: w.concluded, LookedAt: lookedAt,
		Now: w.cfg.Clock.Now(), Deletes: w.cfg.Deletes, Past: w.remembers(), Mutant: w.cfg.Mutant,
	})
	w.noteSequence(&s, l)
	w.news = w.news || s.Action == plan.Propagate || learned(row, s.Row)
	if s.Changed {
		if err := w.abortDropped(ctx, row, s.Row); err != nil {
			return Pending, true, w.postpone(ctx, w.attempts+1, err.Error())
		}
	}
	if s.Action != plan.Identify || s.Changed {
		if err := w.recoverHidden(ctx, &row, &s.Row, l); err != nil { // 5d
			return Pending, true, w.postpone(ctx, w.attempts+1, err.Error())
		}
		s.Changed = s.Changed || len(s.Row.Told) != len(row.Told)
	}
	if look, err := w.unhold(ctx, &s); look || err != nil {
		return Pending, false, err
	}
	switch s.Action {
	case plan.Identify:
		return w.identify(ctx, s, l)
	case plan.Conflict:
		return w.detect(ctx, s)
	case plan.Propagate:
		if !w.full && (w.leftovers(s) || len(s.Stranded) > 0) {
			w.full = true // an earlier write at a destination has an unknown end: look before writing there
			return Pending, false, nil
		}
		if released, out, done, err := w.brake(ctx, &s); !released || err != nil {
			return out, done, err
		}
		return w.propagate(ctx, s, l)
	case plan.Wait:
		fx := state.Effects{Dirty: &s.Until, Attempts: w.attempts, Reason: "another worker is writing a replica"}
		if w.waited { // that worker was this one
			fx.Attempts, fx.Reason = w.attempts+1, "a write was not answered"
			if due := w.cfg.Clock.Now().Add(w.backoff(fx.Attempts)); due.After(s.Until) {
				fx.Dirty = &due
			}
		}
		return w.store(ctx, s, fx, Pending)
	case plan.Again:
		w.full = true
		if s.Changed {
			return w.goOn(ctx, s)
		}
		return Pending, false, nil
	case plan.Settle:
	}
	return w.finish(ctx, s, l)
}

// remembers reports that versions of the key remember what they replaced: a merge, or a person who decides, needs their base.
func (w *work) remembers() bool {
	p := w.cfg.Rule(w.key).Policy
	return p == config.Merge || p.Asks()
}

// goOn stores a step in the middle of a call. From here on the row knows what the event told of, so the event coming again
// after a crash would be taken for an echo: the dirty set has to bring the key back.
func (w *work) goOn(ctx context.Context, s plan.Step) (Outcome, bool, error) {
	lease := w.cfg.Clock.Now().Add(w.cfg.Lease)
	_, _, err := w.store(ctx, s, state.Effects{Lease: &lease}, Pending)
	return Pending, false, err
}

// busy ends a call about a replica that another worker is writing: most likely its hint is the echo of that write, which
// the row will know in a moment, and asking the bucket would cost a request. The event comes again soon; if the other
// worker may take longer than any broker repeats an event, the dirty set remembers the key instead.
func (w *work) busy(ctx context.Context, until time.Time) (Outcome, bool, error) {
	if until.Sub(w.cfg.Clock.Now()) > w.cfg.Lease {
		return Pending, true, w.Defer(ctx, w.key, w.hint, until, "another worker is writing replica "+w.hint.Replica)
	}
	return Pending, true, errkind.After(time.Second,
		errkind.New(errkind.Conflict, "reconcile key: replica %s is being written by another worker", w.hint.Replica))
}

// finish is line 6.
func (w *work) finish(ctx context.Context, s plan.Step, l looked) (Outcome, bool, error) {
	if !w.full && (len(s.Stranded) > 0 || len(l.why) > 0) {
		w.full = true
		return Pending, false, nil
	}
	if (len(s.Stranded) > 0 || len(l.why) > 0) && w.cfg.Mutant != plan.CleanUnknown {
		events, err := w.unportable(ctx, &s.Row, l)
		if err != nil {
			return Pending, false, err
		}
		return w.postponed(ctx, s, reason(s.Stranded, l.why), events...)
	}
	if l.missing() && !w.sure && !(w.hint != nil && w.hint.Kind == Deleted) {
		// Something made the key worth a look, and it would be forgotten by this one. What a bucket says is not there must not be there twice:
		// nothing else tells of an object that the row does not know.
		w.sure = true
		return Pending, false, nil
	}
	fx := state.Effects{ClearDirty: w.full, ClearLease: !w.full}
	if until, live := lastLease(s.Row); live { // somebody has to see what becomes of it, and abort its upload
		if fx = (state.Effects{Lease: &until}); w.full {
			fx = state.Effects{Dirty: &until, Reason: "a write of another worker has not ended"}
		}
	}
	if fx.Remove = plan.Gone(w.forgetful(&s.Row), w.members); fx.Remove && s.Row.Held { // users deleted it everywhere
		if err := w.release(ctx, &s); err != nil {
			return Pending, false, err
		}
	}
	w.cfg.Trace(Point{Line: "6", Key: w.key})
	return w.store(ctx, s, fx, Settled)
}

// forgetful is a fault: a row as if no intent lived.
func (w *work) forgetful(row *state.Row) *state.Row {
	if w.cfg.Mutant != plan.RowGoneEarly {
		return row
	}
	r := *row
	r.Intents = nil
	return &r
}

// postponed keeps the key dirty, with back-off.
func (w *work) postponed(ctx context.Context, s plan.Step, why string, events ...state.OutboxEvent) (Outcome, bool, error) {
	due := w.cfg.Clock.Now().Add(w.backoff(w.attempts + 1))
	return w.store(ctx, s, state.Effects{Dirty: &due, Attempts: w.attempts + 1, Reason: why, Events: events}, Pending)
}

// store commits a step's row with its effects. Somebody else's commit in between is goto 1.
func (w *work) store(ctx context.Context, s plan.Step, fx state.Effects, out Outcome) (Outcome, bool, error) {
	if fx.Dirty != nil && !w.lookedUp {
		w.owe(&s.Row, w.hint) // also in a row that is made for it
	}
	if s.Row.Rev == 0 && (fx.Remove || len(s.Row.Replicas) == 0 && len(s.Row.Intents) == 0 && len(s.Row.Told) == 0) {
		fx.Remove = true // there is nothing to remember: an absent row stays absent
	}
	if out == Settled {
		fx.Conflicts = append(fx.Conflicts, w.supersede(ctx, &s.Row, "")...)
	}
	fx.Conflicts = append(fx.Conflicts, w.recovered...)
	if w.cfg.Mutant == plan.EventLost {
		fx.Events = nil
	}
	_, err := w.cfg.Store.Commit(ctx, s.Row, fx)
	switch {
	case errkind.Is(err, errkind.Conflict):
		return Pending, false, nil
	case err != nil:
		return Pending, false, fmt.Errorf("store row: %w", err)
	}
	w.recovered = nil
	return out, true, nil
}

// leftovers reports intents at a destination whose end nobody knows.
func (w *work) leftovers(s plan.Step) bool {
	return slices.ContainsFunc(s.Row.Intents, func(it state.Intent) bool { return slices.Contains(s.Dests, it.Replica) })
}

// noteSequence remembers which notification told of a state, so that its duplicates cost nothing.
func (w *work) noteSequence(s *plan.Step, l looked) {
	if w.hint == nil || w.hint.Kind != Written || w.hint.Seq == "" || s.Action == plan.Identify {
		return
	}
	o, ok := l.seen[w.hint.Replica]
	if !ok || o.Print.Tag != w.hint.Tag {
		return
	}
	r, ok := s.Row.Replicas[w.hint.Replica]
	if ok && r.LastSeq != w.hint.Seq {
		r.LastSeq = w.hint.Seq
		s.Row.Replicas[w.hint.Replica] = r
		s.Changed = true
	}
}

// learned reports a version that was not there before, or that a replica's bucket let expire.
func learned(before, after state.Row) bool {
	for id := range after.Versions {
		if before.Versions[id] == nil {
			return true
		}
	}
	for name, r := range after.Replicas {
		if r.Status == state.StatusEvicted && before.Replicas[name].Status != state.StatusEvicted {
			return true
		}
	}
	return false
}

// abortDropped aborts the multipart uploads of intents that are being forgotten, before they are: a crash in between
// repeats it.
func (w *work) abortDropped(ctx context.Context, before, after state.Row) error {
	for _, it := range before.Intents {
		if it.UploadID == "" || hasIntent(after, it.Nonce) || w.cfg.Mutant == plan.UploadLeft {
			continue
		}
		m, ok := w.sites[it.Replica].(driver.Multiparter)
		if !ok {
			continue
		}
		if err := m.Abort(ctx, w.key, it.UploadID); errkind.Of(err).Retryable() && err != nil {
			return fmt.Errorf("abort upload at %s: %w", it.Replica, err)
		}
	}
	return nil
}

func hasIntent(row state.Row, nonce string) bool {
	return slices.ContainsFunc(row.Intents, func(it state.Intent) bool { return it.Nonce == nonce })
}

// lastLease is when the last of a row's intents ends.
func lastLease(row state.Row) (until time.Time, live bool) {
	for _, it := range row.Intents {
		if it.LeaseUntil.After(until) {
			until = it.LeaseUntil
		}
	}
	return until, len(row.Intents) > 0
}

func liveIntent(row state.Row, replica string, now time.Time) (time.Time, bool) {
	for _, it := range row.Intents {
		if it.Replica == replica && now.Before(it.LeaseUntil) {
			return it.LeaseUntil, true
		}
	}
	return time.Time{}, false
}
