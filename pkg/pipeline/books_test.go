package pipeline_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	cloudevents "github.com/cloudevents/sdk-go/v2/event"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/ledger"
	"github.com/bucketmesh/bucketmesh/pkg/pipeline"
	"github.com/bucketmesh/bucketmesh/pkg/serve"
	"github.com/bucketmesh/bucketmesh/pkg/subscriber"
	"github.com/bucketmesh/bucketmesh/test/cluster"
)

// fault handles an event of a subscriber in place of its handler h.
type fault func(ctx context.Context, h subscriber.Handler, e cloudevents.Event) error

// startWith is start with faults, by subscriber.
func startWith(t *testing.T, c *cluster.Cluster, dir string, faults map[string]fault) *pipeline.Pipeline {
	t.Helper()
	o := pipeline.Options{Group: c.Group, DataDir: dir, Listen: c.Listen, LookupEnv: cluster.LookupEnv}
	o.Between(func(name string, h subscriber.Handler) subscriber.Handler {
		f := faults[name]
		if f == nil {
			return h
		}
		return serve.HandlerFunc(func(ctx context.Context, e cloudevents.Event) error { return f(ctx, h, e) })
	})
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

func isObject(e cloudevents.Event) bool { return strings.HasPrefix(e.Type(), ledger.Types) }

func books(t *testing.T, p *pipeline.Pipeline) ledger.Balance {
	t.Helper()
	s, err := p.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s.Ledger
}

// atRest waits until nothing is under way, and draws up the books.
func atRest(t *testing.T, p *pipeline.Pipeline) ledger.Balance {
	t.Helper()
	cluster.Eventually(t, "nothing is under way", func() bool {
		s, err := p.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return s.Outbox == 0 && s.Events.Events == 0 && s.Dirty == 0
	})
	return books(t, p)
}

// recorded counts the object.* events of the audit log.
func recorded(t *testing.T, p *pipeline.Pipeline) (n int64) {
	t.Helper()
	entries, err := p.Audit().Range(t.Context(), 0, 100_000)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Type, ledger.Types) {
			n++
		}
	}
	return n
}

