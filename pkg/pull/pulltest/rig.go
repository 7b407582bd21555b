package pulltest

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	cloudevents "github.com/cloudevents/sdk-go/v2/event"

	"github.com/bucketmesh/bucketmesh/pkg/config"
	"github.com/bucketmesh/bucketmesh/pkg/event"
	"github.com/bucketmesh/bucketmesh/pkg/pull"
	"github.com/bucketmesh/bucketmesh/pkg/pull/queue"
)

const patience = 90 * time.Second // for what takes as long as a message is hidden, and a bit on a busy machine

// limits are short, so that tests are.
func limits() queue.Limits {
	return queue.Limits{
		Messages: 4, Handle: 2 * time.Second, Request: 2 * time.Second, Visibility: 6 * time.Second, Wait: time.Second,
		Idle: 200 * time.Millisecond, Backoff: 100 * time.Millisecond, MaxBackoff: time.Second, Stop: 5 * time.Second, Deliveries: 3,
	}
}

// Eventually polls until ok is true.
func Eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline, again := time.NewTimer(patience), time.NewTicker(20*time.Millisecond)
	defer deadline.Stop()
	defer again.Stop()
	for !ok() {
		select {
		case <-again.C:
		case <-deadline.C:
			t.Fatalf("after %s, still not: %s", patience, what)
		}
	}
}

// taker is a sink and a store of dead letters that does what a test wants.
type taker struct {
	publish func(ctx context.Context, key string) error // nil takes all
	store   func() error                                // nil keeps all

	mu       sync.Mutex
	ids      map[string][]string // of what was taken, by type and key
	tried    map[string][]string // of what was offered
	letters  []string
	busy     int
	maxBusy  int
	together map[string]int // tries of a key at one time
	twice    bool           // a key was in two tries at one time
}

func newTaker() *taker {
	return &taker{ids: map[string][]string{}, tried: map[string][]string{}, together: map[string]int{}}
}

// Publish implements serve.Sink.
func (s *taker) Publish(ctx context.Context, events ...cloudevents.Event) error {
	for _, e := range events {
		o, err := event.ObjectOf(e)
		if err != nil {
			return err
		}
		s.mu.Lock()
		s.tried[o.Key] = append(s.tried[o.Key], e.ID())
		s.busy++
		s.maxBusy = max(s.maxBusy, s.busy)
		s.together[o.Key]++
		s.twice = s.twice || s.together[o.Key] > 1
		s.mu.Unlock()
		if s.publish != nil {
			err = s.publish(ctx, o.Key)
		}
		s.mu.Lock()
		s.busy--
		s.together[o.Key]--
		if err == nil {
			s.ids[o.Key] = append(s.ids[o.Key], e.ID())
		}
		s.mu.Unlock()
		if err != nil {
			return err
		}
	}
	return nil
}

// Store implements normalize.DeadLetters.
func (s *taker) Store(_ context.Context, _ []byte, _, reason string) error {
	if s.store != nil {
		if err := s.store(); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.letters = append(s.letters, reason)
	return nil
}

func (s *taker) taken(key string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.ids[key])
}
func (s *taker) tries(key string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.tried[key])
}
func (s *taker) dead() []string { s.mu.Lock(); defer s.mu.Unlock(); return slices.Clone(s.letters) }

// start runs a puller. stop ends it and returns what Run did; it is called at the end of the test at the latest.
func start(t *testing.T, r config.Replica, env map[string]string, s *taker, l queue.Limits) (p *pull.Puller, stop func() error) {
	t.Helper()
	p = open(t, r, env, s, l)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	stop = sync.OnceValue(func() error {
		cancel()
		select {
		case err := <-ended:
			return err
		case <-time.After(patience):
			return errors.New("the puller does not end")
		}
	})
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	return p, stop
}

func open(t *testing.T, r config.Replica, env map[string]string, s *taker, l queue.Limits) *pull.Puller {
	t.Helper()
	p, err := pull.New(pull.Config{
		Group: &config.Group{Name: "media", Replicas: []config.Replica{r}}, Sink: s, DeadLetters: s, Limits: l,
		LookupEnv: func(name string) (string, bool) { v, ok := env[name]; return v, ok },
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}
