package bury_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	cloudevents "github.com/cloudevents/sdk-go/v2/event"

	"github.com/bucketmesh/bucketmesh/pkg/deadletter"
	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/receive"
	"github.com/bucketmesh/bucketmesh/pkg/serve"
	"github.com/bucketmesh/bucketmesh/pkg/subscriber/bury"
)

// letters remembers what is kept; its errors are those of a store.
type letters struct {
	deadletter.Store
	kept []deadletter.Letter
	err  error
}

func (l *letters) Put(_ context.Context, group string, letter deadletter.Letter) error {
	if l.err == nil && group == "media" {
		l.kept = append(l.kept, letter)
	}
	return l.err
}

func newSink(t *testing.T) (*letters, string) {
	t.Helper()
	l := &letters{}
	h := &bury.Handler{Group: "media", Store: l, Now: time.Now, Logger: slog.New(slog.DiscardHandler)}
	handler, err := h.HTTP(serve.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(handler)
	t.Cleanup(s.Close)
	return l, s.URL
}

const failed = `{"specversion":"1.0","id":"1","source":"https://s3.example/media","type":"dev.bucketmesh.object.written.v1","data":{"a":1}`

func post(t *testing.T, url, body string) (status int, answer string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/cloudevents+json")
	return send(t, r)
}

func send(t *testing.T, r *http.Request) (status int, answer string) {
	t.Helper()
	a, err := (&http.Client{Timeout: 10 * time.Second}).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Body.Close()
	text, err := io.ReadAll(a.Body)
	if err != nil {
		t.Fatal(err)
	}
	return a.StatusCode, string(text)
}

func TestThePathTellsTheTrigger(t *testing.T) {
	l, url := newSink(t)
	attributes := `,"knativeerrorcode":400,"knativeerrordest":"http://audit.ns.svc/","knativeerrordata":"` + base64.StdEncoding.EncodeToString([]byte("no")) + `"}`
	for path, want := range map[string]string{"/sync": "sync", "/": "audit"} {
		l.kept = nil
		if status, text := post(t, url+path, failed+attributes); status != http.StatusAccepted || text != "" {
			t.Fatalf("%s: %d %q", path, status, text)
		}
		if len(l.kept) != 1 || l.kept[0].Trigger != want || l.kept[0].Reason != "no" || l.kept[0].Event.ID() != "1" {
			t.Errorf("%s: %+v", path, l.kept)
		}
	}
	for _, path := range []string{"/a/b", "/A%20b", "/" + strings.Repeat("x", 300)} {
		if status, _ := post(t, url+path, failed+attributes); status/100 != 4 {
			t.Errorf("%s: %d", path, status)
		}
	}
}

func TestALetterIsKeptBeforeTheAnswer(t *testing.T) {
	l, url := newSink(t)
	l.err = errkind.New(errkind.Unavailable, "the database is down")
	if status, _ := post(t, url+"/sync", failed+"}"); status != http.StatusServiceUnavailable {
		t.Errorf("answered %d", status)
	}
}

// sink posts what a normalizer publishes, as the broker's trigger does.
type sink struct {
	t   *testing.T
	url string
}

func (s sink) Publish(_ context.Context, events ...cloudevents.Event) error {
	for _, e := range events {
		text, err := e.MarshalJSON()
		if err != nil {
			return err
		}
		if status, _ := post(s.t, s.url, string(text)); status != http.StatusAccepted {
			s.t.Errorf("answered %d", status)
		}
	}
	return nil
}

// A message that no normalizer understands is the same letter as in one process.
func TestUnrecognizedMessagesAreRawLetters(t *testing.T) {
	l, url := newSink(t)
	u := receive.Unrecognized{Group: "media", Provider: "s3", Sink: sink{t, url + "/"}}
	for _, raw := range []string{"{not JSON\r\n", `{"a": [1]}`} {
		l.kept = nil
		if err := u.Store(t.Context(), []byte(raw), "text/plain", "no record"); err != nil {
			t.Fatal(err)
		}
		if len(l.kept) != 1 {
			t.Fatalf("%q: %d letters", raw, len(l.kept))
		}
		k := l.kept[0]
		same := strings.ReplaceAll(string(k.Raw), " ", "") == strings.ReplaceAll(raw, " ", "")
		if k.Event != nil || k.Trigger != "" || !same || k.ContentType != "text/plain" || !strings.HasPrefix(k.Reason, "no record") || k.Kind != "invalid" {
			t.Errorf("%q: %+v with %q", raw, k, k.Raw)
		}
	}
	// What audit could not record is an event that can be replayed.
	u.Sink = sink{t, url + "/audit"}
	l.kept = nil
	if err := u.Store(t.Context(), []byte("{"), "", "no record"); err != nil {
		t.Fatal(err)
	}
	if len(l.kept) != 1 || l.kept[0].Event == nil || l.kept[0].Trigger != "audit" {
		t.Errorf("%+v", l.kept)
	}
}

// Whatever a broker gave up on is kept, and can be read again: one event must not keep a letter from being written, or others from being
// read.
func TestEventsThatJSONCannotHoldAreKept(t *testing.T) {
	l, url := newSink(t)
	for name, c := range map[string]struct{ time, data string }{
		"data that is no JSON":       {"", "{not JSON"},
		"a time after all calendars": {"9999-12-31T23:59:59-23:59", "{}"},
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/sync", strings.NewReader(c.data))
		if err != nil {
			t.Fatal(err)
		}
		for attribute, value := range map[string]string{"Specversion": "1.0", "Id": "1", "Source": "s", "Type": "dev.bucketmesh.object.written.v1", "Time": c.time} {
			if value != "" {
				r.Header.Set("Ce-"+attribute, value)
			}
		}
		r.Header.Set("Content-Type", "application/json")
		l.kept = nil
		if status, _ := send(t, r); status != http.StatusAccepted || len(l.kept) != 1 {
			t.Fatalf("%s: %d, %d letters", name, status, len(l.kept))
		}
		doc, err := json.Marshal(l.kept[0])
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var back deadletter.Letter
		if err := json.Unmarshal(doc, &back); err != nil || back.Trigger != "sync" || !strings.Contains(string(back.Raw), c.data) {
			t.Errorf("%s: %v, %s", name, err, doc)
		}
	}
}

// Two unrecognized events of somebody else's are two letters.
func TestUnrecognizedEventsOfOthersKeepTheirData(t *testing.T) {
	l, url := newSink(t)
	body := `{"specversion":"1.0","id":"1","source":"s","type":"dev.bucketmesh.unrecognized.v1","data":{"foo":1}}`
	if status, _ := post(t, url+"/", body); status != http.StatusAccepted || len(l.kept) != 1 || string(l.kept[0].Raw) != `{"foo":1}` {
		t.Errorf("%d, %+v", status, l.kept)
	}
}
