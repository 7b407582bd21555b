package event

import (
	"bytes"
	"encoding/json"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	cloudevents "github.com/cloudevents/sdk-go/v2/event"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
)

// Meta are the context attributes of an event, before they are encoded.
type Meta struct {
	ID       string
	Type     string
	Source   string    // an absolute URI
	Key      string    // becomes subject (encoded) and partitionkey; "" for events that are about no single key
	Time     time.Time // when it happened, by the clock of whoever did it; zero: not known
	Recorded time.Time // when we took note, by our clock; zero: left out
	// Extensions hold further string attributes by name. Empty values and values that can't travel in an HTTP header
	// are left out: they are copies of what data holds, for filters.
	Extensions map[string]string
}

// New makes a valid event of the vocabulary. The data is encoded as JSON. Errors: Invalid if an attribute or the data
// breaks the rules, or if the event would be MaxSize or larger in structured JSON.
func New(m Meta, data any) (cloudevents.Event, error) {
	raw, err := marshal(data)
	if err != nil {
		return cloudevents.Event{}, err
	}
	e, err := envelope(m, raw)
	if err != nil {
		return cloudevents.Event{}, err
	}
	size, err := structuredSize(&e)
	if err != nil {
		return cloudevents.Event{}, err
	}
	if size >= MaxSize {
		return cloudevents.Event{}, errkind.New(errkind.Invalid, "make event: %d bytes, must be less than %d", size, MaxSize)
	}
	return e, nil
}

// envelope puts the attributes around encoded data.
func envelope(m Meta, data []byte) (cloudevents.Event, error) {
	e := cloudevents.New(cloudevents.CloudEventsVersionV1)
	src, err := url.Parse(m.Source)
	if err != nil || !src.IsAbs() || !sendable(m.Source) {
		return e, errkind.New(errkind.Invalid, "make event: source %q is not an absolute URI", m.Source)
	}
	if !sendable(m.ID) || m.ID == "" {
		return e, errkind.New(errkind.Invalid, "make event: id %q is empty or not printable ASCII", m.ID)
	}
	if !strings.HasPrefix(m.Type, Prefix) || !sendable(m.Type) {
		return e, errkind.New(errkind.Invalid, "make event: type %q is not of the vocabulary", m.Type)
	}
	e.SetID(m.ID)
	e.SetType(m.Type)
	e.SetSource(m.Source)
	if hasSchema(m.Type) {
		e.SetDataSchema(SchemaURI(m.Type))
	}
	if m.Key != "" {
		e.SetSubject(EncodeSubject(m.Key))
		e.SetExtension(ExtPartitionKey, PartitionKey(m.Source, m.Key))
	}
	if !m.Time.IsZero() && m.Time.UTC().Year() >= 0 && m.Time.UTC().Year() <= 9999 { // a sender's, and others have no text that a broker takes
		e.SetTime(m.Time.UTC())
	}
	if !m.Recorded.IsZero() {
		e.SetExtension(ExtRecordedTime, m.Recorded.UTC().Format(time.RFC3339Nano))
	}
	for name, value := range m.Extensions {
		if value != "" && sendable(value) {
			e.SetExtension(name, value)
		}
	}
	e.SetDataContentType(cloudevents.ApplicationJSON)
	e.DataEncoded = data
	if err := e.Validate(); err != nil {
		return e, errkind.New(errkind.Invalid, "make event: %w", err)
	}
	return e, nil
}

// sendable reports whether a value survives an HTTP header unchanged: printable ASCII without spaces at its ends.
func sendable(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return s == strings.TrimSpace(s)
}

// marshal encodes data without HTML escapes, which would only make native records longer.
func marshal(data any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(data); err != nil {
		return nil, errkind.New(errkind.Invalid, "encode event data: %w", err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// Encode renders an event as structured JSON. Errors: Invalid if the event does not validate.
func Encode(e cloudevents.Event) ([]byte, error) {
	if err := e.Validate(); err != nil {
		return nil, errkind.New(errkind.Invalid, "encode event: %w", err)
	}
	b, err := e.MarshalJSON()
	if err != nil {
		return nil, errkind.New(errkind.Invalid, "encode event: %w", err)
	}
	return b, nil
}

// Decode reads structured JSON. Types outside of the vocabulary are let through: audit takes every event.
func Decode(b []byte) (cloudevents.Event, error) {
	var e cloudevents.Event
	if err := e.UnmarshalJSON(b); err != nil {
		return cloudevents.Event{}, errkind.New(errkind.Invalid, "decode event: %w", err)
	}
	if err := e.Validate(); err != nil {
		return cloudevents.Event{}, errkind.New(errkind.Invalid, "decode event: %w", err)
	}
	return e, nil
}

func structuredSize(e *cloudevents.Event) (int, error) {
	var n counter
	if err := cloudevents.WriteJson(e, &n); err != nil {
		return 0, errkind.New(errkind.Invalid, "encode event: %w", err)
	}
	return int(n), nil
}

// counter is a writer that only counts.
type counter int

func (c *counter) Write(p []byte) (int, error) { *c += counter(len(p)); return len(p), nil }

// validUTF8 makes a byte slice valid UTF-8; changed tells whether that cost anything.
func validUTF8(b []byte) (out []byte, changed bool) {
	if utf8.Valid(b) {
		return b, false
	}
	return bytes.ToValidUTF8(b, []byte("\uFFFD")), true
}
