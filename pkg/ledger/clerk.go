package ledger

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// batchLimit bounds what one transaction notes, writeWait how long it may take.
const (
	batchLimit = 256
	writeWait  = 30 * time.Second
)

// clerk writes the notes of many goroutines together: whoever comes while a transaction is under way waits for the next one,
// which takes all that wait. One that is alone waits for nobody.
type clerk struct {
	write func(ctx context.Context, notes []Note) error

	mu      sync.Mutex
	busy    bool
	waiting []*slip
}

// slip is one note that waits. Its channel tells that it was written, or that it is its owner's turn to write.
type slip struct {
	note Note
	turn chan struct{} // closed when it is the owner's turn
	done chan struct{} // closed when err is set
	err  error
}

// note returns when the note is kept. A caller that does not wait for the end does not know whether it is.
func (c *clerk) note(ctx context.Context, n Note) error {
	s := &slip{note: n, turn: make(chan struct{}), done: make(chan struct{})}
	c.mu.Lock()
	c.waiting = append(c.waiting, s)
	if !c.busy {
		c.busy = true
		close(s.turn)
	}
	c.mu.Unlock()
	select {
	case <-s.done:
	case <-s.turn:
		c.serve(ctx)
		<-s.done
	}
	return s.err
}

// serve writes what waits, the caller's own note among it, and gives the turn on.
func (c *clerk) serve(ctx context.Context) {
	c.mu.Lock()
	n := min(len(c.waiting), batchLimit)
	batch := c.waiting[:n:n]
	c.waiting = c.waiting[n:]
	c.mu.Unlock()
	notes := make([]Note, n)
	for i, s := range batch {
		notes[i] = s.note
	}
	// The others' notes must not depend on this caller's patience.
	within, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeWait)
	err := c.write(within, notes)
	cancel()
	if err != nil {
		err = fmt.Errorf("note outcome: %w", err)
	}
	for _, s := range batch {
		s.err = err
		close(s.done)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.waiting) == 0 {
		c.busy = false
		c.waiting = nil
		return
	}
	close(c.waiting[0].turn)
}
