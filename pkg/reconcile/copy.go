package reconcile

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/event"
	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
	"github.com/bucketmesh/bucketmesh/pkg/reconcile/plan"
	"github.com/bucketmesh/bucketmesh/pkg/state"
	"github.com/bucketmesh/bucketmesh/pkg/transfer"
	"github.com/bucketmesh/bucketmesh/pkg/version"
)

// order is one write at one destination.
type order struct {
	plan.Order

	result transfer.Result
}

// unknownEnd reports that the write failed and may have been carried out, or still be.
func (o *order) unknownEnd() bool {
	kind := errkind.Of(o.result.Err)
	return o.result.Sent && kind.Retryable() && kind != errkind.Conflict && kind != errkind.Throttled
}

// ledger is the row while copies are under way: several destinations may have to store something at once.
type ledger struct {
	mu  sync.Mutex
	row state.Row
}

// propagate is line 5: intents, pinned read, conditional writes, and the row again.
func (w *work) propagate(ctx context.Context, s plan.Step, l looked) (Outcome, bool, error) {
	target := plan.Lookup(&s.Row, s.Target)
	if target.Kind == version.Put && w.of != s.Source {
		w.closeBody()
	}
	if err := w.quarantine(ctx, &s); err != nil {
		return w.setAsideFailed(ctx, s, err)
	}
	lease := w.cfg.Clock.Now().Add(w.leaseFor(target.Content.Size))
	orders, row, err := w.intend(ctx, s, lease) // 5a
	if errkind.Is(err, errkind.Conflict) {
		return Pending, false, nil
	}
	if err != nil {
		return Pending, false, err
	}
	led := &ledger{row: row}
	within, cancel := w.cfg.Clock.WithDeadline(ctx, lease.Add(-w.cfg.Margin))
	content := target.Content
	if target.Kind == version.Delete {
		w.deleteAll(within, target, orders)
	} else {
		content, err = w.copyAll(within, s, target, led, orders)
	}
	cancel()
	if err != nil { // 5b failed: nothing was written
		w.conclude(orders)
		s.Row = plan.Clone(led.row)
		// Others stay, even if they were answered: a write that was refused may have been the second one of a request that was sent
		// twice.
		plan.Withdraw(&s.Row, nonces(orders)...)
		w.abortLeft(ctx, led.row, &s.Row)
		return w.sourceTrouble(ctx, s, err)
	}
	return w.acknowledge(ctx, s, l, led, orders, content) // 5e
}

// leaseFor grows with the attempts: an object that could not be copied in time gets more of it, up to 16 times.
func (w *work) leaseFor(size int64) time.Duration {
	return w.cfg.Lease + time.Duration(size/w.cfg.MinThroughput)*time.Second<<min(max(w.attempts, 0), 4)
}

// intend is 5a.
func (w *work) intend(ctx context.Context, s plan.Step, lease time.Time) ([]*order, state.Row, error) {
	row, intended := plan.Intend(s.Row, s.Target, s.Dests, w.cfg.Nonce, lease, w.cfg.Owner, w.cfg.Mutant)
	orders := make([]*order, len(intended))
	for i, o := range intended {
		orders[i] = &order{Order: o}
		w.cfg.Trace(Point{Line: "5a", Key: w.key, Replica: o.Replica, Version: plan.Lookup(&row, s.Target), Nonce: o.Nonce})
	}
	if w.cfg.Mutant == plan.IntentUnstored {
		row.Intents = s.Row.Intents
	}
	rev, err := w.cfg.Store.Commit(ctx, row, state.Effects{Lease: &lease, Removed: w.taken})
	if err != nil {
		return nil, row, fmt.Errorf("store intents: %w", err)
	}
	row.Rev = rev
	return orders, row, nil
}

