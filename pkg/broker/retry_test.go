package broker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/bucketmesh/bucketmesh/pkg/deadletter"
	"github.com/bucketmesh/bucketmesh/pkg/errkind"
)

func TestBackoff(t *testing.T) {
	base := Trigger{Name: "x", BackoffDelay: 100 * time.Millisecond, RetryAfterMax: time.Millisecond}
	for _, tt := range []struct {
		policy BackoffPolicy
		want   []int // milliseconds before retries 1, 2, ...
	}{
		{Exponential, []int{100, 200, 400, 800, 1600, 3200}},
		{Linear, []int{0, 100, 200, 300, 400, 500}},
	} {
		tr := base
		tr.BackoffPolicy = tt.policy
		for i, ms := range tt.want {
			if got := tr.Backoff(i + 1); got.Milliseconds() != int64(ms) {
				t.Errorf("%s, retry %d: %v, want %dms", tt.policy, i+1, got, ms)
			}
		}
	}
	for _, policy := range []BackoffPolicy{Exponential, Linear} {
		huge := Trigger{BackoffPolicy: policy, BackoffDelay: time.Hour}
		if got := huge.Backoff(1 << 20); got != longest {
			t.Errorf("%s, retry a million: %v, want the limit", policy, got)
		}
	}
}

func TestRetryableErrorBringsTheEventBack(t *testing.T) {
	b := open(t, Config{})
	var got recorder
	times := make(chan time.Time, 3)
	subscribe(t, b, Trigger{Name: "one", BackoffDelay: 20 * time.Millisecond}, func(_ context.Context, e event.Event) error {
		times <- time.Now()
		if got.add(e.ID()) < 3 {
			return errkind.New(errkind.Unavailable, "not yet")
		}
		return nil
	})
	publish(t, b, newEvent("1", "x"))
	first, second, third := receive(t, times, "try 1"), receive(t, times, "try 2"), receive(t, times, "try 3")
	// Lower bounds only: they hold on any machine.
	if second.Sub(first) < 20*time.Millisecond || third.Sub(second) < 40*time.Millisecond {
		t.Errorf("tried again after %v and %v, want at least 20ms and 40ms", second.Sub(first), third.Sub(second))
	}
	eventually(t, "the event is done", func() bool { return status(t, b, "one").Lag() == 0 })
	if l := letters(t, b); len(l) != 0 {
		t.Errorf("dead letters: %+v", l)
	}
}

func TestHandlerSaysWhenToComeBack(t *testing.T) {
	b := open(t, Config{})
	times := make(chan time.Time, 2)
	var tries atomic.Int32
	subscribe(t, b, Trigger{Name: "one", BackoffDelay: time.Hour, RetryAfterMax: 2 * time.Hour}, func(context.Context, event.Event) error {
		times <- time.Now()
		if tries.Add(1) == 1 {
			return errkind.After(30*time.Millisecond, errkind.New(errkind.Throttled, "slow down"))
		}
		return nil
	})
	publish(t, b, newEvent("1", "x"))
	first := receive(t, times, "try 1")
	if wait := receive(t, times, "try 2, long before the back-off").Sub(first); wait < 30*time.Millisecond {
		t.Errorf("tried again after %v, want at least 30ms", wait)
	}
}

func TestEventInBackoffDoesNotHoldUpOthers(t *testing.T) {
	b := open(t, Config{})
	var got recorder
	subscribe(t, b, Trigger{Name: "one", Concurrency: 1, BackoffDelay: time.Hour, RetryAfterMax: time.Hour},
		func(_ context.Context, e event.Event) error {
			got.add(e.ID())
			if e.ID() == "bad" {
				return errors.New("nobody knows")
			}
			return nil
		})
	publish(t, b, newEvent("bad", "x"))
	for i := range 50 {
		publish(t, b, newEvent(fmt.Sprint(i), "x"))
	}
	eventually(t, "the others", func() bool { return got.distinct() == 51 })
	eventually(t, "one waits", func() bool {
		s := status(t, b, "one")
		return s.InFlight == 1 && s.Pending == 0
	})
}

