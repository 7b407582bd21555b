package worker_test

import (
	"fmt"
	"maps"
	"testing"

	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/bucketmesh/bucketmesh/pkg/audit"
	"github.com/bucketmesh/bucketmesh/pkg/ledger"
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
