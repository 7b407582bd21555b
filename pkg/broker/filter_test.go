package broker

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"go.uber.org/zap"
	eventingv1 "knative.dev/eventing/pkg/apis/eventing/v1"
	"knative.dev/eventing/pkg/eventfilter"
	"knative.dev/eventing/pkg/eventfilter/attributes"
	"knative.dev/eventing/pkg/eventfilter/subscriptionsapi"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
)

// knative is what Knative's dispatcher decides (knative.dev/eventing, pkg/broker/filter, filterEvent): filters if there
// are any, else filter if there is one, else everything.
func knative(t *testing.T, tr Trigger, e event.Event) eventfilter.FilterResult {
	t.Helper()
	if len(tr.Filters) > 0 {
		text, err := json.Marshal(tr.Filters)
		if err != nil {
			t.Fatal(err)
		}
		var filters []eventingv1.SubscriptionsAPIFilter
		if err := json.Unmarshal(text, &filters); err != nil {
			t.Fatal(err)
		}
		// Not cleaned up: Cleanup races with the goroutines in which the filter reorders its parts, and fails on "not: {}".
		return subscriptionsapi.CreateSubscriptionsAPIFilters(zap.NewNop(), filters).Filter(t.Context(), e)
	}
	if tr.Attributes != nil {
		return attributes.NewAttributesFilter(tr.Attributes).Filter(t.Context(), e)
	}
	return eventfilter.NoFilter
}

