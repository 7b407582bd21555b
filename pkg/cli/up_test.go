package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/bucketmesh/bucketmesh/pkg/cli"
	"github.com/bucketmesh/bucketmesh/pkg/pipeline"
	"github.com/bucketmesh/bucketmesh/pkg/scan"
	"github.com/bucketmesh/bucketmesh/test/cluster"
)

// child is this program in a process of its own.
type child struct {
	cmd   *exec.Cmd
	out   bytes.Buffer
	ended chan error
}

func spawn(t *testing.T, args ...string) *child {
	t.Helper()
	c := &child{ended: make(chan error, 1)}
	// Not the test's context: it is canceled before the clean-up.
	c.cmd = exec.CommandContext(context.WithoutCancel(t.Context()), os.Args[0], args...)
	c.cmd.Env = append(append(os.Environ(), childVariable+"=1"), cluster.Environment()...)
	c.cmd.Stdout, c.cmd.Stderr = &c.out, &c.out
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { c.ended <- c.cmd.Wait() }()
	t.Cleanup(func() {
		c.kill()
		if t.Failed() {
			t.Logf("bucketmesh %s:\n%s", strings.Join(args, " "), c.out.String())
		}
	})
	return c
}

func (c *child) kill() {
	if c.cmd.ProcessState == nil {
		_ = c.cmd.Process.Kill() // it may have ended by itself
	}
	_ = c.wait() // it was killed
}

func (c *child) wait() error {
	err := <-c.ended
	c.ended <- err // for whoever asks again
	return err
}

// env of commands in this process.
func clusterEnv() map[string]string {
	m := map[string]string{}
	for _, v := range cluster.Environment() {
		name, value, _ := strings.Cut(v, "=")
		m[name] = value
	}
	return m
}

func statusOf(t *testing.T, dir string) (s pipeline.Status, ok bool) {
	t.Helper()
	got := run(t, clusterEnv(), "status", "--data", dir, "-o", "json")
	if got.code != cli.OK {
		return s, false
	}
	if err := json.Unmarshal([]byte(got.out), &s); err != nil {
		t.Fatalf("%v: %s", err, got.out)
	}
	return s, true
}

// A process that is killed at any moment loses nothing: what it was told of, and what happened while nobody ran, is
// brought together by the next one.
func TestUpSurvivesKill(t *testing.T) {
	c := cluster.New(t, cluster.Options{QueueDir: true}, "a", "b")
	group, dir := write(t, "group.yaml", c.Document), t.TempDir()
	up := func() *child {
		p := spawn(t, "up", "-f", group, "--data", dir, "--listen", c.Listen)
		cluster.Eventually(t, "up is up", func() bool { s, ok := statusOf(t, dir); return ok && s.Running })
		return p
	}
	p := up()
	c.Sites["a"].Put("k/0", "0")
	c.Everywhere("k/0", "0")

	for round := range 3 {
		for i := range 20 {
			c.Sites[[]string{"a", "b"}[i%2]].Put(fmt.Sprintf("k/%d", i), fmt.Sprintf("%d in round %d", i, round))
		}
		p.kill() // in the middle of it
		c.Sites["b"].Put("while-down", fmt.Sprint(round))
		p = up()
	}
	for i := range 20 {
		c.Everywhere(fmt.Sprintf("k/%d", i), fmt.Sprintf("%d in round 2", i))
	}
	c.Everywhere("while-down", "2")

	got := run(t, clusterEnv(), "sync", "--data", dir, "-o", "json", "--progress", "plain")
	var result scan.Progress
	if err := json.Unmarshal([]byte(got.out), &result); err != nil || got.code != cli.OK || !result.Complete() || result.Keys < 21 {
		t.Errorf("sync through the running process: %d %v %s%s", got.code, err, got.out, got.err)
	}
	document := write(t, "other.yaml", c.Document+"  scan: {every: 7h}\n")
	if other := run(t, clusterEnv(), "sync", "-f", document, "--data", dir); other.code != cli.Misconfigured || !strings.Contains(other.err, "runs another document") {
		t.Errorf("sync with another document: %d %s", other.code, other.err)
	}
	if same := run(t, clusterEnv(), "status", "-f", group, "--data", dir); same.code != cli.OK {
		t.Errorf("status with the document that runs: %d %s", same.code, same.err)
	}
	if other := run(t, clusterEnv(), "up", "-f", group, "--data", dir, "--listen", "127.0.0.1:0"); other.code != cli.Misconfigured || !strings.Contains(other.err, "uses it already") {
		t.Errorf("a second process on the directory: %d %s", other.code, other.err)
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := p.wait(); err != nil {
		t.Errorf("SIGTERM: %v", err)
	}
	s, ok := statusOf(t, dir)
	if !ok || s.Running || s.Keys < 21 {
		t.Errorf("status without a process: %v %+v", ok, s)
	}
	if got := run(t, nil, "audit", "verify", "--data", dir); got.code != cli.OK {
		t.Errorf("audit verify: %d %s%s", got.code, got.out, got.err)
	}
	c.Sites["a"].Put("unheard", "of")
	if got := run(t, clusterEnv(), "sync", "--data", dir); got.code != cli.OK || !strings.Contains(got.out, "BROUGHT TOGETHER") {
		t.Errorf("sync in this process: %d %s%s", got.code, got.out, got.err)
	}
	c.Everywhere("unheard", "of")
}

// What could not be finished is said, named and explained.
func TestSyncInPart(t *testing.T) {
	c := cluster.New(t, cluster.Options{}, "a", "b", "c")
	group, dir := write(t, "group.yaml", c.Document), t.TempDir()
	c.Sites["a"].Put("k", "1")
	if got := run(t, clusterEnv(), "sync", "-f", group, "--data", dir); got.code != cli.OK {
		t.Fatalf("first sync: %d %s%s", got.code, got.out, got.err)
	}
	c.Sites["c"].Stop()
	c.Sites["a"].Put("k", "2")
	got := run(t, clusterEnv(), "sync", "--data", dir)
	if got.code != cli.Partial || !strings.Contains(got.out, "Replica c was not compared") || !strings.Contains(got.out, "equal at the replicas that answered (a, b).") {
		t.Errorf("%d %s%s", got.code, got.out, got.err)
	}
	if got, _ := c.Sites["b"].Get("k"); got != "2" {
		t.Errorf("the replica that answers has %q", got)
	}
	status := run(t, clusterEnv(), "status", "--data", dir)
	if !strings.Contains(status.out, "c:") {
		t.Errorf("status does not say why the key is left over:\n%s", status.out)
	}
}
