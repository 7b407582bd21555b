package worker_test

import (
	"context"
	"fmt"
	"maps"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/bucketmesh/bucketmesh/pkg/audit"
	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/ledger"
	"github.com/bucketmesh/bucketmesh/pkg/scan"
	"github.com/bucketmesh/bucketmesh/pkg/worker"
)

func TestMetricsSayWhatBecameOfEvents(t *testing.T) {
	b := newBench(t).mustOpen()
	const source = "https://s3.example/one"
	for id, outcome := range map[string]ledger.Outcome{
		"1": ledger.Applied, "2": ledger.Superseded, "3": ledger.Superseded, "4": ledger.Filtered, "5": ledger.Dead, "6": "",
	} {
		err := b.store.Audit().Append(t.Context(), audit.Event{Source: source, ID: id, Type: ledger.Types + "written.v1", JSON: []byte(`{}`)})
		if err != nil {
			t.Fatal(err)
		}
		if outcome == "" {
			continue
		}
		if err := b.Noter().Note(t.Context(), ledger.Note{Source: source, ID: id, Outcome: outcome}); err != nil {
			t.Fatal(err)
		}
	}
	var all metricdata.ResourceMetrics
	if err := b.metrics.Collect(t.Context(), &all); err != nil {
		t.Fatal(err)
	}
	got := map[string]int64{}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			gauge, ok := m.Data.(metricdata.Gauge[int64])
			if !ok {
				continue
			}
			for _, p := range gauge.DataPoints {
				outcome, _ := p.Attributes.Value("outcome")
				if p.Value != 0 {
					got[fmt.Sprint(m.Name, " ", outcome.AsString())] = p.Value
				}
			}
		}
	}
	want := map[string]int64{
		"bucketmesh.events.in ": 6, "bucketmesh.events applied": 1, "bucketmesh.events superseded": 2, "bucketmesh.events filtered": 1,
		"bucketmesh.events dead": 1, "bucketmesh.events.unaccounted unaccounted": 1,
	}
	if !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// A comparison in several runs closes the books as well, if none of them left anything behind.
func TestAComparisonInPartsClosesTheBooks(t *testing.T) {
	for name, test := range map[string]struct {
		between func(b *bench)
		closes  bool
	}{
		"all is well": {func(*bench) {}, true},
		"a replica was left out in one run": {func(b *bench) {
			b.failAt("two", errkind.PermissionDenied)
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t).mustOpen()
				for i := range 3000 {
					b.put("one", fmt.Sprintf("k%04d", i), "1")
				}
				lost := audit.Event{Source: "https://s3.example/one", ID: "lost", Type: ledger.Types + "written.v1", JSON: []byte(`{}`)}
				if err := b.store.Audit().Append(t.Context(), lost); err != nil {
					t.Fatal(err)
				}
				pass(time.Second)
				part := func(until int64) {
					t.Helper()
					ctx, stop := context.WithCancel(t.Context())
					p, err := b.Backfill(ctx, func(p scan.Progress) {
						if p.Settled+p.Pending >= until {
							stop()
						}
					})
					stop()
					if until < 3000 && !errkind.Is(err, errkind.Canceled) {
						t.Fatalf("%+v, %v", p, err)
					}
				}
				part(1100)
				test.between(b)
				part(100)
				b.failWith(nil)
				if done, err := b.Backfill(t.Context(), nil); err != nil || !done.Done || done.Resumed == "" {
					t.Fatalf("%+v, %v", done, err)
				}
				pass(time.Minute)
				got, err := ledger.New(b.store.Ledger(), "g", b.before).Balance(t.Context())
				if err != nil || got.Holds != test.closes {
					t.Errorf("%+v, %v", got, err)
				}
			})
		})
	}
}

// Two runs at once, of which the one that knows of nothing bad is the last to note how far it came.
func TestComparisonsThatOverlapDoNotCloseTheBooks(t *testing.T) {
	b := newBench(t).mustOpen()
	for i := range 4000 {
		b.put("one", fmt.Sprintf("k%04d", i), "1")
	}
	lost := audit.Event{Source: "https://s3.example/one", ID: "lost", Type: ledger.Types + "written.v1", JSON: []byte(`{}`)}
	if err := b.store.Audit().Append(t.Context(), lost); err != nil {
		t.Fatal(err)
	}
	first := b.Worker
	second := b.mustOpen().Worker
	until := func(w *worker.Worker, n int64, then func()) error {
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		_, err := w.Backfill(ctx, func(p scan.Progress) {
			if p.Settled+p.Pending >= n && ctx.Err() == nil {
				then()
				stop()
			}
		})
		return err
	}
	err := until(first, 1100, func() {
		b.failAt("two", errkind.PermissionDenied)
		if err := until(second, 1100, func() {}); !errkind.Is(err, errkind.Canceled) {
			t.Error(err)
		}
		b.failWith(nil)
	})
	if !errkind.Is(err, errkind.Canceled) {
		t.Fatal(err)
	}
	if done, err := second.Backfill(t.Context(), nil); err != nil || done.Resumed == "" || !done.Done {
		t.Fatalf("%+v, %v", done, err)
	}
	got, err := ledger.New(b.store.Ledger(), "g", b.before).Balance(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got.Holds {
		t.Error("what nobody compared passes for compared")
	}
}
