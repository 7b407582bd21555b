//go:build !race

// Knative's filters all and any reorder their parts in goroutines of their own while they run, without a lock: the race detector finds that
// in each of them. hack/test.sh runs this file without it.

package knative

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"go.uber.org/zap"
	eventingv1 "knative.dev/eventing/pkg/apis/eventing/v1"
	"knative.dev/eventing/pkg/eventfilter"
	"knative.dev/eventing/pkg/eventfilter/attributes"
	"knative.dev/eventing/pkg/eventfilter/subscriptionsapi"
	"sigs.k8s.io/yaml"
)

// What the filter of Knative's broker does with a Trigger is what pkg/broker does: for the Triggers of config/ and for tricky ones.
// (knative filters asks the running filter; hack/knative-light.sh does.)
func TestKnativesFilterAndOursAgree(t *testing.T) {
	cases, err := filterCases()
	if err != nil {
		t.Fatal(err)
	}
	events := filterEvents()
	box := &inbox{got: map[string][]string{}}
	for _, c := range cases {
		var tr eventingv1.Trigger
		if err := yaml.UnmarshalStrict([]byte(c.manifest("ns", "http://x")), &tr); err != nil {
			t.Fatal(err)
		}
		f := materialize(&tr)
		for _, id := range slices.Sorted(maps.Keys(events)) {
			if f.Filter(t.Context(), events[id]) != eventfilter.FailFilter {
				box.got[c.name] = append(box.got[c.name], id)
			}
		}
	}
	if err := disagreements(t.Context(), cases, events, box); err != nil {
		t.Error(err)
	}
}

// materialize makes a filter of a Trigger with the parts and in the order of knative.dev/eventing/pkg/broker/filter.
func materialize(tr *eventingv1.Trigger) eventfilter.Filter {
	switch {
	case len(tr.Spec.Filters) > 0:
		return subscriptionsapi.CreateSubscriptionsAPIFilters(zap.NewNop(), tr.Spec.Filters)
	case tr.Spec.Filter != nil:
		return attributes.NewAttributesFilter(tr.Spec.Filter.Attributes)
	}
	return subscriptionsapi.NewNoFilter()
}

// A table in which every trigger lets everything through, or nothing, would prove nothing.
func TestFilterCasesTellEventsApart(t *testing.T) {
	cases, err := filterCases()
	if err != nil {
		t.Fatal(err)
	}
	events := filterEvents()
	some := 0
	names := map[string]bool{}
	for _, c := range cases {
		names[c.name] = true
		ids, err := expected(t.Context(), c, events)
		if err != nil {
			t.Fatal(err)
		}
		if len(ids) > 0 && len(ids) < len(events) {
			some++
		}
	}
	if some < len(cases)*2/3 {
		t.Errorf("%d of %d triggers tell events apart", some, len(cases))
	}
	for _, name := range []string{"config-sync", "config-conflict-resolver", "config-audit"} {
		if !names[name] {
			t.Errorf("%s is not compared", name)
		}
	}
}

func TestManifestsAreWrittenOut(t *testing.T) {
	var out strings.Builder
	if err := printManifests(&out, "../../config"); err != nil {
		t.Fatal(err)
	}
	all, err := documents(out.String())
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range all {
		if d.kind() != "Trigger" {
			continue
		}
		for what, to := range map[string]map[string]any{
			"subscriber": object(d.spec(), "subscriber"), "dead letter sink": object(object(d.spec(), "delivery"), "deadLetterSink"),
		} {
			uri, _ := to["uri"].(string)
			if to["ref"] != nil || !strings.HasPrefix(uri, "http://") || !strings.Contains(uri, ".bucketmesh.svc.cluster.local") {
				t.Errorf("%s of %s: %v", what, d.name(), to)
			}
		}
	}
	if err := printManifests(&out, t.TempDir()); err == nil {
		t.Error("a folder without manifests is taken")
	}
}
