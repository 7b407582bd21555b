package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/bucketmesh/bucketmesh/pkg/reconcile"
)

// markVariable makes this test the process that a trap is for.
const markVariable = "CHAOS_TEST_MARK"

// TestTrapChild is that process: it comes to line 5a twice and to 5c once, and ends with 7 if no trap caught it.
func TestTrapChild(_ *testing.T) {
	mark := os.Getenv(markVariable)
	if mark == "" {
		return
	}
	t := &trap{line: "5a", nth: 2, mark: mark}
	for _, p := range []reconcile.Point{{Line: "5a", Key: "one"}, {Line: "5c", Key: "two"}, {Line: "5a", Key: "three"}} {
		t.step(p)
	}
	os.Exit(7)
}

func TestTrap(t *testing.T) {
	mark := filepath.Join(t.TempDir(), "mark")
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestTrapChild$")
	child.Env = append(os.Environ(), markVariable+"="+mark)
	if err := child.Run(); !errors.As(err, new(*exec.ExitError)) {
		t.Fatalf("ended with %v", err)
	}
	if err := diedAt(child.ProcessState, mark, "5a"); err != nil {
		t.Error(err)
	}
	if text, err := os.ReadFile(mark); err != nil || string(text) != "5a\t\tthree\n" {
		t.Errorf("mark %q, %v", text, err)
	}
	if err := diedAt(child.ProcessState, mark, "5c"); err == nil {
		t.Error("a death at 5a passes for one at 5c")
	}
	if err := diedAt(child.ProcessState, mark+"x", "5a"); err == nil {
		t.Error("a kill without a mark passes for one at 5a")
	}
	plain := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^$")
	if err := plain.Run(); err != nil {
		t.Fatal(err)
	}
	if err := diedAt(plain.ProcessState, mark, "5a"); err == nil {
		t.Error("a process that ended by itself passes for a killed one")
	}
}
