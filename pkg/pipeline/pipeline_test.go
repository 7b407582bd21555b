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
)

// start runs a pipeline over the cluster until the test ends.
func (c *cluster) start(dir string) *pipeline.Pipeline {
	c.t.Helper()
	o := pipeline.Options{Group: c.Group, DataDir: dir, Listen: c.Listen, LookupEnv: lookupEnv}
	if os.Getenv("BUCKETMESH_TEST_LOG") != "" {
		o.Logger = slog.New(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	p, err := pipeline.Start(c.t.Context(), o)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() {
		if err := p.Close(); err != nil {
			c.t.Errorf("close: %v", err)
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
	eventually(t, "every event is handled", func() bool {
		s, err := p.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return s.Outbox == 0 && s.Events.Events == 0
	})
}

// everywhere waits until a key has a content at every replica; "" is absent.
func (c *cluster) everywhere(key, content string) {
	c.t.Helper()
	eventually(c.t, key+" is the same everywhere", func() bool {
		for _, s := range c.sites {
			if got, ok := s.get(key); got != content || ok != (content != "") {
				return false
			}
		}
		return true
	})
}

func TestChangesReachAllReplicas(t *testing.T) {
	c := newCluster(t, "a", "b")
	p := c.start(t.TempDir())
	c.sites["a"].put("dir/one", "1")
	c.everywhere("dir/one", "1")
	c.sites["b"].put("dir/one", "2")
	c.everywhere("dir/one", "2")
	c.sites["a"].delete("dir/one")
	c.everywhere("dir/one", "")
	large := strings.Repeat("0123456789abcdef", 24<<20/16)
	c.sites["b"].put("large", large)
	c.everywhere("large", large)
	idle(t, p)
}

// One user's overwrite in a group of three costs what the algorithm promises, and its echoes cost nothing.
func TestSteadyStateCostsOneGetAndTwoPuts(t *testing.T) {
	c := newCluster(t, "a", "b", "c")
	p := c.start(t.TempDir())
	seen := watch(t, p)
	const key = "steady"
	c.sites["a"].put(key, strings.Repeat("x", 4096))
	c.everywhere(key, strings.Repeat("x", 4096))
	eventually(t, "the echoes of the first write came back", func() bool { return seen.of(event.ObjectWritten, key) >= 3 })
	idle(t, p)

	before := total(p)
	c.sites["a"].put(key, strings.Repeat("y", 4096))
	eventually(t, "the echoes of the overwrite came back", func() bool { return seen.of(event.ObjectWritten, key) >= 6 })
	idle(t, p)
	got := total(p).Sub(before)
	if want := (object.Snapshot{Get: 1, Put: 2}); got != want {
		t.Errorf("an overwrite cost %+v, want %+v", got, want)
	}
	c.everywhere(key, strings.Repeat("y", 4096))
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
