package record_test

import (
	"context"
	"testing"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/audit"
	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/event"
	"github.com/bucketmesh/bucketmesh/pkg/subscriber/record"
)

// log remembers events; its errors are those of a store.
type log struct {
	audit.Log
	events []audit.Event
	err    error
}

func (l *log) Append(_ context.Context, e audit.Event) error {
	l.events = append(l.events, e)
	return l.err
}

func TestTheWholeEventIsRecorded(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	const source = "https://s3.us-east-1.amazonaws.com/media-us"
	o := event.Object{Provider: "s3", Bucket: "media-us", ETag: "tag", Operation: "Put"}
	o.SetKey("p/a b")
	e, err := event.NewObject(event.Meta{ID: "id", Type: event.ObjectWritten, Source: source, Time: now, Recorded: now}, o)
	if err != nil {
		t.Fatal(err)
	}
	l := &log{}
	h := &record.Handler{Log: l}
	if err := h.Handle(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	want, err := event.Encode(e)
	if err != nil {
		t.Fatal(err)
	}
	got := l.events[0]
	if string(got.JSON) != string(want) || got.Source != source || got.ID != "id" || got.Subject != "p/a%20b" || !got.Time.Equal(now) {
		t.Errorf("recorded %+v", got)
	}
	l.err = errkind.New(errkind.Unavailable, "locked")
	if err := h.Handle(t.Context(), e); !errkind.Is(err, errkind.Unavailable) {
		t.Errorf("a store that is away: %v", err)
	}
}
