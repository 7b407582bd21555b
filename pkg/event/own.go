package event

import (
	"slices"
	"strconv"
	"strings"
	"time"

	cloudevents "github.com/cloudevents/sdk-go/v2/event"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
)

// NewSync makes a sync.* event; source "" is GroupSource(s.Group). Its id follows from the type and from what s says of
// the step (group, key, version, kind, replicas, user's time, attempt), not from when the step was tried, so a step
// that is told of again has the same id. The event's time is s.Applied.
func NewSync(typ, source string, s Sync) (cloudevents.Event, error) {
	if !strings.HasPrefix(typ, Prefix+"sync.") {
		return cloudevents.Event{}, errkind.New(errkind.Invalid, "make sync event: type %q", typ)
	}
	replicas := slices.Sorted(slices.Values(s.Replicas))
	written := ""
	if !s.Written.IsZero() {
		written = s.Written.UTC().Format(time.RFC3339Nano)
	}
	id := digest(append([]string{typ, s.Group, s.Key, s.Version, s.Kind, written, strconv.Itoa(s.Attempts)}, replicas...)...)
	return own(typ, source, s.Group, s.Key, id, s.Applied, s)
}

// NewConflict makes a conflict.* event; source "" is GroupSource(c.Group). Its id follows from the type and from what c
// says (group, key, conflict id, heads, winner), and from c.Again. The event's time is at.
func NewConflict(typ, source string, c Conflict, at time.Time) (cloudevents.Event, error) {
	if !strings.HasPrefix(typ, Prefix+"conflict.") {
		return cloudevents.Event{}, errkind.New(errkind.Invalid, "make conflict event: type %q", typ)
	}
	parts := append([]string{typ, c.Group, c.Key, c.ID, c.Winner}, slices.Sorted(slices.Values(c.Heads))...)
	if !c.Again.IsZero() {
		parts = append(parts, "again", c.Again.UTC().Format(time.RFC3339Nano))
	}
	return own(typ, source, c.Group, c.Key, digest(parts...), at, c)
}

// NewGuard makes a guard.tripped event; source "" is GroupSource(g.Group). Its id follows from the guard and from when it
// tripped.
func NewGuard(source string, g Guard) (cloudevents.Event, error) {
	id := digest(GuardTripped, g.Group, g.Guard, g.Tripped.UTC().Format(time.RFC3339Nano))
	return own(GuardTripped, source, g.Group, "", id, g.Tripped, g)
}

// NewScan makes a scan.requested event; source "" is GroupSource(s.Group). Its id follows from s and from at, the time
// that the request is for (not the time of a retry).
func NewScan(source string, s Scan, at time.Time) (cloudevents.Event, error) {
	id := digest(ScanRequested, s.Group, s.What, at.UTC().Format(time.RFC3339Nano))
	return own(ScanRequested, source, s.Group, "", id, at, s)
}

func own(typ, source, group, key, id string, at time.Time, data any) (cloudevents.Event, error) {
	if group == "" {
		return cloudevents.Event{}, errkind.New(errkind.Invalid, "make event %s: it names no group", typ)
	}
	if source == "" {
		source = GroupSource(group)
	}
	return New(Meta{
		ID: id, Type: typ, Source: source, Key: key, Time: at, Recorded: at,
		Extensions: map[string]string{ExtGroup: group},
	}, data)
}

// SyncOf reads the data of a sync.* event. Errors: Invalid for other types and for data that does not decode.
func SyncOf(e cloudevents.Event) (Sync, error) {
	var s Sync
	err := typed(e, Prefix+"sync.", &s)
	return s, err
}

// ConflictOf reads the data of a conflict.* event. Errors: Invalid for other types and for data that does not decode.
func ConflictOf(e cloudevents.Event) (Conflict, error) {
	var c Conflict
	err := typed(e, Prefix+"conflict.", &c)
	return c, err
}

// GuardOf reads the data of a guard.tripped event. Errors: Invalid for other types and for data that does not decode.
func GuardOf(e cloudevents.Event) (Guard, error) {
	var g Guard
	err := typed(e, GuardTripped, &g)
	return g, err
}

// ScanOf reads the data of a scan.requested event or of a Ping, which is for every group if it names none. Errors: Invalid for
// other types and for data that does not decode or asks for nothing that is known.
func ScanOf(e cloudevents.Event) (Scan, error) {
	var s Scan
	typ := ScanRequested
	if e.Type() == Ping {
		typ = Ping
	}
	if err := typed(e, typ, &s); err != nil {
		return s, err
	}
	if s.What != ScanDue && s.What != ScanBackfill {
		return s, errkind.New(errkind.Invalid, "read event %s: what %q: must be %s or %s", e.ID(), s.What, ScanDue, ScanBackfill)
	}
	return s, nil
}

func typed(e cloudevents.Event, prefix string, into any) error {
	if !strings.HasPrefix(e.Type(), prefix) {
		return errkind.New(errkind.Invalid, "read event %s: type %q is not %s*", e.ID(), e.Type(), prefix)
	}
	return data(e, into)
}
