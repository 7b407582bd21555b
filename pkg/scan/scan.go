// Package scan is anti-entropy: it lists all replicas of a group at the same time, in the order of keys, walks the
// state beside them, and has every key looked at where the two differ. It finds what notifications never told.
//
// A listing never deletes: it only says that a key deserves a look. What is true is for the engine to find out.
//
// Memory is constant: one page of each listing and of the state, and one batch of keys. The place in the walk is kept
// in the store after each batch, so that an interrupted scan goes on there.
//
// Errors: trouble with the store ends the scan and keeps its place. A replica whose listing fails is left out from there
// on, which Progress.Skipped says: its outage does not hold up the others.
//
// Concurrency: Run may be called several times at once with different cursors; Progress is called from one goroutine.
package scan

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
	"github.com/bucketmesh/bucketmesh/pkg/reconcile"
	"github.com/bucketmesh/bucketmesh/pkg/state"
	"github.com/bucketmesh/bucketmesh/pkg/version"
)

const (
	pageSize  = 1000
	batchSize = 1024
	// checkpoint is after how many keys the place is kept even if none of them differed.
	checkpoint = 16 * batchSize
	// claim is how long the sweep leaves alone what a batch is about to look at.
	claim = 2 * time.Minute
)

// Source is a replica to list.
type Source struct {
	Name   string
	Bucket driver.Bucket
	// HidesEdits: an edit of metadata changes nothing that a listing of this server tells, not even the time. Every object
	// of it has to be looked at, or such an edit would never be found.
	HidesEdits bool
}

// Config of Run. All fields but Progress and Logger are required.
type Config struct {
	Group     string
	Sources   []Source
	Store     state.Store
	Match     func(key string) bool // keys that take part
	Reconcile func(ctx context.Context, key string) (reconcile.Outcome, error)
	Parallel  int    // keys that are looked at at once
	Cursor    string // name of the checkpoint
	Now       func() time.Time
	Progress  func(Progress)
	Logger    *slog.Logger
}

// Progress of a scan, and its result.
type Progress struct {
	Resumed string `json:"resumed,omitempty"` // the key after which this run went on; "" is from the beginning
	Known   int64  `json:"known"`             // keys in the state when it started
	Keys    int64  `json:"keys"`              // compared
	Equal   int64  `json:"equal"`             // as the state says
	// Verified: a look was needed, because the state does not know the key yet or a listing does not tell enough, and the
	// replicas were equal. Nothing was changed.
	Verified int64             `json:"verified"`
	Differ   int64             `json:"differ"`             // looked at, and not equal; while a batch is under way also what is verified
	Settled  int64             `json:"settled"`            // of those: the same everywhere now
	Clashes  int64             `json:"conflicts"`          // of those: in conflict, resolved now
	Pending  int64             `json:"pending"`            // of those: could not be finished; the dirty set has them, with the reason
	Last     string            `json:"last,omitempty"`     // key
	Skipped  map[string]string `json:"skipped,omitempty"`  // replicas whose listing failed, and why
	Answered []string          `json:"answered,omitempty"` // the other replicas, at the end
	Done     bool              `json:"done"`
}

// Complete reports whether everything was compared and brought together.
func (p Progress) Complete() bool { return p.Done && p.Pending == 0 && len(p.Skipped) == 0 }

