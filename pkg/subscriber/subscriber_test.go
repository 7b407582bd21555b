package subscriber_test

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	cloudevents "github.com/cloudevents/sdk-go/v2/event"

	"github.com/bucketmesh/bucketmesh/pkg/broker"
	"github.com/bucketmesh/bucketmesh/pkg/config"
	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/event"
	"github.com/bucketmesh/bucketmesh/pkg/reconcile"
	"github.com/bucketmesh/bucketmesh/pkg/subscriber"
)

const document = `apiVersion: bucketmesh.dev/v1alpha1
kind: SyncGroup
metadata: {name: media}
spec:
  replicas:
  - {name: us, url: "s3://media-us/p?region=us-east-1"}
  - {name: eu, url: "s3://media-eu?region=eu-west-1"}
  filter: {exclude: ["tmp/**"]}
`

const usSource = "https://s3.us-east-1.amazonaws.com/media-us"

var now = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// engine remembers what it was asked.
type engine struct {
	keys  []string
	hints []*reconcile.Hint
	err   error

	deferred []string
	refused  map[string]string
}

func (e *engine) Refused(context.Context, string) (map[string]string, error) { return e.refused, nil }

func (e *engine) Reconcile(_ context.Context, key string, h *reconcile.Hint, _ int) (reconcile.Outcome, error) {
	e.keys, e.hints = append(e.keys, key), append(e.hints, h)
	return reconcile.Settled, e.err
}

func (e *engine) Defer(_ context.Context, key string, h *reconcile.Hint, _ time.Time, _ string) error {
	e.deferred, e.hints = append(e.deferred, key), append(e.hints, h)
	return nil
}

func (e *engine) Resolve(_ context.Context, key string) (reconcile.Outcome, error) {
	e.keys = append(e.keys, key)
	return reconcile.Settled, e.err
}