func TestDeadLetters(t *testing.T) {
	for _, tt := range []struct {
		name     string
		err      error
		retry    int
		attempts int
	}{
		{"a kind that can't work goes there at once", errkind.New(errkind.Invalid, "makes no sense"), 5, 1},
		{"a permission that is missing goes there at once", errkind.New(errkind.PermissionDenied, "no"), 5, 1},
		{"a transient one after its retries", errkind.New(errkind.Unavailable, "down"), 2, 3},
		{"an unknown one after its retries", errors.New("what"), 1, 2},
		{"without retries after the first try", errors.New("what"), -1, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := open(t, Config{})
			var got, other recorder
			subscribe(t, b, Trigger{Name: "other"}, other.Handle)
			subscribe(t, b, Trigger{Name: "one", Retry: tt.retry, BackoffDelay: time.Millisecond},
				func(_ context.Context, e event.Event) error {
					got.add(e.ID())
					return tt.err
				})
			e := newEvent("1", "x")
			publish(t, b, e)
			eventually(t, "the event leaves the store", func() bool {
				s, err := b.Status(t.Context())
				return err == nil && s.Events == 0 && s.DeadLetters == 1
			})
			l := letters(t, b)
			if len(l) != 1 {
				t.Fatalf("dead letters: %+v", l)
			}
			d := l[0]
			if d.Trigger != "one" || d.Attempts != tt.attempts || d.Reason != tt.err.Error() || d.Kind != errkind.Of(tt.err).String() {
				t.Errorf("letter %+v, want trigger one, %d attempts, reason %q", d, tt.attempts, tt.err)
			}
			if d.Event == nil || d.Event.String() != e.String() || d.Raw != nil || d.Time.IsZero() {
				t.Errorf("the letter does not hold the event: %+v", d)
			}
			if got.count("1") != tt.attempts {
				t.Errorf("%d tries, want %d", got.count("1"), tt.attempts)
			}
			if s := status(t, b, "one"); s.Dead != 1 {
				t.Errorf("status %+v, want one dead letter", s)
			}
			if other.count("1") != 1 {
				t.Errorf("the other trigger got it %d times", other.count("1"))
			}
		})
	}
}

func TestPanicIsAFailedTry(t *testing.T) {
	b := open(t, Config{})
	subscribe(t, b, Trigger{Name: "one", Retry: 1, BackoffDelay: time.Millisecond}, func(context.Context, event.Event) error {
		panic("a mistake")
	})
	publish(t, b, newEvent("1", "x"))
	eventually(t, "the letter", func() bool { return len(letters(t, b)) == 1 })
	if d := letters(t, b)[0]; d.Attempts != 2 || d.Reason != "handle event: panic: a mistake" {
		t.Errorf("letter %+v", d)
	}
}

func TestTimeoutIsAFailedTry(t *testing.T) {
	b := open(t, Config{})
	subscribe(t, b, Trigger{Name: "one", Retry: -1, Timeout: 10 * time.Millisecond}, func(ctx context.Context, _ event.Event) error {
		<-ctx.Done()
		return ctx.Err()
	})
	publish(t, b, newEvent("1", "x"))
	eventually(t, "the letter", func() bool { return len(letters(t, b)) == 1 })
	if d := letters(t, b)[0]; d.Kind != errkind.Unavailable.String() {
		t.Errorf("letter %+v", d)
	}
}

func TestFailedEventStaysWithItsTriggerWhileDeadLettersAreFull(t *testing.T) {
	b := open(t, Config{MaxDeadBytes: 4 << 10})
	for _, size := range []int{512, 1} { // large ones, then what is left
		for i := 0; b.StoreRaw(t.Context(), make([]byte, size), "text/plain", fmt.Sprint("fills the store ", i)) == nil; i++ {
		}
	}
	var got recorder
	subscribe(t, b, Trigger{Name: "one", Retry: -1, RetryAfterMax: 5 * time.Millisecond}, func(_ context.Context, e event.Event) error {
		got.add(e.ID())
		return errkind.New(errkind.Invalid, "never works")
	})
	publish(t, b, newEvent("1", "x"))
	eventually(t, "it is tried again and again", func() bool { return got.count("1") > 2 })
	for _, d := range letters(t, b) {
		if err := b.Discard(t.Context(), d.ID); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the letter", func() bool {
		l := letters(t, b)
		return len(l) == 1 && l[0].Trigger == "one" && status(t, b, "one").Lag() == 0
	})
}

