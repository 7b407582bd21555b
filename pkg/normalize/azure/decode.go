package azure

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/normalize"
)

// MaxEvents is the size of a batch that Event Grid goes up to. It bounds what a message of two bytes per event costs.
const MaxEvents = 5_000

// Decode reads what Event Grid sends: events in its own schema or CloudEvents, one of them or an array. The schema is told
// by what is in the event, not by the Content-Type, which is application/json for one and may be for the other. It never
// fails; what can't be understood is poison. The native records in the result share memory with body.
func Decode(body []byte, at Account) normalize.Message {
	m := normalize.Message{Raw: body}
	whole := func(reason string) normalize.Message {
		m.Poison = append(m.Poison, normalize.Poison{Raw: body, ContentType: contentType(body), Reason: reason})
		return m
	}
	records, err := split(body)
	if err != nil {
		return whole("neither an event nor a batch of events: " + err.Error())
	}
	if len(records) > MaxEvents {
		return whole(fmt.Sprintf("%d events: Event Grid puts no more than %d in one batch", len(records), MaxEvents))
	}
	for i, r := range records {
		changes, poison := len(m.Changes), len(m.Poison)
		decodeRecord(r, at, &m)
		for j := changes; j < len(m.Changes); j++ {
			m.Changes[j].Record = i + 1
		}
		for j := poison; j < len(m.Poison); j++ {
			m.Poison[j].Record = i + 1
		}
	}
	return m
}

// DecodeQueueMessage reads the body of a message of a Storage Queue: what Decode reads, as it is or in base64.
func DecodeQueueMessage(body []byte, at Account) normalize.Message {
	text := bytes.TrimSpace(body)
	if len(text) > 0 && (text[0] == '{' || text[0] == '[') { // never base64
		return Decode(text, at)
	}
	if plain, err := base64.StdEncoding.AppendDecode(nil, text); err == nil {
		return Decode(plain, at)
	}
	return Decode(text, at)
}

// split takes a batch apart.
func split(body []byte) ([]json.RawMessage, error) {
	body = bytes.TrimSpace(body)
	if len(body) > 0 && body[0] == '[' {
		var records []json.RawMessage
		err := json.Unmarshal(body, &records)
		return records, err //nolint:wrapcheck // the caller says what was expected
	}
	var one json.RawMessage
	if err := json.Unmarshal(body, &one); err != nil {
		return nil, err //nolint:wrapcheck // the caller says what was expected
	}
	return []json.RawMessage{one}, nil
}

// record is an event in either schema: what both have, what Event Grid calls its way, and what CloudEvents does. Fields that
// are not listed are ignored.
type record struct {
	ID      string          `json:"id"`
	Subject string          `json:"subject"`
	Data    json.RawMessage `json:"data"`

	Topic     string `json:"topic"`
	EventType string `json:"eventType"`
	EventTime string `json:"eventTime"`

	SpecVersion string `json:"specversion"`
	Source      string `json:"source"`
	Type        string `json:"type"`
	Time        string `json:"time"`
}

// parse reads an event and gives the fields of CloudEvents their names in Event Grid's schema. Errors: Invalid.
func parse(raw json.RawMessage) (record, error) {
	var r record
	if err := json.Unmarshal(raw, &r); err != nil {
		return r, errkind.New(errkind.Invalid, "decode event: %w", err)
	}
	switch {
	case r.SpecVersion == "1.0":
		r.Topic, r.EventType, r.EventTime = r.Source, r.Type, r.Time
	case r.SpecVersion != "":
		return r, errkind.New(errkind.Invalid, "CloudEvents specversion %q: only 1.0 is understood", r.SpecVersion)
	case r.EventType == "":
		return r, errkind.New(errkind.Invalid, "neither an Event Grid event nor a CloudEvent")
	}
	return r, nil
}

// contentType says how a dead letter is best shown.
func contentType(body []byte) string {
	if json.Valid(body) {
		return "application/json"
	}
	return "application/octet-stream"
}
