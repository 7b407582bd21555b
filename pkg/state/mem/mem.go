// Package mem is a state.Store in memory, for tests and the simulator: made for a hundred thousand short lives, not
// for a long one (listings sort what they find). It passes the same suite as the stores on disk.
//
// Errors are those of package state; nothing is ever Unavailable. A closed store goes on answering.
//
// Concurrency: one mutex; all methods may be called from many goroutines. No goroutine is started.
package mem

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/audit"
	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/state"
	"github.com/bucketmesh/bucketmesh/pkg/state/internal/record"
)

type id struct{ group, name string }

type shard struct {
	group string
	n     int64
}

func (k id) shard() shard { return shard{k.group, record.Shard(k.name)} }

// Store is a state.Store in memory. Use New.
type Store struct {
	now func() time.Time

	mu        sync.Mutex
	rows      map[id]state.Row // all maps are made when they are first written
	dirty     map[id]wakeup
	conflicts map[id]state.Conflict
	cursors   map[id]string
	brakes    map[id]state.Brake // by group alone
	deletions map[id]state.Deletion
	removed   map[id]state.Removed
	outbox    []entry // ordered by Seq
	seq       int64
	mark      int64           // last one given
	floors    map[shard]int64 // highest revision of any removed row

	log      []audit.Entry
	recorded map[eventName]int64 // entry of each event in log
	books    map[string]*books   // by group
}

type entry struct {
	group string
	event state.OutboxEvent
}

type wakeup struct {
	state.Dirty
	mark int64
}

var _ state.Store = (*Store)(nil)

// New makes an empty store. now is the clock that revisions follow; nil is time.Now.
func New(now func() time.Time) *Store {
	if now == nil {
		now = time.Now
	}
	return &Store{now: now}
}

