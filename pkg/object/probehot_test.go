package object_test

import (
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/object"
	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
	"github.com/bucketmesh/bucketmesh/pkg/object/mem"
)

// TestTrapProbeOfABucketThatThrottlesHotNames: GCS takes about one write a second to a name. The races are for one name, and the
// replica must open all the same, with what the bucket promises.
func TestTrapProbeOfABucketThatThrottlesHotNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		last, refused := map[string]time.Time{}, 0
		hot := func(op object.Op, key string) error {
			switch op {
			case object.OpPut, object.OpDelete, object.OpComplete:
			default:
				return nil
			}
			mu.Lock()
			defer mu.Unlock()
			if time.Since(last[key]) < time.Second {
				refused++
				return errkind.After(time.Second, errkind.New(errkind.Throttled, "429"))
			}
			last[key] = time.Now()
			return nil
		}
		b := mem.New(mem.Config{UniqueTags: true, Versioned: true})
		r, err := object.Probe(t.Context(), object.Fault(b, object.Faults{Before: hot}), object.ProbeOptions{})
		if err != nil {
			t.Fatalf("probe: %v", err)
		}
		if r.Capabilities.Level != driver.C3 || len(r.Findings) > 0 {
			t.Errorf("the report is %+v", r)
		}
		if refused == 0 {
			t.Error("nothing was throttled")
		}
	})
}

// TestTrapRaceThatIsThrottledProvesNothing: no condition was tried, so none is believed.
func TestTrapRaceThatIsThrottledProvesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		writes := map[string]int{}
		once := func(op object.Op, key string) error {
			mu.Lock()
			defer mu.Unlock()
			if writes[key]++; op == object.OpPut && strings.Contains(key, "if-none-match") && writes[key] > 1 {
				return errkind.New(errkind.Throttled, "429")
			}
			return nil
		}
		b := mem.New(mem.Config{UniqueTags: true})
		r, err := object.Probe(t.Context(), object.Fault(b, object.Faults{Before: once}), object.ProbeOptions{})
		if !errkind.Is(err, errkind.Throttled) {
			t.Errorf("the report is %+v, %v", r, err)
		}
	})
}
