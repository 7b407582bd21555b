package broker

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
)

// Status says how much is waiting.
type Status struct {
	Events      uint64          `json:"events"` // in the store: not handled by every trigger
	Bytes       uint64          `json:"bytes"`
	MaxBytes    int64           `json:"maxBytes"`
	DeadLetters uint64          `json:"deadLetters"`
	Triggers    []TriggerStatus `json:"triggers"` // by name
}

// TriggerStatus is the depth of one trigger.
type TriggerStatus struct {
	Name     string `json:"name"`
	Pending  uint64 `json:"pending"`  // never given to a handler
	InFlight int    `json:"inFlight"` // with a handler, or waiting for the next try
	Retried  int    `json:"retried"`  // of those, how many were tried before
	Dead     uint64 `json:"dead"`     // dead letters
}

// Lag is the number of events that the trigger has not dealt with.
func (t TriggerStatus) Lag() uint64 { return t.Pending + uint64(t.InFlight) }

// Oldest is when the oldest event was published that not every trigger has dealt with; ok is false if there is none.
func (b *Broker) Oldest(ctx context.Context) (at time.Time, ok bool, err error) {
	events, err := b.events.Info(ctx)
	if err != nil {
		return at, false, errkind.New(errkind.Unavailable, "read broker status: %w", err)
	}
	return events.State.FirstTime, events.State.Msgs > 0, nil
}

// Status reads the depth of everything.
func (b *Broker) Status(ctx context.Context) (Status, error) {
	fail := func(err error) (Status, error) {
		return Status{}, errkind.New(errkind.Unavailable, "read broker status: %w", err)
	}
	events, err := b.events.Info(ctx)
	if err != nil {
		return fail(err)
	}
	dead, err := b.dead.Info(ctx, jetstream.WithSubjectFilter(b.names.dead+".>"))
	if err != nil {
		return fail(err)
	}
	s := Status{Events: events.State.Msgs, Bytes: events.State.Bytes, MaxBytes: events.Config.MaxBytes, DeadLetters: dead.State.Msgs}
	list := b.events.ListConsumers(ctx)
	for c := range list.Info() {
		s.Triggers = append(s.Triggers, TriggerStatus{
			Name:     c.Name,
			Pending:  c.NumPending,
			InFlight: c.NumAckPending,
			Retried:  c.NumRedelivered,
			Dead:     dead.State.Subjects[b.names.dead+"."+c.Name],
		})
	}
	if err := list.Err(); err != nil {
		return fail(err)
	}
	slices.SortFunc(s.Triggers, func(a, b TriggerStatus) int { return strings.Compare(a.Name, b.Name) })
	return s, nil
}
