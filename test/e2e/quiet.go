package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/pipeline"
)

// Quiet waits until the running process has dealt with all events and no key waits to be looked at again. Equal buckets are not quiet yet: a
// notification of a version that one of our writes has covered comes again for as long as its key is busy, and only then is that version kept.
func (p *Program) Quiet(ctx context.Context, limit time.Duration, progress io.Writer) error {
	for ends := time.Now().Add(limit); ; {
		text, err := p.run(ctx, limit, "status", "-o", "json")
		var s pipeline.Status
		if bad := json.Unmarshal(text, &s); bad != nil { // its exit code may say that something waits
			return fmt.Errorf("read status: %w (%w)", bad, err)
		}
		if s.Events.Events == 0 && len(s.DirtyKeys) == 0 {
			return nil
		}
		if time.Now().After(ends) {
			return fmt.Errorf("not quiet %s after the last write: %d events under way, %d keys due", limit, s.Events.Events, len(s.DirtyKeys))
		}
		fmt.Fprintf(progress, "  %d events under way, %d keys due\n", s.Events.Events, len(s.DirtyKeys))
		if err := pause(ctx, 2*time.Second); err != nil {
			return err
		}
	}
}
