package reconcile

import (
	"cmp"
	"context"
	"crypto/md5" //nolint:gosec // S3 ETags are MD5: it identifies contents, it does not protect them
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
	"github.com/bucketmesh/bucketmesh/pkg/reconcile/plan"
	"github.com/bucketmesh/bucketmesh/pkg/state"
	"github.com/bucketmesh/bucketmesh/pkg/version"
)

// HintKind is what a notification says happened.
type HintKind int

// The kinds of hints.
const (
	Changed HintKind = iota // something about the object changed: look
	Written                 // its content was written, and Tag names it
	Deleted                 // its current version went away
)

// Hint is a notification about one key at one replica. It is never believed, only confirmed by the bucket.
type Hint struct {
	Replica   string
	Kind      HintKind
	Tag       string // of the written object
	VersionID string
	RequestID string // of the request that made the change
	Seq       string // only compared for equality: two writes can be numbered in another order than they landed
	Copied    bool   // a server-side copy: never our own write
	Expired   bool   // it was deleted by a rule of the bucket, not by a user
	Time      time.Time
}

// tidings says what a hint tells beyond the row.
type tidings int

const (
	news     tidings = iota // something that the row does not know
	known                   // a duplicate, or our own write coming back
	absence                 // a delete of what the row says is absent
	ownWrite                // our own write coming back, recognised by its tag alone
)

// told compares a hint with the row. A tag alone does not make an echo: an S3 ETag also stays the same when a user
// edits metadata or writes the same bytes again.
func (h *Hint) told(row state.Row) tidings {
	r := row.Replicas[h.Replica]
	switch h.Kind {
	case Deleted:
		// Somebody whose write of it was not acknowledged may have made what was deleted: only a look tells.
		if !r.Print.Present && !slices.ContainsFunc(row.Intents, func(it state.Intent) bool { return it.Replica == h.Replica }) {
			return absence
		}
	case Written:
		switch {
		case !r.Print.Present || h.Tag == "" || h.Tag != r.Print.Tag:
		case h.VersionID != "" && r.Print.VersionID != "":
			if h.VersionID == r.Print.VersionID {
				return known
			}
		case h.RequestID != "" && h.RequestID == r.RequestID, h.Seq != "" && h.Seq == r.LastSeq:
			return known
		case r.EchoDue && !h.Copied && (h.RequestID == "" || r.RequestID == ""):
			return ownWrite
		}
	case Changed:
	}
	return news
}

// known ends a call whose hint told nothing new. No bucket is asked.
func (w *work) known(ctx context.Context, row state.Row, t tidings) (Outcome, bool, error) {
	s := plan.Step{Row: plan.Clone(row)}
	switch {
	case t == ownWrite: // the next event with this tag is somebody else's
		r := row.Replicas[w.hint.Replica]
		r.EchoDue, r.LastSeq = w.cfg.Mutant == plan.EchoForever, w.hint.Seq
		s.Row.Replicas[w.hint.Replica] = r
	case t == absence && row.Rev != 0:
		// Absence has no generation: another worker may have looked between the create and the delete, and is about to
		// store what it saw. The new revision makes it look again.
	default:
		return Echo, true, nil
	}
	return w.store(ctx, s, state.Effects{}, Echo)
}

// looked is what line 2 found.
type looked struct {
	seen    map[string]plan.Observation
	unknown map[string]bool
	why     map[string]string // of unknown replicas
	invalid map[string]bool   // unknown because the object can't be put in the form that all providers share
}

func newLooked() looked {
	return looked{seen: map[string]plan.Observation{}, unknown: map[string]bool{}, why: map[string]string{}, invalid: map[string]bool{}}
}

// missing reports that somebody who was asked has nothing.
func (l *looked) missing() bool {
	for _, o := range l.seen {
		if !o.Print.Present {
			return true
		}
	}
	return false
}

