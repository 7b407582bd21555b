package mem

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/audit"
	"github.com/bucketmesh/bucketmesh/pkg/ledger"
)

type eventName struct{ source, id string }

// books are the ledger of a group.
type books struct {
	closed   int64 // entry of the audit log up to which they are
	seen     int64
	counted  ledger.Balance
	outcomes map[eventName]outcome
}

type outcome struct {
	outcome, other ledger.Outcome
	key            string
	noted          time.Time
	closed         bool // the books are closed up to its entry
}

// Ledger is a ledger in the same memory.
type Ledger struct{ s *Store }

var _ ledger.Ledger = (*Ledger)(nil)

// Ledger is the store's ledger.
func (s *Store) Ledger() *Ledger { return &Ledger{s} }

func (s *Store) booksOf(group string) *books {
	b := s.books[group]
	if b == nil {
		b = &books{closed: -1, outcomes: map[eventName]outcome{}}
		if s.books == nil {
			s.books = map[string]*books{}
		}
		s.books[group] = b
	}
	return b
}

// Begin implements ledger.Ledger.
func (l *Ledger) Begin(ctx context.Context, group string) error {
	return l.use(ctx, group, func(b *books) {
		if b.closed < 0 {
			b.closed = int64(len(l.s.log))
		}
	})
}

// Note implements ledger.Ledger.
func (l *Ledger) Note(ctx context.Context, group string, notes ...ledger.Note) error {
	return l.use(ctx, group, func(b *books) {
		for _, n := range notes {
			name := eventName{n.Source, n.ID}
			o, known := b.outcomes[name]
			switch {
			case !known, o.outcome == ledger.Dead, (o.outcome == "" || o.outcome == ledger.Replayed) && n.Outcome != ledger.Replayed:
				o.outcome, o.key, o.noted = n.Outcome, n.Key, due(l.s.now())
			case o.other == "" && handled(o.outcome) && handled(n.Outcome) && (o.outcome == ledger.Filtered) != (n.Outcome == ledger.Filtered):
				o.other = n.Outcome
			}
			b.outcomes[name] = o
		}
	}, notes...)
}

func handled(o ledger.Outcome) bool { return o != "" && o != ledger.Dead && o != ledger.Replayed }

// Balance implements ledger.Ledger.
func (l *Ledger) Balance(ctx context.Context, group string, before time.Time) (sum ledger.Balance, err error) {
	before = due(before)
	err = l.use(ctx, group, func(b *books) {
		sum = b.counted
		sum.In = b.seen
		loose := func(what string, name eventName, subject string, at time.Time) {
			sum.Add(what, 1)
			sum.Examples = append(sum.Examples, ledger.Loose{What: what, Source: name.source, ID: name.id, Subject: subject, At: at})
		}
		for _, e := range l.s.log {
			name := eventName{e.Source, e.ID}
			o, known := b.outcomes[name]
			if b.closed < 0 || !strings.HasPrefix(e.Type, ledger.Types) || e.Seq <= b.closed && !o.closed {
				continue
			}
			at := e.Recorded
			if known {
				at = o.noted
			}
			if e.Seq > b.closed {
				sum.In++
			}
			switch class := l.class(group, o, at, before); class {
			case ledger.WhatUnaccounted:
				loose(class, name, e.Subject, at)
			default:
				sum.Add(class, 1)
			}
			if o.other != "" {
				loose(ledger.WhatDisputed, name, e.Subject, at)
			}
		}
		for name, o := range b.outcomes {
			if l.s.recorded[name] == 0 && o.noted.Before(before) {
				loose(ledger.WhatUnrecorded, name, "", o.noted)
			}
		}
	})
	slices.SortFunc(sum.Examples, func(a, b ledger.Loose) int {
		return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.Source, b.Source), cmp.Compare(a.ID, b.ID))
	})
	sum.Examples = sum.Examples[:min(len(sum.Examples), ledger.MaxExamples)]
	sum.Close()
	return sum, err
}

// class is what an event counts as.
func (l *Ledger) class(group string, o outcome, at, before time.Time) string {
	switch o.outcome {
	case "", ledger.Replayed:
		if at.Before(before) {
			return ledger.WhatUnaccounted
		}
		return "flight"
	case ledger.Parked:
		for _, c := range l.s.conflicts {
			if c.Group == group && c.Key == o.key && c.State != "resolved" && c.State != "superseded" {
				return "conflict"
			}
		}
		if _, dirty := l.s.dirty[id{group, o.key}]; dirty {
			return "flight"
		}
		return string(ledger.Applied)
	case ledger.Applied, ledger.Superseded, ledger.Filtered, ledger.Dead:
	}
	return string(o.outcome)
}

// Fold implements ledger.Ledger. It does everything at once.
func (l *Ledger) Fold(ctx context.Context, group string, before time.Time) (more bool, err error) {
	before = due(before)
	return false, l.use(ctx, group, func(b *books) {
		if b.closed < 0 {
			return
		}
		was := b.closed
		for _, e := range l.s.log[b.closed:] {
			if !e.Recorded.Before(before) {
				break
			}
			b.closed = e.Seq
			if strings.HasPrefix(e.Type, ledger.Types) {
				l.close(b, e)
			}
		}
		for name, o := range b.outcomes {
			class := ledger.Outcome(l.class(group, o, o.noted, before))
			seq := l.s.recorded[name]
			switch {
			case o.closed && o.other == "" && (class == ledger.Applied || class == ledger.Superseded || class == ledger.Filtered):
				b.counted.Add(string(class), 1)
				delete(b.outcomes, name)
			case !o.closed && seq != 0 && seq <= was && o.noted.Before(before): // it was counted long ago
				delete(b.outcomes, name)
			}
		}
	})
}

func (l *Ledger) close(b *books, e audit.Entry) {
	name := eventName{e.Source, e.ID}
	o, known := b.outcomes[name]
	if !known {
		o.noted = e.Recorded
	}
	o.closed = true
	b.seen++
	b.outcomes[name] = o
}

// Forgive implements ledger.Ledger.
func (l *Ledger) Forgive(ctx context.Context, group string, began time.Time) error {
	began = due(began)
	return l.use(ctx, group, func(b *books) {
		for name, o := range b.outcomes {
			switch {
			case !o.noted.Before(began):
				continue
			case l.s.recorded[name] == 0:
				delete(b.outcomes, name)
				continue
			case o.closed:
				if o.other = ""; o.outcome == "" || o.outcome == ledger.Replayed {
					o.outcome = ledger.Superseded
				}
			}
			b.outcomes[name] = o
		}
	})
}

func (l *Ledger) use(ctx context.Context, group string, f func(*books), notes ...ledger.Note) error {
	if err := ended(ctx); err != nil {
		return err
	}
	if err := ledger.Check(group, notes...); err != nil {
		return err
	}
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	f(l.s.booksOf(group))
	return nil
}
