package gcs

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	cloudevents "github.com/cloudevents/sdk-go/v2/event"

	"github.com/bucketmesh/bucketmesh/pkg/normalize"
)

// pubsubType is the type of Eventarc events that hold a message of a topic, as a wrapped push does.
const pubsubType = "google.cloud.pubsub.topic.v1.messagePublished"

// subjectPrefix is before the name of an object in a subject.
const subjectPrefix = "objects/"

// DecodeCloudEvent reads an event of Eventarc. It never fails; what can't be understood is poison.
//
// Eventarc does not say which generation another one replaced. So what it calls archived is no superseded or deleted
// object but a deleted version, and it is not known whether a finalized object replaced another.
func DecodeCloudEvent(resolve Resolve, e cloudevents.Event) normalize.Message {
	if e.Type() == pubsubType {
		if m, ok := decodeWrapped(resolve, e.Data()); ok {
			return m
		}
	}
	e.DataBase64 = e.DataBase64 && !json.Valid(e.Data()) // so that people can read it
	raw, err := json.Marshal(e)
	if err != nil {
		return poisoned(normalize.Message{Raw: e.Data()}, fmt.Errorf("decode CloudEvent: %w", err))
	}
	m := normalize.Message{Raw: raw}
	name, known := eventarcNames[e.Type()]
	if !known {
		return poisoned(m, fmt.Errorf("CloudEvent of type %q: it is no notification of Cloud Storage", e.Type()))
	}
	if !utf8.Valid(e.Data()) {
		return poisoned(m, errNotUTF8)
	}
	f := facts{name: name, native: raw, payload: e.Data()}
	if err := json.Unmarshal(e.Data(), &f.object); err != nil {
		return poisoned(m, fmt.Errorf("decode data of %s: %w", e.Type(), err))
	}
	// The data is what counts: a subject may have passed through a header.
	f.bucket, f.key, f.generation = f.object.Bucket, f.object.Name, f.object.Generation.String()
	if subject, ok := strings.CutPrefix(e.Subject(), subjectPrefix); f.key == "" && ok {
		return poisoned(m, fmt.Errorf("data of %s names no object; the subject names %q, which may have been changed on its way",
			e.Type(), subject))
	}
	if t := e.Time(); !t.IsZero() {
		f.eventTime = t.UTC().Format(time.RFC3339Nano)
	}
	f.addTo(&m, resolve)
	return m
}
