package cli_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/bucketmesh/bucketmesh/pkg/cli"
	"github.com/bucketmesh/bucketmesh/pkg/pipeline"
	"github.com/bucketmesh/bucketmesh/test/cluster"
)

// What a person does at 3 a.m.: with a process that runs, and without one.
func TestBrakeFromTheCommandLine(t *testing.T) {
	c := cluster.New(t, cluster.Options{Spec: "  deletes: {hold: 0s, brake: {keys: 0, percent: 0}}\n"}, "a", "b")
	group, dir := write(t, "group.yaml", c.Document), t.TempDir()
	up := spawn(t, "up", "-f", group, "--data", dir, "--listen", c.Listen)
	cluster.Eventually(t, "up is up", func() bool { s, ok := statusOf(t, dir); return ok && s.Running })
	const n = 5
	for i := range n {
		c.Sites["a"].Put(fmt.Sprint("k/", i), "content")
	}
	c.Everywhere("k/4", "content")
	must := func(code cli.Code, says string, args ...string) result {
		t.Helper()
		got := run(t, clusterEnv(), append(args, "--data", dir)...)
		if got.code != code || !strings.Contains(got.out+got.err, says) {
			t.Fatalf("%v: exit code %d, want %d; must say %q:\n%s%s", args, got.code, code, says, got.out, got.err)
		}
		return got
	}
	held := func() {
		t.Helper()
		for i := range n {
			c.Sites["a"].Delete(fmt.Sprint("k/", i))
		}
		cluster.Eventually(t, "all deletes are held", func() bool {
			var b pipeline.Brake
			got := must(cli.OK, "", "brake", "status", "-o", "json")
			if err := json.Unmarshal([]byte(got.out), &b); err != nil {
				t.Fatal(err)
			}
			return b.State == "tripped" && b.Waiting == n && len(b.Some) == n
		})
	}
	must(cli.OK, "Deletes are carried on", "brake", "status")
	held()
	must(cli.OK, "DELETES ARE HELD since", "status")
	must(cli.OK, "held by the delete brake: 1 deletes within 1h, more than 0 of 5 keys", "status")
	must(cli.Failure, "approve the deletes, or undo them", "brake", "resume")
	got := must(cli.OK, "5 undone", "brake", "undo", "--progress", "plain")
	if !strings.Contains(got.err, "5 of 5 keys undone") {
		t.Errorf("progress: %q", got.err)
	}
	for i := range n {
		c.Everywhere(fmt.Sprint("k/", i), "content")
	}
	must(cli.OK, "DELETES ARE PAUSED since", "brake", "pause")
	must(cli.OK, "Deletes are carried on", "brake", "resume")
	held()

	up.kill()
	must(cli.OK, "5 approved", "brake", "approve")
	must(cli.OK, "", "sync")
	if keys := c.Sites["b"].Keys(); len(keys) != 0 {
		t.Errorf("approved, and b still has %q", keys)
	}
	must(cli.OK, "Nothing was done; this is what would be", "undelete", "--all", "--dry-run")
	must(cli.OK, "1 restored", "undelete", "--key", "k/3")
	c.Everywhere("k/3", "content")
	c.Sites["a"].Put("k/4", "new")
	must(cli.OK, "", "sync")
	got = must(cli.OK, "3 restored", "undelete", "--since", "1h")
	if !strings.Contains(got.out, "1 exists") {
		t.Errorf("undelete says\n%s", got.out)
	}
	c.Everywhere("k/0", "content")
	c.Everywhere("k/4", "new")
	must(cli.OK, "There was nothing to do", "undelete", "--prefix", "other/")
	must(cli.NotFound, "no delete of the key", "undelete", "--key", "unknown")
}
