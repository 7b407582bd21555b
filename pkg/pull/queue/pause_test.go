package queue_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/pull/queue"
)

func TestPausesGrowToABoundAndEndWithASuccess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := queue.NewPause(queue.Limits{Backoff: time.Second, MaxBackoff: 10 * time.Second})
		err := errors.New("gone")
		var last time.Duration
		for range 10 {
			last = p.Failed(err)
			if again := p.Failed(err); again != last {
				t.Errorf("a failure of the same moment pauses for %s, not for %s", again, last)
			}
			if p.Wait(t.Context()) != nil || !p.Failing() {
				t.Fatal("the pause was broken off")
			}
		}
		if last < 8*time.Second || last > 10*time.Second {
			t.Errorf("the last pause: %s", last)
		}
		if d := p.Failed(errkind.After(time.Hour, err)); d != 10*time.Second {
			t.Errorf("a server that wants an hour gets %s", d)
		}
		p.OK()
		begin := time.Now()
		if p.Wait(t.Context()) != nil || time.Since(begin) != 0 || p.Failing() {
			t.Error("a success did not end the pause")
		}
		if d := p.Failed(err); d > 1200*time.Millisecond {
			t.Errorf("the first pause after a success: %s", d)
		}
	})
}

func TestOutliveEndsAWhileAfterItsParent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		parent, end := queue.Outlive(t.Context(), time.Hour)
		child, cancel := queue.Outlive(parent, time.Second)
		defer cancel()
		end()
		begin := time.Now()
		<-child.Done()
		if d := time.Since(begin); d != time.Second {
			t.Errorf("after %s", d)
		}
	})
}
