package ledger

import (
	"fmt"
	"time"
)

// Balance is the law in numbers.
type Balance struct {
	In          int64 `json:"in"` // events, each counted once
	Applied     int64 `json:"applied"`
	Superseded  int64 `json:"superseded"`
	Filtered    int64 `json:"filtered"`
	InConflict  int64 `json:"inConflict"`
	DeadLetters int64 `json:"deadLettered"`
	InFlight    int64 `json:"inFlight"`

	// What breaks the law.
	Unaccounted int64 `json:"unaccounted"` // in, but nothing became of them
	Unrecorded  int64 `json:"unrecorded"`  // handled, but not in the audit log
	Disputed    int64 `json:"disputed"`    // noted as filtered and as handled

	Holds    bool    `json:"holds"`
	Examples []Loose `json:"examples"` // some events that break the law, oldest first
}

// MaxExamples is how many events a Balance names.
const MaxExamples = 5

// What is wrong with an event that breaks the law.
const (
	WhatUnaccounted = "unaccounted"
	WhatUnrecorded  = "unrecorded"
	WhatDisputed    = "disputed"
)

// Loose is an event that breaks the law.
type Loose struct {
	What    string    `json:"what"` // unaccounted, unrecorded, disputed
	Source  string    `json:"source"`
	ID      string    `json:"id"`
	Subject string    `json:"subject,omitempty"` // as in the audit log
	At      time.Time `json:"at"`                // when it was recorded, or its outcome was noted
}

// Add counts n events of a class: in, conflict, flight, an outcome, or what is wrong with them. It is for stores.
func (b *Balance) Add(class string, n int64) {
	switch class {
	case "in":
		b.In += n
	case string(Applied):
		b.Applied += n
	case string(Superseded):
		b.Superseded += n
	case string(Filtered):
		b.Filtered += n
	case "conflict":
		b.InConflict += n
	case string(Dead):
		b.DeadLetters += n
	case "flight":
		b.InFlight += n
	case WhatUnaccounted:
		b.Unaccounted += n
	case WhatUnrecorded:
		b.Unrecorded += n
	case WhatDisputed:
		b.Disputed += n
	}
}

// Loose reports that there are events that break the law.
func (b *Balance) Loose() bool { return b.Unaccounted > 0 || b.Unrecorded > 0 || b.Disputed > 0 }

// Close says whether the law holds, after everything was added.
func (b *Balance) Close() {
	b.Holds = b.In == b.Accounted() && !b.Loose()
	if b.Examples == nil {
		b.Examples = []Loose{} // JSON: a list
	}
}

// Accounted is the right side of the law.
func (b *Balance) Accounted() int64 {
	return b.Applied + b.Superseded + b.Filtered + b.InConflict + b.DeadLetters + b.InFlight
}

// Missing is by how much the books do not add up, beside what is unaccounted for. It is 0 unless somebody tampered with them.
func (b *Balance) Missing() int64 { return b.In - b.Accounted() - b.Unaccounted }

// Findings are what breaks the law, for whoever is woken by it; nothing if it holds.
func (b *Balance) Findings() []string {
	var f []string
	if b.Unaccounted > 0 {
		f = append(f, fmt.Sprintf("%s came in, and sync never said what became of %s. A change may be missing at a replica. "+
			"Run `bucketmesh sync`: it compares all buckets, brings together what differs, and closes these books. If the number grows again, "+
			"events are lost between the broker and sync: look at the broker's trigger and its dead letters.", events(b.Unaccounted), them(b.Unaccounted)))
	}
	if b.Unrecorded > 0 {
		f = append(f, fmt.Sprintf("sync handled %s that the audit log does not have. Objects are not affected; the log is incomplete. "+
			"See whether audit gets its events, then run `bucketmesh sync`, which closes these books.", events(b.Unrecorded)))
	}
	if b.Disputed > 0 {
		f = append(f, fmt.Sprintf("%s noted both as filtered and as handled. If the group's filter was changed, nothing is wrong: the event came "+
			"before and after. Otherwise two versions of the document are at work. `bucketmesh sync` closes these books.", was(b.Disputed)))
	}
	if d := b.Missing(); d != 0 {
		f = append(f, fmt.Sprintf("the books do not add up: they are off by %d. Rows were removed from the ledger or added to it by something else than "+
			"bucketmesh. The objects are not affected; run `bucketmesh sync` to be sure.", d))
	}
	return f
}

func events(n int64) string {
	if n == 1 {
		return "1 event"
	}
	return fmt.Sprintf("%d events", n)
}

func them(n int64) string {
	if n == 1 {
		return "it"
	}
	return "them"
}

func was(n int64) string {
	if n == 1 {
		return "1 event was"
	}
	return fmt.Sprintf("%d events were", n)
}
