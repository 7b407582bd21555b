package gcs

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/bucketmesh/bucketmesh/pkg/normalize"
)

// PubSubMessage is a message of Pub/Sub, as it is pulled or as it is in a wrapped push.
type PubSubMessage struct {
	Attributes  map[string]string `json:"attributes,omitempty"`
	Data        []byte            `json:"data,omitempty"` // in base64 where it is JSON
	MessageID   string            `json:"messageId,omitempty"`
	PublishTime string            `json:"publishTime,omitempty"`
}

// Attributes of a notification.
const (
	attrEventType     = "eventType"
	attrBucket        = "bucketId"
	attrObject        = "objectId" // the raw name
	attrGeneration    = "objectGeneration"
	attrOverwrote     = "overwroteGeneration"
	attrOverwrittenBy = "overwrittenByGeneration"
	attrPayload       = "payloadFormat"
	attrEventTime     = "eventTime"
)

// Payload formats.
const (
	payloadJSON = "JSON_API_V1"
	payloadNone = "NONE"
)

// Decode reads a notification of Cloud Storage out of a message of Pub/Sub. It never fails; what can't be understood is
// poison. What the message is called, when it was published and which configuration sent it has no influence: the same
// change has the same id in all of its messages.
func Decode(resolve Resolve, msg PubSubMessage) normalize.Message {
	m := normalize.Message{Raw: encode(msg)}
	f, err := read(msg)
	if err != nil {
		return poisoned(m, err)
	}
	f.addTo(&m, resolve)
	return m
}

// poisoned is m with all of it as poison.
func poisoned(m normalize.Message, reason error) normalize.Message {
	p := normalize.Poison{Raw: m.Raw, Reason: reason.Error()}
	if !json.Valid(m.Raw) {
		p.ContentType = "application/octet-stream"
	}
	m.Poison = append(m.Poison, p)
	return m
}

// read takes the facts out of a message. The attributes are what counts; a payload has to agree with them.
func read(msg PubSubMessage) (facts, error) {
	at := msg.Attributes
	f := facts{
		name: at[attrEventType], bucket: at[attrBucket], key: at[attrObject], generation: at[attrGeneration],
		links:     &links{overwrote: decimal(at[attrOverwrote]), overwrittenBy: decimal(at[attrOverwrittenBy])},
		eventTime: at[attrEventTime], native: native(at, msg.Data),
	}
	if f.name == "" {
		return f, errors.New("the message has no attribute eventType: it is no notification of Cloud Storage")
	}
	switch format := at[attrPayload]; {
	case format == payloadNone || len(msg.Data) == 0:
		return f, nil
	case format != payloadJSON && format != "":
		return f, fmt.Errorf("payloadFormat %q: only %s and %s are understood", format, payloadJSON, payloadNone)
	}
	if err := json.Unmarshal(msg.Data, &f.object); err != nil {
		return f, fmt.Errorf("decode payload: %w", err)
	}
	f.payload = msg.Data
	if f.generation == "" {
		f.generation = f.object.Generation.String()
	}
	for _, pair := range [][3]string{
		{attrBucket, f.bucket, f.object.Bucket},
		{attrObject, f.key, f.object.Name},
		{attrGeneration, f.generation, f.object.Generation.String()},
	} {
		if pair[2] != "" && pair[1] != pair[2] {
			return f, fmt.Errorf("the message contradicts itself: %s is %q, its payload says %q", pair[0], pair[1], pair[2])
		}
	}
	return f, nil
}

// errNotUTF8: what is not UTF-8 would be replaced on the way, and two names could become one.
var errNotUTF8 = errors.New("the message is not UTF-8, as JSON and all names of objects are")

// wrapped is the body of a wrapped push. Names are there twice, once in snake case; one of the two is enough.
type wrapped struct {
	Message      *PubSubMessage `json:"message"`
	Subscription string         `json:"subscription"`
}

// decodeWrapped reads the body of a wrapped push; ok is whether it is one.
func decodeWrapped(resolve Resolve, body []byte) (m normalize.Message, ok bool) {
	var w wrapped
	if json.Unmarshal(body, &w) != nil || w.Message == nil {
		return m, false
	}
	return Decode(resolve, *w.Message), true
}

// nameIn is the name of the object that a payload is of; ok is false if it is none.
func nameIn(data []byte) (name string, ok bool) {
	var r resource
	err := json.Unmarshal(data, &r)
	return r.Name, err == nil && r.Kind == objectKind && r.Name != ""
}

// encode is the message as it is kept in a dead letter.
func encode(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil { // strings and bytes only: can't be
		return nil
	}
	return b
}

// native is the record of an event: attributes and payload, without what is of the delivery only.
func native(attributes map[string]string, data []byte) json.RawMessage {
	r := struct {
		Attributes map[string]string `json:"attributes"`
		Data       json.RawMessage   `json:"data,omitempty"`
	}{Attributes: attributes}
	if data = bytes.TrimSpace(data); json.Valid(data) {
		r.Data = data
	}
	return encode(r)
}
