// Package notifications sets up what a bucket's provider needs to tell of changes: Run checks, installs and removes it for
// the replicas of a group. The subpackages s3, gcs and azure are the providers.
//
// A bucket's set-up belongs to its owner, and we are a guest in it: what others put there is listed (Foreign), kept as it is
// and never removed. Ours is what carries our id (see ID), whatever it says; what says the same and carries another id, or
// none, is not ours. Doing a thing twice changes nothing the second time. A plan only reads.
//
// Errors carry errkind kinds and name the field, the value and the mend. A secret is in no plan and no error. Everything
// that is asked of a provider is bounded by a timeout.
//
// Concurrency: Run works on one replica after the other, because replicas can share a bucket, whose set-up is read, changed
// and written as a whole. Two processes must not install into one bucket at the same time: no provider has a condition
// for this write. What can be seen of such a race is reported.
package notifications

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
)

// Goal is what a plan leads to.
type Goal int

// The goals.
const (
	Install Goal = iota // ours is there, as the document wants it
	Remove              // nothing of ours is there
)

// Provider is the set-up of one replica's bucket. For Remove, Run makes it without a target.
type Provider interface {
	// Plan reads what is there and says what Apply would do. It changes nothing.
	Plan(ctx context.Context, goal Goal) (Plan, error)
	// Apply does what is to be done, on what is there by now: what Plan saw may be old. It refuses if Plan would, and does
	// nothing if nothing is to be done. After an error, Plan says what was done.
	Apply(ctx context.Context, goal Goal) error
	// Close drops connections.
	Close() error
}

// State of an entry.
type State string

// The states.
const (
	Present   State = "present"   // ours, as it must be
	Missing   State = "missing"   // ours, and not there
	Different State = "different" // ours, and not as it must be
	Surplus   State = "surplus"   // ours, and not needed: an earlier target, or a second one
	Foreign   State = "foreign"   // somebody else's: never touched
)

// Action is what Apply does with an entry.
type Action string

// The actions.
const (
	Keep        Action = "keep"
	Add         Action = "add"
	Change      Action = "change"
	RemoveEntry Action = "remove"
)

// Entry is one notification that is set up, or is to be.
type Entry struct {
	Name        string       `json:"name"` // its id or name at the provider
	Kind        string       `json:"kind"` // in the provider's words: queue, topic, function, eventbridge, ...
	State       State        `json:"state"`
	Action      Action       `json:"action"`
	Target      string       `json:"target,omitempty"` // without secrets
	Events      []string     `json:"events,omitempty"`
	Prefix      string       `json:"prefix,omitempty"`
	Suffix      string       `json:"suffix,omitempty"`
	Differences []Difference `json:"differences,omitempty"`
}

// Difference is one field of ours that is not as it must be.
type Difference struct {
	Field string `json:"field"`
	Have  string `json:"have"`
	Want  string `json:"want"`
}

// Level of a finding.
type Level string

// The levels.
const (
	Refused Level = "refused" // it can't work like this: Apply does nothing
	Warning Level = "warning" // it works, with a disadvantage
	Advice  Level = "advice"  // it works
)

// Finding is something about the set-up that a person should know.
type Finding struct {
	Level Level  `json:"level"`
	About string `json:"about"` // a field of the document, or what was looked at
	Text  string `json:"text"`
	Mend  string `json:"mend,omitempty"`
}

// Plan is what is there and what is to be done.
type Plan struct {
	Entries  []Entry   `json:"entries"`
	Findings []Finding `json:"findings,omitempty"`
}

// Settled reports whether nothing is to be done.
func (p Plan) Settled() bool {
	return !slices.ContainsFunc(p.Entries, func(e Entry) bool { return e.Action != Keep })
}

// Refusal is the first finding of level Refused.
func (p Plan) Refusal() (Finding, bool) {
	i := slices.IndexFunc(p.Findings, func(f Finding) bool { return f.Level == Refused })
	if i < 0 {
		return Finding{}, false
	}
	return p.Findings[i], true
}

// String is the finding in one line.
func (f Finding) String() string {
	s := f.About + ": " + f.Text
	if f.Mend != "" {
		s += "; " + f.Mend
	}
	return s
}

// maxID is the longest name that all providers take (an event subscription of Azure has 64 characters).
const maxID = 64

// ID is the name that ours carries: bucketmesh-GROUP-REPLICA. Where two pairs of names would give the same (a-b and c, a
// and b-c), or it would be too long, the end is part of a hash of the two.
func ID(group, replica string) string {
	id := "bucketmesh-" + group + "-" + replica
	if len(id) <= maxID && !strings.Contains(replica, "-") {
		return id
	}
	sum := sha256.Sum256([]byte(group + "/" + replica)) // names have no slash
	end := "-" + hex.EncodeToString(sum[:6])
	return id[:min(len(id), maxID-len(end))] + end
}

// Diff adds the difference of a field if there is one.
func Diff(all []Difference, field, have, want string) []Difference {
	if have == want {
		return all
	}
	return append(all, Difference{Field: field, Have: have, Want: want})
}

// DiffSet is Diff of texts whose order has no meaning.
func DiffSet(all []Difference, field string, have, want []string) []Difference {
	return Diff(all, field, strings.Join(sorted(have), " "), strings.Join(sorted(want), " "))
}

func sorted(s []string) []string { return slices.Sorted(slices.Values(s)) }
