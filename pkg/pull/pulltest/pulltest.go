// Package pulltest is the suite that every source of the puller passes, on a real server: what is lost when something
// fails is nothing, and what comes twice has the same ids.
//
// Errors: it fails the test. Concurrency: one suite per test.
package pulltest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/config"
	"github.com/bucketmesh/bucketmesh/pkg/errkind"
)

// Message is what a test puts into a queue.
type Message struct {
	Body       []byte
	Attributes map[string]string
}

// Target is a fresh, empty queue.
type Target struct {
	Replica config.Replica    // its Notifications.Pull leads through Proxy
	Env     map[string]string // of the credentials
	Proxy   *Proxy
	Send    func(t *testing.T, m Message) // not through Proxy
	Empty   func(t *testing.T) bool       // nothing is in the queue, what is hidden included
	// Returned says whether a message was given back; nil if only the time after which it comes again can tell.
	Returned func(t *testing.T) bool
	Written  func(key string) Message // the provider's message of an object that was written
	Poison   Message
	// Missing names a queue that is not there; Forbidden has the wrong credentials, nil if the server lets everybody in.
	Missing   config.Replica
	Forbidden func() (config.Replica, map[string]string)
}

// Keys are those of the traps list that all providers can hold.
func Keys() []string {
	return []string{
		"plain", "a b", "a+b", "a%2Bb", "100%25", "é", "日本", "new\nline", " lead", "trail ", "trail", "x//y", "q?x=1&y#z", `quo"te\`, "<&>",
		strings.Repeat("k", 1024), strings.Repeat("日", 341),
	}
}

// Run has the source of a target tested; fresh makes a new target for each test.
func Run(t *testing.T, fresh func(t *testing.T) Target) {
	if runChild(t) {
		return
	}
	for _, test := range []struct {
		name string
		do   func(t *testing.T, q Target)
	}{
		{"KeysRoundTrip", KeysRoundTrip},
		{"NothingIsAckedBeforeTheSinkTookIt", ackedLate},
		{"ASinkFailureLeavesTheMessage", sinkFailure},
		{"PoisonIsADeadLetterThenAcked", poison},
		{"ADeadLetterStoreFailureLeavesTheMessage", storeFailure},
		{"AMessageThatFailsByItselfBecomesADeadLetter", ownFault},
		{"TheProcessDies", dies},
		{"SlowHandlingIsCutOffBeforeOthersGetTheMessage", slow},
		{"StopFinishesWhatIsUnderWay", stops},
		{"StopIsBounded", stopsInTime},
		{"Concurrency", concurrency},
		{"Outage", outage},
		{"Missing", missing},
		{"Forbidden", forbidden},
	} {
		t.Run(test.name, func(t *testing.T) { test.do(t, fresh(t)) })
	}
}

func (q Target) empty(t *testing.T) {
	t.Helper()
	Eventually(t, "the queue is empty", func() bool { return q.Empty(t) })
}

// KeysRoundTrip is the first of the suite: the keys of the traps list come as they were sent, each with an id of its own.
func KeysRoundTrip(t *testing.T, q Target) {
	s := newTaker()
	for _, k := range Keys() {
		q.Send(t, q.Written(k))
	}
	start(t, q.Replica, q.Env, s, limits())
	q.empty(t)
	ids := map[string]bool{}
	for _, k := range Keys() {
		got := s.taken(k)
		if len(got) == 0 {
			t.Errorf("%q did not come", k)
			continue
		}
		if ids[got[0]] {
			t.Errorf("%q has the id of another key", k)
		}
		ids[got[0]] = true
	}
	if len(s.ids) != len(Keys()) || len(s.dead()) != 0 {
		t.Errorf("%d keys, dead letters: %q", len(s.ids), s.dead())
	}
}

func ackedLate(t *testing.T, q Target) {
	s, release := newTaker(), make(chan struct{})
	s.publish = func(context.Context, string) error { <-release; return nil }
	q.Send(t, q.Written("k"))
	start(t, q.Replica, q.Env, s, limits())
	Eventually(t, "the sink is asked", func() bool { return len(s.tries("k")) > 0 })
	if q.Empty(t) {
		t.Error("the message is out of the queue before the sink took it")
	}
	close(release)
	q.empty(t)
	if len(s.taken("k")) != 1 {
		t.Errorf("taken: %v", s.taken("k"))
	}
}

func sinkFailure(t *testing.T, q Target) {
	s := newTaker()
	s.publish = func(_ context.Context, key string) error {
		if key == "bad" && len(s.tries("bad")) < 3 {
			return errkind.New(errkind.Unavailable, "the broker is gone")
		}
		return nil
	}
	q.Send(t, q.Written("bad"))
	q.Send(t, q.Written("good"))
	start(t, q.Replica, q.Env, s, limits())
	Eventually(t, "both are taken", func() bool { return len(s.taken("bad")) > 0 && len(s.taken("good")) > 0 })
	q.empty(t)
	if ids := s.tries("bad"); len(ids) != 3 || len(slices.Compact(ids)) != 1 {
		t.Errorf("ids of the tries: %v", ids)
	}
	if len(s.dead()) != 0 {
		t.Errorf("dead letters: %q", s.dead())
	}
}

func poison(t *testing.T, q Target) {
	s := newTaker()
	q.Send(t, q.Poison)
	start(t, q.Replica, q.Env, s, limits())
	q.empty(t)
	if len(s.dead()) != 1 || len(s.ids) != 0 {
		t.Errorf("dead letters: %q, taken: %v", s.dead(), s.ids)
	}
}

func storeFailure(t *testing.T, q Target) {
	s := newTaker()
	stored := make(chan struct{}, 100)
	s.store = func() error {
		stored <- struct{}{}
		if len(stored) < 3 {
			return errors.New("the disk is full")
		}
		return nil
	}
	q.Send(t, q.Poison)
	start(t, q.Replica, q.Env, s, limits())
	Eventually(t, "it was tried twice", func() bool { return len(stored) >= 2 })
	Eventually(t, "the letter is kept", func() bool { return len(s.dead()) > 0 })
	q.empty(t)
}

// ownFault: what is not the fault of whoever is away is tried some times; what is, for ever.
func ownFault(t *testing.T, q Target) {
	s := newTaker()
	s.publish = func(_ context.Context, key string) error {
		switch {
		case key == "never":
			return errkind.New(errkind.Invalid, "the event is too large")
		case key == "panic":
			panic("of a test")
		case key == "later" && len(s.tries(key)) <= 2*limits().Deliveries:
			return errkind.New(errkind.Throttled, "too many events")
		}
		return nil
	}
	for _, k := range []string{"never", "panic", "later"} {
		q.Send(t, q.Written(k))
	}
	start(t, q.Replica, q.Env, s, limits())
	q.empty(t)
	if n := len(s.dead()); n != 2 {
		t.Errorf("%d dead letters: %q", n, s.dead())
	}
	if n := len(s.tries("never")); n < limits().Deliveries {
		t.Errorf("given up after %d tries", n)
	}
	if len(s.taken("later")) == 0 {
		t.Error("what others were too busy for is lost")
	}
}

// slow: a try that hangs is ended while the message is still hidden, so that nobody handles it at the same time.
func slow(t *testing.T, q Target) {
	s := newTaker()
	s.publish = func(ctx context.Context, _ string) error {
		if len(s.tries("k")) > 1 {
			return nil
		}
		<-ctx.Done()
		return ctx.Err()
	}
	q.Send(t, q.Written("k"))
	start(t, q.Replica, q.Env, s, limits())
	start(t, q.Replica, q.Env, s, limits()) // somebody else who waits for it
	Eventually(t, "it is taken", func() bool { return len(s.taken("k")) > 0 })
	q.empty(t)
	if s.twice || len(s.tries("k")) != 2 {
		t.Errorf("handled twice at one time: %v, tries: %v", s.twice, s.tries("k"))
	}
}

func stops(t *testing.T, q Target) {
	s, release := newTaker(), make(chan struct{})
	s.publish = func(context.Context, string) error { <-release; return nil }
	q.Send(t, q.Written("k"))
	_, stop := start(t, q.Replica, q.Env, s, limits())
	Eventually(t, "the sink is asked", func() bool { return len(s.tries("k")) > 0 })
	ended := make(chan error, 1)
	go func() { ended <- stop() }()
	select {
	case err := <-ended:
		t.Fatalf("ended before its message: %v", err)
	case <-time.After(200 * time.Millisecond):
	}
	close(release)
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if len(s.taken("k")) != 1 {
		t.Errorf("taken: %v", s.taken("k"))
	}
	q.empty(t) // it was acked on the way out
}

func stopsInTime(t *testing.T, q Target) {
	s := newTaker()
	s.publish = func(ctx context.Context, _ string) error { <-ctx.Done(); return ctx.Err() }
	l := limits()
	l.Stop = l.Wait + 500*time.Millisecond // a server may not notice that a long poll was broken off, and give it what we give back
	l.Handle, l.Visibility = 20*time.Second, 24*time.Second
	q.Send(t, q.Written("k"))
	_, stop := start(t, q.Replica, q.Env, s, l)
	Eventually(t, "the sink is asked", func() bool { return len(s.tries("k")) > 0 })
	begin := time.Now()
	if err := stop(); err != nil {
		t.Error(err)
	}
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("took %s", took)
	}
	// It was given back, not left to its time.
	s.publish = nil
	begin = time.Now()
	start(t, q.Replica, q.Env, s, l)
	q.empty(t)
	took := time.Since(begin)
	if q.Returned != nil && !q.Returned(t) || q.Returned == nil && took > l.Visibility/2 {
		t.Errorf("it was not given back; the next one got the message after %s", took)
	}
}

func concurrency(t *testing.T, q Target) {
	const messages = 40
	s := newTaker()
	s.publish = func(ctx context.Context, _ string) error { // long enough for all who may to come together
		timer := time.NewTimer(20 * time.Millisecond)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
		return nil
	}
	for i := range messages {
		q.Send(t, q.Written(fmt.Sprintf("k%02d", i)))
	}
	start(t, q.Replica, q.Env, s, limits())
	q.empty(t)
	if len(s.ids) != messages {
		t.Errorf("%d of %d came", len(s.ids), messages)
	}
	if s.maxBusy > limits().Messages || s.maxBusy < 2 {
		t.Errorf("%d at once, of %d", s.maxBusy, limits().Messages)
	}
}

func outage(t *testing.T, q Target) {
	s := newTaker()
	p, _ := start(t, q.Replica, q.Env, s, limits())
	ready := func() bool { return p.Ready(t.Context()) == nil }
	Eventually(t, "ready", ready)
	q.Send(t, q.Written("before"))
	Eventually(t, "it is taken", func() bool { return len(s.taken("before")) > 0 })
	q.Proxy.Cut()
	Eventually(t, "not ready", func() bool { return !ready() })
	if err := p.Ready(t.Context()); !errkind.Is(err, errkind.Unavailable) || !strings.Contains(err.Error(), q.Replica.Notifications.Pull) {
		t.Errorf("readiness: %v", err)
	}
	q.Send(t, q.Written("during"))
	q.Proxy.Restore(t)
	Eventually(t, "ready again", ready)
	Eventually(t, "what came meanwhile is taken", func() bool { return len(s.taken("during")) > 0 })
	q.empty(t)
}

func missing(t *testing.T, q Target) {
	refused(t, q.Missing, q.Env, errkind.NotFound)
}

func forbidden(t *testing.T, q Target) {
	if q.Forbidden == nil {
		t.Log("this server lets everybody in: see the package's own tests")
		return
	}
	r, env := q.Forbidden()
	refused(t, r, env, errkind.PermissionDenied)
}

func refused(t *testing.T, r config.Replica, env map[string]string, kind errkind.Kind) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	err := open(t, r, env, newTaker(), limits()).Run(ctx)
	if !errkind.Is(err, kind) || !strings.Contains(err.Error(), r.Notifications.Pull) {
		t.Errorf("kind %s: %v", errkind.Of(err), err)
	}
	for _, secret := range env {
		if strings.Contains(fmt.Sprint(err), secret) {
			t.Error("the error tells a secret")
		}
	}
}