// Run scans. It returns what was done also with an error.
func Run(ctx context.Context, c Config) (Progress, error) {
	if c.Progress == nil {
		c.Progress = func(Progress) {}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	s := &run{Config: c, alike: map[string]version.ID{}}
	err := s.all(ctx)
	s.Config.Progress(s.p)
	return s.p, err
}

type run struct {
	Config
	p     Progress
	batch []string
	seen  int64 // keys, filtered ones included
	// alike are the keys of the batch whose listings show no difference, with the version that the state has everywhere;
	// "" if it does not know the key.
	alike map[string]version.ID
}

func (s *run) all(ctx context.Context) error {
	stats, err := s.Store.Stats(ctx, s.Group)
	if err != nil {
		return fmt.Errorf("read statistics: %w", err)
	}
	s.p.Known = stats.Keys
	if s.p.Resumed, err = s.Store.Cursor(ctx, s.Group, s.Cursor); err != nil {
		return fmt.Errorf("read cursor: %w", err)
	}
	after := s.p.Resumed
	listings := make([]*listing, len(s.Sources))
	for i, src := range s.Sources {
		listings[i] = &listing{Source: src, after: after}
	}
	rows := &rows{store: s.Store, group: s.Group, after: after}
	for {
		if err := s.fill(ctx, listings, rows); err != nil {
			return err
		}
		key, ok := smallest(listings, rows)
		if !ok {
			break
		}
		s.compare(key, listings, rows)
		if s.seen++; len(s.batch) >= batchSize || s.seen%checkpoint == 0 {
			if err := s.settle(ctx, key); err != nil {
				return err
			}
		}
	}
	if err := s.settle(ctx, ""); err != nil {
		return err
	}
	for _, l := range listings {
		if l.err == nil {
			s.p.Answered = append(s.p.Answered, l.Name)
		}
	}
	s.p.Done = true
	return nil
}

// fill makes sure that every listing and the state show their next key, or their end. Pages are read at the same time.
func (s *run) fill(ctx context.Context, listings []*listing, r *rows) error {
	var g errgroup.Group
	busy := false
	for _, l := range listings {
		if l.hungry() {
			busy = true
			g.Go(func() error { l.read(ctx); return nil })
		}
	}
	if r.hungry() {
		g.Go(func() error { return r.read(ctx) })
	} else if !busy {
		return nil
	}
	if err := g.Wait(); err != nil {
		return fmt.Errorf("read rows: %w", err)
	}
	if err := ctx.Err(); err != nil {
		return errkind.New(errkind.Of(err), "scan: %w", err)
	}
	for _, l := range listings {
		if l.err == nil || s.p.Skipped[l.Name] != "" {
			continue
		}
		if s.p.Skipped == nil {
			s.p.Skipped = map[string]string{}
		}
		s.p.Skipped[l.Name] = l.err.Error()
		s.Logger.WarnContext(ctx, "listing failed; the scan goes on without the replica", "replica", l.Name, "after", l.after, "error", l.err)
	}
	if len(s.p.Skipped) == len(s.Sources) {
		return errkind.New(errkind.Unavailable, "scan: no replica can be listed; first: %s", listings[0].err)
	}
	return nil
}

// smallest is the next key in any listing or in the state.
func smallest(listings []*listing, r *rows) (key string, ok bool) {
	for _, l := range listings {
		if a := l.head(); a != nil && (!ok || a.Key < key) {
			key, ok = a.Key, true
		}
	}
	if row := r.head(); row != nil && (!ok || row.Key < key) {
		key, ok = row.Key, true
	}
	return key, ok
}

// compare takes a key off all heads and remembers it if it deserves a look.
func (s *run) compare(key string, listings []*listing, r *rows) {
	var row *state.Row
	if h := r.head(); h != nil && h.Key == key {
		row = h
		r.next()
	}
	same, alike := row != nil, true
	var first *driver.Attrs
	for _, l := range listings {
		a := l.head()
		if a != nil && a.Key == key {
			l.next()
		} else {
			a = nil
		}
		if l.err == nil && row != nil && (l.HidesEdits && a != nil || !agrees(row.Replicas[l.Name], a)) {
			same = false
		}
		if l.err == nil {
			alike = alike && a != nil && shows(row, l.Name, a)
			if first == nil {
				first = a
			}
			// A key that the state knows may have another ETag at each replica: they depend on how many parts it was put in.
			alike = alike && a.Size == first.Size && (row != nil || a.ETag == first.ETag && a.ETag != "")
		}
	}
	if !s.Match(key) {
		return
	}
	s.p.Keys++
	s.p.Last = key
	if same && level(row, listings) {
		s.p.Equal++
		return
	}
	s.p.Differ++
	s.batch = append(s.batch, key)
	switch {
	case !alike || row != nil && !level(row, listings):
	case row == nil:
		s.alike[key] = ""
	default:
		s.alike[key] = row.Replicas[listings[0].Name].Version
	}
}

// shows reports whether a listing has the object that the row says is at a replica, as far as it tells. A row that is not
// there says nothing.
func shows(row *state.Row, replica string, a *driver.Attrs) bool {
	if row == nil {
		return true
	}
	r := row.Replicas[replica]
	return r.Status == state.StatusOK && r.Tentative == "" && r.Print.Present && r.Print.Tag == tagOf(a)
}

func tagOf(a *driver.Attrs) string {
	if a.Tag != "" {
		return a.Tag
	}
	return a.ETag
}

// agrees reports whether a listing shows what the row says of a replica. Listings tell no metadata (GCS tells of its edits) and, in some servers,
// other fractions of a second than a HEAD does.
func agrees(r state.Replica, a *driver.Attrs) bool {
	if r.Status != state.StatusOK && r.Status != state.StatusEvicted || r.Tentative != "" || r.Print.Present != (a != nil) {
		return false
	}
	if a == nil {
		return true
	}
	if a.Metageneration != "" && r.Print.Metageneration != "" && a.Metageneration != r.Print.Metageneration {
		return false
	}
	return tagOf(a) == r.Print.Tag && r.Print.ModTime != 0 && time.Unix(0, r.Print.ModTime).Unix() == a.ModTime.Unix()
}

// level reports whether the row says that all replicas hold one version.
func level(row *state.Row, listings []*listing) bool {
	for _, l := range listings {
		if row.Replicas[l.Name].Version != row.Replicas[listings[0].Name].Version {
			return false
		}
	}
	return true
}

// settle looks at the keys of the batch and then moves the cursor to a key; "" is the end.
func (s *run) settle(ctx context.Context, at string) error {
	batch, alike := s.batch, s.alike
	s.batch, s.alike = s.batch[:0:0], map[string]version.ID{}
	if len(batch) > 0 {
		err := s.Store.MarkDirty(ctx, s.Group, batch, s.Now().Add(claim), "a scan found it different")
		if err != nil {
			return fmt.Errorf("mark keys dirty: %w", err)
		}
		if err := s.lookAt(ctx, batch, alike); err != nil {
			return err
		}
	}
	if err := s.Store.SetCursor(ctx, s.Group, s.Cursor, at); err != nil {
		return fmt.Errorf("set cursor: %w", err)
	}
	s.Progress(s.p)
	return nil
}

// unchanged reports whether a key that was looked at, and whose listings showed no difference, is still at the version
// that the state had: an edit of metadata, which no listing shows, would have made another one. If the state can't be
// asked, the key counts as different.
func (s *run) unchanged(ctx context.Context, key string, alike map[string]version.ID) bool {
	before, ok := alike[key]
	if !ok || before == "" {
		return ok
	}
	row, err := s.Store.Get(ctx, s.Group, key)
	if err != nil {
		return false
	}
	for _, src := range s.Sources {
		if row.Replicas[src.Name].Version != before {
			return false
		}
	}
	return true
}

// lookAt reconciles a batch. Trouble with one key leaves it to the dirty set, where it is already.
func (s *run) lookAt(ctx context.Context, batch []string, alike map[string]version.ID) error {
	var mu sync.Mutex // guards s.p, and keeps calls of Progress apart
	var g errgroup.Group
	g.SetLimit(max(s.Parallel, 1))
	for _, key := range batch {
		if ctx.Err() != nil {
			break
		}
		g.Go(func() error {
			out, err := s.Reconcile(ctx, key)
			verified := err == nil && out == reconcile.Settled && s.unchanged(ctx, key, alike)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case ctx.Err() != nil:
				return nil
			case err != nil:
				s.p.Pending++
				s.Logger.WarnContext(ctx, "key could not be looked at; the sweep will", "key", key, "error", err)
			case out == reconcile.Pending:
				s.p.Pending++
			case out == reconcile.Conflicted:
				s.p.Clashes++
			case verified:
				s.p.Verified++
				s.p.Differ--
			default:
				s.p.Settled++
			}
			s.Progress(s.p)
			return nil
		})
	}
	_ = g.Wait() // nobody returns an error
	if err := ctx.Err(); err != nil {
		return errkind.New(errkind.Of(err), "scan: %w", err)
	}
	return nil
}
