package worker_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
)

// A service that starts from zero many times a day finds out once a day what its buckets promise, and at each start that they are
// still the same buckets.
func TestAProbeIsGoodForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.probeEvery, b.program = 24*time.Hour, "v1"
		start := func() (requests int64) {
			t.Helper()
			b.mustOpen()
			for _, r := range b.Requests() {
				requests += r.Total()
			}
			return requests
		}
		first := start()
		pass(time.Hour)
		if again := start(); again != 2 { // the marker of each bucket
			t.Errorf("the second start took %d requests, the first one %d", again, first)
		}
		if level := b.Replicas()[0].Report.Capabilities.Level; level == driver.C0 {
			t.Errorf("nothing is known of a bucket: level %v", level)
		}
		b.program = "v2"
		if upgraded := start(); upgraded < first/2 {
			t.Errorf("another program took %d requests, and not what a probe takes", upgraded)
		}
		pass(24 * time.Hour)
		if later := start(); later < first/2 {
			t.Errorf("a day later it took %d requests, and not what a probe takes", later)
		}
		b.probeEvery = 0
		if always := start(); always < first/2 {
			t.Errorf("without a time it took %d requests", always)
		}
	})
}