// copyAll is 5b and 5c for a put. An error means that the source could not be read and that nothing was written.
func (w *work) copyAll(ctx context.Context, s plan.Step, target *version.Version, led *ledger, orders []*order) (version.Content, error) {
	w.cfg.Trace(Point{Line: "5b", Key: w.key, Replica: s.Source, Version: target})
	if w.body == nil {
		opts := &driver.ReadOptions{IfMatch: s.Row.Replicas[s.Source].Print.Tag}
		if w.cfg.Mutant == plan.UnpinnedRead {
			opts = nil
		}
		body, attrs, err := w.sites[s.Source].Open(ctx, w.key, opts)
		if err != nil {
			return version.Content{}, fmt.Errorf("open source: %w", err)
		}
		w.body, w.attrs, w.of = body, attrs, s.Source
		// A tag names the bytes, on S3, and not what else was edited since the look.
		if w.cfg.Mutant != plan.UnpinnedRead && MetaHash(attrs.Properties) != s.Row.Replicas[s.Source].Print.MetaHash {
			return version.Content{}, errkind.New(errkind.PreconditionFailed, "open source: its properties were edited since it was looked at")
		}
	}
	dests := make([]transfer.Dest, len(orders))
	for i, o := range orders {
		dests[i] = transfer.Dest{
			Bucket: w.sites[o.Replica], Key: w.key,
			Put:     driver.PutOptions{Properties: UserProperties(w.attrs.Properties), If: w.condition(o, plan.UnconditionalPut)},
			Started: func(ctx context.Context, uploadID string) error { return w.remember(ctx, led, o.Nonce, uploadID) },
		}
		if dests[i].Put.If == (driver.Precondition{}) {
			dests[i].Finish = func(ctx context.Context) error { return w.lookBefore(ctx, w.key, o) }
		}
		if w.cfg.Mutant != plan.NoNonce {
			dests[i].Put.Properties = withMeta(w.attrs.Properties, MetaNonce, o.Nonce)
			if o.Expect.VersionID != "" {
				dests[i].Put.Metadata[MetaOver] = o.Expect.VersionID
			}
		}
		w.cfg.Trace(Point{Line: "5c", Key: w.key, Replica: o.Replica, Version: target, Nonce: o.Nonce})
	}
	content, results, err := w.cfg.Copier.Fan(ctx, w.body, w.attrs.Size, dests)
	if err != nil {
		return version.Content{}, fmt.Errorf("copy object: %w", err)
	}
	for i, o := range orders {
		o.result = results[i]
		w.cfg.Trace(Point{Line: "5c-answered", Key: w.key, Replica: o.Replica, Version: target, Nonce: o.Nonce})
	}
	return content, nil
}

// remember stores the id of a multipart upload, so that it is aborted even if this process dies now.
func (w *work) remember(ctx context.Context, led *ledger, nonce, uploadID string) error {
	led.mu.Lock()
	defer led.mu.Unlock()
	row := plan.Clone(led.row)
	for i := range row.Intents {
		if row.Intents[i].Nonce == nonce {
			row.Intents[i].UploadID = uploadID
		}
	}
	rev, err := w.cfg.Store.Commit(ctx, row, state.Effects{})
	if err != nil {
		return fmt.Errorf("remember upload: %w", err)
	}
	row.Rev = rev
	led.row = row
	return nil
}

// deleteAll is 5c for a delete.
func (w *work) deleteAll(ctx context.Context, target *version.Version, orders []*order) {
	var jobs []func()
	for _, o := range orders {
		w.cfg.Trace(Point{Line: "5c", Key: w.key, Replica: o.Replica, Version: target, Nonce: o.Nonce})
		jobs = append(jobs, func() {
			opts := &driver.DeleteOptions{If: w.condition(o, plan.UnconditionalDel)}
			if opts.If == (driver.Precondition{}) {
				if err := w.lookBefore(ctx, w.key, o); err != nil {
					o.result = transfer.Result{Err: err}
					return
				}
			}
			attrs, err := w.sites[o.Replica].Delete(ctx, w.key, opts)
			o.result = transfer.Result{Attrs: attrs, Err: err, Sent: true}
		})
	}
	w.cfg.Run(jobs...)
	for _, o := range orders {
		w.cfg.Trace(Point{Line: "5c-answered", Key: w.key, Replica: o.Replica, Version: target, Nonce: o.Nonce})
	}
}

// condition guards a write with what the row says the replica holds. A bucket that keeps no such condition gets none: it
// is in the group only because users don't write there, or because the configuration accepts the loss window.
func (e *Engine) condition(o *order, off plan.Mutant) driver.Precondition {
	caps := e.sites[o.Replica].Capabilities()
	guards := []driver.Guard{caps.PutMatch, caps.PutNotExist, caps.CompleteGuard}
	if off == plan.UnconditionalDel {
		guards = []driver.Guard{caps.DeleteGuard}
	}
	metageneration := o.Expect.Metageneration
	if e.cfg.Mutant == plan.NoMetageneration {
		metageneration = ""
	}
	switch {
	case e.cfg.Mutant == off || slices.Contains(guards, driver.GuardNone):
		return driver.Precondition{}
	case !o.Expect.Present:
		return driver.Precondition{NotExist: true}
	}
	return driver.Precondition{Match: o.Expect.Tag, VersionID: o.Expect.VersionID, Metageneration: metageneration}
}