func (l *looked) add(name string, o *plan.Observation, err error) {
	if err != nil {
		l.unknown[name], l.why[name] = true, err.Error()
		l.invalid[name] = errkind.Is(err, errkind.Invalid)
		return
	}
	l.seen[name] = *o
}

// look is line 2. Only an explicit "not found" is absence; whatever else goes wrong leaves the replica out.
func (w *work) look(ctx context.Context, row state.Row) looked {
	l := newLooked()
	for name, why := range w.out {
		l.unknown[name], l.why[name] = true, why
	}
	if !w.full {
		o, err := w.lookHinted(ctx, row)
		l.add(w.hint.Replica, o, cmp.Or(err, w.revocable(w.hint.Replica, row, o)))
		return l
	}
	var mu sync.Mutex
	var jobs []func()
	for _, m := range w.members {
		if w.out[m.Name] != "" {
			continue
		}
		jobs = append(jobs, func() {
			o, err := w.stat(ctx, m.Name, row)
			mu.Lock()
			defer mu.Unlock()
			l.add(m.Name, o, cmp.Or(err, w.revocable(m.Name, row, o)))
		})
	}
	w.cfg.Run(jobs...)
	return l
}

// revocable says that what was seen is a write of ours that may yet be taken back: its driver stands in for a condition, and its lease has not
// ended. Adopted now and taken back then, it would look like a user's delete.
func (w *work) revocable(name string, row state.Row, o *plan.Observation) error {
	caps := w.sites[name].Capabilities()
	for _, it := range row.Intents {
		if o == nil || w.cfg.Mutant == plan.Revocable || it.Replica != name || slices.Contains(w.returned, it.Nonce) || !w.cfg.Clock.Now().Before(it.LeaseUntil) {
			continue
		}
		put := o.Print.Present && o.Print.Nonce == it.Nonce && stoodIn(caps)
		removed := !o.Print.Present && plan.Lookup(&row, it.Version).Kind == version.Delete && caps.DeleteGuard == driver.GuardMarker
		if put || removed {
			return errkind.New(errkind.Conflict, "a write is there that its writer may take back until %s", it.LeaseUntil)
		}
	}
	return nil
}

// stoodIn says that a driver stands in for conditions of writes: what it wrote against one is there until it takes it back.
func stoodIn(caps driver.Capabilities) bool {
	return slices.Contains([]driver.Guard{caps.PutMatch, caps.PutNotExist, caps.CompleteGuard}, driver.GuardMarker)
}

// lookHinted is the fast path: the pinned read of the bytes to be copied confirms the hint by itself.
func (w *work) lookHinted(ctx context.Context, row state.Row) (*plan.Observation, error) {
	h := w.hint
	if h.Kind == Deleted && w.cfg.Mutant == plan.HintBelieved {
		o := plan.Absent(h.Time)
		return &o, nil
	}
	if h.Kind != Written || h.Tag == "" {
		return w.stat(ctx, h.Replica, row)
	}
	opts := &driver.ReadOptions{IfMatch: h.Tag}
	if w.cfg.Mutant == plan.UnpinnedRead {
		opts = nil
	}
	body, attrs, err := w.sites[h.Replica].Open(ctx, w.key, opts)
	switch errkind.Of(err) {
	case errkind.PreconditionFailed, errkind.NotFound: // it was overwritten meanwhile, or the event is an old one
		return w.stat(ctx, h.Replica, row)
	}
	if err != nil {
		return nil, fmt.Errorf("open source: %w", err)
	}
	w.body, w.attrs, w.of = body, attrs, h.Replica
	o := w.observe(h.Replica, attrs)
	return &o, nil
}

