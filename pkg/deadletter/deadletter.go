// Package deadletter is what became undeliverable: events that a trigger gave up on, and messages that could not be made an
// event at all. It holds the letter, which is the same in one process and in services, what a Knative broker says of an
// event that it gave up on (FromKnative), and Replayer, which sends events of a Store to the broker again. In one process
// the letters are in package broker; those of services are in their database (state/postgres).
//
// Errors: NotFound for a letter that does not exist, Unsupported for replaying what is no event, Unavailable for a store or a
// broker that does not answer: the call may be repeated.
//
// Concurrency: a Store may be used from many goroutines and processes, a Replayer from many goroutines.
package deadletter

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"strconv"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
)

// Letter is an event that a trigger gave up on, or a raw message that could not be made an event at all.
type Letter struct {
	ID          string       `json:"id"`                    // a positive number
	Time        time.Time    `json:"time"`                  // when it was given up, the last time
	Trigger     string       `json:"trigger,omitempty"`     // "" is a raw message, or is not known
	Destination string       `json:"destination,omitempty"` // that did not take it, if a broker told
	Reason      string       `json:"reason"`
	Kind        string       `json:"kind,omitempty"` // of the error, errkind
	Code        int          `json:"code,omitempty"` // HTTP status of the last answer, if a broker told
	Attempts    int          `json:"attempts,omitempty"`
	Arrivals    int          `json:"arrivals,omitempty"` // how often it was given up, or told to be; services only
	Event       *event.Event `json:"event,omitempty"`    // nil if raw
	Raw         []byte       `json:"raw,omitempty"`      // nil if it is an event
	ContentType string       `json:"contentType,omitempty"`
	CutFrom     int          `json:"cutFrom,omitempty"` // raw is the beginning of a message of this many bytes
	Replayed    time.Time    `json:"replayed,omitzero"` // when it was sent again, and did not come back; services only
}

// KeepReplayed is how long a store remembers a letter that was replayed.
const KeepReplayed = 30 * 24 * time.Hour

// Query says which letters are wanted.
type Query struct {
	After    string // id of the letter before; "" is from the first one
	Limit    int    // <= 0 is 1,000
	Replayed bool   // those too that were replayed
}

// Store keeps the letters of groups, and has the ledger of the same database count their events as dead-lettered: both change
// together, or neither.
type Store interface {
	// Put keeps a letter. A store has one letter for each trigger and event (by source and id), and for each raw message: one that
	// comes again is given up again, whether it was replayed or not, and keeps its id.
	Put(ctx context.Context, group string, l Letter) error
	// List reads letters in the order in which they first came.
	List(ctx context.Context, group string, q Query) ([]Letter, error)
	// Count is how many letters there are that were not replayed.
	Count(ctx context.Context, group string) (int64, error)
	// Get reads a letter.
	Get(ctx context.Context, group, id string) (Letter, error)
	// Replayed notes that a letter was sent again after it was read. It is not noted, and that is a success, if the letter came
	// back meanwhile.
	Replayed(ctx context.Context, group string, l Letter) error
	// Drop removes a letter for good; one that is gone already is no error. Its event stays dead-lettered in the ledger.
	Drop(ctx context.Context, group, id string) error
}

// Name is what makes two letters of a trigger the same: a digest of the event's source and id, or of the raw message.
func (l Letter) Name() []byte {
	h := sha256.New()
	field := func(b []byte) {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(b))))
		h.Write(b)
	}
	if l.Event == nil {
		field(l.Raw)
	} else {
		field([]byte(l.Event.Source()))
		field([]byte(l.Event.ID()))
	}
	return h.Sum(nil)
}

// Number is the number that an id is.
func Number(id string) (int64, error) {
	n, err := strconv.ParseInt(id, 10, 64)
	if err != nil || n <= 0 {
		return 0, errkind.New(errkind.Invalid, "dead letter %q: an id is a positive number", id)
	}
	return n, nil
}
