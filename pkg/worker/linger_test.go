package worker_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/config"
	"github.com/bucketmesh/bucketmesh/pkg/event"
	"github.com/bucketmesh/bucketmesh/pkg/object"
	"github.com/bucketmesh/bucketmesh/pkg/worker"
)

// A copy takes longer than an idle process lives. The delivery of the timer finds it under way in its own process, and waits for
// it: the request is what keeps the process alive.
func TestADeliveryWaitsForTheSweepThatIsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t).mustOpen()
		b.put("one", "big", "1")
		if err := b.store.MarkDirty(t.Context(), "g", []string{"big"}, time.Now(), "a delivery was cut off"); err != nil {
			t.Fatal(err)
		}
		b.failWith(func(bucket string, op object.Op) error {
			if bucket == "two" && op == object.OpPut {
				b.mu.Unlock() // others send requests meanwhile
				pass(20 * time.Second)
				b.mu.Lock()
			}
			return nil
		})
		ctx, idle := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- b.Linger(ctx, true) }()
		pass(time.Second)
		g, err := config.Load([]byte(document), config.Options{})
		if err != nil {
			t.Fatal(err)
		}
		due, err := event.NewScan("", event.Scan{Group: "g", What: event.ScanDue}, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if err := worker.SyncHandler(b.Worker, g).Handle(t.Context(), due); err != nil {
			t.Fatal(err)
		}
		idle()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if got := b.get("two", "big"); got != "1" {
			t.Errorf("two holds %q when the delivery is answered", got)
		}
	})
}

// What several processes find due is mostly done once.
func TestProcessesShareABacklog(t *testing.T) {
	requests := func(processes int) (n int64) {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t)
			b.probeEvery = 24 * time.Hour
			var all []*worker.Worker
			for range processes {
				all = append(all, b.mustOpen().Worker)
			}
			var keys []string
			for i := range 600 {
				keys = append(keys, fmt.Sprintf("k%04d", i))
				b.put("one", keys[i], "1")
			}
			if err := b.store.MarkDirty(t.Context(), "g", keys, time.Now(), "a replica was down"); err != nil {
				t.Fatal(err)
			}
			b.failWith(func(_ string, op object.Op) error {
				n++
				if op == object.OpPut || op == object.OpOpen {
					b.mu.Unlock()
					pass(20 * time.Millisecond)
					b.mu.Lock()
				}
				return nil
			})
			ctx, stop := context.WithCancel(t.Context())
			ended := make(chan error, processes)
			for _, w := range all {
				go func() { ended <- w.Linger(ctx, true) }()
			}
			pass(30 * time.Second)
			stop()
			for range all {
				if err := <-ended; err != nil {
					t.Error(err)
				}
			}
			for _, key := range keys {
				if b.get("two", key) != "1" {
					t.Fatalf("%s is not at two", key)
				}
			}
		})
		return n
	}
	one, four := requests(1), requests(4)
	if 2*four > 5*one { // each on its own would send four times as many, and more
		t.Errorf("one process sends %d requests, four send %d", one, four)
	}
}
