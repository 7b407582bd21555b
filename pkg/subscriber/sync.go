package subscriber

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	cloudevents "github.com/cloudevents/sdk-go/v2/event"

	"github.com/bucketmesh/bucketmesh/pkg/config"
	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/event"
	"github.com/bucketmesh/bucketmesh/pkg/ledger"
	"github.com/bucketmesh/bucketmesh/pkg/reconcile"
)

// busyLimit is how long an event may come back because its key is being worked on. Then the dirty set takes it over: the
// copy of a very large object outlives the patience of any trigger.
const busyLimit = time.Minute

// Sync reconciles the key that an event is about. All fields but Scan and Ledger are required.
type Sync struct {
	Group  *config.Group
	Engine Reconciler
	Now    func() time.Time
	Logger *slog.Logger
	// Below has every key looked at that a replica holds below a prefix, or that the state has there.
	Below func(ctx context.Context, replica, prefix string) error
	// Scan does what a scan.requested event or a timer asks for; it may stop early with a retryable error and go on at the next
	// delivery. Nil: such events are acknowledged and nothing is done, because the process has a timer of its own.
	Scan func(ctx context.Context, s event.Scan) error
	// Ledger is told what became of each object.* event, before the event is acknowledged. Nil: nobody keeps books.
	Ledger Noter
}

// Handle implements Handler.
func (s *Sync) Handle(ctx context.Context, e cloudevents.Event) error {
	switch {
	case e.Type() == event.ConflictResolved:
		return s.resolved(ctx, e)
	case e.Type() == event.ScanRequested, e.Type() == event.Ping:
		return s.scan(ctx, e)
	case e.Type() == event.PrefixChanged:
		return s.prefix(ctx, e)
	case e.Type() == event.SyncFailed:
		return s.failed(ctx, e)
	case strings.HasPrefix(e.Type(), ledger.Types):
		return s.account(ctx, e)
	}
	return nil // a trigger that lets more through than it should
}

func (s *Sync) resolved(ctx context.Context, e cloudevents.Event) error {
	c, err := event.ConflictOf(e)
	if err != nil {
		return fmt.Errorf("handle resolved conflict: %w", err)
	}
	if c.Group != s.Group.Name {
		return nil
	}
	_, err = s.reconcile(ctx, e, c.Key, nil)
	return err
}

// failed handles the announcement that a replica can't hold a key, or that a key can't be carried from a replica. It becomes a
// dead letter, which tells the operator; replaying it tries the key again, and succeeds once the cause is mended. Trouble that
// is no property of the key (a permission) is not of this kind: the key waits, and nothing else has to be done for it.
func (s *Sync) failed(ctx context.Context, e cloudevents.Event) error {
	f, err := event.SyncOf(e)
	if err != nil {
		return fmt.Errorf("handle failure: %w", err)
	}
	if f.Group != s.Group.Name || f.Error != errkind.Invalid.String() && f.Error != errkind.Unsupported.String() {
		return nil
	}
	if _, err := s.Engine.Reconcile(ctx, f.Key, nil, 1); err != nil { // not the first try: the failure is not announced again
		return fmt.Errorf("sync %q: %w", f.Key, err)
	}
	refused, err := s.Engine.Refused(ctx, f.Key)
	if err != nil {
		return fmt.Errorf("sync %q: %w", f.Key, err)
	}
	for _, name := range f.Replicas {
		if why := refused[name]; why != "" {
			return errkind.New(errkind.Invalid, "%q can't be synchronized with replica %s: %s; rename or mend the object, then replay "+
				"this letter", f.Key, name, why)
		}
	}
	return nil
}

func (s *Sync) scan(ctx context.Context, e cloudevents.Event) error {
	req, err := event.ScanOf(e)
	if err != nil {
		return fmt.Errorf("handle scan request: %w", err)
	}
	if req.Group == "" && e.Type() == event.Ping {
		req.Group = s.Group.Name // a timer knows no groups
	}
	if req.Group != s.Group.Name || s.Scan == nil {
		return nil
	}
	if err := s.Scan(ctx, req); err != nil {
		return fmt.Errorf("scan: %w", err)
	}
	return nil
}

