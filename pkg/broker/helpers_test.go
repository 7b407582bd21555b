package broker

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"

	"github.com/bucketmesh/bucketmesh/pkg/deadletter"
)

const patience = 30 * time.Second // for what must happen; a test that passes never waits for it

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		if err := publishUntilKilled(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func open(t *testing.T, cfg Config) *Broker {
	t.Helper()
	if cfg.Dir == "" && cfg.URL == "" {
		cfg.Dir = t.TempDir()
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	}
	b, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatalf("open broker: %v", err)
	}
	t.Cleanup(func() { closeNow(t, b) })
	return b
}

// closeNow cancels the handlers that run.
func closeNow(t *testing.T, b *Broker) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_ = b.Close(ctx) // that handlers were canceled is what was asked for
}

func newEvent(id, kind string, change ...func(*event.Event)) event.Event {
	e := event.New()
	e.SetID(id)
	e.SetSource("https://s3.example/bucket")
	e.SetType(kind)
	if err := e.SetData(event.ApplicationJSON, map[string]string{"key": id}); err != nil {
		panic(err)
	}
	for _, f := range change {
		f(&e)
	}
	return e
}

func publish(t *testing.T, b *Broker, events ...event.Event) {
	t.Helper()
	if err := b.Publish(t.Context(), events...); err != nil {
		t.Fatalf("publish: %v", err)
	}
}

func subscribe(t *testing.T, b *Broker, tr Trigger, h HandlerFunc) {
	t.Helper()
	if err := b.Subscribe(t.Context(), tr, h); err != nil {
		t.Fatalf("subscribe: %v", err)
	}
}

// eventually polls until cond holds.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	late := time.After(patience)
	for !cond() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("never happened: %s", what)
		}
	}
}

func receive[T any](t *testing.T, c <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatalf("never happened: %s", what)
		panic("unreachable")
	}
}

func status(t *testing.T, b *Broker, trigger string) TriggerStatus {
	t.Helper()
	s, err := b.Status(t.Context())
	if err != nil {
		t.Fatalf("status: %v", err)
	}
	for _, ts := range s.Triggers {
		if ts.Name == trigger {
			return ts
		}
	}
	t.Fatalf("status has no trigger %s: %+v", trigger, s)
	panic("unreachable")
}

func letters(t *testing.T, b *Broker) []deadletter.Letter {
	t.Helper()
	l, err := b.DeadLetters(t.Context(), 0)
	if err != nil {
		t.Fatalf("dead letters: %v", err)
	}
	return l
}

// recorder counts what a handler got, by id.
type recorder struct {
	mu   sync.Mutex
	seen map[string]int
}

func (r *recorder) Handle(_ context.Context, e event.Event) error {
	r.add(e.ID())
	return nil
}

func (r *recorder) add(id string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.seen == nil {
		r.seen = map[string]int{}
	}
	r.seen[id]++
	return r.seen[id]
}

func (r *recorder) count(id string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.seen[id]
}

func (r *recorder) distinct() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.seen)
}
