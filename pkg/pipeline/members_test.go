package pipeline_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/bucketmesh/bucketmesh/pkg/config"
	"github.com/bucketmesh/bucketmesh/test/cluster"
)

// without is the group without a replica.
func without(t *testing.T, c *cluster.Cluster, name string) *config.Group {
	t.Helper()
	lines := slices.DeleteFunc(strings.Split(c.Document, "\n"), func(l string) bool { return strings.Contains(l, "{name: "+name+",") })
	g, err := config.Load([]byte(strings.Join(lines, "\n")), config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// A replica leaves the group: the others go on without it, and what happens to it is nobody's affair. When it comes back it is a
// new replica: it is filled, what it has that the others do not have is carried to them, and nothing that is missing in it is
// taken for deleted.
func TestReplicaLeavesAndComesBack(t *testing.T) {
	c := cluster.New(t, cluster.Options{}, "a", "b", "c")
	all, dir := c.Group, t.TempDir()
	p := start(t, c, dir)
	for _, key := range []string{"stays", "edited", "missing at c", "deleted meanwhile"} {
		c.Sites["a"].Put(key, "1")
		c.Everywhere(key, "1")
	}
	idle(t, p)
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}

	c.Group = without(t, c, "c")
	p = start(t, c, dir)
	c.Sites["a"].Put("edited", "2")
	c.Sites["a"].Delete("deleted meanwhile")
	c.Sites["c"].Delete("missing at c")
	for key, want := range map[string]string{"edited": "2", "deleted meanwhile": ""} {
		cluster.Eventually(t, key+" is the same at a and b", func() bool { got, _ := c.Sites["b"].Get(key); return got == want })
	}
	idle(t, p)
	if got, _ := c.Sites["c"].Get("deleted meanwhile"); got != "1" {
		t.Errorf("the replica that left was touched: it has %q", got)
	}
	if s, err := p.Status(t.Context()); err != nil || s.Keys != 3 || s.Dirty != 0 {
		t.Errorf("status %+v, %v: want the row of the deleted key gone", s.Stats, err)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}

	c.Group = all
	p = start(t, c, dir)
	if _, err := p.Backfill(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{"stays": "1", "missing at c": "1", "deleted meanwhile": "1"} {
		c.Everywhere(key, want)
	}
	winner, _ := c.Sites["a"].Get("edited") // 1 of c was never seen by who wrote 2
	c.Everywhere("edited", winner)
	if keys := c.Sites["a"].Keys(); winner != "2" || len(keys) != 5 || !strings.HasPrefix(keys[0], config.ConflictPrefix+"edited/") {
		t.Errorf("edited is %q, keys %q", winner, keys)
	}
}