func TestReplayGoesToTheTriggerThatFailedOnly(t *testing.T) {
	b := open(t, Config{})
	var got, other recorder
	var healthy atomic.Bool
	subscribe(t, b, Trigger{Name: "one"}, func(_ context.Context, e event.Event) error {
		if !healthy.Load() {
			return errkind.New(errkind.Invalid, "ill")
		}
		return got.Handle(t.Context(), e)
	})
	subscribe(t, b, Trigger{Name: "other"}, other.Handle)
	publish(t, b, newEvent("1", "x"), newEvent("2", "x"), newEvent("3", "x"))
	eventually(t, "three letters", func() bool { return len(letters(t, b)) == 3 })
	eventually(t, "the other's", func() bool { return other.distinct() == 3 })

	// While the trigger is ill a replay ends as a letter again, however often.
	for range 2 {
		if n, err := b.ReplayAll(t.Context()); err != nil || n != 3 {
			t.Fatalf("replay all: %d, %v, want 3", n, err)
		}
		eventually(t, "three letters again", func() bool { return len(letters(t, b)) == 3 })
	}

	healthy.Store(true)
	first := letters(t, b)[0]
	if err := b.Replay(t.Context(), first.ID); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the replayed event", func() bool { return got.count(first.Event.ID()) == 1 })
	if l := letters(t, b); len(l) != 2 || slices.ContainsFunc(l, func(d deadletter.Letter) bool { return d.ID == first.ID }) {
		t.Errorf("letters after the replay: %+v", l)
	}
	if err := b.Replay(t.Context(), first.ID); !errkind.Is(err, errkind.NotFound) {
		t.Errorf("replayed twice: %v, want not found", err)
	}
	if n, err := b.ReplayAll(t.Context()); err != nil || n != 2 {
		t.Fatalf("replay all: %d, %v, want 2", n, err)
	}
	eventually(t, "all three", func() bool { return got.distinct() == 3 })
	for _, id := range []string{"1", "2", "3"} {
		if other.count(id) != 1 {
			t.Errorf("the other trigger got event %s %d times", id, other.count(id))
		}
	}
	if l := letters(t, b); len(l) != 0 {
		t.Errorf("letters are left: %+v", l)
	}
}

// Whoever keeps books hears of every letter before its event leaves the trigger, and of every replay before it goes back.
func TestDeadLettersAndReplaysAreTold(t *testing.T) {
	var mu sync.Mutex
	var told []string
	note := func(what string) func(context.Context, string, event.Event) error {
		return func(_ context.Context, trigger string, e event.Event) error {
			mu.Lock()
			defer mu.Unlock()
			told = append(told, what+" "+trigger+" "+e.ID())
			if len(told) == 1 {
				return errkind.New(errkind.Unavailable, "the first time it fails")
			}
			return nil
		}
	}
	b := open(t, Config{Buried: note("buried"), Replaying: note("replaying")})
	var tries atomic.Int32
	subscribe(t, b, Trigger{Name: "one", Retry: 1, BackoffDelay: time.Millisecond, RetryAfterMax: time.Millisecond}, func(context.Context, event.Event) error {
		if tries.Add(1) > 3 {
			return nil
		}
		return errkind.New(errkind.Unavailable, "not now")
	})
	publish(t, b, newEvent("1", "x"))
	eventually(t, "the letter is told of, the second time with success", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(told) == 2
	})
	eventually(t, "the event left", func() bool { return status(t, b, "one").Lag() == 0 })
	if l := letters(t, b); len(l) != 1 {
		t.Fatalf("%d letters", len(l))
	}
	if _, ok, err := b.Oldest(t.Context()); ok || err != nil {
		t.Errorf("something is under way: %v", err)
	}
	if n, err := b.ReplayAll(t.Context()); n != 1 || err != nil {
		t.Fatalf("%d replayed, %v", n, err)
	}
	eventually(t, "the replay is handled", func() bool { return tries.Load() == 4 })
	mu.Lock()
	defer mu.Unlock()
	if want := []string{"buried one 1", "buried one 1", "replaying one 1"}; !slices.Equal(told, want) {
		t.Errorf("told %q, want %q", told, want)
	}
}

