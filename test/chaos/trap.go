package main

import (
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"syscall"

	"github.com/bucketmesh/bucketmesh/pkg/reconcile"
)

// trap kills its own process at a line of the algorithm. What it writes down first proves where the process died: a file
// outlives the process that wrote it.
type trap struct {
	line string
	nth  int64 // occurrence of the line, from 1
	mark string
	seen atomic.Int64
}

// step is the engine's Trace.
func (t *trap) step(p reconcile.Point) {
	if p.Line != t.line || t.seen.Add(1) != t.nth {
		return
	}
	if err := os.WriteFile(t.mark, fmt.Appendf(nil, "%s\t%s\t%s\n", p.Line, p.Replica, p.Key), 0o600); err != nil {
		return // without a mark the harness says that the line was not reached
	}
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL) // a process may always kill itself
	select {}                                      // no instruction of the engine comes after this
}

// diedAt proves that a process died by its own trap.
func diedAt(state *os.ProcessState, mark, line string) error {
	status, ok := state.Sys().(syscall.WaitStatus)
	if !ok || !status.Signaled() || status.Signal() != syscall.SIGKILL {
		return fmt.Errorf("the process should have died at line %s by SIGKILL, and ended with: %s", line, state)
	}
	text, err := os.ReadFile(mark)
	if err != nil {
		return fmt.Errorf("the process died, and not at line %s: %w", line, err)
	}
	if at, _, _ := strings.Cut(string(text), "\t"); at != line {
		return fmt.Errorf("the process died at line %q, not at %s", at, line)
	}
	return nil
}
