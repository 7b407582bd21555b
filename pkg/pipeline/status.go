package pipeline

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/broker"
	"github.com/bucketmesh/bucketmesh/pkg/config"
	"github.com/bucketmesh/bucketmesh/pkg/ledger"
	"github.com/bucketmesh/bucketmesh/pkg/object"
	"github.com/bucketmesh/bucketmesh/pkg/state"
	"github.com/bucketmesh/bucketmesh/pkg/worker"
)

const (
	maxDirty = 20   // keys that a status names
	maxOpen  = 1000 // conflicts that a status counts
	// farOff is later than anything is due.
	farOff = 100 * 365 * 24 * time.Hour
)

// Status is how a group is doing.
type Status struct {
	Group   string `json:"group"`
	Running bool   `json:"running"` // a process works on it, and this is its word
	// Services is set if services work on it: what they alone know is left out.
	Services bool      `json:"services,omitempty"`
	PID      int       `json:"pid,omitempty"`
	Started  time.Time `json:"started,omitzero"`
	URL      string    `json:"url,omitempty"` // for notifications
	// Document is the Digest of the document that the process was started with.
	Document string `json:"document,omitempty"`
	state.Stats
	OpenConflicts int             `json:"openConflicts"` // of all: not resolved yet
	DirtyKeys     []state.Dirty   `json:"dirtyKeys"`     // some of them, the next ones that are due first
	Brake         Brake           `json:"brake"`         // of deletes
	Events        broker.Status   `json:"events"`
	Ledger        ledger.Balance  `json:"ledger"` // of all events that came in
	Replicas      []ReplicaStatus `json:"replicas"`
}

// ReplicaStatus is how a replica is doing. What only a running process knows is left out otherwise.
type ReplicaStatus struct {
	Name     string           `json:"name"`
	URL      string           `json:"url"`
	Mode     config.Mode      `json:"mode"`
	Webhook  string           `json:"webhook,omitempty"`
	Level    string           `json:"level,omitempty"`
	Findings []string         `json:"findings,omitempty"`
	Health   *worker.Health   `json:"health,omitempty"`
	Requests *object.Snapshot `json:"requests,omitempty"` // since the start
}

// Status reads how the group is doing. It sends no request to a bucket.
func (p *Pipeline) Status(ctx context.Context) (Status, error) {
	s, err := stateStatus(ctx, p.opts.Group, p.store)
	if err != nil {
		return s, err
	}
	if s.URL, s.Running = p.URL(), p.worker != nil; s.Running {
		s.PID, s.Started = os.Getpid(), p.began
		if s.Document, err = Digest(p.opts.Group); err != nil {
			return s, err
		}
	}
	if s.Events, err = p.broker.Status(ctx); err != nil {
		return s, fmt.Errorf("read broker: %w", err)
	}
	if s.Ledger, err = p.ledger.Balance(ctx); err != nil {
		return s, fmt.Errorf("read ledger: %w", err)
	}
	if !s.Running {
		return s, nil
	}
	for i, at := range p.worker.Replicas() {
		rs := &s.Replicas[i]
		health, requests := at.Health(), at.Requests()
		rs.Level, rs.Findings = at.Report.Capabilities.Level.String(), at.Report.Findings
		rs.Health, rs.Requests = &health, &requests
		if p.address != nil {
			rs.Webhook = p.WebhookURL(at.Replica)
		}
	}
	return s, nil
}

// ServicesStatus reads how a group is doing that services work on: what their database has of it. Their broker can't be asked, so
// of Status.Events there are the dead letters only, and what is under way is taken to be no older than ledger.Horizon.
func ServicesStatus(ctx context.Context, g *config.Group, db *State) (Status, error) {
	s, err := stateStatus(ctx, g, db.Store)
	if err != nil {
		return s, err
	}
	s.Services = true
	if s.Ledger, err = ledger.New(db.Ledger, g.Name, ledger.SinceHorizon).Balance(ctx); err != nil {
		return s, fmt.Errorf("read ledger: %w", err)
	}
	letters, err := db.Letters.Count(ctx, g.Name)
	if err != nil {
		return s, err //nolint:wrapcheck // says "count dead letters"
	}
	s.Events.DeadLetters, s.Events.Triggers = uint64(letters), []broker.TriggerStatus{}
	return s, nil
}

// stateStatus is what the state knows of a group, and the document.
func stateStatus(ctx context.Context, g *config.Group, store state.Store) (s Status, err error) {
	s.Group = g.Name
	if s.Stats, err = store.Stats(ctx, s.Group); err != nil {
		return s, fmt.Errorf("read statistics: %w", err)
	}
	if s.DirtyKeys, err = store.Due(ctx, s.Group, time.Now().Add(farOff), maxDirty); err != nil {
		return s, fmt.Errorf("read dirty keys: %w", err)
	}
	if s.DirtyKeys == nil {
		s.DirtyKeys = []state.Dirty{} // JSON: a list
	}
	open, err := store.Conflicts(ctx, s.Group, state.ConflictOpen, maxOpen)
	if err != nil {
		return s, fmt.Errorf("read conflicts: %w", err)
	}
	s.OpenConflicts = len(open)
	if s.Brake, err = brakeOf(ctx, g, store); err != nil {
		return s, err
	}
	for _, r := range g.Replicas {
		s.Replicas = append(s.Replicas, ReplicaStatus{Name: r.Name, URL: r.URL, Mode: r.Mode})
	}
	return s, nil
}
