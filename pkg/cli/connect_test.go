package cli_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/bucketmesh/bucketmesh/pkg/cli"
)

// A process that has the directory and takes no commands, yet or any more, is no failure: whoever asks is told to come again.
func TestStatusWhileAProcessStarts(t *testing.T) {
	dir := fill(t)
	turn, err := os.OpenFile(filepath.Join(dir, "turn"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = turn.Close() }()
	if err := turn.Truncate(0); err != nil {
		t.Fatal(err)
	}
	if _, err := turn.WriteString("4711\n"); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Flock(int(turn.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		t.Fatal(err)
	}
	got := run(t, nil, "status", "--data", dir)
	if got.code != cli.Busy || !strings.Contains(got.err, "process 4711 is starting or stopping") {
		t.Errorf("%d %s%s", got.code, got.out, got.err)
	}
}

func TestLimits(t *testing.T) {
	dir := fill(t)
	for limit, want := range map[string]int{"0": 2, "1": 1} {
		got := run(t, nil, "audit", "list", "--data", dir, "--limit", limit)
		if n := strings.Count(got.out, "object.written"); got.code != cli.OK || n != want {
			t.Errorf("--limit %s: %d entries, want %d: %d %s", limit, n, want, got.code, got.err)
		}
	}
	for _, list := range [][]string{{"audit", "list"}, {"conflicts", "list"}, {"dead-letters", "list"}} {
		if got := run(t, nil, append(list, "--data", dir, "--limit", "-1")...); got.code != cli.Usage {
			t.Errorf("%v with a limit below nothing: %d %s", list, got.code, got.out)
		}
		if got := run(t, nil, append(list, "--data", dir, "--limit", "0")...); got.code != cli.OK {
			t.Errorf("%v of all: %d %s", list, got.code, got.err)
		}
	}
}
