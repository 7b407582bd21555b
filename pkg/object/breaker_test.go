package object_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/object"
	"github.com/bucketmesh/bucketmesh/pkg/object/mem"
)

// TestBreakerSparesTheOthers: a bucket that does not answer is asked a bounded number of times, and tried again later.
func TestBreakerSparesTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down, asked, changes := true, 0, 0
		faulty := object.Fault(mem.New(mem.Config{}), object.Faults{Before: func(object.Op, string) error {
			asked++
			if down {
				return errkind.New(errkind.Unavailable, "no answer")
			}
			return nil
		}})
		b := object.Break(faulty, object.BreakerOptions{Failures: 3, Pause: time.Minute, OnChange: func(bool) { changes++ }})
		for range 10 {
			_, err := b.Stat(context.Background(), "k", "")
			if !errkind.Is(err, errkind.Unavailable) {
				t.Fatalf("kind %v, want unavailable: %v", errkind.Of(err), err)
			}
		}
		if asked != 3 {
			t.Errorf("the bucket was asked %d times, want 3", asked)
		}
		down = false
		<-time.After(time.Minute + time.Second) // of the bubble's clock
		for range 5 {
			if _, err := b.Stat(context.Background(), "k", ""); !errkind.Is(err, errkind.NotFound) {
				t.Fatalf("kind %v after the bucket came back, want not found: %v", errkind.Of(err), err)
			}
		}
		if asked != 8 || changes == 0 {
			t.Errorf("asked %d times, %d changes; want 8 and some", asked, changes)
		}
	})
}

// TestBreakerTakesAnswersForLife: whatever a bucket answers shows that it is there.
func TestBreakerTakesAnswersForLife(t *testing.T) {
	b := object.Break(mem.New(mem.Config{}), object.BreakerOptions{Failures: 2})
	for range 10 {
		if _, err := b.Stat(context.Background(), "missing", ""); !errkind.Is(err, errkind.NotFound) {
			t.Fatalf("kind %v, want not found: %v", errkind.Of(err), err)
		}
	}
}