// object reconciles the keys that an event is about. A rename is about two: it is parked if one of them is.
func (s *Sync) object(ctx context.Context, e cloudevents.Event) (ledger.Note, error) {
	n := ledger.Note{Outcome: ledger.Filtered}
	o, err := event.ObjectOf(e)
	if err != nil {
		return n, fmt.Errorf("handle object event: %w", err)
	}
	keys := []string{o.Key}
	if raw, err := o.RawKey(); err == nil {
		keys[0] = raw
	}
	if o.Rename != nil {
		keys = []string{o.Rename.From, o.Rename.To}
	}
	for _, key := range keys {
		for _, at := range s.Group.ReplicaFor(e.Source(), key) {
			if !s.Group.Match(at.Key) {
				continue
			}
			out := reconcile.Echo
			if e.Type() != event.ObjectSuperseded { // else another event told of what replaced it
				h := HintOf(e, o, at.Replica.Name)
				if out, err = s.reconcile(ctx, e, at.Key, &h); err != nil {
					return n, err
				}
			}
			n = heavier(n, noteOf(out, at.Key))
		}
	}
	return n, nil
}

// prefix handles a change of a directory: which keys it was about is not told.
func (s *Sync) prefix(ctx context.Context, e cloudevents.Event) error {
	o, err := event.ObjectOf(e)
	if err != nil {
		return fmt.Errorf("handle prefix event: %w", err)
	}
	prefixes := []string{o.Key}
	if raw, err := o.RawKey(); err == nil {
		prefixes[0] = raw
	}
	if o.Rename != nil {
		prefixes = []string{o.Rename.From, o.Rename.To}
	}
	for _, r := range s.Group.Replicas {
		for _, p := range prefixes {
			below, ok := strings.CutPrefix(p, r.Prefix)
			if !ok && strings.HasPrefix(r.Prefix, p) { // the whole replica is below it
				below, ok = "", true
			}
			if !ok || r.Source() != e.Source() {
				continue
			}
			if err := s.Below(ctx, r.Name, below); err != nil {
				return fmt.Errorf("look below %q at %s: %w", below, r.Name, err)
			}
		}
	}
	return nil
}

func (s *Sync) reconcile(ctx context.Context, e cloudevents.Event, key string, h *reconcile.Hint) (reconcile.Outcome, error) {
	begin := s.Now()
	out, err := s.Engine.Reconcile(ctx, key, h, 0)
	if errkind.Is(err, errkind.Conflict) && s.Now().Sub(recorded(e)) > busyLimit {
		why := "other events for this key were worked on for more than " + busyLimit.String()
		if err := s.Engine.Defer(ctx, key, h, s.Now().Add(10*time.Second), why); err != nil {
			return reconcile.Pending, fmt.Errorf("sync %q: %w", key, err)
		}
		return reconcile.Pending, nil
	}
	if err != nil {
		return out, fmt.Errorf("sync %q: %w", key, err)
	}
	s.Logger.DebugContext(ctx, "reconciled", "key", key, "event", e.Type(), "outcome", out.String(), "duration", s.Now().Sub(begin))
	return out, nil
}

// recorded is when we took note of the event; the zero time, long ago, for events that do not say.
func recorded(e cloudevents.Event) time.Time {
	text, _ := e.Extensions()[event.ExtRecordedTime].(string)
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return e.Time()
	}
	return t
}

// ourOperations are the providers' names of the ways in which drivers write. Whatever else wrote an object, it was not us.
var ourOperations = []string{
	"Put", "Post", "CompleteMultipartUpload", // S3
	"OBJECT_FINALIZE", "google.cloud.storage.object.v1.finalized", // GCS knows but one
	"PutBlob", "PutBlockList", // Azure
}

// HintOf is what an object event tells the engine about a key at a replica.
func HintOf(e cloudevents.Event, o event.Object, replica string) reconcile.Hint {
	h := reconcile.Hint{Replica: replica, Kind: reconcile.Changed, VersionID: o.Version, RequestID: o.RequestID, Time: e.Time()}
	if h.Seq, _ = e.Extensions()[event.ExtSequence].(string); h.Seq == "" {
		h.Seq = o.SequencerRaw
	}
	switch e.Type() {
	case event.ObjectWritten:
		h.Kind, h.Tag = reconcile.Written, o.ETag
		if o.Generation != "" { // GCS guards by generation
			h.Tag, h.VersionID = o.Generation, o.Generation
		}
		h.Copied = !slices.Contains(ourOperations, o.Operation)
	case event.ObjectDeleted:
		h.Kind, h.Expired = reconcile.Deleted, o.Lifecycle
	case event.ObjectVersionDeleted:
		if o.Generation != "" { // GCS tells of deletes and of purged generations alike; a look tells which it was
			h.Kind = reconcile.Deleted
		}
	}
	return h
}
