package mem

import (
	"context"
	"slices"

	"github.com/bucketmesh/bucketmesh/pkg/audit"
	"github.com/bucketmesh/bucketmesh/pkg/state/internal/record"
)

// Audit is an audit log in the same memory.
type Audit struct{ s *Store }

var _ audit.Log = (*Audit)(nil)

// Audit is the store's audit log.
func (s *Store) Audit() *Audit { return &Audit{s} }

// Append implements audit.Log.
func (a *Audit) Append(ctx context.Context, e audit.Event) error {
	_, err := a.AppendBatch(ctx, []audit.Event{e})
	return err
}

// AppendBatch implements audit.Log.
func (a *Audit) AppendBatch(ctx context.Context, es []audit.Event) (added int, err error) {
	if err := ended(ctx); err != nil {
		return 0, err
	}
	for _, e := range es {
		if err := audit.Check(e); err != nil {
			return 0, err
		}
	}
	s := a.s
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range es {
		if s.recorded[eventName{e.Source, e.ID}] != 0 {
			continue
		}
		e.JSON = slices.Clone(e.JSON)
		n := audit.Next(a.head(), e, due(s.now()))
		s.log = append(s.log, n)
		if s.recorded == nil {
			s.recorded = map[eventName]int64{}
		}
		s.recorded[eventName{e.Source, e.ID}] = n.Seq
		added++
	}
	return added, nil
}

// Range implements audit.Log.
func (a *Audit) Range(ctx context.Context, after int64, limit int) ([]audit.Entry, error) {
	if err := ended(ctx); err != nil {
		return nil, err
	}
	a.s.mu.Lock()
	defer a.s.mu.Unlock()
	rest := a.s.log[min(max(after, 0), int64(len(a.s.log))):] // entry n is at n-1
	out := slices.Clone(rest[:min(record.Limit(limit), len(rest))])
	for i := range out {
		out[i].JSON = slices.Clone(out[i].JSON)
	}
	return out, nil
}

// Head implements audit.Log.
func (a *Audit) Head(ctx context.Context) (audit.Head, error) {
	if err := ended(ctx); err != nil {
		return audit.Head{}, err
	}
	a.s.mu.Lock()
	defer a.s.mu.Unlock()
	return a.head(), nil
}

func (a *Audit) head() audit.Head {
	if len(a.s.log) == 0 {
		return audit.Head{}
	}
	last := a.s.log[len(a.s.log)-1]
	return audit.Head{Seq: last.Seq, Hash: last.Hash}
}