// lookBefore stands in for a condition as well as a look can: right before the write.
func (e *Engine) lookBefore(ctx context.Context, key string, o *order) error {
	if e.cfg.Mutant == plan.UnconditionalPut || e.cfg.Mutant == plan.UnconditionalDel {
		return nil
	}
	var now state.Fingerprint
	attrs, err := e.sites[o.Replica].Stat(ctx, key, "")
	switch {
	case err == nil:
		now = Observe(attrs).Print
	case !errkind.Is(err, errkind.NotFound):
		return fmt.Errorf("look before an unguarded write: %w", err)
	}
	if !plan.Unchanged(o.Expect, now) {
		return errkind.New(errkind.PreconditionFailed, "look before an unguarded write: the object is another one than expected")
	}
	return nil
}

// conclude notes that our requests under these nonces have surely ended, so that their intents need not outlive a look.
func (w *work) conclude(orders []*order) {
	if w.concluded == nil {
		w.concluded = map[string]bool{}
	}
	for _, o := range orders {
		w.concluded[o.Nonce] = true
	}
}

// sourceTrouble follows a source that could not be read. If it changed, the next look tells; otherwise the key waits.
func (w *work) sourceTrouble(ctx context.Context, s plan.Step, err error) (Outcome, bool, error) {
	w.full = true
	switch errkind.Of(err) {
	case errkind.PreconditionFailed, errkind.NotFound:
		return w.goOn(ctx, s)
	}
	if ctx.Err() != nil {
		return Pending, false, fmt.Errorf("reconcile key: %w", ctx.Err())
	}
	if w.heldElsewhere(s) { // by somebody who can be read, perhaps
		w.leaveOut(s.Source, err.Error())
		return w.goOn(ctx, s)
	}
	if errkind.Is(err, errkind.PermissionDenied) {
		r := s.Row.Replicas[s.Source]
		r.Status, r.Detail = state.StatusUnreadable, err.Error()
		s.Row.Replicas[s.Source] = r
	}
	return w.postponed(ctx, s, s.Source+": "+err.Error())
}

// heldElsewhere reports that another replica that was not left out holds the target as well.
func (w *work) heldElsewhere(s plan.Step) bool {
	return slices.ContainsFunc(w.members, func(m plan.Member) bool {
		r := s.Row.Replicas[m.Name]
		return m.Name != s.Source && w.out[m.Name] == "" && r.Print.Present && plan.Effective(r) == s.Target
	})
}

// acknowledge is 5e: what was written goes into the row. A destination that answered anything else concludes nothing;
// the next look decides.
func (w *work) acknowledge(ctx context.Context, s plan.Step, l looked, led *ledger, orders []*order, content version.Content) (Outcome, bool, error) {
	row := plan.Clone(led.row)
	target := plan.Lookup(&row, s.Target)
	var written []string
	var refused []*order
	failed := false
	for _, o := range orders {
		w.returned = append(w.returned, o.Nonce)
		if w.cfg.Mutant == plan.TimeoutDone && o.unknownEnd() || w.cfg.Mutant == plan.RefusedDone && errkind.Is(o.result.Err, errkind.PreconditionFailed) {
			o.result.Err = nil
		}
		switch err := o.result.Err; {
		case err == nil:
			plan.Written(&row, o.Order, s.Target, landed(o.result.Attrs), w.cfg.Mutant)
			written = append(written, o.Replica)
			w.cfg.Trace(Point{Line: "5e", Key: w.key, Replica: o.Replica, Version: target, Nonce: o.Nonce})
		default:
			failed = true
			known := row.Replicas[o.Replica].Status == state.StatusRefused && w.attempts > 0
			w.unwritten(&row, o, err)
			if row.Replicas[o.Replica].Status == state.StatusRefused && !known { // said once, not at every try
				refused = append(refused, o)
			}
		}
	}
	if target.Kind == version.Put && content.Size == target.Content.Size {
		v := *target
		v.Content = v.Content.Merge(content)
		row.Versions[s.Target] = &v
	}
	w.abortLeft(ctx, led.row, &row)
	plan.Prune(&row)
	next := plan.Step{Row: row}
	var fx state.Effects
	if len(written) > 0 {
		e, err := w.cfg.Announce(ctx, event.SyncApplied, w.applied(target, written, content))
		if err != nil {
			return Pending, false, fmt.Errorf("announce copy: %w", err)
		}
		fx.Events = append(fx.Events, e)
	}
	for _, o := range refused {
		d := w.applied(target, []string{o.Replica}, content)
		d.Reason, d.Error, d.Attempts = o.result.Err.Error(), errkind.Of(o.result.Err).String(), w.attempts
		e, err := w.cfg.Announce(ctx, event.SyncFailed, d)
		if err != nil {
			return Pending, false, fmt.Errorf("announce failure: %w", err)
		}
		fx.Events = append(fx.Events, e)
	}
	settled := !failed && len(s.Stranded) == 0 && len(l.why) == 0 && s.Until.IsZero() && plan.Settled(&row, w.members)
	if settled {
		fx.ClearDirty, fx.ClearLease, fx.Remove = w.full, !w.full, plan.Gone(&row, w.members)
	}
	w.full = true // also after a lost race: the row knows the hint by now, and would take it for an echo
	out, done, err := w.store(ctx, next, fx, Settled)
	if err != nil || !done {
		return out, false, err
	}
	if settled {
		return Settled, true, nil
	}
	return Pending, false, nil
}

