package demo

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// Progress is told how far a run is. Stages follow each other; Advance may be called from many goroutines.
type Progress interface {
	Begin(stage string, total int) // total 0: it can't be counted
	Advance(n int)
	End()
}

// Silent tells nobody.
type Silent struct{}

// Begin implements Progress.
func (Silent) Begin(string, int) {}

// Advance implements Progress.
func (Silent) Advance(int) {}

// End implements Progress.
func (Silent) End() {}

// Lines writes one line per stage, for logs and for terminals that can't do more.
type Lines struct {
	Out io.Writer

	mu    sync.Mutex
	stage string
	total int
	done  int
	began time.Time
}

// Begin implements Progress.
func (l *Lines) Begin(stage string, total int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stage, l.total, l.done, l.began = stage, total, 0, time.Now()
}

// Advance implements Progress.
func (l *Lines) Advance(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.done += n
}

// End implements Progress.
func (l *Lines) End() {
	l.mu.Lock()
	defer l.mu.Unlock()
	took := time.Since(l.began).Round(10 * time.Millisecond)
	if l.total == 0 {
		fmt.Fprintf(l.Out, "%s: %s\n", l.stage, took)
		return
	}
	fmt.Fprintf(l.Out, "%s: %d of %d, %s\n", l.stage, l.done, l.total, took)
}
