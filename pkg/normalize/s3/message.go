package s3

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/bucketmesh/bucketmesh/pkg/normalize"
)

// Shape is what a message is.
type Shape int

// The shapes. They are told apart by what is in the message: the same path takes all of them.
const (
	ShapeUnknown Shape = iota
	ShapeRecords
	ShapeTest // sent once when notifications are set up
	ShapeSNS
	ShapeEventBridge
)

// String is the shape in one word.
func (s Shape) String() string {
	return [...]string{"unknown", "records", "test", "sns", "eventbridge"}[s]
}

// payload is the union of all shapes.
type payload struct {
	Records json.RawMessage `json:"Records"`
	Event   string          `json:"Event"` // of the test message

	Envelope // of SNS

	DetailType string          `json:"detail-type"`
	Source     string          `json:"source"`
	Time       string          `json:"time"`
	Detail     json.RawMessage `json:"detail"`
}

// parse reads a message and tells its shape. What is no JSON object at all is unknown.
func parse(body []byte) (payload, Shape) {
	var p payload
	if err := json.Unmarshal(body, &p); err != nil {
		return payload{}, ShapeUnknown
	}
	switch {
	case len(p.Records) > 0 && p.Records[0] == '[':
		return p, ShapeRecords
	case p.Event == "s3:TestEvent":
		return p, ShapeTest
	case p.DetailType != "" && len(p.Detail) > 0:
		return p, ShapeEventBridge
	case p.Type != "" && p.TopicArn != "":
		return p, ShapeSNS
	}
	return p, ShapeUnknown
}

// maxRecords bounds what a message of two bytes per record costs. Servers tell of at most a thousand keys at once, and a
// record with all it must have takes hundreds of bytes.
const maxRecords = 10_000

// Decode reads a message that is not wrapped by SNS: records, an EventBridge event or a test message. It never fails;
// what can't be understood is poison. The native records in the result share memory with body.
func Decode(body []byte, resolve Resolve) normalize.Message {
	p, shape := parse(body)
	return decode(&p, shape, body, resolve)
}

func decode(p *payload, shape Shape, body []byte, resolve Resolve) normalize.Message {
	m := normalize.Message{Raw: body}
	whole := func(reason string) normalize.Message {
		m.Poison = append(m.Poison, normalize.Poison{Raw: body, ContentType: contentType(body), Reason: reason})
		return m
	}
	switch shape {
	case ShapeTest:
		m.Ignore("test event")
	case ShapeEventBridge:
		decodeEventBridge(p, body, resolve, &m)
	case ShapeRecords:
		var records []json.RawMessage
		if err := json.Unmarshal(p.Records, &records); err != nil {
			return whole("decode Records: " + err.Error())
		}
		if len(records) > maxRecords {
			return whole(fmt.Sprintf("%d Records: no server puts more than %d in one message", len(records), maxRecords))
		}
		for i, r := range records {
			changes, poison := len(m.Changes), len(m.Poison)
			decodeRecord(r, resolve, &m)
			if len(m.Changes) > changes {
				m.Changes[changes].Record = i + 1
			}
			if len(m.Poison) > poison {
				m.Poison[poison].Record = i + 1
			}
		}
	case ShapeSNS:
		return whole("an SNS envelope inside of a message")
	case ShapeUnknown:
		return whole("neither records, nor an SNS envelope, nor an EventBridge event")
	}
	return m
}

// contentType says how a dead letter is best shown.
func contentType(body []byte) string {
	if json.Valid(bytes.TrimSpace(body)) {
		return "application/json"
	}
	return "application/octet-stream"
}