func TestFiltersDecideAsKnativesDo(t *testing.T) {
	type m = map[string]string
	events := map[string]event.Event{
		"written": newEvent("1", "dev.bucketmesh.object.written.v1", func(e *event.Event) {
			e.SetSubject("photos/a.jpg")
			e.SetExtension("storeprovider", "s3")
		}),
		"deleted": newEvent("2", "dev.bucketmesh.object.deleted.v1", func(e *event.Event) {
			e.SetSubject("tmp/b")
			e.SetTime(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
			e.SetExtension("storeprovider", "gcs")
		}),
		"conflict": newEvent("3", "dev.bucketmesh.conflict.detected.v1", func(e *event.Event) {
			e.SetExtension("syncgroup", "media")
			e.SetExtension("number", 7)
		}),
	}
	for _, tt := range []struct {
		name   string
		tr     Trigger
		passes string // names of events, in order of name
	}{
		{"nothing is everything", Trigger{}, "conflict deleted written"},
		{"an empty list is everything", Trigger{Filters: []Filter{}}, "conflict deleted written"},
		{"an empty filter is everything", Trigger{Filters: []Filter{{}}}, "conflict deleted written"},
		{"exact", Trigger{Filters: []Filter{{Exact: m{"type": "dev.bucketmesh.object.deleted.v1"}}}}, "deleted"},
		{"exact, two attributes", Trigger{Filters: []Filter{{Exact: m{"type": "dev.bucketmesh.object.written.v1", "storeprovider": "s3"}}}}, "written"},
		{"exact, one of two attributes differs", Trigger{Filters: []Filter{{Exact: m{"type": "dev.bucketmesh.object.written.v1", "storeprovider": "gcs"}}}}, ""},
		{"exact, missing extension", Trigger{Filters: []Filter{{Exact: m{"syncgroup": "media"}}}}, "conflict"},
		{"exact, missing optional attribute", Trigger{Filters: []Filter{{Exact: m{"subject": "photos/a.jpg"}}}}, "written"},
		{"exact, an attribute that is a number", Trigger{Filters: []Filter{{Exact: m{"number": "7"}}}}, "conflict"},
		{"prefix", Trigger{Filters: []Filter{{Prefix: m{"type": "dev.bucketmesh.object."}}}}, "deleted written"},
		{"prefix, missing attribute", Trigger{Filters: []Filter{{Prefix: m{"subject": "photos/"}}}}, "written"},
		{"suffix", Trigger{Filters: []Filter{{Suffix: m{"subject": ".jpg"}}}}, "written"},
		{"suffix, missing extension", Trigger{Filters: []Filter{{Suffix: m{"storeprovider": "3"}}}}, "written"},
		{"a list is a conjunction", Trigger{Filters: []Filter{
			{Prefix: m{"type": "dev.bucketmesh.object."}}, {Exact: m{"storeprovider": "gcs"}},
		}}, "deleted"},
		{"all", Trigger{Filters: []Filter{{All: []Filter{
			{Prefix: m{"type": "dev.bucketmesh.object."}}, {Suffix: m{"subject": "/b"}},
		}}}}, "deleted"},
		{"all of one", Trigger{Filters: []Filter{{All: []Filter{{Exact: m{"storeprovider": "s3"}}}}}}, "written"},
		{"any", Trigger{Filters: []Filter{{Any: []Filter{
			{Prefix: m{"type": "dev.bucketmesh.conflict."}}, {Suffix: m{"subject": ".jpg"}},
		}}}}, "conflict written"},
		{"any with an empty part", Trigger{Filters: []Filter{{Any: []Filter{{Exact: m{"type": "none"}}, {}}}}}, ""},
		{"any of an empty part only", Trigger{Filters: []Filter{{Any: []Filter{{}}}}}, "conflict deleted written"},
		{"an empty filter in the list", Trigger{Filters: []Filter{{Exact: m{"storeprovider": "s3"}}, {}}}, "written"},
		{"all with an empty part", Trigger{Filters: []Filter{{All: []Filter{{}, {Exact: m{"storeprovider": "s3"}}}}}}, "written"},
		{"not", Trigger{Filters: []Filter{{Not: &Filter{Prefix: m{"type": "dev.bucketmesh.object."}}}}}, "conflict"},
		{"not, missing extension", Trigger{Filters: []Filter{{Not: &Filter{Exact: m{"syncgroup": "media"}}}}}, "deleted written"},
		{"not of nothing", Trigger{Filters: []Filter{{Not: &Filter{}}}}, "conflict deleted written"},
		{"not not", Trigger{Filters: []Filter{{Not: &Filter{Not: &Filter{Exact: m{"storeprovider": "s3"}}}}}}, "written"},
		{"nested", Trigger{Filters: []Filter{{Any: []Filter{
			{All: []Filter{{Prefix: m{"type": "dev.bucketmesh.object."}}, {Not: &Filter{Prefix: m{"subject": "tmp/"}}}}},
			{CESQL: "EXISTS syncgroup"},
		}}}}, "conflict written"},
		{"cesql", Trigger{Filters: []Filter{{CESQL: "type LIKE '%.deleted.%' AND subject LIKE 'tmp/%'"}}}, "deleted"},
		{"cesql, missing attribute is an error and fails", Trigger{Filters: []Filter{{CESQL: "syncgroup = 'media'"}}}, "conflict"},
		{"filter", Trigger{Attributes: m{"type": "dev.bucketmesh.object.written.v1"}}, "written"},
		{"filter, empty value is any that is set", Trigger{Attributes: m{"subject": ""}}, "deleted written"},
		{"filter, no attributes is everything", Trigger{Attributes: m{}}, "conflict deleted written"},
		{"filters override filter", Trigger{
			Attributes: m{"type": "dev.bucketmesh.object.written.v1"},
			Filters:    []Filter{{Exact: m{"storeprovider": "gcs"}}},
		}, "deleted"},
		{"empty filters do not override filter", Trigger{
			Attributes: m{"type": "dev.bucketmesh.object.written.v1"}, Filters: []Filter{},
		}, "written"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f, err := compile(tt.tr)
			if err != nil {
				t.Fatal(err)
			}
			var passed []string
			for _, name := range []string{"conflict", "deleted", "written"} {
				got := f.Filter(t.Context(), events[name])
				if want := knative(t, tt.tr, events[name]); got != want {
					t.Errorf("%s: %v, Knative says %v", name, got, want)
				}
				if got != eventfilter.FailFilter {
					passed = append(passed, name)
				}
			}
			if got := strings.Join(passed, " "); got != tt.passes {
				t.Errorf("passes %q, want %q", got, tt.passes)
			}
		})
	}
}

