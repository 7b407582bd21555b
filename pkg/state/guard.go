package state

import (
	"context"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/version"
)

// BrakeState is what the delete brake of a group does. The zero value is Armed.
type BrakeState string

// The states of a brake.
const (
	Armed   BrakeState = ""        // it counts, and lets deletes go
	Tripped BrakeState = "tripped" // it counted too many: every delete is held until a person decides
	Paused  BrakeState = "paused"  // a person holds every delete
)

// Brake is what is known of the deletes of a group. Package guard says what it means.
type Brake struct {
	State   BrakeState `json:"state,omitempty"`
	Since   time.Time  `json:"since,omitzero"`   // when it became what it is
	Reason  string     `json:"reason,omitempty"` // why it tripped
	Waiting int64      `json:"waiting"`          // deletes that were not let go yet
	Counts  []Count    `json:"counts,omitempty"` // deletes by the time when they came up, oldest first
	Minute  Count      `json:"minute"`           // deletes of the current minute of the clock
	Latest  time.Time  `json:"latest,omitzero"`  // when the last delete came up

	Approved time.Time `json:"approved,omitzero"` // deletes that came up until then may go, whatever comes later
	Until    time.Time `json:"until,omitzero"`    // deletes that come up until then may go, too,
	Further  int64     `json:"further,omitempty"` // or so many of them
}

// Count is how many deletes came up in a period that began at a time, in unix seconds.
type Count struct {
	At int64 `json:"at,omitempty"`
	N  int64 `json:"n,omitempty"`
}

// Deletion is a delete that came up to be carried on to other replicas. A key has one at most, of its last delete.
type Deletion struct {
	Key      string     `json:"key"`
	Version  version.ID `json:"version"` // of the tombstone; "": there is none
	Noted    time.Time  `json:"noted"`   // when it came up
	Waiting  bool       `json:"waiting"` // it was not let go yet
	Approved bool       `json:"approved,omitempty"`
}

// Weighing is what a function of Weigh may look at and change.
type Weighing struct {
	Brake    Brake
	Deletion Deletion // of the key; the zero value removes it
	Keys     int64    // rows of the group
	Events   []OutboxEvent
}

// Removed is an object that a propagated delete takes away, and where it is kept until it expires.
type Removed struct {
	ID        string          `json:"id"`
	Group     string          `json:"group"`
	Key       string          `json:"key"`
	Version   version.Version `json:"version"`             // what it was
	Replica   string          `json:"replica"`             // where it is kept
	VersionID string          `json:"versionID,omitempty"` // as a noncurrent version of its key,
	Copy      string          `json:"copy,omitempty"`      // or as a copy under this key
	When      time.Time       `json:"when"`
	Expires   time.Time       `json:"expires"`
	End       string          `json:"end,omitempty"` // how it ended: restored, expired, lost; "" while it is kept
	Ended     time.Time       `json:"ended,omitzero"`
}

// RemovedQuery selects removed objects; the zero value is the first page of all of a group.
type RemovedQuery struct {
	Prefix        string    // of the keys
	Since         time.Time // removed then or later
	Kept          bool      // only those that have not ended
	ExpiredBefore time.Time // only those whose time is over
	AfterKey      string    // in the order of keys and ids, the ones after this
	AfterID       string
	Limit         int
}

// Guards is the memory of the delete brake, and of what deletes took away.
type Guards interface {
	// Weigh runs f over the brake of a group and its deletion of one key, and stores what f made of them, with its events. It is
	// one transaction, which no other Weigh of the group overlaps, in whatever process. f may run several times, must do no I/O,
	// and undoes everything by an error. Without a key there is no deletion.
	Weigh(ctx context.Context, group, key string, f func(w *Weighing) error) error
	// Brake reads the brake of a group.
	Brake(ctx context.Context, group string) (Brake, error)
	// Deletions lists deletes that wait, by key, after a key.
	Deletions(ctx context.Context, group, after string, limit int) ([]Deletion, error)
	// ForgetDeletions removes some deletions that came up before a time and do not wait, and says how many.
	ForgetDeletions(ctx context.Context, group string, before time.Time, limit int) (int, error)

	// Removed lists removed objects in the order of their keys and ids. Commit writes them (Effects.Removed).
	Removed(ctx context.Context, group string, q RemovedQuery) ([]Removed, error)
	// SetRemoved replaces the record of a removed object, without its row.
	SetRemoved(ctx context.Context, r Removed) error
	// ForgetRemoved removes some records that ended and expired before a time, and says how many.
	ForgetRemoved(ctx context.Context, group string, before time.Time, limit int) (int, error)
}
