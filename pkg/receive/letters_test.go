package receive_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	cloudevents "github.com/cloudevents/sdk-go/v2/event"

	"github.com/bucketmesh/bucketmesh/pkg/event"
	"github.com/bucketmesh/bucketmesh/pkg/receive"
)

// letters keeps the data of what is published.
type letters struct{ all []event.Object }

func (l *letters) Publish(_ context.Context, events ...cloudevents.Event) error {
	for _, e := range events {
		var o event.Object
		if err := json.Unmarshal(e.Data(), &o); err != nil {
			return err
		}
		l.all = append(l.all, o)
	}
	return nil
}

// Trap: what is done to a record so that an event can hold it is noted, too, and must not take the place of the reason; and
// a reason that quotes a whole message must not take that of the record.
func TestTrapADeadLetterKeepsItsReasonAndItsRecord(t *testing.T) {
	strange := strings.Repeat("\ue000", 100_000) // three bytes; quoted and in JSON seven
	for name, c := range map[string]struct {
		raw, reason, notes string
	}{
		"not JSON":      {"\xef\xbb\xbf{} \xff", "no notification", "not JSON"},
		"too large":     {`{"a":"` + strange + `"}`, "no notification", "cut: the record has 300008 bytes"},
		"a long reason": {`{"a":"b"}`, "no notification: " + strange, ""},
		"both long":     {`{"a":"` + strange + `"}`, "no notification: " + strange, "cut: "},
	} {
		l := &letters{}
		if err := (receive.Unrecognized{Group: "media", Provider: "azure", Sink: l}).Store(t.Context(), []byte(c.raw), "", c.reason); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		o := l.all[0]
		if !strings.HasPrefix(o.NativeNote, "no notification") || !strings.Contains(o.NativeNote, c.notes) || len(o.NativeNote) > 4<<10 {
			t.Errorf("%s: the note is %.200q", name, o.NativeNote)
		}
		if len(o.Native) < min(len(c.raw), 32<<10) {
			t.Errorf("%s: of %d bytes %d were kept", name, len(c.raw), len(o.Native))
		}
	}
}
