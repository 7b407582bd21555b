package control_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"github.com/bucketmesh/bucketmesh/pkg/control"
	"github.com/bucketmesh/bucketmesh/pkg/deadletter"
	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/pipeline"
	"github.com/bucketmesh/bucketmesh/pkg/reconcile"
	"github.com/bucketmesh/bucketmesh/pkg/scan"
	"github.com/bucketmesh/bucketmesh/pkg/state"
	"github.com/bucketmesh/bucketmesh/pkg/version"
	"github.com/bucketmesh/bucketmesh/pkg/worker"
)

// api answers with what a test wants.
type api struct {
	status   pipeline.Status
	letters  []deadletter.Letter
	limit    int
	replayed []string
	steps    []scan.Progress
	block    chan struct{} // if set, a backfill waits until its caller is gone, and closes it
	err      error
	asked    []string // about conflicts
}

func (a *api) Status(context.Context) (pipeline.Status, error) { return a.status, a.err }

func (a *api) DeadLetters(_ context.Context, limit int) ([]deadletter.Letter, error) {
	a.limit = limit
	return a.letters, a.err
}

func (a *api) Replay(_ context.Context, ids ...string) (int, error) {
	a.replayed = ids
	return len(ids), a.err
}

func (a *api) DeadLetter(_ context.Context, id string) (deadletter.Letter, error) {
	return deadletter.Letter{ID: id}, a.err
}

func (a *api) Drop(_ context.Context, ids ...string) (int, error) { return len(ids), a.err }

func (a *api) Brake(_ context.Context, r pipeline.BrakeRequest, progress func(worker.Done)) (pipeline.Brake, error) {
	progress(worker.Done{Keys: 1})
	return pipeline.Brake{Group: "g", State: r.Do, Further: r.Further}, a.err
}

func (a *api) Undelete(_ context.Context, s worker.Select, progress func(worker.Done)) (pipeline.UndeleteResult, error) {
	progress(worker.Done{Keys: 1})
	return pipeline.UndeleteResult{Objects: []reconcile.Undeleted{{Key: s.Key}}}, a.err
}

func (a *api) Backfill(ctx context.Context, progress func(scan.Progress)) (p scan.Progress, err error) {
	for _, p = range a.steps {
		progress(p)
	}
	if a.block != nil {
		<-ctx.Done()
		close(a.block)
	}
	return p, a.err
}

func (a *api) Choose(_ context.Context, id string, c reconcile.Choice) (state.Conflict, error) {
	a.asked = append(a.asked, id, string(c.Winner), string(c.Merged), c.By)
	return state.Conflict{ID: id, State: state.ConflictResolved}, a.err
}

func (a *api) Restore(_ context.Context, id string, lost version.ID) (reconcile.Restored, error) {
	a.asked = append(a.asked, id, string(lost))
	return reconcile.Restored{Key: "k", Replica: "a"}, a.err
}

func (a *api) Sides(_ context.Context, id string, limit int64) (reconcile.Sides, error) {
	a.asked = append(a.asked, id, fmt.Sprint(limit))
	return reconcile.Sides{Key: "k", Sides: []reconcile.Side{{Content: []byte("\xff\x00")}}}, a.err
}

func (a *api) Try(_ context.Context, key string) (reconcile.Proposal, error) {
	a.asked = append(a.asked, key)
	return reconcile.Proposal{Key: "k", Winner: "a.1", Keep: []version.ID{"b.1"}}, a.err
}

