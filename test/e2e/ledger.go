package e2e

import (
	"slices"
	"strings"
	"sync"
	"time"
)

// outcome of a write, as its writer learned it.
type outcome string

// The outcomes.
const (
	acked   outcome = "acked"   // the server said yes
	refused outcome = "refused" // the server said no: nothing happened
	unknown outcome = "unknown" // no answer, or an error of the server: it may have happened
)

// sight is what a writer saw at a replica just before its write.
type sight struct {
	present bool
	etag    string
	op      int // who set the metadata
	body    int // who made the bytes
}

// write is what is known of one attempt of an operation.
type write struct {
	op          int
	kind        Kind
	replica     string
	key         string
	body        int    // the operation whose bytes were written; for a delete the operation itself
	meta        int    // the operation whose metadata were written
	etag        string // of the answer
	versionID   string // of the answer; a delete marker's for a delete
	seen        sight
	conditional bool // the server was told to refuse it unless the etag was still the one seen
	started     time.Time
	ended       time.Time
	outcome     outcome
	detail      string // of the error
}

// ledger is what the writers know. It may be used from many goroutines.
type ledger struct {
	mu     sync.Mutex
	writes []write
}

func (l *ledger) add(w write) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.writes = append(l.writes, w)
}

// all is what was recorded so far, by key and start.
func (l *ledger) all() []write {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := slices.Clone(l.writes)
	slices.SortFunc(all, func(a, b write) int {
		if a.key != b.key {
			return strings.Compare(a.key, b.key)
		}
		return a.started.Compare(b.started)
	})
	return all
}

// counts by outcome.
func (l *ledger) counts() map[outcome]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := map[outcome]int{}
	for _, w := range l.writes {
		n[w.outcome]++
	}
	return n
}
