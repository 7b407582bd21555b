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
	Group   string    `json:"group"`
	Running bool      `json:"running"` // a process works on it, and this is its word
	PID     int       `json:"pid,omitempty"`
	Started time.Time `json:"started,omitzero"`
	URL     string    `json:"url,omitempty"` // for notifications
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
	s := Status{Group: p.opts.Group.Name, Running: p.worker != nil, URL: p.URL()}
	if s.Running {
		s.PID, s.Started = os.Getpid(), p.began
	}
	var err error
	if s.Running {
		if s.Document, err = Digest(p.opts.Group); err != nil {
			return s, err
		}
	}
	if s.Stats, err = p.store.Stats(ctx, s.Group); err != nil {
		return s, fmt.Errorf("read statistics: %w", err)
	}
	if s.DirtyKeys, err = p.store.Due(ctx, s.Group, time.Now().Add(farOff), maxDirty); err != nil {
		return s, fmt.Errorf("read dirty keys: %w", err)
	}
	if s.DirtyKeys == nil {
		s.DirtyKeys = []state.Dirty{} // JSON: a list
	}
	open, err := p.store.Conflicts(ctx, s.Group, state.ConflictOpen, maxOpen)
	if err != nil {
		return s, fmt.Errorf("read conflicts: %w", err)
	}
	s.OpenConflicts = len(open)
	if s.Brake, err = p.brake(ctx); err != nil {
		return s, err
	}
	if s.Events, err = p.broker.Status(ctx); err != nil {
		return s, fmt.Errorf("read broker: %w", err)
	}
	if s.Ledger, err = p.ledger.Balance(ctx); err != nil {
		return s, fmt.Errorf("read ledger: %w", err)
	}
	for i, r := range p.opts.Group.Replicas {
		rs := ReplicaStatus{Name: r.Name, URL: r.URL, Mode: r.Mode}
		if p.worker != nil {
			at := p.worker.Replicas()[i]
			health, requests := at.Health(), at.Requests()
			rs.Level, rs.Findings = at.Report.Capabilities.Level.String(), at.Report.Findings
			rs.Health, rs.Requests = &health, &requests
			if p.address != nil {
				rs.Webhook = p.WebhookURL(r)
			}
		}
		s.Replicas = append(s.Replicas, rs)
	}
	return s, nil
}