func TestReplayOfWhatNobodyTakes(t *testing.T) {
	b := open(t, Config{})
	subscribe(t, b, Trigger{Name: "one"}, func(context.Context, event.Event) error { return errkind.New(errkind.Invalid, "no") })
	publish(t, b, newEvent("1", "x"))
	eventually(t, "the letter", func() bool { return len(letters(t, b)) == 1 })
	if err := b.Prune(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := b.Replay(t.Context(), letters(t, b)[0].ID); !errkind.Is(err, errkind.NotFound) {
		t.Errorf("replay to a trigger that is gone: %v, want not found", err)
	}
	if err := b.StoreRaw(t.Context(), []byte("{"), "application/json", "no record"); err != nil {
		t.Fatal(err)
	}
	l := letters(t, b)
	if err := b.Replay(t.Context(), l[len(l)-1].ID); !errkind.Is(err, errkind.Unsupported) {
		t.Errorf("replay of a raw message: %v, want unsupported", err)
	}
	if n, err := b.ReplayAll(t.Context()); n != 0 || err != nil {
		t.Errorf("replay all: %d, %v, want 0", n, err)
	}
	if l := letters(t, b); len(l) != 2 {
		t.Errorf("letters were lost: %+v", l)
	}
	for _, id := range []string{"", "x", "0", "-1"} {
		if err := b.Replay(t.Context(), id); !errkind.Is(err, errkind.Invalid) {
			t.Errorf("replay of %q: %v, want invalid", id, err)
		}
	}
}

func TestRawMessageThatIsSentAgainIsOneDeadLetter(t *testing.T) {
	b := open(t, Config{})
	for range 3 {
		if err := b.StoreRaw(t.Context(), []byte("{"), "application/json", "no record"); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.StoreRaw(t.Context(), []byte("{"), "application/json", "another reason"); err != nil {
		t.Fatal(err)
	}
	if l := letters(t, b); len(l) != 2 {
		t.Errorf("letters: %+v", l)
	}
}

func TestRawDeadLetter(t *testing.T) {
	b := open(t, Config{})
	raw := []byte("\x00\xff{not json\r\n")
	if err := b.StoreRaw(t.Context(), raw, "text/plain; charset=utf-8", "decode record: \r\nX-Evil: 1"); err != nil {
		t.Fatal(err)
	}
	if err := b.StoreRaw(t.Context(), make([]byte, maxPayload+5), "", "too large"); err != nil {
		t.Fatal(err)
	}
	l := letters(t, b)
	if len(l) != 2 {
		t.Fatalf("letters: %+v", l)
	}
	if d := l[0]; string(d.Raw) != string(raw) || d.ContentType != "text/plain; charset=utf-8" || d.Reason != "decode record:   X-Evil: 1" || d.Event != nil || d.CutFrom != 0 {
		t.Errorf("letter %+v", d)
	}
	if d := l[1]; d.CutFrom != maxPayload+5 || len(d.Raw) != maxPayload-headerSpace {
		t.Errorf("letter of %d bytes, cut from %d", len(d.Raw), d.CutFrom)
	}
	if limited, err := b.DeadLetters(t.Context(), 1); err != nil || len(limited) != 1 || limited[0].ID != l[0].ID {
		t.Errorf("with limit 1: %+v, %v", limited, err)
	}
	for range 2 { // the second time it is gone already
		if err := b.Discard(t.Context(), l[0].ID); err != nil {
			t.Errorf("discard: %v", err)
		}
	}
	if l := letters(t, b); len(l) != 1 {
		t.Errorf("letters: %+v", l)
	}
}

func TestConcurrencyIsBounded(t *testing.T) {
	b := open(t, Config{})
	const limit, n = 3, 30
	var running, most, done atomic.Int32
	full, release := make(chan struct{}, n), make(chan struct{})
	subscribe(t, b, Trigger{Name: "one", Concurrency: limit}, func(context.Context, event.Event) error {
		now := running.Add(1)
		defer running.Add(-1)
		for m := most.Load(); now > m && !most.CompareAndSwap(m, now); m = most.Load() {
		}
		full <- struct{}{}
		<-release
		done.Add(1)
		return nil
	})
	for i := range n {
		publish(t, b, newEvent(fmt.Sprint(i), "x"))
	}
	for range limit {
		receive(t, full, "all workers are busy")
	}
	// What waits is in the store, where it can't time out.
	eventually(t, "the rest is pending", func() bool {
		s := status(t, b, "one")
		return s.InFlight == limit && s.Pending == n-limit
	})
	close(release)
	eventually(t, "all are done", func() bool { return done.Load() == n })
	if most.Load() != limit {
		t.Errorf("%d handlers at once, want %d", most.Load(), limit)
	}
}

func TestLongHandlerIsNotRunTwice(t *testing.T) {
	b := open(t, Config{AckWait: 300 * time.Millisecond})
	var tries atomic.Int32
	release := make(chan struct{})
	subscribe(t, b, Trigger{Name: "one", Concurrency: 2}, func(context.Context, event.Event) error {
		tries.Add(1)
		<-release
		return nil
	})
	// A consumer without a heartbeat is the clock: each time it gets the event again, AckWait is over.
	clock, err := b.declare(t.Context(), Trigger{Name: "clock"})
	if err != nil {
		t.Fatal(err)
	}
	publish(t, b, newEvent("1", "x"))
	for range 4 {
		if _, err := clock.Next(jetstream.FetchMaxWait(patience)); err != nil {
			t.Fatal(err)
		}
	}
	close(release)
	eventually(t, "the event is done", func() bool { return status(t, b, "one").Lag() == 0 })
	if tries.Load() != 1 {
		t.Errorf("the handler ran %d times", tries.Load())
	}
}

func TestTokenOfAnyTypeIsASubject(t *testing.T) {
	for in, want := range map[string]string{
		"dev.bucketmesh.object.written.v1": "dev.bucketmesh.object.written.v1",
		"a..b":                             "a.b",
		".":                                "_",
		"a b.*.>":                          "a_b._._",
		"é":                                "_",
	} {
		if got := token(in); got != want {
			t.Errorf("token(%q) = %q, want %q", in, got, want)
		}
	}
}
