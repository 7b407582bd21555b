package subscriber_test

import (
	"context"
	"testing"
	"time"

	cloudevents "github.com/cloudevents/sdk-go/v2/event"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/event"
	"github.com/bucketmesh/bucketmesh/pkg/ledger"
	"github.com/bucketmesh/bucketmesh/pkg/reconcile"
	"github.com/bucketmesh/bucketmesh/pkg/state/mem"
	"github.com/bucketmesh/bucketmesh/pkg/subscriber/record"
)

// notes remembers what it was told.
type notes struct {
	all []ledger.Note
	err error
}

func (n *notes) Note(_ context.Context, one ledger.Note) error {
	n.all = append(n.all, one)
	return n.err
}

// outcomes is an engine whose calls end as they are listed, one after the other.
type outcomes struct {
	engine
	ends []any
}

func (o *outcomes) Reconcile(ctx context.Context, key string, h *reconcile.Hint, n int) (reconcile.Outcome, error) {
	_, _ = o.engine.Reconcile(ctx, key, h, n)
	end := o.ends[0]
	o.ends = o.ends[1:]
	if err, ok := end.(error); ok {
		return reconcile.Pending, err
	}
	out, _ := end.(reconcile.Outcome)
	return out, nil
}

func rename(_ *event.Meta, o *event.Object) {
	o.Rename = &event.Rename{From: "p/old", To: "p/new"}
}

func TestOutcomesAreNoted(t *testing.T) {
	busy, broken := errkind.New(errkind.Conflict, "busy"), errkind.New(errkind.Invalid, "broken")
	late := func(m *event.Meta, _ *event.Object) { m.Recorded = now.Add(-time.Hour) }
	written := object(t, event.ObjectWritten, "p/k", nil)
	garbled := object(t, event.ObjectWritten, "p/k", nil)
	garbled.DataEncoded = []byte(`"?"`)
	for name, c := range map[string]struct {
		e    cloudevents.Event
		ends []any
		want ledger.Note // without the event's name; no outcome: nothing is noted
		kind errkind.Kind
	}{
		"applied":                        {e: written, ends: []any{reconcile.Settled}, want: ledger.Note{Outcome: ledger.Applied}},
		"echo":                           {e: written, ends: []any{reconcile.Echo}, want: ledger.Note{Outcome: ledger.Superseded}},
		"known":                          {e: written, ends: []any{reconcile.Known}, want: ledger.Note{Outcome: ledger.Superseded}},
		"pending":                        {e: written, ends: []any{reconcile.Pending}, want: ledger.Note{Outcome: ledger.Parked, Key: "k"}},
		"in conflict":                    {e: written, ends: []any{reconcile.Conflicted}, want: ledger.Note{Outcome: ledger.Parked, Key: "k"}},
		"busy for too long":              {e: object(t, event.ObjectWritten, "p/k", late), ends: []any{busy}, want: ledger.Note{Outcome: ledger.Parked, Key: "k"}},
		"busy":                           {e: written, ends: []any{busy}, kind: errkind.Conflict},
		"dead":                           {e: written, ends: []any{broken}, want: ledger.Note{Outcome: ledger.Dead}, kind: errkind.Invalid},
		"no object":                      {e: garbled, want: ledger.Note{Outcome: ledger.Dead}, kind: errkind.Invalid},
		"excluded":                       {e: object(t, event.ObjectWritten, "p/tmp/k", nil), want: ledger.Note{Outcome: ledger.Filtered}},
		"elsewhere":                      {e: object(t, event.ObjectWritten, "k", nil), want: ledger.Note{Outcome: ledger.Filtered}},
		"superseded":                     {e: object(t, event.ObjectSuperseded, "p/k", nil), want: ledger.Note{Outcome: ledger.Superseded}},
		"superseded, elsewhere":          {e: object(t, event.ObjectSuperseded, "k", nil), want: ledger.Note{Outcome: ledger.Filtered}},
		"renamed":                        {e: object(t, event.ObjectRenamed, "p/new", rename), ends: []any{reconcile.Echo, reconcile.Settled}, want: ledger.Note{Outcome: ledger.Applied}},
		"renamed, one parked":            {e: object(t, event.ObjectRenamed, "p/new", rename), ends: []any{reconcile.Pending, reconcile.Settled}, want: ledger.Note{Outcome: ledger.Parked, Key: "old"}},
		"renamed, the other parked":      {e: object(t, event.ObjectRenamed, "p/new", rename), ends: []any{reconcile.Settled, reconcile.Pending}, want: ledger.Note{Outcome: ledger.Parked, Key: "new"}},
		"renamed, the other has to wait": {e: object(t, event.ObjectRenamed, "p/new", rename), ends: []any{reconcile.Settled, busy}, kind: errkind.Conflict},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := newSync(t)
			n := &notes{}
			s.Engine, s.Ledger = &outcomes{ends: c.ends}, n
			err := s.Handle(t.Context(), c.e)
			if (err == nil) != (c.kind == 0) || err != nil && errkind.Of(err) != c.kind {
				t.Errorf("error %v, want %v", err, c.kind)
			}
			if c.want.Outcome == "" {
				if len(n.all) != 0 {
					t.Errorf("noted %+v, but it comes again", n.all)
				}
				return
			}
			c.want.Source, c.want.ID = c.e.Source(), c.e.ID()
			if len(n.all) != 1 || n.all[0] != c.want {
				t.Errorf("noted %+v, want %+v", n.all, c.want)
			}
		})
	}
}

// An event whose outcome is not kept is not acknowledged.
func TestEventComesAgainUntilItsOutcomeIsKept(t *testing.T) {
	s, _ := newSync(t)
	s.Ledger = &notes{err: errkind.New(errkind.Unavailable, "the disk is full")}
	if err := s.Handle(t.Context(), object(t, event.ObjectWritten, "p/k", nil)); !errkind.Is(err, errkind.Unavailable) {
		t.Errorf("%v", err)
	}
}

// An event that fails first and succeeds then counts once, and so does one that is delivered twice.
func TestDeliveriesOfOneEventCountOnce(t *testing.T) {
	s, _ := newSync(t)
	store := mem.New(func() time.Time { return now })
	k := ledger.New(store.Ledger(), "media", func(context.Context) (time.Time, error) { return now.Add(time.Hour), nil })
	if err := k.Begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.Engine, s.Ledger = &outcomes{ends: []any{errkind.New(errkind.Unavailable, "down"), reconcile.Settled, reconcile.Echo, reconcile.Echo}}, k
	recorder := &record.Handler{Log: store.Audit()}
	e := object(t, event.ObjectWritten, "p/k", nil)
	for i := range 4 {
		if err := s.Handle(t.Context(), e); (err != nil) != (i == 0) {
			t.Fatal(err)
		}
		if err := recorder.Handle(t.Context(), e); err != nil {
			t.Fatal(err)
		}
		got, err := k.Balance(t.Context())
		if want := (ledger.Balance{In: 1, Applied: 1}); err != nil || i > 0 && (got.In != want.In || got.Applied != want.Applied || !got.Holds) {
			t.Errorf("after %d deliveries: %+v, %v", i+1, got, err)
		}
		if i == 2 {
			if err := k.Fold(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
}
