package subscriber

import (
	"context"
	"fmt"

	cloudevents "github.com/cloudevents/sdk-go/v2/event"

	"github.com/bucketmesh/bucketmesh/pkg/audit"
	"github.com/bucketmesh/bucketmesh/pkg/event"
)

// Audit records every event, in the order in which they arrive. An event that arrives again is recorded once.
type Audit struct {
	Log audit.Log
}

// Handle implements Handler.
func (a *Audit) Handle(ctx context.Context, e cloudevents.Event) error {
	text, err := event.Encode(e)
	if err != nil {
		return fmt.Errorf("record event: %w", err)
	}
	err = a.Log.Append(ctx, audit.Event{
		Source: e.Source(), ID: e.ID(), Type: e.Type(), Subject: e.Subject(), Time: e.Time(), JSON: text,
	})
	if err != nil {
		return fmt.Errorf("record event: %w", err)
	}
	return nil
}
