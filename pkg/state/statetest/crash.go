package statetest

import (
	"bufio"
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/bucketmesh/bucketmesh/pkg/state"
	"github.com/bucketmesh/bucketmesh/pkg/version"
)

// crashEnv tells a test binary that it is the child of RunCrash, and which database to open.
const crashEnv = "BUCKETMESH_STATETEST_CRASH"

const (
	crashWriters = 4
	crashCounter = "n"
)

// CrashChild is to be called by TestMain before anything else. In the child of RunCrash it opens the database and
// commits until it is killed; elsewhere it returns at once.
func CrashChild(open func(ctx context.Context, database string) (state.Store, error)) {
	database := os.Getenv(crashEnv)
	if database == "" {
		return
	}
	s, err := open(context.Background(), database)
	if err != nil {
		fmt.Println("failed:", err)
		os.Exit(1)
	}
	var wg sync.WaitGroup
	for i := range crashWriters {
		wg.Go(func() { commitForever(s, fmt.Sprint("k", i)) })
	}
	wg.Wait()
	os.Exit(1)
}

// commitForever counts in a row. Every commit has an event, and is acknowledged by a line after it.
func commitForever(s state.Store, key string) {
	ctx := context.Background()
	row, err := s.Get(ctx, group, key)
	for err == nil {
		n := row.Counters[crashCounter] + 1
		row.Counters = version.Vector{crashCounter: n}
		row.Rev, err = s.Commit(ctx, row, state.Effects{Events: []state.OutboxEvent{event(fmt.Sprintf("%s %d", key, n))}})
		if err == nil {
			fmt.Println("acked", key, n)
		}
	}
	fmt.Println("failed:", err)
}

// RunCrash starts the test binary again as a child that commits as fast as it can, kills it (SIGKILL), and looks at
// what is there: every commit that was acknowledged, whole; of those that were not, all or nothing. And again, on what
// is left.
func RunCrash(t *testing.T, database string, open func() (state.Store, error)) {
	t.Helper()
	for round, after := range []int{20, 150, 333, 1} {
		acked := crash(t, database, after)
		s, err := open()
		check(t, err)
		at, count := settled(t, s)
		for key, n := range at {
			if n < acked[key] {
				t.Errorf("round %d: %s is at %d, acknowledged was %d", round, key, n, acked[key])
			}
			if n != count[key] {
				t.Errorf("round %d: %s is at %d, but there are %d events", round, key, n, count[key])
			}
		}
		check(t, s.Close())
	}
}

// settled reads how far each key is, and how many events it has. A database server may still be at work on the last
// words of the dead: what was read counts if nothing was committed meanwhile.
func settled(t *testing.T, s state.Store) (at, events map[string]uint64) {
	t.Helper()
	for {
		at, events = map[string]uint64{}, eventsOf(t, s)
		for i := range crashWriters {
			key := fmt.Sprint("k", i)
			at[key] = get(t, s, key).Counters[crashCounter]
		}
		if maps.Equal(events, eventsOf(t, s)) {
			return at, events
		}
	}
}

// eventsOf counts the events of each key, which must be without gaps and in order.
func eventsOf(t *testing.T, s state.Store) map[string]uint64 {
	t.Helper()
	count := map[string]uint64{}
	events, err := s.Outbox(t.Context(), 1<<20)
	check(t, err)
	for _, e := range events {
		key, n, _ := strings.Cut(e.ID, " ")
		count[key]++
		equal(t, n, fmt.Sprint(count[key]))
	}
	return count
}

// crash runs a child until it acknowledged a number of commits, and returns the last acknowledged one of each key.
func crash(t *testing.T, database string, after int) map[string]uint64 {
	t.Helper()
	self, err := os.Executable()
	check(t, err)
	child := exec.CommandContext(t.Context(), self)
	child.Env = append(os.Environ(), crashEnv+"="+database)
	child.Stderr = os.Stderr
	out, err := child.StdoutPipe()
	check(t, err)
	check(t, child.Start())
	acked := map[string]uint64{}
	lines := bufio.NewScanner(out)
	for n := 1; lines.Scan(); n++ {
		var key string
		var count uint64
		// The last line may be torn: what is not a whole acknowledgement is none.
		if _, err := fmt.Sscanf(lines.Text()+"\n", "acked %s %d\n", &key, &count); err == nil {
			acked[key] = max(acked[key], count)
		} else if strings.HasPrefix(lines.Text(), "failed") {
			t.Error("child", lines.Text())
		}
		if n == after {
			check(t, child.Process.Kill())
		}
	}
	if err := child.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Fatalf("the child ended by itself: %v", err)
	}
	if len(acked) == 0 {
		t.Fatal("the child acknowledged nothing")
	}
	return acked
}