// stat looks at one replica. A delete must be seen twice, or be told of by a notification and seen once.
func (w *work) stat(ctx context.Context, name string, row state.Row) (*plan.Observation, error) {
	looks := 1
	// Absence is also what says that an intent left no trace.
	hinted := w.hint != nil && w.hint.Replica == name
	proof := row.Replicas[name].Print.Present || slices.ContainsFunc(row.Intents, func(it state.Intent) bool { return it.Replica == name })
	if w.cfg.Mutant != plan.OneLook && proof && !(hinted && w.hint.Kind == Deleted) {
		looks = 2
	}
	for {
		attrs, err := w.sites[name].Stat(ctx, w.key, "")
		if err != nil && (w.cfg.Mutant == plan.ErrorAbsent || w.cfg.Mutant == plan.DeniedAbsent && errkind.Is(err, errkind.PermissionDenied)) {
			return &plan.Observation{}, nil
		}
		switch {
		case err == nil:
			o := w.observe(name, attrs)
			return &o, nil
		case errors.As(err, new(*driver.BadKey)) && !row.Replicas[name].Print.Present:
			return &plan.Observation{}, nil // a write there is refused, and a delete elsewhere needs nothing there
		case !errkind.Is(err, errkind.NotFound):
			return nil, fmt.Errorf("stat: %w", err)
		}
		if looks--; looks == 0 {
			o := plan.Observation{}
			if hinted && w.hint.Kind == Deleted {
				o = plan.Absent(w.hint.Time)
				o.Expired = w.hint.Expired && w.cfg.KeepExpired
			}
			return &o, nil
		}
	}
}

func (w *work) observe(name string, attrs *driver.Attrs) plan.Observation {
	o := Observe(attrs)
	if c, ok := w.read[name]; ok && c.tag == o.Print.Tag {
		o.Content = o.Content.Merge(c.content)
	}
	if h := w.hint; h != nil && h.Replica == name && h.Kind == Written && h.Tag == o.Print.Tag &&
		(h.VersionID == "" || h.VersionID == o.Print.VersionID) && !h.Time.IsZero() {
		o.Time = h.Time.UnixNano() // finer than Last-Modified, which is the initiation time of a multipart upload
	}
	return o
}

// identify reads objects whose bytes must be known to compare them. What can't be read leaves the key dirty: a replica
// that answers to a look and not to a read (an archived object) must not be asked again and again.
func (w *work) identify(ctx context.Context, s plan.Step, l looked) (Outcome, bool, error) {
	w.closeBody()
	w.full = true
	if w.read == nil {
		w.read = map[string]contentAt{}
	}
	for _, name := range s.Replicas {
		tag := s.Row.Replicas[name].Print.Tag
		if o, ok := l.seen[name]; ok {
			tag = o.Print.Tag
		}
		c, err := w.digest(ctx, name, tag)
		switch errkind.Of(err) {
		case errkind.PreconditionFailed, errkind.NotFound: // it changed: the next look tells
			continue
		}
		if ctx.Err() != nil {
			return Pending, false, fmt.Errorf("read to compare: %w", ctx.Err())
		}
		if err != nil {
			return w.postponed(ctx, s, fmt.Sprintf("%s: read to compare: %v", name, err))
		}
		w.read[name] = contentAt{tag: tag, content: c}
	}
	if s.Changed { // what was read is in no commit yet, so the event must not be taken for known before it is
		return w.goOn(ctx, s)
	}
	return Pending, false, nil
}

func (w *work) digest(ctx context.Context, name, tag string) (version.Content, error) {
	body, attrs, err := w.sites[name].Open(ctx, w.key, &driver.ReadOptions{IfMatch: tag})
	if err != nil {
		return version.Content{}, fmt.Errorf("open object: %w", err)
	}
	defer func() { _ = body.Close() }()
	sum, strong := md5.New(), sha256.New() //nolint:gosec // see the import
	n, err := io.Copy(io.MultiWriter(sum, strong), body)
	if err != nil {
		return version.Content{}, fmt.Errorf("read object: %w", err)
	}
	if n != attrs.Size {
		return version.Content{}, errkind.New(errkind.Unavailable, "read object: %d bytes of %d", n, attrs.Size)
	}
	c := contentOf(attrs)
	c.MD5, c.SHA256 = hex.EncodeToString(sum.Sum(nil)), hex.EncodeToString(strong.Sum(nil))
	return c, nil
}