func newSync(t *testing.T) (*subscriber.Sync, *engine) {
	t.Helper()
	g, err := config.Load([]byte(document), config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	e := &engine{}
	return &subscriber.Sync{Group: g, Engine: e, Now: func() time.Time { return now }, Logger: slog.New(slog.DiscardHandler)}, e
}

func object(t *testing.T, typ, key string, change func(*event.Meta, *event.Object)) cloudevents.Event {
	t.Helper()
	m := event.Meta{ID: "id", Type: typ, Source: usSource, Time: now, Recorded: now, Extensions: map[string]string{event.ExtSequence: "0042"}}
	o := event.Object{Provider: "s3", Bucket: "media-us", ETag: "tag", Version: "v1", RequestID: "r1", Operation: "Put", SequencerRaw: "42"}
	o.SetKey(key)
	if change != nil {
		change(&m, &o)
	}
	e, err := event.NewObject(m, o)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestHints(t *testing.T) {
	written := reconcile.Hint{Replica: "us", Kind: reconcile.Written, Tag: "tag", VersionID: "v1", RequestID: "r1", Seq: "0042", Time: now}
	with := func(f func(*reconcile.Hint)) *reconcile.Hint { h := written; f(&h); return &h }
	changed := with(func(h *reconcile.Hint) { h.Kind, h.Tag = reconcile.Changed, "" })
	for _, c := range []struct {
		name string
		e    cloudevents.Event
		key  string
		want *reconcile.Hint
	}{
		{"put", object(t, event.ObjectWritten, "p/a b", nil), "a b", &written},
		{"multipart", object(t, event.ObjectWritten, "p/k", func(_ *event.Meta, o *event.Object) { o.Operation = "CompleteMultipartUpload" }), "k", &written},
		{"copy", object(t, event.ObjectWritten, "p/k", func(_ *event.Meta, o *event.Object) { o.Operation = "Copy" }), "k",
			with(func(h *reconcile.Hint) { h.Copied = true })},
		{"raw sequence", object(t, event.ObjectWritten, "p/k", func(m *event.Meta, _ *event.Object) { m.Extensions = nil }), "k",
			with(func(h *reconcile.Hint) { h.Seq = "42" })},
		{"generation", object(t, event.ObjectWritten, "p/k", func(_ *event.Meta, o *event.Object) { o.Generation, o.Version = "7", "" }), "k",
			with(func(h *reconcile.Hint) { h.Tag, h.VersionID = "7", "7" })},
		{"a copy on GCS tells nothing else than a put", object(t, event.ObjectWritten, "p/k", func(_ *event.Meta, o *event.Object) { o.Operation = "OBJECT_FINALIZE" }), "k", &written},
		{"block list", object(t, event.ObjectWritten, "p/k", func(_ *event.Meta, o *event.Object) { o.Operation = "PutBlockList" }), "k", &written},
		{"copied blob", object(t, event.ObjectWritten, "p/k", func(_ *event.Meta, o *event.Object) { o.Operation = "CopyBlob" }), "k",
			with(func(h *reconcile.Hint) { h.Copied = true })},
		{"generation deleted", object(t, event.ObjectVersionDeleted, "p/k", func(_ *event.Meta, o *event.Object) { o.Generation, o.Version = "7", "" }), "k",
			with(func(h *reconcile.Hint) { h.Kind, h.Tag, h.VersionID = reconcile.Deleted, "", "" })},
		{"delete", object(t, event.ObjectDeleted, "p/k", nil), "k",
			with(func(h *reconcile.Hint) { h.Kind, h.Tag = reconcile.Deleted, "" })},
		{"metadata", object(t, event.ObjectMetadataUpdated, "p/k", nil), "k", changed},
		{"version", object(t, event.ObjectVersionDeleted, "p/k", nil), "k", changed},
		{"not UTF-8", object(t, event.ObjectMetadataUpdated, "p/\xff", nil), "\xff", changed},
		{"of another bucket", object(t, event.ObjectWritten, "p/k", func(m *event.Meta, _ *event.Object) { m.Source += "-other" }), "", nil},
		{"outside of the prefix", object(t, event.ObjectWritten, "k", nil), "", nil},
		{"filtered", object(t, event.ObjectWritten, "p/tmp/k", nil), "", nil},
		{"reserved", object(t, event.ObjectWritten, "p/.bucketmesh/k", nil), "", nil},
		{"superseded", object(t, event.ObjectSuperseded, "p/k", nil), "", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, e := newSync(t)
			if err := s.Handle(t.Context(), c.e); err != nil {
				t.Fatal(err)
			}
			if c.want == nil {
				if len(e.keys) != 0 {
					t.Errorf("reconciled %q", e.keys)
				}
				return
			}
			if !slices.Equal(e.keys, []string{c.key}) {
				t.Fatalf("reconciled %q, want %q", e.keys, c.key)
			}
			if got := *e.hints[0]; got != *c.want {
				t.Errorf("hint %+v, want %+v", got, *c.want)
			}
		})
	}
}

func TestRenameIsAboutBothKeys(t *testing.T) {
	s, e := newSync(t)
	err := s.Handle(t.Context(), object(t, event.ObjectRenamed, "p/new", func(_ *event.Meta, o *event.Object) {
		o.Rename = &event.Rename{From: "p/old", To: "p/new"}
	}))
	if err != nil || !slices.Equal(e.keys, []string{"old", "new"}) {
		t.Errorf("%q, %v", e.keys, err)
	}
}

func TestChangedDirectoriesAreLookedThrough(t *testing.T) {
	s, _ := newSync(t)
	var below []string
	s.Below = func(_ context.Context, replica, prefix string) error {
		below = append(below, replica+":"+prefix)
		return nil
	}
	for _, e := range []cloudevents.Event{
		object(t, event.PrefixChanged, "p/dir/", nil),
		object(t, event.PrefixChanged, "elsewhere/", nil),
		object(t, event.PrefixChanged, "p/new/", func(_ *event.Meta, o *event.Object) { o.Rename = &event.Rename{From: "p/old/", To: "p/new/"} }),
		object(t, event.PrefixChanged, "", nil), // which one it was could not be told
	} {
		if err := s.Handle(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	if want := []string{"us:dir/", "us:old/", "us:new/", "us:"}; !slices.Equal(below, want) {
		t.Errorf("looked below %q, want %q", below, want)
	}
}

func TestResolvedConflictIsReconciledWithoutHint(t *testing.T) {
	s, e := newSync(t)
	for _, group := range []string{"media", "other"} {
		ev, err := event.NewConflict(event.ConflictResolved, "", event.Conflict{Group: group, Key: "k", ID: "c"}, now)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Handle(t.Context(), ev); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Equal(e.keys, []string{"k"}) || e.hints[0] != nil {
		t.Errorf("reconciled %q with %v", e.keys, e.hints)
	}
}

// A key that a replica can't hold becomes a dead letter with the reason; replayed after the mend it is done. A replica that may
// not be written at all is no property of its keys: they wait, and fill no store of dead letters.
func TestKeyThatCantBeHeldBecomesADeadLetter(t *testing.T) {
	for name, c := range map[string]struct {
		group, kind string
		refused     map[string]string
		dead, tried bool
	}{
		"refused":           {"media", "invalid", map[string]string{"eu": "the name ends with a dot"}, true, true},
		"can't be kept":     {"media", "unsupported", map[string]string{"eu": "no tags here"}, true, true},
		"mended":            {"media", "invalid", map[string]string{}, false, true},
		"refused elsewhere": {"media", "invalid", map[string]string{"us": "other trouble"}, false, true},
		"no permission":     {"media", "permission denied", map[string]string{"eu": "403"}, false, false},
		"another group":     {"other", "invalid", map[string]string{"eu": "the name ends with a dot"}, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			s, e := newSync(t)
			e.refused = c.refused
			ev, err := event.NewSync(event.SyncFailed, "", event.Sync{Group: c.group, Key: "k.", Kind: "put", Origin: "us", Replicas: []string{"eu"}, Error: c.kind})
			if err != nil {
				t.Fatal(err)
			}
			err = s.Handle(t.Context(), ev)
			if c.dead != errkind.Is(err, errkind.Invalid) || !c.dead && err != nil {
				t.Errorf("answered %v", err)
			}
			if c.dead && (!strings.Contains(err.Error(), `"k."`) || !strings.Contains(err.Error(), c.refused["eu"])) {
				t.Errorf("the reason does not say what and why: %v", err)
			}
			if c.tried != (len(e.keys) == 1) {
				t.Errorf("tried %q", e.keys)
			}
		})
	}
}

func TestKindOfErrorIsKept(t *testing.T) {
	s, e := newSync(t)
	fresh := object(t, event.ObjectWritten, "p/k", nil)
	for _, kind := range []errkind.Kind{errkind.Unavailable, errkind.Conflict, errkind.Invalid} {
		e.err = errkind.After(time.Second, errkind.New(kind, "it failed"))
		err := s.Handle(t.Context(), fresh)
		if errkind.Of(err) != kind || errkind.Delay(err) != time.Second {
			t.Errorf("%v became %v (%v)", kind, err, errkind.Of(err))
		}
	}
	if len(e.deferred) != 0 {
		t.Errorf("deferred %q", e.deferred)
	}
}

// An event that comes back for too long because its key is busy is handed to the dirty set, before its trigger gives up.
func TestBusyKeyGoesToTheDirtySet(t *testing.T) {
	s, e := newSync(t)
	e.err = errkind.New(errkind.Conflict, "busy")
	old := object(t, event.ObjectWritten, "p/k", func(m *event.Meta, _ *event.Object) { m.Recorded = now.Add(-2 * time.Minute) })
	if err := s.Handle(t.Context(), old); err != nil || !slices.Equal(e.deferred, []string{"k"}) || e.hints[len(e.hints)-1].VersionID != "v1" {
		t.Errorf("%q, %v", e.deferred, err)
	}
}

func TestScanRequests(t *testing.T) {
	s, _ := newSync(t)
	var asked []event.Scan
	s.Scan = func(_ context.Context, r event.Scan) error {
		asked = append(asked, r)
		return errkind.New(errkind.Unavailable, "more to do")
	}
	for _, group := range []string{"media", "other"} {
		ev, err := event.NewScan("", event.Scan{Group: group, What: "backfill"}, now)
		if err != nil {
			t.Fatal(err)
		}
		err = s.Handle(t.Context(), ev)
		if want := group == "media"; errkind.Is(err, errkind.Unavailable) != want {
			t.Errorf("group %s: %v", group, err)
		}
	}
	if len(asked) != 1 || asked[0].What != "backfill" {
		t.Errorf("asked for %v", asked)
	}
}

// A Knative PingSource can neither choose the type of its events nor know the group.
func TestTimersAskForScans(t *testing.T) {
	s, _ := newSync(t)
	var asked []event.Scan
	s.Scan = func(_ context.Context, r event.Scan) error {
		asked = append(asked, r)
		return nil
	}
	for data, ok := range map[string]bool{
		`{"what": "due"}`: true, `{"group": "media", "what": "backfill"}`: true,
		`{"group": "other", "what": "due"}`: true, // somebody else's
		`{"what": "everything"}`:            false, `{}`: false, `"due"`: false,
	} {
		ev := cloudevents.New()
		ev.SetID("1")
		ev.SetType("dev.knative.sources.ping")
		ev.SetSource("/apis/v1/namespaces/bucketmesh/pingsources/due")
		if err := ev.SetData(cloudevents.ApplicationJSON, []byte(data)); err != nil {
			t.Fatal(err)
		}
		if err := s.Handle(t.Context(), ev); ok != (err == nil) || !ok && !errkind.Is(err, errkind.Invalid) {
			t.Errorf("%s: %v", data, err)
		}
	}
	slices.SortFunc(asked, func(a, b event.Scan) int { return strings.Compare(a.What, b.What) })
	if want := []event.Scan{{Group: "media", What: "backfill"}, {Group: "media", What: "due"}}; !slices.Equal(asked, want) {
		t.Errorf("asked for %v, want %v", asked, want)
	}
}

func TestResolverKinds(t *testing.T) {
	e := &engine{}
	r := &subscriber.Resolver{Group: "media", Engine: e, Logger: slog.New(slog.DiscardHandler)}
	conflict := func(typ, group string) cloudevents.Event {
		ev, err := event.NewConflict(typ, "", event.Conflict{Group: group, Key: "k", ID: "c"}, now)
		if err != nil {
			t.Fatal(err)
		}
		return ev
	}
	for got, want := range map[errkind.Kind]errkind.Kind{
		errkind.Invalid: errkind.Invalid, errkind.PermissionDenied: errkind.Unavailable, errkind.Conflict: errkind.Conflict,
		errkind.Unavailable: errkind.Unavailable,
	} {
		e.err = errkind.New(got, "it failed")
		if err := r.Handle(t.Context(), conflict(event.ConflictDetected, "media")); errkind.Of(err) != want {
			t.Errorf("%v became %v, want %v", got, errkind.Of(err), want)
		}
	}
	e.keys, e.err = nil, nil
	for _, ev := range []cloudevents.Event{conflict(event.ConflictDetected, "other"), conflict(event.ConflictPending, "media"), conflict(event.ConflictDetected, "media")} {
		if err := r.Handle(t.Context(), ev); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Equal(e.keys, []string{"k"}) {
		t.Errorf("resolved %q", e.keys)
	}
}

func TestEventsThatAreNoneOfOursAreAcknowledged(t *testing.T) {
	s, e := newSync(t)
	ev := cloudevents.New()
	ev.SetID("1")
	ev.SetType("com.example.other")
	ev.SetSource("https://example.com")
	if err := s.Handle(t.Context(), ev); err != nil || len(e.keys) != 0 {
		t.Errorf("%v %q", err, e.keys)
	}
	broken := object(t, event.ObjectWritten, "p/k", nil)
	broken.DataEncoded = []byte("{")
	if err := s.Handle(t.Context(), broken); err == nil || errkind.Of(err).Retryable() {
		t.Errorf("an event that can't be read: %v", err)
	}
}

// The triggers outlast a lease of a minute and a minute's outage before anything becomes a dead letter.
func TestTriggersArePatient(t *testing.T) {
	triggers, err := broker.ParseTriggers(strings.NewReader(subscriber.Triggers()))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, tr := range triggers {
		names = append(names, tr.Name)
		if tr.Name != tr.Subscriber {
			t.Errorf("trigger %s is for %s", tr.Name, tr.Subscriber)
		}
		var total, longest time.Duration
		for n := range tr.Retry {
			wait := tr.Backoff(n + 1)
			total, longest = total+wait, max(longest, wait)
		}
		if total < 9*time.Minute || total > 11*time.Minute || longest > 20*time.Second {
			t.Errorf("trigger %s tries for %v, pauses up to %v", tr.Name, total, longest)
		}
	}
	if !slices.Equal(names, []string{subscriber.NameSync, subscriber.NameResolver, subscriber.NameAudit, subscriber.NameDeadLetters}) {
		t.Errorf("triggers %q", names)
	}
}
