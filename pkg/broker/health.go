package broker

import (
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
)

const (
	// stuckAfter is how long the embedded store refuses everything before it is taken for broken: after one write that
	// found no space, it does not try again by itself until it is opened anew.
	stuckAfter = 30 * time.Second
	// failureAge is how long a failure counts if nobody has tried since: who is told that we are not ready stops trying.
	failureAge = 30 * time.Second
)

// health remembers how storing went, for one stream.
type health struct {
	mu          sync.Mutex
	first, last time.Time // of the failures since the last success; zero if there are none
	err         error     // of the last
}

// note takes the outcome of a message at a time. A store that refuses because of its own limits works.
func (h *health) note(at time.Time, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case err == nil || isFull(err):
		h.first, h.last, h.err = time.Time{}, time.Time{}, nil
	case h.first.IsZero() || at.Sub(h.last) > failureAge: // one failure an hour is no row of failures
		h.first, h.last, h.err = at, at, err
	default:
		h.last, h.err = at, err
	}
}

// failing is the last failure if storing fails now, and for how long it has.
func (h *health) failing(now time.Time) (time.Duration, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err == nil || now.Sub(h.last) > failureAge {
		return 0, nil
	}
	return h.last.Sub(h.first), h.err
}

// isFull reports whether a stream refused a message because it holds as much as it may.
func isFull(err error) bool {
	api, ok := errors.AsType[*jetstream.APIError](err)
	return ok && strings.Contains(api.Description, "maximum ") && strings.Contains(api.Description, " exceeded")
}

// Ready says whether messages can be stored: nil, or Unavailable with the last failure. It stores nothing.
func (b *Broker) Ready() error {
	if b.server != nil && !b.server.JetStreamEnabled() {
		return errkind.New(errkind.Unavailable, "the store in %s was shut by a failed write", b.cfg.Dir)
	}
	now := time.Now()
	for _, h := range []*health{&b.eventsHealth, &b.deadHealth} {
		if _, err := h.failing(now); err != nil {
			return errkind.New(errkind.Unavailable, "broker does not store messages: %w", err)
		}
	}
	return nil
}

// Broken says whether the embedded store has to be opened anew, which is for the process to do: nil, or Unavailable with
// the directory. It was shut, or refused every message for half a minute. An outside server is never broken: opening it
// anew would change nothing.
func (b *Broker) Broken() error {
	if b.server == nil {
		return nil
	}
	const mend = "make sure that there is space in data directory %s and start again"
	if !b.server.JetStreamEnabled() {
		return errkind.New(errkind.Unavailable, "broker's store was shut by a failed write: "+mend, b.cfg.Dir)
	}
	now := time.Now()
	for _, h := range []*health{&b.eventsHealth, &b.deadHealth} {
		if d, err := h.failing(now); err != nil && d >= stuckAfter {
			return errkind.New(errkind.Unavailable, "broker stored nothing for %v: "+mend+": %w", d.Round(time.Second), b.cfg.Dir, err)
		}
	}
	return nil
}
