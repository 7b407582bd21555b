// Package record is the subscriber of the service audit: it records every event. It is apart from the other subscribers so
// that a service that only records carries no engine.
//
// Errors: nil means that the event is recorded. An error of a retryable kind brings the event back; any other makes it a
// dead letter.
//
// Concurrency: a Handler may be used from many goroutines; the order of the log is that of the arrivals.
package record

import (
	"context"
	"fmt"

	cloudevents "github.com/cloudevents/sdk-go/v2/event"

	"github.com/bucketmesh/bucketmesh/pkg/audit"
	"github.com/bucketmesh/bucketmesh/pkg/event"
)

// Handler records every event, in the order in which they arrive. An event that arrives again is recorded once.
type Handler struct {
	Log audit.Log
}

// Handle implements subscriber.Handler.
func (h *Handler) Handle(ctx context.Context, e cloudevents.Event) error {
	text, err := event.Encode(e)
	if err != nil {
		return fmt.Errorf("record event: %w", err)
	}
	err = h.Log.Append(ctx, audit.Event{
		Source: e.Source(), ID: e.ID(), Type: e.Type(), Subject: e.Subject(), Time: e.Time(), JSON: text,
	})
	if err != nil {
		return fmt.Errorf("record event: %w", err)
	}
	return nil
}