// The law holds at rest and at work, with events that come twice, that fail first, that are filtered, in conflict and given up.
func TestEveryEventIsAccountedFor(t *testing.T) {
	c := cluster.New(t, cluster.Options{Spec: "  filter: {exclude: [\"tmp/**\"]}\n"}, "a", "b")
	a, b := c.Sites["a"], c.Sites["b"]
	a.Put("clash", "from a") // nobody listens yet
	b.Put("clash", "from b")
	decide := make(chan struct{})
	var events atomic.Int64
	var seen sync.Map
	dir := t.TempDir()
	faults := map[string]fault{
		subscriber.NameResolver: func(ctx context.Context, h subscriber.Handler, e cloudevents.Event) error {
			select {
			case <-decide:
				return h.Handle(ctx, e)
			case <-ctx.Done():
				return ctx.Err()
			}
		},
		subscriber.NameSync: func(ctx context.Context, h subscriber.Handler, e cloudevents.Event) error {
			if !isObject(e) {
				return h.Handle(ctx, e)
			}
			if e.Subject() == "dead" {
				if _, again := seen.LoadOrStore("dead", true); !again {
					e.DataEncoded = []byte(`"nobody understands this"`)
				}
				return h.Handle(ctx, e)
			}
			_, again := seen.LoadOrStore(e.ID(), true)
			switch n := events.Add(1); {
			case n%5 == 0: // delivered twice
				if err := h.Handle(ctx, e); err != nil {
					return err
				}
			case n%5 == 1 && !again: // failed before anything happened
				return errkind.New(errkind.Unavailable, "a fault")
			case n%5 == 2 && !again: // handled, but that got lost
				if err := h.Handle(ctx, e); err != nil {
					return err
				}
				return errkind.New(errkind.Unavailable, "a fault")
			}
			return h.Handle(ctx, e)
		},
	}
	p := startWith(t, c, dir, faults)
	holds := func(when string) ledger.Balance {
		t.Helper()
		got := books(t, p)
		if !got.Holds {
			t.Errorf("%s: %+v", when, got)
		}
		return got
	}
	a.Put("clash", "from a, again")
	cluster.Eventually(t, "the conflict is in the books", func() bool { return holds("in conflict").InConflict > 0 })
	close(decide)
	a.Put("dead", "1")
	random := rand.New(rand.NewPCG(1, 2))
	for i := range 80 {
		site := []*cluster.Site{a, b}[random.IntN(2)]
		key := fmt.Sprintf("%s/%d", []string{"keep", "tmp"}[random.IntN(4)/3], random.IntN(8))
		if random.IntN(4) == 0 {
			site.Delete(key)
		} else {
			site.Put(key, fmt.Sprint(i))
		}
		if i%10 == 0 {
			holds("at work")
		}
		if i == 40 {
			if err := p.Fold(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	got := atRest(t, p)
	if !got.Holds || got.In != recorded(t, p) || got.In != got.Accounted() {
		t.Errorf("%d events are recorded, and the books say %+v", recorded(t, p), got)
	}
	if got.Applied == 0 || got.Superseded == 0 || got.Filtered == 0 || got.DeadLetters != 1 || got.InConflict != 0 || got.InFlight != 0 {
		t.Errorf("not what happened: %+v", got)
	}
	if _, err := p.Replay(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.Everywhere("dead", "1")
	after := atRest(t, p)
	if !after.Holds || after.DeadLetters != 0 || after.In != recorded(t, p) {
		t.Errorf("after the replay: %+v", after)
	}
	if err := p.Fold(t.Context()); err != nil {
		t.Fatal(err)
	}
	if folded := books(t, p); fmt.Sprint(folded) != fmt.Sprint(after) {
		t.Errorf("a fold changed the books from %+v to %+v", after, folded)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	again := startWith(t, c, dir, nil)
	if restarted := atRest(t, again); fmt.Sprint(restarted) != fmt.Sprint(after) {
		t.Errorf("a restart changed the books from %+v to %+v", after, restarted)
	}
}

// An event that is lost between audit and sync is seen, and a comparison of all buckets makes up for it.
func TestLostEventIsSeen(t *testing.T) {
	c := cluster.New(t, cluster.Options{}, "a", "b")
	p := startWith(t, c, t.TempDir(), map[string]fault{
		subscriber.NameSync: func(ctx context.Context, h subscriber.Handler, e cloudevents.Event) error {
			if isObject(e) && e.Subject() == "lost" {
				return nil
			}
			return h.Handle(ctx, e)
		},
	})
	c.Sites["a"].Put("kept", "1")
	c.Everywhere("kept", "1")
	if got := atRest(t, p); !got.Holds || got.In != 2 {
		t.Fatalf("before: %+v", got)
	}
	c.Sites["a"].Put("lost", "1")
	cluster.Eventually(t, "the loss is seen", func() bool { return books(t, p).Unaccounted == 1 })
	got := atRest(t, p)
	if got.Holds || got.In != 3 || got.Accounted() != 2 || len(got.Examples) != 1 || got.Examples[0].Subject != "lost" || len(got.Findings()) != 1 {
		t.Errorf("%+v, %q", got, got.Findings())
	}
	if err := p.Fold(t.Context()); err != nil { // it is not swept under the carpet
		t.Fatal(err)
	}
	if got := books(t, p); got.Unaccounted != 1 {
		t.Errorf("after a fold: %+v", got)
	}
	if done, err := p.Backfill(t.Context(), nil); err != nil || !done.Complete() {
		t.Fatalf("%+v, %v", done, err)
	}
	c.Everywhere("lost", "1")
	cluster.Eventually(t, "the echo of the copy is lost as well", func() bool { return books(t, p).Unaccounted == 1 })
	if got := atRest(t, p); got.In != 4 || got.Superseded != 2 { // the lost one, and the echo of the first copy
		t.Errorf("after the comparison: %+v", got)
	}
}

// An event that the audit log lost is seen, too, and so are outcomes that can't be.
func TestOutcomesThatCantBeAreSeen(t *testing.T) {
	c := cluster.New(t, cluster.Options{}, "a", "b")
	var at atomic.Pointer[pipeline.Pipeline]
	p := startWith(t, c, t.TempDir(), map[string]fault{
		subscriber.NameAudit: func(ctx context.Context, h subscriber.Handler, e cloudevents.Event) error {
			if isObject(e) && strings.HasPrefix(e.Subject(), "unrecorded") {
				return nil
			}
			return h.Handle(ctx, e)
		},
		subscriber.NameSync: func(ctx context.Context, h subscriber.Handler, e cloudevents.Event) error {
			if err := h.Handle(ctx, e); err != nil || !isObject(e) {
				return err
			}
			n := ledger.Note{Source: e.Source(), ID: e.ID(), Outcome: ledger.Filtered}
			switch {
			case strings.HasPrefix(e.Subject(), "renamed"):
				n.ID += "-2"
			case !strings.HasPrefix(e.Subject(), "disputed"):
				return nil
			}
			return at.Load().Note(ctx, n)
		},
	})
	at.Store(p)
	for key, want := range map[string]ledger.Balance{
		"unrecorded": {Unrecorded: 2}, // the write and its echo
		"renamed":    {In: 2, Applied: 1, Superseded: 1, Unrecorded: 2},
		"disputed":   {In: 2, Applied: 1, Superseded: 1, Disputed: 2},
	} {
		before := atRest(t, p)
		c.Sites["a"].Put(key, "1")
		c.Everywhere(key, "1")
		cluster.Eventually(t, "both events of "+key+" are in the books", func() bool {
			got := atRest(t, p)
			return !got.Holds && got.In-before.In == want.In && got.Applied-before.Applied == want.Applied &&
				got.Superseded-before.Superseded == want.Superseded && got.Unrecorded-before.Unrecorded == want.Unrecorded &&
				got.Disputed-before.Disputed == want.Disputed && got.Unaccounted == 0
		})
	}
	if done, err := p.Backfill(t.Context(), nil); err != nil || !done.Complete() {
		t.Fatalf("%+v, %v", done, err)
	}
	if got := atRest(t, p); !got.Holds {
		t.Errorf("after a comparison of all buckets: %+v", got)
	}
}