// Get implements state.Store.
func (s *Store) Get(ctx context.Context, group, key string) (state.Row, error) {
	if err := ended(ctx); err != nil {
		return state.Row{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	k := id{group, key}
	row, ok := s.rows[k]
	if !ok {
		row = state.Row{Group: group, Key: key, AsOf: s.floors[k.shard()]}
	}
	row = clone(row)
	row.DirtyMark = s.dirty[k].mark
	return row, nil
}

// Commit implements state.Store.
func (s *Store) Commit(ctx context.Context, row state.Row, fx state.Effects) (int64, error) {
	if err := ended(ctx); err != nil {
		return 0, err
	}
	if err := record.Check(row, fx); err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	k := id{row.Group, row.Key}
	if have := s.rows[k].Rev; have != row.Rev {
		return 0, errkind.New(errkind.Conflict, "commit row %q of group %q: revision is %d, not %d", row.Key, row.Group, have, row.Rev)
	}
	var rev int64
	floor := s.floors[k.shard()]
	switch {
	case fx.Remove:
		if s.floors == nil {
			s.floors = map[shard]int64{}
		}
		s.floors[k.shard()] = max(floor, row.Rev)
		delete(s.rows, k)
	case row.Rev == 0 && row.AsOf < floor:
		return 0, errkind.New(errkind.Conflict, "commit row %q of group %q: it may have come and gone since it was read", row.Key, row.Group)
	default:
		rev = record.NextRev(s.now(), row.Rev, floor)
		kept := clone(row)
		kept.Rev, kept.AsOf, kept.DirtyMark = rev, 0, 0
		put(&s.rows, k, kept)
	}
	s.wake(k, row.DirtyMark, fx)
	s.apply(k, fx)
	return rev, nil
}

// wake is the part of the effects that changes the dirty entry. read is the mark that the caller knows of.
func (s *Store) wake(k id, read int64, fx state.Effects) {
	old, ok := s.dirty[k]
	lease := old.Reason == state.ReasonLease
	switch {
	case fx.Dirty != nil:
		d := state.Dirty{Due: due(*fx.Dirty), Attempts: fx.Attempts, Reason: record.Reason(fx.Reason)}
		if ok && !lease && old.mark != read && old.Due.Before(d.Due) {
			d.Due = old.Due
		}
		s.soil(k, d)
	case fx.ClearDirty && (lease || old.mark == read), fx.ClearLease && lease:
		delete(s.dirty, k)
	case fx.Lease != nil && !ok:
		s.soil(k, state.Dirty{Due: due(*fx.Lease), Reason: state.ReasonLease})
	}
}

func (s *Store) soil(k id, d state.Dirty) {
	s.mark++
	d.Group, d.Key = k.group, k.name
	put(&s.dirty, k, wakeup{d, s.mark})
}

func (s *Store) apply(k id, fx state.Effects) {
	for _, e := range fx.Events {
		s.seq++
		s.outbox = append(s.outbox, entry{k.group, state.OutboxEvent{Seq: s.seq, ID: e.ID, JSON: slices.Clone(e.JSON)}})
	}
	for _, c := range fx.Conflicts {
		c.Losers = slices.Clone(c.Losers)
		put(&s.conflicts, id{c.Group, c.ID}, c)
	}
	for _, r := range fx.Removed {
		put(&s.removed, id{r.Group, r.ID}, r)
	}
}

// Rows implements state.Store.
func (s *Store) Rows(ctx context.Context, group, after string, limit int) ([]state.Row, error) {
	if err := ended(ctx); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []state.Row
	for k, row := range s.rows {
		if k.group == group && k.name > after {
			out = append(out, row)
		}
	}
	out = first(out, limit, func(a, b state.Row) int { return cmp.Compare(a.Key, b.Key) })
	for i := range out {
		out[i] = clone(out[i])
	}
	return out, nil
}

// MarkDirty implements state.Store.
func (s *Store) MarkDirty(ctx context.Context, group string, keys []string, at time.Time, reason string) error {
	if err := ended(ctx); err != nil {
		return err
	}
	if err := record.CheckKeys(group, keys...); err != nil {
		return err
	}
	at, reason = due(at), record.Reason(reason)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, key := range keys {
		k := id{group, key}
		old, ok := s.dirty[k]
		d := old.Dirty
		if !ok || at.Before(d.Due) {
			d.Due, d.Reason = at, reason
		} else if d.Reason == state.ReasonLease {
			d.Reason = reason
		}
		s.soil(k, d)
	}
	return nil
}

// Due implements state.Store.
func (s *Store) Due(ctx context.Context, group string, now time.Time, limit int) ([]state.Dirty, error) {
	if err := ended(ctx); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []state.Dirty
	for k, d := range s.dirty {
		if k.group == group && !d.Due.After(now) {
			out = append(out, d.Dirty)
			out[len(out)-1].Mark = d.mark
		}
	}
	return first(out, limit, func(a, b state.Dirty) int {
		return cmp.Or(a.Due.Compare(b.Due), cmp.Compare(a.Key, b.Key))
	}), nil
}

// NextDue implements state.Store.
func (s *Store) NextDue(ctx context.Context, group string) (next time.Time, ok bool, err error) {
	if err := ended(ctx); err != nil {
		return time.Time{}, false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for k, d := range s.dirty {
		if k.group == group && (!ok || d.Due.Before(next)) {
			next, ok = d.Due, true
		}
	}
	return next, ok, nil
}

// Outbox implements state.Store.
func (s *Store) Outbox(ctx context.Context, limit int) ([]state.OutboxEvent, error) {
	if err := ended(ctx); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	n := min(record.Limit(limit), len(s.outbox))
	out := make([]state.OutboxEvent, n)
	for i := range out {
		out[i] = s.outbox[i].event
		out[i].JSON = slices.Clone(out[i].JSON)
	}
	return out, nil
}

// Published implements state.Store.
func (s *Store) Published(ctx context.Context, seqs []int64) error {
	if err := ended(ctx); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.outbox = slices.DeleteFunc(s.outbox, func(e entry) bool { return slices.Contains(seqs, e.event.Seq) })
	return nil
}

// Conflicts implements state.Store.
func (s *Store) Conflicts(ctx context.Context, group, st string, limit int) ([]state.Conflict, error) {
	if err := ended(ctx); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []state.Conflict
	for k, c := range s.conflicts {
		if k.group == group && (st == "" || slices.Contains(record.States(st), c.State)) {
			c.Losers = slices.Clone(c.Losers)
			out = append(out, c)
		}
	}
	return first(out, limit, func(a, b state.Conflict) int {
		return cmp.Or(b.Detected.Compare(a.Detected), cmp.Compare(b.ID, a.ID))
	}), nil
}

// Conflict implements state.Store.
func (s *Store) Conflict(ctx context.Context, group, name string) (state.Conflict, error) {
	if err := ended(ctx); err != nil {
		return state.Conflict{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.conflicts[id{group, name}]
	if !ok {
		return c, errkind.New(errkind.NotFound, "read conflict %q of group %q: there is none", name, group)
	}
	c.Losers = slices.Clone(c.Losers)
	return c, nil
}

// Cursor implements state.Store.
func (s *Store) Cursor(ctx context.Context, group, name string) (string, error) {
	if err := ended(ctx); err != nil {
		return "", err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cursors[id{group, name}], nil
}

// SetCursor implements state.Store.
func (s *Store) SetCursor(ctx context.Context, group, name, value string) error {
	if err := ended(ctx); err != nil {
		return err
	}
	if err := record.CheckCursor(group, name); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if value == "" {
		delete(s.cursors, id{group, name})
		return nil
	}
	put(&s.cursors, id{group, name}, value)
	return nil
}

// Stats implements state.Store.
func (s *Store) Stats(ctx context.Context, group string) (state.Stats, error) {
	if err := ended(ctx); err != nil {
		return state.Stats{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	st := state.Stats{Keys: count(s.rows, group), Dirty: count(s.dirty, group), Conflicts: count(s.conflicts, group)}
	for _, e := range s.outbox {
		if e.group == group {
			st.Outbox++
		}
	}
	return st, nil
}

// Close implements state.Store. It does nothing, so that a test can look at a store after its engine closed it.
func (s *Store) Close() error { return nil }

func ended(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return errkind.New(errkind.Of(err), "use state: %w", err)
	}
	return nil
}

// due is t at the resolution of the other stores.
func due(t time.Time) time.Time { return record.Time(record.Nanos(t)) }

func put[V any](m *map[id]V, k id, v V) {
	if *m == nil {
		*m = make(map[id]V)
	}
	(*m)[k] = v
}

func count[V any](m map[id]V, group string) (n int64) {
	for k := range m {
		if k.group == group {
			n++
		}
	}
	return n
}

func first[E any](list []E, limit int, compare func(a, b E) int) []E {
	slices.SortFunc(list, compare)
	return slices.Clip(list[:min(record.Limit(limit), len(list))])
}

// clone copies whatever a caller may change. Empty maps become nil, as they do in a document, so that code that is
// tested here doesn't fail elsewhere.
func clone(row state.Row) state.Row {
	row.Versions = cloneMap(row.Versions)
	row.Counters = cloneMap(row.Counters)
	row.Replicas = cloneMap(row.Replicas)
	row.Intents = slices.Clone(row.Intents)
	if len(row.Intents) == 0 {
		row.Intents = nil
	}
	return row
}

func cloneMap[M ~map[K]V, K comparable, V any](m M) M {
	if len(m) == 0 {
		return nil
	}
	return maps.Clone(m)
}
