package knative

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	cloudevents "github.com/cloudevents/sdk-go/v2/event"

	"github.com/bucketmesh/bucketmesh/pkg/event"
	"github.com/bucketmesh/bucketmesh/pkg/ledger"
)

// equal waits until the sides are equal.
func equal(ctx context.Context, w *world, r *Result) error {
	sum, err := w.stage.Judge(ctx, w.progress)
	if err != nil {
		return err
	}
	r.fact("objects", sum.Objects)
	r.fact("current", sum.Current)
	r.fact("overwritten", sum.Overwritten)
	r.fact("kept", sum.Kept)
	r.fact("lost", sum.Lost)
	r.fact("equalAfterMillis", int64(sum.ConvergedAfter*1000))
	if err := sum.Fault(); err != nil {
		return fmt.Errorf("%w\n%s", err, strings.Join(append(sum.Evidence, sum.Faults...), "\n"))
	}
	return nil
}

// publish posts an event to the broker.
func (w *world) publish(ctx context.Context, e cloudevents.Event) error {
	body, err := e.MarshalJSON()
	if err != nil {
		return fmt.Errorf("encode event: %w", err)
	}
	status, err := w.post(ctx, w.broker, body, http.Header{"Content-Type": {cloudevents.ApplicationCloudEventsJSON}})
	if err == nil && status != http.StatusAccepted {
		err = fmt.Errorf("the broker answered %d", status)
	}
	return err
}

func auditLog(ctx context.Context, w *world, r *Result) error {
	var v struct {
		Sound bool `json:"sound"`
		Head  struct {
			Seq int64 `json:"seq"`
		} `json:"head"`
		Reason string `json:"reason"`
	}
	if err := w.cli(ctx, &v, "audit", "verify"); err != nil {
		return err
	}
	r.fact("entries", v.Head.Seq)
	if !v.Sound || v.Head.Seq == 0 {
		return fmt.Errorf("the log of %d entries is not sound: %s", v.Head.Seq, v.Reason)
	}
	return nil
}

// books are drawn up while nothing is under way: what has no outcome then is lost.
func books(ctx context.Context, w *world, r *Result) error {
	var b ledger.Balance
	err := poll(ctx, w.within, time.Second, "every event is accounted for", func(ctx context.Context) (bool, error) {
		if err := w.cli(ctx, &b, "audit", "balance", "--under-way", "0s"); err != nil {
			return false, err
		}
		if !b.Holds {
			return false, fmt.Errorf("%s", strings.Join(b.Findings(), "; "))
		}
		return b.InFlight == 0, nil
	})
	r.fact("in", b.In)
	r.fact("applied", b.Applied)
	r.fact("superseded", b.Superseded)
	r.fact("filtered", b.Filtered)
	r.fact("inConflict", b.InConflict)
	r.fact("deadLettered", b.DeadLetters)
	r.fact("inFlight", b.InFlight)
	if err == nil && b.In == 0 {
		return errors.New("no event came in")
	}
	letters, lerr := w.letters(ctx)
	if len(letters) > 0 {
		lerr = fmt.Errorf("%d dead letters at the end, e.g. %s", len(letters), letters[0].Reason)
	}
	return errors.Join(err, lerr)
}

// entry is what the audit log has of an event.
type entry struct {
	Type    string          `json:"type"`
	Subject string          `json:"subject"`
	Event   json.RawMessage `json:"event"`
}

func (w *world) entries(ctx context.Context) ([]entry, error) {
	var all []entry
	return all, w.cli(ctx, &all, "audit", "list", "--limit", "0")
}

// announced says whether a conflict of a key was.
func (w *world) announced(ctx context.Context, key string) (bool, error) {
	all, err := w.entries(ctx)
	for _, e := range all {
		if e.Type == event.ConflictDetected && strings.Contains(string(e.Event), `"`+key+`"`) {
			return true, nil
		}
	}
	return false, err
}
