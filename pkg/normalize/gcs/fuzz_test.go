package gcs_test

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	cloudevents "github.com/cloudevents/sdk-go/v2/event"

	"github.com/bucketmesh/bucketmesh/pkg/event"
	"github.com/bucketmesh/bucketmesh/pkg/normalize"
	"github.com/bucketmesh/bucketmesh/pkg/normalize/gcs"
	"github.com/bucketmesh/bucketmesh/pkg/normalize/oidc/oidctest"
)

// check holds for every message: it is one change, one poison, or passed over, and every change is an event or poison.
func check(t *testing.T, m, again normalize.Message) {
	t.Helper()
	ignored := 0
	for _, n := range m.Ignored {
		ignored += n
	}
	if len(m.Changes)+len(m.Poison)+ignored != 1 {
		t.Fatalf("%d changes, %d poison, %d ignored", len(m.Changes), len(m.Poison), ignored)
	}
	for _, p := range m.Poison {
		if p.Reason == "" {
			t.Fatal("poison without a reason")
		}
	}
	for i, c := range m.Changes {
		e, err := c.Event(now, "")
		if err != nil {
			continue // becomes a dead letter
		}
		b, err := event.Encode(e)
		if err != nil || len(b) >= event.MaxSize {
			t.Fatalf("%d bytes, %v", len(b), err)
		}
		back, err := event.Decode(b)
		if err != nil {
			t.Fatal(err)
		}
		o, err := event.ObjectOf(back)
		if err != nil {
			t.Fatal(err)
		}
		k, err := o.RawKey()
		if subject, err2 := event.DecodeSubject(back.Subject()); err != nil || err2 != nil || k != subject {
			t.Fatalf("key %q, subject %q, %v, %v", k, subject, err, err2)
		}
		if toEvent(t, again.Changes[i]).ID() != e.ID() {
			t.Fatal("the id is not the same twice")
		}
	}
}

func samples(f *testing.F) []gcs.PubSubMessage {
	f.Helper()
	names, err := filepath.Glob("testdata/*.json")
	if err != nil || len(names) == 0 {
		f.Fatal(names, err)
	}
	var all []gcs.PubSubMessage
	for _, name := range names {
		all = append(all, sample(f, filepath.Base(name)))
	}
	for _, n := range []note{
		written("a b"), {name: archive, key: "k", generation: "7", overwrittenBy: "9"}, {name: update, key: "k", generation: "7"},
	} {
		all = append(all, n.message())
	}
	return all
}

func FuzzPubSub(f *testing.F) {
	for _, m := range samples(f) {
		attributes, err := json.Marshal(m.Attributes)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(attributes, m.Data)
	}
	f.Fuzz(func(t *testing.T, attributes, data []byte) {
		m := gcs.PubSubMessage{Data: data}
		if json.Unmarshal(attributes, &m.Attributes) != nil {
			return
		}
		check(t, gcs.Decode(anywhere, m), gcs.Decode(anywhere, m))
	})
}

func FuzzEventarc(f *testing.F) {
	for _, name := range []string{finalize, update, remove, archive} {
		n := written("a b")
		n.name = name
		e := n.cloudEvent(f)
		f.Add(e.Type(), e.Subject(), e.Data())
	}
	f.Fuzz(func(t *testing.T, typ, subject string, data []byte) {
		e := cloudevents.New()
		e.SetID("1")
		e.SetSource("//storage.googleapis.com/projects/_/buckets/b")
		e.SetType(typ)
		e.SetSubject(subject)
		_ = e.SetData(cloudevents.ApplicationJSON, data) // of bytes: can't fail
		check(t, gcs.DecodeCloudEvent(anywhere, e), gcs.DecodeCloudEvent(anywhere, e))
	})
}

// FuzzPush: whatever known senders post is answered, and leaves one event, one dead letter, or nothing.
func FuzzPush(f *testing.F) {
	h, w := newHandler(f, oidctest.New(f), openOfB)
	for _, n := range []note{written("a b"), {name: remove, key: "k", generation: "7", payload: true}} {
		for _, p := range n.channels(f) {
			f.Add(p.headers.Get("Content-Type"), p.headers.Get("Ce-Type"), p.headers.Get("Eventtype"), p.body)
		}
	}
	if b, err := os.ReadFile("testdata/gcs-push-wrapped-finalize.json"); err != nil {
		f.Fatal(err)
	} else {
		f.Add("application/json", "", "", b)
	}
	f.Fuzz(func(t *testing.T, contentType, ceType, eventType string, body []byte) {
		p := push{path: "/gcs/eu", body: body, headers: http.Header{}}
		for name, v := range map[string]string{"Content-Type": contentType, "Ce-Type": ceType, "Eventtype": eventType} {
			if v != "" {
				p = p.with(name, v)
			}
		}
		if ceType != "" {
			p = p.with("Ce-Id", "1").with("Ce-Source", "//x").with("Ce-Specversion", "1.0")
		}
		code := p.post(t, h)
		if events, dead := w.take(); code != 200 || len(events)+len(dead) > 1 {
			t.Fatalf("%d, %v, %v", code, events, dead)
		}
		w.mu.Lock()
		w.logs.Reset()
		w.mu.Unlock()
	})
}
