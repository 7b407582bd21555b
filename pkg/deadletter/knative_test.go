package deadletter_test

import (
	"encoding/base64"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"

	"github.com/bucketmesh/bucketmesh/pkg/deadletter"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func newEvent(t *testing.T, extensions map[string]any) event.Event {
	t.Helper()
	e := event.New()
	e.SetID("id")
	e.SetSource("https://s3.example/media")
	e.SetType("dev.bucketmesh.object.written.v1")
	e.SetExtension("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	for name, v := range extensions {
		e.SetExtension(name, v)
	}
	if err := e.Validate(); err != nil {
		t.Fatal(err)
	}
	return e
}

func encoded(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

func TestWhatKnativeSays(t *testing.T) {
	for name, c := range map[string]struct {
		trigger    string
		extensions map[string]any
		want       deadletter.Letter
	}{
		"all of it": {"sync", map[string]any{
			"knativeerrordest": "http://sync.bucketmesh.svc.cluster.local/", "knativeerrorcode": 400, "knativeerrordata": encoded("sync \"k\": no\nway\n"),
		}, deadletter.Letter{Trigger: "sync", Destination: "http://sync.bucketmesh.svc.cluster.local/", Code: 400, Kind: "invalid", Reason: `sync "k": no way`}},
		"the destination tells the trigger": {"", map[string]any{
			"knativeerrordest": "http://audit.bucketmesh.svc.cluster.local", "knativeerrorcode": "503", "knativeerrordata": encoded("down"),
		}, deadletter.Letter{Trigger: "audit", Destination: "http://audit.bucketmesh.svc.cluster.local", Code: 503, Kind: "unavailable", Reason: "down"}},
		"an address tells none": {"", map[string]any{"knativeerrordest": "http://127.0.0.1:8080/", "knativeerrorcode": 429},
			deadletter.Letter{Destination: "http://127.0.0.1:8080/", Code: 429, Kind: "throttled", Reason: "the subscriber did not say why"}},
		"no service has this name": {"", map[string]any{"knativeerrordest": "http://a%ffb.ns/", "knativeerrorcode": 400},
			deadletter.Letter{Destination: "http://a%FFb.ns/", Code: 400, Kind: "invalid", Reason: "the subscriber did not say why"}},
		"no name is this long": {"", map[string]any{"knativeerrordest": "http://" + strings.Repeat("a", 64) + ".ns/", "knativeerrorcode": 400},
			deadletter.Letter{Destination: "http://" + strings.Repeat("a", 64) + ".ns/", Code: 400, Kind: "invalid", Reason: "the subscriber did not say why"}},
		"nothing": {"audit", nil, deadletter.Letter{Trigger: "audit", Reason: "the subscriber did not answer, or not in time"}},
		"no answer": {"audit", map[string]any{"knativeerrorcode": -1},
			deadletter.Letter{Trigger: "audit", Reason: "the subscriber did not answer, or not in time"}},
		"not encoded": {"audit", map[string]any{"knativeerrorcode": 500, "knativeerrordata": "it broke"},
			deadletter.Letter{Trigger: "audit", Code: 500, Kind: "unavailable", Reason: "it broke"}},
		"encoded by chance only": {"audit", map[string]any{"knativeerrorcode": 500, "knativeerrordata": "test"},
			deadletter.Letter{Trigger: "audit", Code: 500, Kind: "unavailable", Reason: "test"}},
		"cut within a character": {"audit", map[string]any{"knativeerrorcode": 500, "knativeerrordata": encoded("grün\xc3")},
			deadletter.Letter{Trigger: "audit", Code: 500, Kind: "unavailable", Reason: "grün"}},
		"secrets": {"audit", map[string]any{
			"knativeerrordest": "http://me:hush@audit.example/path?token=hush", "knativeerrorcode": 500,
			"knativeerrordata": encoded(`Put "https://acc.blob.example/c/k?sv=1&sig=hush%2B&x=1&upload_id=hush": postgres://u:hush@db/x, Authorization: Bearer hush; X-Amz-Signature=hush AccountKey="hush"`),
		}, deadletter.Letter{Trigger: "audit", Destination: "http://audit.example/path", Code: 500, Kind: "unavailable",
			Reason: `Put "https://acc.blob.example/c/k?sv=1&sig=***&x=1&upload_id=***": postgres://***@db/x, Authorization: Bearer ***; X-Amz-Signature=*** AccountKey="***"`}},
	} {
		got := deadletter.FromKnative(c.trigger, newEvent(t, c.extensions), now)
		e := got.Event
		got.Event, c.want.Time = nil, now
		if got.Trigger != c.want.Trigger || got.Destination != c.want.Destination || got.Code != c.want.Code || got.Kind != c.want.Kind || got.Reason != c.want.Reason {
			t.Errorf("%s:\n got %+v\nwant %+v", name, got, c.want)
		}
		var left []string
		for n := range e.Extensions() {
			left = append(left, n)
		}
		if !slices.Equal(left, []string{"traceparent"}) {
			t.Errorf("%s: the event has %v", name, left)
		}
	}
}

// What is between a broker and its parts is not sent again: a counter of hops would end the event some day.
func TestALetterHasTheOriginalEvent(t *testing.T) {
	e := newEvent(t, map[string]any{"knativebrokerttl": 254, "knativeerrorcode": 400, "partitionkey": "k"})
	l := deadletter.FromKnative("sync", e, now)
	if got := l.Event.Extensions(); len(got) != 2 || got["partitionkey"] != "k" {
		t.Errorf("the event has %v", got)
	}
	if _, ok := e.Extensions()["knativebrokerttl"]; !ok {
		t.Error("the event that came in was changed")
	}
	if !deadletter.Failed(e) || deadletter.Failed(*l.Event) {
		t.Error("which of them failed is not told apart")
	}
}

func TestReasonsAreBounded(t *testing.T) {
	if r := deadletter.Reason(strings.Repeat("ü\r\n", 10_000)); len(r) > 2048 || strings.ContainsAny(r, "\r\n") {
		t.Errorf("%d bytes", len(r))
	}
}

func TestNamesTellLettersApart(t *testing.T) {
	e, f := newEvent(t, nil), newEvent(t, nil)
	f.SetID("i")
	f.SetSource(e.Source() + "d")
	seen := map[string]bool{}
	for _, l := range []deadletter.Letter{{Event: &e}, {Event: &f}, {Raw: []byte("a")}, {Raw: []byte("b")}, {}} {
		seen[string(l.Name())] = true
	}
	if len(seen) != 5 {
		t.Errorf("%d names of 5", len(seen))
	}
}
