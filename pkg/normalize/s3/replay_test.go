package s3_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/bucketmesh/bucketmesh/pkg/normalize/s3"
)

// refused are the counts of refusals by status and reason.
func (w *world) refused(t testing.TB) map[string]int64 {
	t.Helper()
	var got metricdata.ResourceMetrics
	if err := w.reader.Collect(context.Background(), &got); err != nil {
		t.Fatal(err)
	}
	counts := map[string]int64{}
	for _, scope := range got.ScopeMetrics {
		for _, m := range scope.Metrics {
			sum, ok := m.Data.(metricdata.Sum[int64])
			if !ok || m.Name != "bucketmesh.normalizer.refused" {
				continue
			}
			for _, p := range sum.DataPoints {
				status, _ := p.Attributes.Value("status")
				reason, _ := p.Attributes.Value("reason")
				counts[fmt.Sprintf("%d %s", status.AsInt64(), reason.AsString())] += p.Value
			}
		}
	}
	return counts
}

func TestEveryRefusalOfSNSIsCountedByItsReason(t *testing.T) {
	a, other := newAWS(t), newAWS(t)
	h, w := newHandler(t, a, func(c *s3.HandlerConfig) { c.Verifier = a.verifier(0) })
	at := func(e s3.Envelope, when time.Time) s3.Envelope { e.Timestamp = when.Format(time.RFC3339); return e }
	change := func(e s3.Envelope, f func(*s3.Envelope)) s3.Envelope { f(&e); return e }
	good := notification(string(records(rec{key: "k"})))
	for name, c := range map[string]struct {
		e    s3.Envelope
		want string
	}{
		"replayed the next day":    {a.sign(t, at(good, now.Add(-24*time.Hour))), "401 sns message too old"},
		"just too old":             {a.sign(t, at(good, now.Add(-75*time.Minute-time.Second))), "401 sns message too old"},
		"old and forged":           {other.sign(t, at(good, now.Add(-24*time.Hour))), "401 sns message too old"},
		"of the future":            {a.sign(t, at(good, now.Add(16*time.Minute))), "401 sns message of the future"},
		"replayed confirmation":    {a.sign(t, at(subscription(), now.Add(-2*time.Hour))), "401 sns message too old"},
		"confirmation to come":     {a.sign(t, at(subscription(), now.Add(time.Hour))), "401 sns message of the future"},
		"without a time":           {a.sign(t, change(good, func(e *s3.Envelope) { e.Timestamp = "" })), "401 malformed sns message"},
		"of another type":          {a.sign(t, change(good, func(e *s3.Envelope) { e.Type = "Greeting" })), "401 malformed sns message"},
		"made young again":         {at(a.sign(t, at(good, now.Add(-24*time.Hour))), now), "401 sns signature"},
		"forged":                   {other.sign(t, good), "401 sns signature"},
		"signature is no base64":   {change(good, func(e *s3.Envelope) { e.Signature = "!" }), "401 sns signature"},
		"signature version":        {change(a.sign(t, good), func(e *s3.Envelope) { e.SignatureVersion = "9" }), "401 sns signature"},
		"look-alike certificate":   {a.sign(t, change(good, func(e *s3.Envelope) { e.SigningCertURL = badURLs[5] })), "401 sns certificate url"},
		"look-alike confirmation":  {a.sign(t, change(subscription(), func(e *s3.Envelope) { e.SubscribeURL = badURLs[5] })), "401 sns subscribe url"},
		"topic of somebody else":   {a.sign(t, change(good, func(e *s3.Envelope) { e.TopicArn += "x" })), "403 sns topic"},
		"a certificate that isn't": {a.sign(t, change(good, func(e *s3.Envelope) { e.SigningCertURL = strings.Replace(certURL, ".pem", "no.pem", 1) })), "401 sns certificate"},
		"a certificate not there":  {a.sign(t, change(good, func(e *s3.Envelope) { e.SigningCertURL = strings.Replace(certURL, ".pem", "down.pem", 1) })), "503 sns certificate not available"},
		"an answer not given":      {a.sign(t, subscription()), "503 sns confirmation not possible"},
	} {
		a.answer = func(r *http.Request) (*http.Response, error) {
			switch {
			case strings.HasSuffix(r.URL.Path, "no.pem"):
				return reply(200, []byte("hello")), nil
			case strings.HasSuffix(r.URL.Path, "down.pem"), !strings.HasSuffix(r.URL.Path, ".pem"):
				return nil, errors.New("down")
			}
			return reply(200, a.pem), nil
		}
		before := w.refused(t)[c.want]
		body, err := json.Marshal(c.e)
		if err != nil {
			t.Fatal(err)
		}
		got := post(t, h, "/s3/sns", body)
		if !strings.HasPrefix(c.want, fmt.Sprint(got)) || w.refused(t)[c.want] != before+1 {
			t.Errorf("%s: %d, %v", name, got, w.refused(t))
		}
	}
	if len(w.events)+len(w.dead) != 0 {
		t.Error(w.events, w.dead)
	}
}

// SNS sends at least once: a repeat within the window can't be told from a replay, and need not be.
func TestMessagesWithinTheWindowMayRepeat(t *testing.T) {
	a := newAWS(t)
	h, w := newHandler(t, a, func(c *s3.HandlerConfig) { c.Verifier = a.verifier(0) })
	for _, age := range []time.Duration{0, time.Hour, 75 * time.Minute, -15 * time.Minute} {
		e := notification(string(records(rec{key: "k"})))
		e.Timestamp = now.Add(-age).Format(time.RFC3339)
		body, err := json.Marshal(a.sign(t, e))
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if got := post(t, h, "/s3/sns", body); got != 200 {
				t.Errorf("%s old: %d", age, got)
			}
		}
	}
	if len(w.events) != 8 {
		t.Fatal(len(w.events))
	}
	for _, e := range w.events {
		if e.ID() != w.events[0].ID() {
			t.Error("a repeat is another event")
		}
	}
}

func TestTheAgeOfMessagesIsConfigurable(t *testing.T) {
	a := newAWS(t)
	e := notification("{}")
	e.Timestamp = now.Add(-2 * time.Hour).Format(time.RFC3339)
	e = a.sign(t, e)
	for maxAge, good := range map[time.Duration]bool{0: false, time.Minute: false, 2 * time.Hour: true, -1: true} {
		if err := a.verifier(maxAge).Verify(t.Context(), &e, []string{topic}); (err == nil) != good {
			t.Errorf("%s: %v", maxAge, err)
		}
	}
}
