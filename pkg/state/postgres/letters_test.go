package postgres_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/jackc/pgx/v5"

	"github.com/bucketmesh/bucketmesh/pkg/audit"
	"github.com/bucketmesh/bucketmesh/pkg/deadletter"
	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/ledger"
	"github.com/bucketmesh/bucketmesh/pkg/state/postgres"
	"github.com/bucketmesh/bucketmesh/pkg/state/postgres/pgtest"
)

const mail = "media" // the group

// post is a store of letters, its clock, and the ledger beside it.
type post struct {
	*postgres.Letters

	t     *testing.T
	now   time.Time
	store *postgres.Store
}

func newPost(t *testing.T) *post {
	t.Helper()
	return newPostAt(t, pgtest.Schema(t))
}

func newPostAt(t *testing.T, dsn string) *post {
	t.Helper()
	p := &post{t: t, now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	s, err := postgres.Open(t.Context(), dsn, postgres.Options{Now: func() time.Time { return p.now }})
	p.must(err)
	t.Cleanup(func() { p.must(s.Close()) })
	p.store, p.Letters = s, s.Letters()
	p.must(s.Ledger().Begin(t.Context(), mail))
	return p
}

func (p *post) must(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

// letter is one about an event that audit recorded.
func (p *post) letter(trigger, id string) deadletter.Letter {
	p.t.Helper()
	e := event.New()
	e.SetID(id)
	e.SetSource("https://s3.example/media")
	e.SetType(ledger.Types + "written.v1")
	e.SetExtension("partitionkey", "k")
	p.must(e.SetData("application/json", []byte(`{"a": 1.0}`)))
	p.must(p.store.Audit().Append(p.t.Context(), audit.Event{Source: e.Source(), ID: e.ID(), Type: e.Type(), JSON: []byte("{}")}))
	return deadletter.Letter{Time: p.now, Trigger: trigger, Reason: "why " + id, Kind: "invalid", Code: 400, Event: &e}
}

func (p *post) put(l deadletter.Letter) { p.t.Helper(); p.must(p.Put(p.t.Context(), mail, l)) }

func (p *post) list(q deadletter.Query) []deadletter.Letter {
	p.t.Helper()
	ls, err := p.List(p.t.Context(), mail, q)
	p.must(err)
	return ls
}

// balance is what the ledger counts as dead-lettered, as under way and as lost, when nothing is under way any more.
func (p *post) balance() (dead, flight, lost int64) {
	p.t.Helper()
	b, err := p.store.Ledger().Balance(p.t.Context(), mail, p.now.Add(-time.Hour))
	p.must(err)
	return b.DeadLetters, b.InFlight, b.Unaccounted
}

func reasons(ls []deadletter.Letter) []string {
	var out []string
	for _, l := range ls {
		out = append(out, l.Reason)
	}
	return out
}

func TestLettersComeBackAsTheyWere(t *testing.T) {
	p := newPost(t)
	want := p.letter("sync", "1")
	p.put(want)
	raw := deadletter.Letter{Time: p.now, Reason: "no JSON", Raw: []byte("\x00\xff{"), ContentType: "text/plain", CutFrom: 7}
	p.put(raw)
	got := p.list(deadletter.Query{})
	if len(got) != 2 {
		t.Fatalf("%d letters", len(got))
	}
	if g := got[0]; g.Trigger != "sync" || g.Reason != "why 1" || g.Kind != "invalid" || g.Code != 400 || g.Arrivals != 1 || !g.Time.Equal(p.now) ||
		g.Event.String() != want.Event.String() || !g.Replayed.IsZero() {
		t.Errorf("%+v", g)
	}
	if g := got[1]; g.Event != nil || string(g.Raw) != string(raw.Raw) || g.ContentType != "text/plain" || g.CutFrom != 7 {
		t.Errorf("%+v", g)
	}
	one, err := p.Get(t.Context(), mail, got[1].ID)
	if err != nil || one.Reason != "no JSON" {
		t.Errorf("%+v, %v", one, err)
	}
	for _, group := range []string{mail, "other"} {
		if _, err := p.Get(t.Context(), group, "999999"); !errkind.Is(err, errkind.NotFound) {
			t.Errorf("a letter that is not there: %v", err)
		}
	}
	if _, err := p.Get(t.Context(), "other", one.ID); !errkind.Is(err, errkind.NotFound) {
		t.Errorf("another group's letter: %v", err)
	}
	if _, err := p.Get(t.Context(), mail, "x"); !errkind.Is(err, errkind.Invalid) {
		t.Errorf("no number: %v", err)
	}
}

func TestALetterThatComesTwiceIsOne(t *testing.T) {
	p := newPost(t)
	l := p.letter("sync", "1")
	p.put(l)
	l.Reason = "another reason"
	p.now = p.now.Add(time.Minute)
	p.put(l)
	p.put(p.letter("audit", "1")) // another trigger's
	p.put(p.letter("sync", "2"))
	got := p.list(deadletter.Query{})
	if want := []string{"another reason", "why 1", "why 2"}; !slices.Equal(reasons(got), want) || got[0].Arrivals != 2 {
		t.Errorf("%q, %+v", reasons(got), got[0])
	}
	var paged []string
	q := deadletter.Query{Limit: 1}
	for ls := p.list(q); len(ls) > 0; ls = p.list(q) {
		paged = append(paged, ls[0].Reason)
		q.After = ls[0].ID
	}
	if !slices.Equal(paged, reasons(got)) {
		t.Errorf("page by page: %q", paged)
	}
}

// The ledger counts what is in the store as dead-lettered, and what was replayed as under way until sync says more.
func TestTheLedgerFollowsTheLetters(t *testing.T) {
	p := newPost(t)
	p.put(p.letter("sync", "1"))
	p.put(p.letter("audit", "2"))
	p.now = p.now.Add(2 * time.Hour)
	if dead, _, lost := p.balance(); dead != 1 || lost != 1 { // what became of event 2 is up to sync, and sync said nothing
		t.Errorf("dead %d, lost %d", dead, lost)
	}
	p.must(p.store.Ledger().Note(t.Context(), mail, ledger.Note{Source: "https://s3.example/media", ID: "2", Outcome: ledger.Applied}))
	read := p.list(deadletter.Query{})[0]
	p.must(p.Replayed(t.Context(), mail, read))
	if dead, flight, lost := p.balance(); dead != 0 || flight != 1 || lost != 0 {
		t.Errorf("after the replay: dead %d, under way %d, lost %d", dead, flight, lost)
	}
	if ls := p.list(deadletter.Query{}); len(ls) != 1 {
		t.Errorf("open: %q", reasons(ls))
	}
	if ls := p.list(deadletter.Query{Replayed: true}); len(ls) != 2 || !ls[0].Replayed.Equal(p.now) {
		t.Errorf("all: %+v", ls)
	}
	p.put(p.letter("sync", "1")) // it failed again
	if dead, _, _ := p.balance(); dead != 1 {
		t.Errorf("after it came back: dead %d", dead)
	}
	if ls := p.list(deadletter.Query{}); len(ls) != 2 || ls[0].ID != read.ID || ls[0].Arrivals != 2 {
		t.Errorf("after it came back: %+v", ls)
	}
	p.must(p.Drop(t.Context(), mail, read.ID))
	p.must(p.Drop(t.Context(), mail, read.ID)) // gone already
	if dead, _, lost := p.balance(); dead != 1 || lost != 0 {
		t.Errorf("after it was dropped: dead %d, lost %d", dead, lost)
	}
}

// A letter that comes back while it is replayed must not be taken for replayed: nobody would see it again.
func TestALetterThatComesBackStays(t *testing.T) {
	p := newPost(t)
	p.put(p.letter("sync", "1"))
	read := p.list(deadletter.Query{})[0]
	p.put(p.letter("sync", "1"))
	p.must(p.Replayed(t.Context(), mail, read))
	if ls := p.list(deadletter.Query{}); len(ls) != 1 {
		t.Errorf("%d letters", len(ls))
	}
	if dead, _, _ := p.balance(); dead != 1 {
		t.Errorf("dead %d", dead)
	}
}

func TestReplayedLettersAreForgotten(t *testing.T) {
	p := newPost(t)
	p.put(p.letter("sync", "1"))
	p.put(p.letter("sync", "2"))
	p.must(p.Replayed(t.Context(), mail, p.list(deadletter.Query{})[0]))
	p.now = p.now.Add(deadletter.KeepReplayed + time.Second)
	p.put(p.letter("sync", "3"))
	if got := reasons(p.list(deadletter.Query{Replayed: true})); !slices.Equal(got, []string{"why 2", "why 3"}) {
		t.Errorf("%q", got)
	}
}

// sink is a broker that may be down.
var errRefused = errors.New("the broker refuses it")

type sink struct {
	down   bool
	refuse string // id of an event that is refused for good
	got    []string
	took   func()
}

func (s *sink) Publish(_ context.Context, events ...event.Event) error {
	if s.down {
		return errkind.New(errkind.Unavailable, "the broker is down")
	}
	for _, e := range events {
		if e.ID() == s.refuse {
			return errRefused
		}
		s.got = append(s.got, e.ID())
	}
	if s.took != nil {
		s.took()
	}
	return nil
}

// One letter that the broker refuses for good does not keep the others from being replayed.
func TestReplayOfAllGoesOnAfterARefusal(t *testing.T) {
	p := newPost(t)
	for i := range 3 {
		p.put(p.letter("sync", fmt.Sprint(i)))
	}
	s := &sink{refuse: "1"}
	r := &deadletter.Replayer{Store: p.Letters, Group: mail, Sink: s, Refused: func(err error) bool { return errors.Is(err, errRefused) }}
	if n, err := r.All(t.Context()); n != 2 || !errors.Is(err, errRefused) || !slices.Equal(s.got, []string{"0", "2"}) {
		t.Errorf("%d, %v, sent %q", n, err, s.got)
	}
	if left := reasons(p.list(deadletter.Query{})); !slices.Equal(left, []string{"why 1"}) {
		t.Errorf("left: %q", left)
	}
	if n, err := p.Count(t.Context(), mail); n != 1 || err != nil {
		t.Errorf("counted: %d, %v", n, err)
	}
}

func TestReplay(t *testing.T) {
	p := newPost(t)
	for i := range 3 {
		p.put(p.letter("sync", fmt.Sprint(i)))
	}
	p.put(deadletter.Letter{Time: p.now, Reason: "raw", Raw: []byte("x")})
	s := &sink{down: true}
	r := &deadletter.Replayer{Store: p.Letters, Group: mail, Sink: s}
	if n, err := r.All(t.Context()); n != 0 || !errkind.Is(err, errkind.Unavailable) {
		t.Errorf("while the broker is down: %d, %v", n, err)
	}
	all := p.list(deadletter.Query{})
	if len(all) != 4 {
		t.Fatalf("%d letters", len(all))
	}
	s.down = false
	n, err := r.Replay(t.Context(), all[3].ID, all[1].ID, "12345")
	if n != 1 || !errkind.Is(err, errkind.Unsupported) || !slices.Equal(s.got, []string{"1"}) {
		t.Errorf("%d, %v, sent %q", n, err, s.got)
	}
	s.took = func() { p.put(p.letter("sync", "0")); s.took = nil } // fails again at once
	if n, err := r.All(t.Context()); n != 2 || err != nil || !slices.Equal(s.got, []string{"1", "0", "2"}) {
		t.Errorf("%d, %v, sent %q", n, err, s.got)
	}
	left := p.list(deadletter.Query{})
	if want := []string{"why 0", "raw"}; !slices.Equal(reasons(left), want) {
		t.Errorf("left: %q, want %q", reasons(left), want)
	}
	if _, err := strconv.Atoi(left[0].ID); err != nil {
		t.Errorf("id %q", left[0].ID)
	}
}

// A letter that comes back after all must not be forgotten by another one's Put that found it old a moment before.
func TestALetterThatComesBackIsNotForgotten(t *testing.T) {
	dsn := pgtest.Schema(t)
	p := newPostAt(t, dsn)
	p.put(p.letter("sync", "1"))
	p.must(p.Replayed(t.Context(), mail, p.list(deadletter.Query{})[0]))
	p.now = p.now.Add(deadletter.KeepReplayed + time.Second)

	back, err := pgx.Connect(t.Context(), dsn)
	p.must(err)
	defer func() { p.must(back.Close(context.WithoutCancel(t.Context()))) }()
	tx, err := back.Begin(t.Context())
	p.must(err)
	_, err = tx.Exec(t.Context(), `UPDATE bm_letter SET arrivals = arrivals + 1, replayed = NULL`) // as Put does
	p.must(err)
	another, put := p.letter("sync", "2"), make(chan error, 1)
	go func() { put <- p.Put(t.Context(), mail, another) }()
	for waits := false; !waits; { // for the row of the first one
		p.must(back.QueryRow(t.Context(), `SELECT EXISTS (SELECT 1 FROM pg_locks l WHERE NOT granted AND pg_backend_pid() = ANY (pg_blocking_pids(l.pid)))`).Scan(&waits))
	}
	p.must(tx.Commit(t.Context()))
	p.must(<-put)
	if got := reasons(p.list(deadletter.Query{})); !slices.Equal(got, []string{"why 1", "why 2"}) {
		t.Errorf("left: %q", got)
	}
}

// A letter that can't be read, which another program's may be, must not hide the others.
func TestALetterThatCannotBeReadIsShown(t *testing.T) {
	p := newPost(t)
	odd := p.letter("sync", "1")
	odd.Event.SetTime(time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC))
	p.put(odd)
	p.put(p.letter("sync", "2"))
	ls := p.list(deadletter.Query{})
	if len(ls) != 2 || ls[0].Event != nil || len(ls[0].Raw) == 0 || ls[0].ID == "" || ls[1].Reason != "why 2" {
		t.Errorf("%+v", ls)
	}
	if n, err := (&deadletter.Replayer{Store: p.Letters, Group: mail, Sink: &sink{}}).All(t.Context()); n != 1 || err != nil {
		t.Errorf("%d replayed, %v", n, err)
	}
}

// Names that are too long for an index are of nobody's events but somebody's in the cluster; a letter has them all the same.
func TestALetterWithALongNameIsKept(t *testing.T) {
	p := newPost(t)
	l := p.letter("sync", "1")
	l.Reason = "why so long"
	var long strings.Builder
	for range 300 {
		long.WriteString(rand.Text()) // which no database can make shorter
	}
	l.Event.SetID(long.String())
	p.put(l)
	if got := reasons(p.list(deadletter.Query{})); !slices.Equal(got, []string{"why so long"}) {
		t.Errorf("%q", got)
	}
}
