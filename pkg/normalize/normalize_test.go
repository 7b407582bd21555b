package normalize_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	cloudevents "github.com/cloudevents/sdk-go/v2/event"

	"github.com/bucketmesh/bucketmesh/pkg/event"
	"github.com/bucketmesh/bucketmesh/pkg/normalize"
)

var now = time.Date(2026, 11, 20, 18, 0, 0, 0, time.UTC)

// flaky takes the events before the one whose key is failAt, as a broker does that goes down in the middle.
type flaky struct {
	failAt string
	taken  []cloudevents.Event
	dead   []string
	deadOK bool
}

func (f *flaky) Publish(_ context.Context, events []cloudevents.Event) error {
	for _, e := range events {
		if e.Subject() == f.failAt {
			return errors.New("broker is gone")
		}
		f.taken = append(f.taken, e)
	}
	return nil
}

func (f *flaky) Store(_ context.Context, raw []byte, contentType, reason string) error {
	if !f.deadOK {
		return errors.New("disk is full")
	}
	f.dead = append(f.dead, contentType+" "+string(raw)+" "+reason)
	return nil
}

func change(key string) normalize.Change {
	c := normalize.Change{Type: event.ObjectWritten, Source: "https://s3.example/b", Name: "ObjectCreated:Put", Sequence: "01"}
	c.Object = event.Object{Provider: "s3", Bucket: "b", Operation: "Put", RequestID: "r", EventTimeRaw: "t", SequencerRaw: "1"}
	c.Object.SetKey(key)
	return c
}

func TestTrapRecordTwoOfThreeFailsAndTheRetryRepeatsRecordOneWithTheSameID(t *testing.T) {
	m := normalize.Message{Changes: []normalize.Change{change("1"), change("2"), change("3")}}
	f := &flaky{failAt: "2", deadOK: true}
	if _, err := normalize.Deliver(t.Context(), f, f, m, now, ""); err == nil {
		t.Fatal("no error")
	}
	f.failAt = ""
	d, err := normalize.Deliver(t.Context(), f, f, m, now.Add(time.Minute), "")
	if err != nil || len(d.Events) != 3 {
		t.Fatal(d, err)
	}
	if len(f.taken) != 4 || f.taken[0].ID() != f.taken[1].ID() || f.taken[1].ID() == f.taken[2].ID() {
		t.Errorf("taken: %v", f.taken)
	}
}

func TestPoisonIsStoredAndTheGoodRecordsAreDelivered(t *testing.T) {
	huge := change(strings.Repeat("k", event.MaxSize))
	huge.Object.Native, huge.Record = []byte(`{"huge":1}`), 4
	m := normalize.Message{
		Changes: []normalize.Change{change("1"), huge, change("3")},
		Poison:  []normalize.Poison{{Raw: []byte("x"), ContentType: "text/plain", Reason: "because", Record: 2}},
		Raw:     []byte(`{"all":1}`),
	}
	f := &flaky{deadOK: true}
	d, err := normalize.Deliver(t.Context(), f, f, m, now, "")
	if err != nil || len(f.taken) != 2 || len(d.Poison) != 2 {
		t.Fatal(f.taken, d.Poison, err)
	}
	want := `application/json {"all":1} 2 records can never work; record 2: because; record 4: make event`
	if len(f.dead) != 1 || !strings.HasPrefix(f.dead[0], want) {
		t.Errorf("%q", f.dead)
	}
	f.deadOK = false
	if _, err := normalize.Deliver(t.Context(), f, f, m, now, ""); err == nil {
		t.Error("a dead letter was lost")
	}
}

