package reconcile

import (
	"cmp"
	"context"
	"crypto/rand"
	"slices"
	"strings"
	"sync"
	"time"

	"maps"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
)

func withDefaults(cfg Config) Config {
	if cfg.Clock == nil {
		cfg.Clock = WallClock{}
	}
	if cfg.Nonce == nil {
		cfg.Nonce = rand.Text
	}
	if cfg.Run == nil {
		cfg.Run = runAll
	}
	if cfg.Trace == nil {
		cfg.Trace = func(Point) {}
	}
	cfg.Lease = cmp.Or(cfg.Lease, 30*time.Second)
	cfg.Margin = cmp.Or(cfg.Margin, min(5*time.Second, cfg.Lease/6))
	cfg.MinThroughput = cmp.Or(cfg.MinThroughput, 4<<20)
	cfg.Passes = cmp.Or(cfg.Passes, 8)
	cfg.BackoffMin = cmp.Or(cfg.BackoffMin, 2*time.Second)
	cfg.BackoffMax = cmp.Or(cfg.BackoffMax, 5*time.Minute)
	cfg.AskEvery = cmp.Or(cfg.AskEvery, 15*time.Second)
	cfg.LockWait = cmp.Or(cfg.LockWait, 2*time.Second)
	return cfg
}

func runAll(fns ...func()) {
	if len(fns) == 1 {
		fns[0]()
		return
	}
	var all sync.WaitGroup
	for _, f := range fns {
		all.Go(f)
	}
	all.Wait()
}

// keyLocks serializes the calls for one key within a process. It only saves requests: correctness is the row's
// compare-and-set.
type keyLocks struct {
	mu   sync.Mutex
	held map[string]*keyLock
}

type keyLock struct {
	token chan struct{}
	users int
}

func newKeyLocks() *keyLocks { return &keyLocks{held: map[string]*keyLock{}} }

func (l *keyLocks) lock(ctx context.Context, key string, limit time.Duration) (unlock func(), err error) {
	l.mu.Lock()
	k := l.held[key]
	if k == nil {
		k = &keyLock{token: make(chan struct{}, 1)}
		l.held[key] = k
	}
	k.users++
	l.mu.Unlock()
	leave := func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if k.users--; k.users == 0 {
			delete(l.held, key)
		}
	}
	select { // the usual case needs no timer
	case k.token <- struct{}{}:
		return func() { <-k.token; leave() }, nil
	default:
	}
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case k.token <- struct{}{}:
		return func() { <-k.token; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, errkind.New(errkind.Canceled, "wait for key: %w", ctx.Err())
	case <-timer.C:
		leave()
		return nil, errkind.After(limit, errkind.New(errkind.Conflict, "wait for key: another event for it is still being worked on after %s", limit))
	}
}

// reason says in words why a key could not be finished.
func reason(stranded []string, why map[string]string) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(why)) {
		parts = append(parts, name+": "+why[name])
	}
	for _, name := range stranded {
		if why[name] == "" {
			parts = append(parts, name+": waits for a replica that does not answer")
		}
	}
	return strings.Join(parts, "; ")
}