// landed is what an answer told.
func landed(a *driver.Attrs) plan.Landed {
	if a == nil {
		return plan.Landed{}
	}
	return plan.Landed{
		Tag: a.Tag, VersionID: a.VersionID, Metageneration: a.Metageneration, ModTime: unixNano(a.ModTime), RequestID: a.RequestID,
	}
}

func nonces(orders []*order) []string {
	out := make([]string, len(orders))
	for i, o := range orders {
		out[i] = o.Nonce
	}
	return out
}

// unwritten handles a destination that did not answer with success.
func (w *work) unwritten(row *state.Row, o *order, err error) {
	kind := errkind.Of(err)
	if o.unknownEnd() && w.cfg.Mutant != plan.TimeoutFailed {
		w.waited = true
		return // the intent stays: if the write landed, its nonce is adopted
	}
	w.conclude([]*order{o})
	switch kind {
	case errkind.Invalid, errkind.PermissionDenied, errkind.Unsupported, errkind.Unauthenticated:
		w.leaveOut(o.Replica, "it can't hold this key: "+err.Error())
		plan.Refused(row, o.Order, err.Error())
	case errkind.Throttled, errkind.Unavailable, errkind.Unknown, errkind.Canceled: // it wants to be left in peace
		w.leaveOut(o.Replica, err.Error())
		plan.Withdraw(row, o.Nonce)
	default: // the next look tells what was in the way
	}
}

// abortLeft sees to the uploads of intents that a row has given up: the copier aborts what it began, and that may have failed, too. An intent
// whose upload can't be aborted now stays until its lease ends and somebody tries again.
func (w *work) abortLeft(ctx context.Context, before state.Row, after *state.Row) {
	for _, it := range before.Intents {
		carriedOut := after.Replicas[it.Replica].Print.Nonce == it.Nonce // its upload is an object now
		if it.UploadID == "" || hasIntent(*after, it.Nonce) || carriedOut || w.cfg.Mutant == plan.UploadLeft {
			continue
		}
		m, ok := w.sites[it.Replica].(driver.Multiparter)
		if ok && m.Abort(ctx, w.key, it.UploadID) != nil {
			after.Intents = append(after.Intents, it)
		}
	}
}

// leaveOut keeps a replica out of the rest of this call. The key stays dirty for it.
func (w *work) leaveOut(name, why string) {
	if w.out == nil {
		w.out = map[string]string{}
	}
	w.out[name] = why
}

func (w *work) applied(v *version.Version, replicas []string, c version.Content) event.Sync {
	s := event.Sync{
		Group: w.cfg.Group, Key: w.key, Version: string(v.ID), Kind: string(v.Kind), Origin: v.Origin, Replicas: replicas,
		Applied: w.cfg.Clock.Now().UTC(),
	}
	if v.Kind == version.Put {
		s.Size = strconv.FormatInt(c.Size, 10)
	}
	if v.ProviderTime != 0 {
		s.Written = time.Unix(0, v.ProviderTime).UTC()
	}
	return s
}
