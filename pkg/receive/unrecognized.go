package receive

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/event"
	"github.com/bucketmesh/bucketmesh/pkg/serve"
)

// Unrecognized keeps messages that can never work as unrecognized events: where there is no dead letter store at hand but
// a broker, the audit log keeps them for a person to look at.
type Unrecognized struct {
	Group    string
	Provider string // in events: s3, gcs or azure
	Sink     serve.Sink
}

// Store implements normalize.DeadLetters.
func (u Unrecognized) Store(ctx context.Context, raw []byte, contentType, reason string) error {
	sum := sha256.Sum256(raw)
	now := time.Now()
	e, err := event.NewObject(event.Meta{
		ID: hex.EncodeToString(sum[:]), Type: event.Unrecognized, Source: event.GroupSource(u.Group), Time: now, Recorded: now,
		Extensions: map[string]string{event.ExtGroup: u.Group},
	}, event.Object{Provider: u.Provider, Operation: "unrecognized", ContentType: contentType, Native: raw, NativeNote: reason})
	if err != nil {
		return fmt.Errorf("keep unrecognized message: %w", err)
	}
	return u.Sink.Publish(ctx, e) //nolint:wrapcheck // the caller says "store dead letter"
}