// Knative's filter panics here, which its dispatcher turns into a failed delivery.
func TestCESQLThatIsNoTruthValueFails(t *testing.T) {
	f, err := compile(Trigger{Filters: []Filter{{CESQL: "1 + 1"}}})
	if err != nil {
		t.Fatal(err)
	}
	if got := f.Filter(t.Context(), newEvent("1", "x")); got != eventfilter.FailFilter {
		t.Errorf("got %v", got)
	}
}

func TestWrongFiltersAreRefusedWithTheirPath(t *testing.T) {
	type m = map[string]string
	for path, filters := range map[string][]Filter{
		"spec.filters[0].cesql":        {{CESQL: "type = "}},
		"spec.filters[1].exact":        {{}, {Exact: m{"type": ""}}},
		"spec.filters[0].prefix":       {{Prefix: m{"Type": "x"}}},
		"spec.filters[0].any[1].all":   {{Any: []Filter{{}, {All: []Filter{{Suffix: m{"a-b": "x"}}}}}}},
		"spec.filters[0].not: several": {{Not: &Filter{CESQL: "TRUE", Exact: m{"type": "x"}}}},
	} {
		_, err := compile(Trigger{Name: "one", Filters: filters})
		if !errkind.Is(err, errkind.Invalid) || !strings.Contains(fmt.Sprint(err), path) {
			t.Errorf("want an invalid error at %s, got %v", path, err)
		}
	}
	if _, err := compile(Trigger{Attributes: m{"a.b": "x"}}); !errkind.Is(err, errkind.Invalid) {
		t.Errorf("wrong attribute name: %v", err)
	}
}

func TestParseTriggers(t *testing.T) {
	f, err := os.Open("testdata/triggers.yaml")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	got, err := ParseTriggers(f)
	if err != nil {
		t.Fatal(err)
	}
	want := []Trigger{
		{
			Name: "sync", Subscriber: "sync",
			Filters: []Filter{{Any: []Filter{
				{Prefix: map[string]string{"type": "dev.bucketmesh.object."}},
				{Exact: map[string]string{"type": "dev.bucketmesh.conflict.resolved.v1"}},
			}}},
			Retry: 12, BackoffPolicy: Exponential, BackoffDelay: 500 * time.Millisecond, Timeout: 10 * time.Minute, RetryAfterMax: time.Minute,
		},
		{Name: "audit", Subscriber: "http://audit.example/", Retry: -1},
		{Name: "old", Subscriber: "old", Attributes: map[string]string{"type": "dev.bucketmesh.scan.requested.v1"}},
	}
	if g, w := asJSON(t, got), asJSON(t, want); g != w {
		t.Errorf("got\n%s\nwant\n%s", g, w)
	}
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	text, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestParseTriggersRefuses(t *testing.T) {
	head := "apiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata: {name: a}\n"
	for name, text := range map[string]string{
		"no YAML":                   "a: [",
		"a dialect spelled wrong":   head + "spec: {filters: [{exakt: {type: x}}]}",
		"one nested, spelled wrong": head + "spec: {filters: [{not: {exakt: {type: x}}}]}",
		"a duration":                head + "spec: {delivery: {backoffDelay: 1s}}",
		"a policy":                  head + "spec: {delivery: {backoffPolicy: constant}}",
		"a filter":                  head + "spec: {filters: [{cesql: '(('}]}",
		"no name":                   "apiVersion: eventing.knative.dev/v1\nkind: Trigger\n",
	} {
		if got, err := ParseTriggers(strings.NewReader(text)); !errkind.Is(err, errkind.Invalid) {
			t.Errorf("%s: %+v, %v, want invalid", name, got, err)
		}
	}
}
