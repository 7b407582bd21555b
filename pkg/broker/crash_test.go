package broker

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"
)

// childDir is set in the environment of a child process of the test below: the directory to use.
const childDir = "BUCKETMESH_TEST_BROKER_CHILD_DIR"

// publishUntilKilled is the child: it publishes without end and prints the id of every event that was acknowledged.
func publishUntilKilled(dir string) error {
	ctx := context.Background()
	b, err := Open(ctx, Config{Dir: dir})
	if err != nil {
		return err
	}
	if err := b.Declare(ctx, Trigger{Name: "one"}); err != nil {
		return err
	}
	var out sync.Mutex
	fail := make(chan error)
	for w := range 4 {
		go func() {
			for i := 0; ; i++ {
				id := fmt.Sprintf("%d-%d-%d", os.Getpid(), w, i)
				if err := b.Publish(ctx, newEvent(id, "x")); err != nil {
					fail <- err
					return
				}
				out.Lock()
				fmt.Println(id)
				out.Unlock()
			}
		}()
	}
	return <-fail
}

// TestKillLosesNoAcknowledgedEvent kills the process of a broker while it publishes, three times on one directory, and then looks for every
// event that was ever acknowledged.
func TestKillLosesNoAcknowledgedEvent(t *testing.T) {
	dir := t.TempDir()
	var acked []string
	for range 3 {
		acked = append(acked, runAndKill(t, dir)...)
	}
	b := open(t, Config{Dir: dir})
	var got recorder
	subscribe(t, b, Trigger{Name: "one"}, got.Handle)
	eventually(t, "all that the store holds are handled", func() bool {
		s, err := b.Status(t.Context())
		return err == nil && s.Events == 0
	})
	lost := slices.DeleteFunc(slices.Clone(acked), func(id string) bool { return got.count(id) > 0 })
	if len(lost) > 0 {
		t.Errorf("%d of %d acknowledged events are lost, the first is %s", len(lost), len(acked), lost[0])
	}
}

func runAndKill(t *testing.T, dir string) (acked []string) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+dir)
	cmd.Stderr = t.Output()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		acked = append(acked, lines.Text())
		if len(acked) == 300 {
			if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := cmd.Wait(); err == nil || cmd.ProcessState.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("the child ended by itself after %d events: %v", len(acked), err)
	}
	return acked
}

// report adds percentiles to a benchmark.
func report(b *testing.B, latency []time.Duration) {
	slices.Sort(latency)
	for _, p := range []int{50, 99} {
		b.ReportMetric(float64(latency[len(latency)*p/100].Microseconds()), "p"+strconv.Itoa(p)+"-µs")
	}
}
