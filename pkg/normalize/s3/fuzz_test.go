package s3_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bucketmesh/bucketmesh/pkg/event"
	"github.com/bucketmesh/bucketmesh/pkg/normalize/s3"
)

// checkDecode holds for every input: nothing is lost without a trace, and every change is an event or poison.
func checkDecode(t *testing.T, body []byte) {
	for _, d := range []s3.Dialect{s3.AWS, s3.MinIO, s3.VersityGW, s3.RGW} {
		m := s3.Decode(body, store(d))
		if n := bytes.Count(body, []byte("{")); len(m.Changes) > n {
			t.Fatalf("%d changes out of %d objects", len(m.Changes), n)
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
			if c.Object.Bucket == "" {
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			k, err := o.RawKey()
			if subject, err2 := event.DecodeSubject(back.Subject()); err != nil || err2 != nil || k != subject {
				t.Fatalf("key %q, subject %q, %v, %v", k, subject, err, err2)
			}
			if again := s3.Decode(body, store(d)); toEvent(t, again.Changes[i]).ID() != e.ID() {
				t.Fatal("the id is not the same twice")
			}
		}
	}
}

func FuzzRecords(f *testing.F) {
	names, err := filepath.Glob("testdata/*json")
	if err != nil || len(names) == 0 {
		f.Fatal(names, err)
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		line, _, _ := bytes.Cut(b, []byte("\n{"))
		f.Add(line)
	}
	f.Add(records(rec{key: "a+b%2B", object: `,"size":"12","versionId":"null","sequencer":"F7E6D75DC742D108"`}))
	f.Add(bytes.Replace(records(rec{key: "KEY"}), []byte("KEY"), []byte("\xff\\n\xfe"), 1))
	f.Fuzz(func(t *testing.T, body []byte) { checkDecode(t, body) })
}

func FuzzEventBridge(f *testing.F) {
	f.Add(bridge("Object Created", "PutObject", "a b", `,"size":5,"etag":"b1946ac92492d2347c6235b4d2611184","version-id":"v","sequencer":"617f08299329d189"`))
	f.Add(bridge("Object Deleted", "Lifecycle Expiration", "k", "", `,"deletion-type":"Delete Marker Created"`))
	f.Add(bridge("Object Painted", "", "", ""))
	f.Fuzz(func(t *testing.T, body []byte) { checkDecode(t, body) })
}

// FuzzSNSEnvelope: nothing that SNS did not sign gets through, and nobody but SNS is asked for anything.
func FuzzSNSEnvelope(f *testing.F) {
	a := newAWS(f)
	for _, e := range []s3.Envelope{notification("{}"), subscription(), a.sign(f, subscription())} {
		b, err := json.Marshal(e)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	signed := a.sign(f, notification("{}"))
	h, w := newHandler(f, a, func(c *s3.HandlerConfig) { c.Logger = slog.New(slog.DiscardHandler) })
	f.Fuzz(func(t *testing.T, body []byte) {
		var e s3.Envelope
		if json.Unmarshal(body, &e) == nil && e.Signature == signed.Signature {
			return
		}
		code := post(t, h, "/s3/sns", body)
		confirmed := code == 200 && e.Type == "SubscriptionConfirmation" && verify(a, e) == nil
		if code == 200 && !confirmed || len(w.events)+len(w.dead) != 0 {
			t.Fatalf("%d, events %v, dead letters %v", code, w.events, w.dead)
		}
		a.mu.Lock()
		defer a.mu.Unlock()
		for _, u := range a.asked {
			if !strings.HasPrefix(u, "https://sns.") {
				t.Fatalf("asked %s", u)
			}
		}
		a.asked = nil
	})
}
