// Package audit is the log of everything that happened: every event, in the order of its arrival, in an append-only
// chain of hashes. It holds the types, the hash and Verify, and does no I/O; the logs are in the stores
// (state/sqlite, state/postgres), and audittest is the suite that both pass.
//
// The chain shows that an entry was changed, removed, added or moved. What it can't show by itself is that the newest
// entries were cut off, or that somebody rewrote the log from some entry to the end: for that, remember a Head outside
// of the database and hand it to Verify.
//
// Errors: an event that can't be recorded is errkind.Invalid; a broken log is a *Broken of kind errkind.Invalid.
// Unavailable leaves it open whether the events were appended: append them again, known events are left alone.
//
// Concurrency: a Log may be used from many goroutines and many processes; all functions here are pure.
package audit

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
)

// Event is what is recorded of a CloudEvent. Source and ID name it.
type Event struct {
	Source  string          `json:"source"`
	ID      string          `json:"id"`
	Type    string          `json:"type"`
	Subject string          `json:"subject,omitempty"`
	Time    time.Time       `json:"time,omitzero"` // as the event tells; zero if it doesn't
	JSON    json.RawMessage `json:"event"`         // the whole event, structured JSON, byte for byte
}

// Entry is an event with its place in the chain.
type Entry struct {
	Seq int64 `json:"seq"` // from 1, without gaps
	Event
	Recorded time.Time `json:"recorded"` // by the clock of whoever appended it
	Prev     Hash      `json:"prev"`     // hash of the entry before; zero for the first
	Hash     Hash      `json:"hash"`
}

// Head is the newest entry of a log: remember it somewhere else, and nobody can cut the log off before it. The zero
// Head is that of an empty log.
type Head struct {
	Seq  int64 `json:"seq"`
	Hash Hash  `json:"hash"`
}

// Log is an append-only log.
type Log interface {
	// Append records an event. An event that is known (by source and id) is left as it is, and that is a success.
	Append(ctx context.Context, e Event) error
	// AppendBatch records events in their order and in one transaction: all of them or none. It says how many were new.
	AppendBatch(ctx context.Context, es []Event) (added int, err error)
	// Range reads entries with numbers greater than after, in order. A limit <= 0 is 1,000.
	Range(ctx context.Context, after int64, limit int) ([]Entry, error)
	// Head reads the newest entry's number and hash.
	Head(ctx context.Context) (Head, error)
}

// Hash is a SHA-256. Its text is lower-case hex.
type Hash [sha256.Size]byte

// HashOf is the hash in b; the zero Hash if b has another length, for then somebody tampered with it.
func HashOf(b []byte) Hash {
	if len(b) != sha256.Size {
		return Hash{}
	}
	return Hash(b)
}

// String is the hash in lower-case hex.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// MarshalText implements encoding.TextMarshaler.
func (h Hash) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (h *Hash) UnmarshalText(text []byte) error {
	if len(text) != hex.EncodedLen(len(h)) {
		return errkind.New(errkind.Invalid, "parse hash: %d characters, not %d", len(text), hex.EncodedLen(len(h)))
	}
	if _, err := hex.Decode(h[:], text); err != nil {
		return errkind.New(errkind.Invalid, "parse hash: %w", err)
	}
	return nil
}

// Check refuses events that can't be recorded the same in every database.
func Check(e Event) error {
	for _, f := range [...]struct {
		name, value string
		required    bool
	}{{"source", e.Source, true}, {"id", e.ID, true}, {"type", e.Type, true}, {"subject", e.Subject, false}} {
		if f.required && f.value == "" {
			return errkind.New(errkind.Invalid, "record event %q of %q: %s is empty", e.ID, e.Source, f.name)
		}
		if !utf8.ValidString(f.value) || strings.ContainsRune(f.value, 0) {
			return errkind.New(errkind.Invalid, "record event %q of %q: %s is not text", e.ID, e.Source, f.name)
		}
	}
	if len(e.JSON) == 0 {
		return errkind.New(errkind.Invalid, "record event %q of %q: the event's document is empty", e.ID, e.Source)
	}
	return nil
}

// Next is the entry that follows head.
func Next(head Head, e Event, recorded time.Time) Entry {
	n := Entry{Seq: head.Seq + 1, Event: e, Recorded: recorded, Prev: head.Hash}
	n.Hash = n.Sum()
	return n
}

// domain separates these hashes from any other use of SHA-256, and names the format.
const domain = "bucketmesh audit entry v1"

// Sum is what the entry's hash must be: SHA-256 over all fields but Hash, each behind its length in 8 bytes, so that
// no two entries share a serialization. Numbers and times (unix nanoseconds) are 8 bytes, big endian.
func (e Entry) Sum() Hash {
	h := sha256.New()
	var n [8]byte
	field := func(b []byte) {
		binary.BigEndian.PutUint64(n[:], uint64(len(b)))
		_, _ = h.Write(n[:]) // a hash never fails
		_, _ = h.Write(b)
	}
	number := func(v int64) {
		var b [8]byte
		binary.BigEndian.PutUint64(b[:], uint64(v))
		field(b[:])
	}
	field([]byte(domain))
	number(e.Seq)
	field([]byte(e.Source))
	field([]byte(e.ID))
	field([]byte(e.Type))
	field([]byte(e.Subject))
	number(nanos(e.Time))
	number(nanos(e.Recorded))
	field(e.JSON)
	field(e.Prev[:])
	return Hash(h.Sum(nil))
}

// nanos is t in unix nanoseconds, cut to what 64 bits can tell; the zero time is the lowest. The stores keep times in
// the same form.
func nanos(t time.Time) int64 {
	switch {
	case t.Before(time.Unix(0, math.MinInt64)):
		return math.MinInt64
	case t.After(time.Unix(0, math.MaxInt64)):
		return math.MaxInt64
	}
	return t.UnixNano()
}

// Broken says where a log is not what was once written, and how that shows.
type Broken struct {
	Seq    int64 // of the entry at which the chain breaks
	Reason string
}

// Error implements error.
func (b *Broken) Error() string {
	return fmt.Sprintf("audit log is broken at entry %d: %s", b.Seq, b.Reason)
}