func serve(t *testing.T, a *api) (*control.Client, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	s, err := control.Serve(t.Context(), path, a)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	c, err := control.Dial(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	return c, path
}

func TestRoundTrip(t *testing.T) {
	a := &api{
		status:  pipeline.Status{Group: "g", Running: true, Stats: state.Stats{Keys: 3}, DirtyKeys: []state.Dirty{{Key: "é k", Reason: "why"}}},
		letters: []deadletter.Letter{{ID: "1", Reason: "why", Raw: []byte{0xff}}},
		steps:   []scan.Progress{{Keys: 1}, {Keys: 2, Done: true, Skipped: map[string]string{"a": "down"}}},
	}
	c, path := serve(t, a)
	status, err := c.Status(t.Context())
	if err != nil || !reflect.DeepEqual(status, a.status) {
		t.Errorf("status %+v, %v", status, err)
	}
	letters, err := c.DeadLetters(t.Context(), 7)
	if err != nil || len(letters) != 1 || letters[0].ID != "1" || string(letters[0].Raw) != "\xff" || a.limit != 7 {
		t.Errorf("letters %+v, limit %d, %v", letters, a.limit, err)
	}
	if l, err := c.DeadLetter(t.Context(), "a b&c"); err != nil || l.ID != "a b&c" {
		t.Errorf("%+v, %v", l, err)
	}
	if n, err := c.Drop(t.Context(), "1", "2", "3"); err != nil || n != 3 {
		t.Errorf("dropped %d: %v", n, err)
	}
	if n, err := c.Replay(t.Context(), "1", "2"); err != nil || n != 2 || len(a.replayed) != 2 {
		t.Errorf("replayed %d of %v, %v", n, a.replayed, err)
	}
	if rec, err := c.Choose(t.Context(), "c", reconcile.Choice{Winner: "a.1", Merged: []byte("\xfe"), By: "ann"}); err != nil || rec.ID != "c" || rec.State != state.ConflictResolved {
		t.Errorf("chose %+v, %v", rec, err)
	}
	if r, err := c.Restore(t.Context(), "c", "b.1"); err != nil || r.Replica != "a" {
		t.Errorf("restored %+v, %v", r, err)
	}
	if s, err := c.Sides(t.Context(), "c", 5); err != nil || len(s.Sides) != 1 || string(s.Sides[0].Content) != "\xff\x00" {
		t.Errorf("sides %+v, %v", s, err)
	}
	if p, err := c.Try(t.Context(), "\xff/k"); err != nil || p.Winner != "a.1" || len(p.Keep) != 1 {
		t.Errorf("proposal %+v, %v", p, err)
	}
	if want := []string{"c", "a.1", "\xfe", "ann", "c", "b.1", "c", "5", "\xff/k"}; !slices.Equal(a.asked, want) {
		t.Errorf("asked %q, want %q", a.asked, want)
	}
	var steps int
	p, err := c.Backfill(t.Context(), func(scan.Progress) { steps++ })
	if err != nil || !p.Done || p.Keys != 2 || p.Skipped["a"] != "down" || steps == 0 {
		t.Errorf("backfill %+v after %d steps, %v", p, steps, err)
	}
	steps = 0
	b, err := c.Brake(t.Context(), pipeline.BrakeRequest{Do: "approve", Further: 7}, func(d worker.Done) { steps += int(d.Keys) })
	if err != nil || b.State != "approve" || b.Further != 7 || steps != 1 {
		t.Errorf("brake %+v after %d steps, %v", b, steps, err)
	}
	u, err := c.Undelete(t.Context(), worker.Select{Key: "k"}, func(d worker.Done) { steps += int(d.Keys) })
	if err != nil || len(u.Objects) != 1 || u.Objects[0].Key != "k" || steps != 2 {
		t.Errorf("undelete %+v after %d steps, %v", u, steps, err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket is open to others: %v, %v", info.Mode(), err)
	}
}

func TestErrorsKeepKindAndText(t *testing.T) {
	for _, kind := range []errkind.Kind{errkind.Conflict, errkind.NotFound, errkind.Unavailable, errkind.Invalid, errkind.Throttled} {
		a := &api{err: errkind.New(kind, "it is so")}
		c, _ := serve(t, a)
		_, status := c.Status(t.Context())
		_, letters := c.DeadLetters(t.Context(), 0)
		_, replay := c.Replay(t.Context())
		_, backfill := c.Backfill(t.Context(), nil)
		_, brake := c.Brake(t.Context(), pipeline.BrakeRequest{}, nil)
		_, undelete := c.Undelete(t.Context(), worker.Select{}, nil)
		for name, err := range map[string]error{
			"status": status, "letters": letters, "replay": replay, "backfill": backfill, "brake": brake, "undelete": undelete,
		} {
			if err == nil || errkind.Of(err) != kind || err.Error() != "it is so" {
				t.Errorf("%s: %v (%v), want %v", name, err, errkind.Of(err), kind)
			}
		}
	}
}

func TestNobody(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	if _, err := control.Dial(t.Context(), path); !errors.Is(err, control.ErrNobody) {
		t.Errorf("no socket: %v", err)
	}
	// What a process leaves behind that was killed: a socket that nobody listens on.
	a := &api{}
	s, err := control.Serve(t.Context(), path, a)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path, path+".kept"); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := control.Dial(t.Context(), path+".kept"); !errors.Is(err, control.ErrNobody) {
		t.Errorf("a socket that was left behind: %v", err)
	}
	if s, err = control.Serve(t.Context(), path+".kept", a); err != nil {
		t.Fatalf("serve where a socket was left behind: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// Whoever hangs up ends the backfill that it asked for.
func TestBackfillEndsWithItsCaller(t *testing.T) {
	a := &api{steps: []scan.Progress{{Keys: 1}}, block: make(chan struct{})}
	c, _ := serve(t, a)
	ctx, cancel := context.WithCancel(t.Context())
	_, err := c.Backfill(ctx, func(scan.Progress) { cancel() })
	if !errkind.Is(err, errkind.Canceled) {
		t.Errorf("%v", err)
	}
	select {
	case <-a.block:
	case <-t.Context().Done():
		t.Error("the backfill goes on")
	}
}
