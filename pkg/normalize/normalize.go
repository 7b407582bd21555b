// Package normalize is what all providers' notifications have in common on their way to the broker: a Change, which a
// provider's decoder (subpackages) makes of a notification, the CloudEvent it becomes, and Deliver, which hands the
// events of one message over, and what can never work to the dead letters.
//
// Errors: Deliver returns an error exactly if the provider must send the message again, whatever its kind is. It
// wraps what the sink or the dead letters said.
//
// Concurrency: everything here is a value or a pure function, but for what Sink and DeadLetters do; both are called
// from many goroutines.
package normalize

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	cloudevents "github.com/cloudevents/sdk-go/v2/event"

	"github.com/bucketmesh/bucketmesh/pkg/event"
)

// Sink takes events: the broker.
type Sink interface {
	// Publish returns nil only after it took every event of the list, durably. After an error any of them may have
	// been taken; the same events, with the same ids, come again.
	Publish(ctx context.Context, events []cloudevents.Event) error
}

// DeadLetters keeps messages that can never work, for people to look at and to replay.
type DeadLetters interface {
	// Store returns nil only after the message is kept. The same message can come more than once.
	Store(ctx context.Context, raw []byte, contentType, reason string) error
}

// Poison is a message, or a record of one, that can never become an event.
type Poison struct {
	Raw         []byte
	ContentType string // "" is application/json
	Reason      string
	Record      int // which one of the message, from 1; 0 is unknown, or the whole message
}

// Change is one change of one object, as its provider told of it.
type Change struct {
	Type     string    // event type
	Source   string    // of the bucket: an absolute URI
	Name     string    // the provider's own name of the operation, for the id
	Time     time.Time // the provider's; zero if it gave none that can be read
	Sequence string    // normalized; "" is none
	// Vague says that sequence and version do not tell this change from the one before it, so that the request and
	// the time of the event have to.
	Vague bool
	// Once says that a version has one change of this type only, so that its metageneration is not needed to tell: not
	// every delivery of a notification knows it.
	Once bool
	// EventID is the provider's own id of the event, or what stands in for it; "" unless all deliveries of one event have
	// the same.
	EventID string
	Object  event.Object // with its key set by SetKey
	Record  int          // as in Poison
}

// Event is the CloudEvent of a change. recorded is our time; traceparent may be empty. The same change has the same id
// whenever it is made into an event. Errors: Invalid if the change can't be an event.
func (c Change) Event(recorded time.Time, traceparent string) (cloudevents.Event, error) {
	key, err := c.Object.RawKey()
	if err != nil {
		return cloudevents.Event{}, err
	}
	id := event.Identity{
		Provider: c.Object.Provider, Store: c.Source, Bucket: c.Object.Bucket, Key: key, Kind: c.Type, Name: c.Name,
		Version: c.Object.Version, Metageneration: c.Object.Metageneration, Sequence: c.Sequence,
		EventID: c.EventID,
	}
	if c.Once {
		id.Metageneration = ""
	}
	if id.Version == "" {
		id.Version = c.Object.Generation
	}
	if id.Sequence == "" {
		id.Sequence = c.Object.SequencerRaw
	}
	if c.Vague || id.Sequence == "" {
		id.RequestID, id.EventTime = c.Object.RequestID, c.Object.EventTimeRaw
	}
	return event.NewObject(event.Meta{
		ID: event.ObjectID(id), Type: c.Type, Source: c.Source, Time: c.Time, Recorded: recorded,
		Extensions: map[string]string{
			event.ExtProvider: c.Object.Provider,
			event.ExtVersion:  id.Version,
			event.ExtSequence: c.Sequence,
			"traceparent":     traceparent,
		},
	}, c.Object)
}

// Message is what a decoder made of one message of a provider.
type Message struct {
	Raw     []byte // all of it: the dead letter of a message with several poisons
	Changes []Change
	Poison  []Poison
	Ignored map[string]int // records that are no change of an object of ours, by the reason why they are passed over
}

// Ignore counts a record that is passed over.
func (m *Message) Ignore(reason string) {
	if m.Ignored == nil {
		m.Ignored = make(map[string]int)
	}
	m.Ignored[reason]++
}

// Delivered is what became of a message.
type Delivered struct {
	Events []cloudevents.Event
	Poison []Poison
}

// Deliver hands the changes of a message to the sink and its poison to the dead letters. Good records are delivered
// whatever the others are; all poison of a message is one dead letter, or a few if the message is large. An error means that the
// provider must send the message again; nothing is lost then, and the events of the second delivery have the ids of the first.
func Deliver(ctx context.Context, sink Sink, dead DeadLetters, m Message, now time.Time, traceparent string) (Delivered, error) {
	d := Delivered{Poison: m.Poison}
	for _, c := range m.Changes {
		e, err := c.Event(now, traceparent)
		if err != nil {
			d.Poison = append(d.Poison, Poison{Raw: c.Object.Native, Reason: err.Error(), Record: c.Record})
			continue
		}
		d.Events = append(d.Events, e)
	}
	// Poison waits until the sink is back: the message comes again, and would be stored again with every try.
	if len(d.Events) > 0 {
		if err := sink.Publish(ctx, d.Events); err != nil {
			return d, fmt.Errorf("publish %d events: %w", len(d.Events), err)
		}
	}
	if len(d.Poison) == 0 {
		return d, nil
	}
	for _, p := range letters(m.Raw, d.Poison) {
		if p.ContentType == "" {
			p.ContentType = cloudevents.ApplicationJSON
		}
		if err := dead.Store(ctx, p.Raw, p.ContentType, p.Reason); err != nil {
			return d, fmt.Errorf("store dead letter: %w", err)
		}
	}
	return d, nil
}

const (
	maxReasons = 10       // that a letter lists
	maxReason  = 150      // bytes of each in the list
	maxLetter  = 32 << 10 // bytes of records in one letter: stores cut what is much larger
)

// letters are what is kept of a message. A small body can hold very many poisons, and one letter for each of them would let
// one sender fill the store: they share letters, whole if the message is small, and as many as it takes for their records
// if it is not.
func letters(raw []byte, poison []Poison) []Poison {
	if len(poison) == 1 || len(raw) <= maxLetter && raw != nil {
		return []Poison{oneLetter(raw, poison)}
	}
	var out []Poison
	for len(poison) > 0 {
		n, size := 0, 0
		for n < len(poison) && (n == 0 || size+len(poison[n].Raw) < maxLetter) {
			size += len(poison[n].Raw) + 1
			n++
		}
		records := make([][]byte, n)
		for i := range records {
			records[i] = poison[i].Raw
		}
		out = append(out, oneLetter(slices.Concat([]byte("["), bytes.Join(records, []byte(",")), []byte("]")), poison[:n]))
		poison = poison[n:]
	}
	return out
}

// oneLetter is a letter of some poisons of one message.
func oneLetter(raw []byte, poison []Poison) Poison {
	if len(poison) == 1 {
		return poison[0]
	}
	var list strings.Builder
	fmt.Fprintf(&list, "%d records can never work", len(poison))
	for _, p := range poison[:min(len(poison), maxReasons)] {
		reason := p.Reason
		if len(reason) > maxReason {
			reason = strings.ToValidUTF8(reason[:maxReason], "") + "…"
		}
		fmt.Fprintf(&list, "; record %d: %s", p.Record, reason)
	}
	if more := len(poison) - maxReasons; more > 0 {
		fmt.Fprintf(&list, "; and %d more", more)
	}
	return Poison{Raw: raw, Reason: list.String()}
}
