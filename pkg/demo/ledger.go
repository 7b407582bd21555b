package demo

import (
	"slices"
	"sync"
	"time"
)

// Kind is what a change does.
type Kind string

// The kinds of changes.
const (
	Create    Kind = "create"
	Overwrite Kind = "overwrite"
	Edit      Kind = "metadata"
	Delete    Kind = "delete"
	Large     Kind = "large"
	Clash     Kind = "conflict"
)

// Change is something that a user did and that a server acknowledged.
type Change struct {
	ID       int // from 1
	Kind     Kind
	Site     string
	Object   Object // what was written; of a delete only the key
	Identity string // of Object; "" for a delete
	// Follows are the changes that the user knew of: what was at the site, and was read there, when the user wrote.
	Follows []int
	Acked   time.Time // when the server had answered
	// Everywhere is when the last of the other replicas had it; zero: never seen there, or not looked for.
	Everywhere time.Time
}

// Ledger remembers every acknowledged change. It may be used from many goroutines.
type Ledger struct {
	mu      sync.Mutex
	changes []Change
}

// add notes a change and gives it its id and its identity.
func (l *Ledger) add(c Change) Change {
	l.mu.Lock()
	defer l.mu.Unlock()
	c.ID = len(l.changes) + 1
	if c.Kind != Delete {
		c.Identity = c.Object.Identity()
	}
	l.changes = append(l.changes, c)
	return c
}

func (l *Ledger) update(id int, f func(*Change)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f(&l.changes[id-1])
}

// Changes are all changes so far, in the order of their ids.
func (l *Ledger) Changes() []Change {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.changes)
}

// last is the newest change of a key.
func (l *Ledger) last(key string) (Change, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range slices.Backward(l.changes) {
		if c.Object.Key == key {
			return c, true
		}
	}
	return Change{}, false
}
