package pipeline_test

import (
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"

	cloudevents "github.com/cloudevents/sdk-go/v2/event"

	"github.com/bucketmesh/bucketmesh/pkg/event"
	"github.com/bucketmesh/bucketmesh/pkg/object"
	"github.com/bucketmesh/bucketmesh/pkg/pipeline"
	"github.com/bucketmesh/bucketmesh/test/cluster"
)

// start runs a pipeline over the cluster until the test ends.
func start(t *testing.T, c *cluster.Cluster, dir string) *pipeline.Pipeline {
	t.Helper()
	o := pipeline.Options{Group: c.Group, DataDir: dir, Listen: c.Listen, LookupEnv: cluster.LookupEnv}
	if os.Getenv("BUCKETMESH_TEST_LOG") != "" {
		o.Logger = slog.New(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	p, err := pipeline.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return p
}

// tally counts the events that went through a pipeline.
type tally struct {
	mu sync.Mutex
	n  map[string]int // by type and subject
}

func watch(t *testing.T, p *pipeline.Pipeline) *tally {
	c := &tally{n: map[string]int{}}
	t.Cleanup(p.Watch(func(e cloudevents.Event) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.n[e.Type()+" "+e.Subject()]++
	}))
	return c
}

func (c *tally) of(typ, key string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n[typ+" "+event.EncodeSubject(key)]
}

// idle waits until every event was handled by every subscriber.
func idle(t *testing.T, p *pipeline.Pipeline) {
	t.Helper()
	cluster.Eventually(t, "every event is handled", func() bool {
		s, err := p.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return s.Outbox == 0 && s.Events.Events == 0
	})
}

func TestChangesReachAllReplicas(t *testing.T) {
	c := cluster.New(t, cluster.Options{}, "a", "b")
	p := start(t, c, t.TempDir())
	c.Sites["a"].Put("dir/one", "1")
	c.Everywhere("dir/one", "1")
	c.Sites["b"].Put("dir/one", "2")
	c.Everywhere("dir/one", "2")
	c.Sites["a"].Delete("dir/one")
	c.Everywhere("dir/one", "")
	large := strings.Repeat("0123456789abcdef", 24<<20/16)
	c.Sites["b"].Put("large", large)
	c.Everywhere("large", large)
	idle(t, p)
}

// One user's overwrite in a group of three costs what the algorithm promises, and its echoes cost nothing.
func TestSteadyStateCostsOneGetAndTwoPuts(t *testing.T) {
	c := cluster.New(t, cluster.Options{}, "a", "b", "c")
	p := start(t, c, t.TempDir())
	seen := watch(t, p)
	const key = "steady"
	c.Sites["a"].Put(key, strings.Repeat("x", 4096))
	c.Everywhere(key, strings.Repeat("x", 4096))
	cluster.Eventually(t, "the echoes of the first write came back", func() bool { return seen.of(event.ObjectWritten, key) >= 3 })
	idle(t, p)

	before := total(p)
	c.Sites["a"].Put(key, strings.Repeat("y", 4096))
	cluster.Eventually(t, "the echoes of the overwrite came back", func() bool { return seen.of(event.ObjectWritten, key) >= 6 })
	idle(t, p)
	got := total(p).Sub(before)
	if want := (object.Snapshot{Get: 1, Put: 2}); got != want {
		t.Errorf("an overwrite cost %+v, want %+v", got, want)
	}
	c.Everywhere(key, strings.Repeat("y", 4096))
	if n := seen.of(event.SyncApplied, key); n != 2 {
		t.Errorf("%d changes were announced, want 2", n)
	}
}

func total(p *pipeline.Pipeline) object.Snapshot {
	var sum object.Snapshot
	for _, s := range p.Counters() {
		sum = sum.Add(s)
	}
	return sum
}
