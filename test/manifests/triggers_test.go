package manifests

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	cloudevents "github.com/cloudevents/sdk-go/v2/event"
	"github.com/rickb777/date/period"
	"go.uber.org/zap"
	eventingv1 "knative.dev/eventing/pkg/apis/eventing/v1"
	"knative.dev/eventing/pkg/eventfilter"
	"knative.dev/eventing/pkg/eventfilter/subscriptionsapi"
	"knative.dev/eventing/pkg/kncloudevents"
	"sigs.k8s.io/yaml"

	"github.com/bucketmesh/bucketmesh/config"
	"github.com/bucketmesh/bucketmesh/pkg/broker"
)

func timeout(t eventingv1.Trigger) (time.Duration, error) {
	if t.Spec.Delivery == nil || t.Spec.Delivery.Timeout == nil {
		return 0, nil
	}
	p, err := period.Parse(*t.Spec.Delivery.Timeout)
	d, _ := p.Duration()
	return d, err //nolint:wrapcheck // a test
}

func triggers(t *testing.T, s set) map[string]eventingv1.Trigger {
	t.Helper()
	found := map[string]eventingv1.Trigger{}
	for _, o := range s.of("eventing.knative.dev", "Trigger") {
		var trigger eventingv1.Trigger
		if err := yaml.Unmarshal(o.text, &trigger); err != nil {
			t.Fatal(err)
		}
		found[trigger.Name] = trigger
	}
	if len(found) < 3 {
		t.Fatalf("only the triggers %v", sorted(found))
	}
	return found
}

// Knative's own back-off of what the Triggers say: ten minutes in all, and never a long silence.
func TestPatienceIsTenMinutesOnKnative(t *testing.T) {
	for name, objects := range sets(t) {
		for _, trigger := range triggers(t, objects) {
			retries, err := kncloudevents.RetryConfigFromDeliverySpec(*trigger.Spec.Delivery)
			if err != nil {
				t.Fatal(err)
			}
			var total, longest time.Duration
			for n := range retries.RetryMax {
				wait := retries.Backoff(n, nil)
				total, longest = total+wait, max(longest, wait)
			}
			if total < 9*time.Minute || total > 11*time.Minute || longest > 20*time.Second {
				t.Errorf("%s: trigger %s waits %v in all, up to %v at once", name, trigger.Name, total, longest)
			}
		}
	}
}

// One document means the same here and there: the embedded broker waits as long before each retry as Knative does.
func TestEmbeddedBrokerWaitsAsKnativeDoes(t *testing.T) {
	same := func(t *testing.T, manifest string) {
		t.Helper()
		ours, err := broker.ParseTriggers(strings.NewReader(manifest))
		if err != nil {
			t.Fatal(err)
		}
		objects, err := parse("manifest", []byte(manifest))
		if err != nil {
			t.Fatal(err)
		}
		for _, our := range ours {
			i := slices.IndexFunc(objects, func(o object) bool { return o.name() == our.Name })
			var trigger eventingv1.Trigger
			if err := yaml.Unmarshal(objects[i].text, &trigger); err != nil {
				t.Fatal(err)
			}
			knative, err := kncloudevents.RetryConfigFromDeliverySpec(*trigger.Spec.Delivery)
			if err != nil {
				t.Fatal(err)
			}
			if our.Retry != knative.RetryMax || our.Timeout != knative.RequestTimeout {
				t.Errorf("trigger %s: %d retries of %v, Knative %d of %v", our.Name, our.Retry, our.Timeout, knative.RetryMax, knative.RequestTimeout)
			}
			for n := range knative.RetryMax {
				if got, want := our.Backoff(n+1), knative.Backoff(n, nil); got != want {
					t.Errorf("trigger %s: waits %v before retry %d, Knative %v", our.Name, got, n+1, want)
				}
			}
		}
	}
	same(t, config.Triggers())
	for _, policy := range []string{"linear", "exponential"} {
		same(t, `{apiVersion: eventing.knative.dev/v1, kind: Trigger, metadata: {name: x}, spec: {broker: b, subscriber: {uri: "http://x"},
			delivery: {retry: 20, backoffPolicy: `+policy+`, backoffDelay: PT0.3S, timeout: PT7S}}}`)
	}
}

// onlyRecorded are the types that nobody acts upon, with the reason.
var onlyRecorded = map[string]string{
	"dev.bucketmesh.sync.planned.v1":       "tells what sync did",
	"dev.bucketmesh.sync.applied.v1":       "tells what sync did",
	"dev.bucketmesh.sync.superseded.v1":    "tells what sync did",
	"dev.bucketmesh.conflict.pending.v1":   "asks a person",
	"dev.bucketmesh.guard.tripped.v1":      "asks a person",
	"dev.bucketmesh.transfer.part.v1":      "is reserved, nobody sends it",
	"dev.bucketmesh.transfer.completed.v1": "is reserved, nobody sends it",
	"dev.bucketmesh.scan.range.v1":         "is reserved, nobody sends it",
}

// Every type of the vocabulary is wanted by somebody, by Knative's own filters, or known to be for the record only.
func TestEveryTypeIsWanted(t *testing.T) {
	types := map[string]bool{}
	for _, value := range constants(t, "pkg/event/event.go") {
		if strings.HasPrefix(value, "dev.") && !strings.HasSuffix(value, ".") {
			types[value] = true
		}
	}
	if len(types) < 20 {
		t.Fatalf("the vocabulary has only %v", sorted(types))
	}
	for name, objects := range sets(t) {
		wanted := triggers(t, objects)
		for _, typ := range sorted(types) {
			e := cloudevents.New()
			e.SetID("1")
			e.SetSource("https://example.com")
			e.SetType(typ)
			acts := false
			for _, trigger := range wanted {
				filters := subscriptionsapi.CreateSubscriptionsAPIFilters(zap.NewNop(), trigger.Spec.Filters)
				passes := filters.Filter(context.Background(), e) != eventfilter.FailFilter
				filters.Cleanup()
				if trigger.Name == "audit" && !passes {
					t.Errorf("%s: audit does not get %s", name, typ)
				}
				acts = acts || passes && trigger.Name != "audit"
			}
			if _, recorded := onlyRecorded[typ]; acts == recorded {
				t.Errorf("%s: %s: somebody acts upon it: %v, only recorded: %v", name, typ, acts, recorded)
			}
		}
	}
}