// Stores cut what is large, and the provider is told that the message was taken: no record may be behind the cut.
func TestTrapPoisonOfALargeMessageIsKeptToItsLastRecord(t *testing.T) {
	m := normalize.Message{Raw: []byte(strings.Repeat(" ", 1<<20))}
	for i := range 900 {
		m.Poison = append(m.Poison, normalize.Poison{Raw: fmt.Appendf(nil, `{"record":%d,"pad":%q}`, i, strings.Repeat("x", 1000)), Reason: "because", Record: i + 1})
	}
	f := &flaky{deadOK: true}
	if _, err := normalize.Deliver(t.Context(), f, f, m, now, ""); err != nil {
		t.Fatal(err)
	}
	all := strings.Join(f.dead, "\n")
	for i := range 900 {
		if !strings.Contains(all, fmt.Sprintf(`{"record":%d,`, i)) {
			t.Fatalf("record %d is not in the letters", i)
		}
	}
	if len(f.dead) > 40 {
		t.Errorf("%d letters", len(f.dead))
	}
	for _, letter := range f.dead {
		if len(letter) > 40<<10 {
			t.Errorf("a letter of %d bytes", len(letter))
		}
	}
}

func TestMuchPoisonIsOneSmallDeadLetter(t *testing.T) {
	m := normalize.Message{Raw: []byte("{}")}
	for i := range 5000 {
		m.Poison = append(m.Poison, normalize.Poison{Reason: strings.Repeat("é", 1000), Record: i + 1})
	}
	f := &flaky{deadOK: true}
	if _, err := normalize.Deliver(t.Context(), f, f, m, now, ""); err != nil {
		t.Fatal(err)
	}
	if len(f.dead) != 1 || len(f.dead[0]) > 2048 || !strings.HasSuffix(f.dead[0], "and 4990 more") {
		t.Errorf("%d letters", len(f.dead))
	}
	m.Poison = m.Poison[:1]
	m.Poison[0].Raw, m.Poison[0].Reason = []byte("alone"), "because"
	if _, err := normalize.Deliver(t.Context(), f, f, m, now, ""); err != nil || f.dead[1] != "application/json alone because" {
		t.Errorf("%q, %v", f.dead[1:], err)
	}
}

func TestPoisonWaitsForTheSink(t *testing.T) {
	m := normalize.Message{Changes: []normalize.Change{change("1")}, Poison: []normalize.Poison{{Reason: "because"}}}
	f := &flaky{failAt: "1", deadOK: true}
	if _, err := normalize.Deliver(t.Context(), f, f, m, now, ""); err == nil || len(f.dead) != 0 {
		t.Error(err, f.dead)
	}
}

func TestIDUsesRequestAndTimeOnlyWhereTheSequenceSaysTooLittle(t *testing.T) {
	id := func(c normalize.Change) string {
		t.Helper()
		e, err := c.Event(now, "")
		if err != nil {
			t.Fatal(err)
		}
		return e.ID()
	}
	a, b := change("k"), change("k")
	b.Object.RequestID, b.Object.EventTimeRaw = "r2", "t2"
	if id(a) != id(b) {
		t.Error("a sequence identifies a change, whatever request told of it")
	}
	a.Vague, b.Vague = true, true
	if id(a) == id(b) {
		t.Error("two vague changes became one")
	}
	a, b = change("k"), change("k")
	a.Sequence, a.Object.SequencerRaw, b.Sequence, b.Object.SequencerRaw = "", "", "", ""
	b.Object.RequestID = "r2"
	if id(a) == id(b) {
		t.Error("two changes without sequence became one")
	}
}

func TestEventCarriesTimesExtensionsAndTrace(t *testing.T) {
	c := change("k")
	c.Time = now.Add(-time.Nanosecond)
	c.Object.Generation = "17"
	trace := "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	e, err := c.Event(now, trace)
	if err != nil {
		t.Fatal(err)
	}
	x := e.Extensions()
	if !e.Time().Equal(c.Time) || x[event.ExtRecordedTime] != "2026-11-20T18:00:00Z" || x["traceparent"] != trace ||
		x[event.ExtVersion] != "17" || x[event.ExtSequence] != "01" || x[event.ExtProvider] != "s3" {
		t.Errorf("%v", e)
	}
	c.Time = time.Time{}
	if e, err = c.Event(now, ""); err != nil || !e.Time().IsZero() {
		t.Error("a missing time became", e.Time(), err)
	}
	c.Object.KeyBase64 = "!"
	if _, err = c.Event(now, ""); err == nil {
		t.Error("a broken key went through")
	}
}
