package guard_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/guard"
	"github.com/bucketmesh/bucketmesh/pkg/state"
	"github.com/bucketmesh/bucketmesh/pkg/version"
)

// group is what a store keeps of the deletes of a group, and its keys.
type group struct {
	brake     state.Brake
	deletions map[string]state.Deletion
	rows      map[string]bool
	limits    guard.Limits
	now       time.Time
	tripped   int
}

func newGroup(keys int, l guard.Limits) *group {
	g := &group{deletions: map[string]state.Deletion{}, rows: map[string]bool{}, limits: l, now: time.Unix(1_800_000_000, 0)}
	for i := range keys {
		g.rows[name(i)] = true
	}
	return g
}

func name(i int) string { return fmt.Sprintf("k%d", i) }

// weigh asks about a delete; one that goes is carried out.
func (g *group) weigh(key, v string) guard.Verdict {
	w := g.weighing(key)
	got := guard.Weigh(&w, version.ID(v), g.limits, g.now)
	g.brake, g.deletions[key] = w.Brake, w.Deletion
	if got.Tripped {
		g.tripped++
	}
	if got.Go {
		delete(g.rows, key)
	}
	return got
}

func (g *group) weighing(key string) state.Weighing {
	return state.Weighing{Brake: g.brake, Deletion: g.deletions[key], Keys: int64(len(g.rows))}
}

// ask has every waiting delete asked about again.
func (g *group) ask() (gone int) {
	for key, d := range g.deletions {
		if d.Waiting && g.weigh(key, string(d.Version)).Go {
			gone++
		}
	}
	return gone
}

func standard() guard.Limits { return guard.Limits{Keys: 20, Percent: 25, Within: time.Hour} }

func TestShareOfTheKeysAsTheyWere(t *testing.T) {
	g := newGroup(200, standard())
	gone := 0
	for i := range 102 { // 51 %
		if g.weigh(name(i), "v").Go {
			gone++
		}
		g.now = g.now.Add(time.Second)
	}
	if gone != 50 || g.tripped != 1 || g.brake.Waiting != 52 {
		t.Errorf("%d went, tripped %d times, %d wait; want 50, a quarter of all, 1, 52", gone, g.tripped, g.brake.Waiting)
	}
	if why := guard.Why(g.brake); !strings.Contains(why, "51 deletes within 1h, more than 50 of 200 keys") {
		t.Error(why)
	}
	if g.now = g.now.Add(48 * time.Hour); g.ask() != 0 {
		t.Error("time alone let deletes go")
	}
}

// With a hold none goes, however long the deletes take, as long as ever more come up.
func TestHoldRecognisesAMassDeleteBeforeItsFirstDeleteGoes(t *testing.T) {
	for _, pause := range []time.Duration{0, 100 * time.Millisecond, 200 * time.Millisecond} { // slower than Keys per Hold some go
		l := standard()
		l.Hold = 5 * time.Second
		g := newGroup(200, l)
		gone := 0
		for i := range 102 {
			g.weigh(name(i), "v")
			g.now = g.now.Add(pause)
			gone += g.ask()
		}
		g.now = g.now.Add(time.Minute)
		gone += g.ask()
		if gone != 0 || g.tripped != 1 {
			t.Errorf("a delete each %s: %d went, tripped %d times", pause, gone, g.tripped)
		}
	}
}

func TestFewDeletesWaitForTheHoldAlone(t *testing.T) {
	l := standard()
	l.Hold = 5 * time.Second
	g := newGroup(200, l)
	v := g.weigh("k1", "v")
	if v.Go || !v.Until.Equal(g.now.Add(l.Hold)) {
		t.Fatalf("verdict %+v", v)
	}
	g.now = v.Until
	if !g.weigh("k1", "v").Go {
		t.Error("it does not go")
	}
	if small := newGroup(20, l); !small.weigh("k1", "v").Go {
		t.Error("a group that can't have too many deletes waits")
	}
}

func TestWindowMovesOn(t *testing.T) {
	g := newGroup(80, standard())
	for i := range 40 { // 20 in each hour
		if i == 20 {
			g.now = g.now.Add(62 * time.Minute)
		}
		if !g.weigh(name(i), "v").Go {
			t.Fatalf("delete %d is held: %s", i, guard.Why(g.brake))
		}
	}
}

func TestRatePerMinute(t *testing.T) {
	l := guard.Limits{Percent: 100, Within: time.Hour, PerMinute: 3}
	g := newGroup(1000, l)
	for i := range 3 {
		if !g.weigh(name(i), "v").Go {
			t.Fatalf("delete %d is held", i)
		}
	}
	if g.weigh("k3", "v").Go || g.tripped != 1 {
		t.Error("the fourth went")
	}
}

// A key that is deleted, written and deleted again counts once; one that is there again does not count.
func TestKeysCountOnce(t *testing.T) {
	g := newGroup(100, standard())
	for i := range 100 {
		g.now = g.now.Add(time.Second)
		if !g.weigh("hot", name(i)).Go {
			t.Fatalf("delete %d of one key is held", i)
		}
	}
	if n := guard.Counted(g.brake, g.limits, g.now); n != 1 {
		t.Errorf("%d deletes count, want 1", n)
	}
	w := g.weighing("hot")
	guard.Withdraw(&w)
	if n := guard.Counted(w.Brake, g.limits, g.now); n != 0 || w.Deletion != (state.Deletion{}) {
		t.Errorf("%d deletes count, want 0; %+v", n, w.Deletion)
	}
}

func TestApprovals(t *testing.T) {
	tripped := func() *group {
		l := standard()
		l.Keys, l.Percent = 2, 0
		g := newGroup(100, l)
		for i := range 5 {
			g.weigh(name(i), "v")
		}
		g.now = g.now.Add(time.Second)
		return g
	}
	t.Run("what waits", func(t *testing.T) {
		g := tripped()
		guard.Approve(&g.brake, g.now, 0, 0)
		if n := g.ask(); n != 3 {
			t.Errorf("%d went, want 3", n)
		}
		g.now = g.now.Add(time.Second)
		for i := range 3 {
			if got := g.weigh(fmt.Sprint("later", i), "v").Go; got != (i < 2) {
				t.Errorf("later delete %d went: %v", i, got)
			}
		}
	})
	t.Run("a number", func(t *testing.T) {
		g := tripped()
		guard.Approve(&g.brake, g.now, 0, 10)
		g.now = g.now.Add(time.Second)
		for i := range 13 {
			if got := g.weigh(fmt.Sprint("later", i), "v").Go; got != (i < 12) { // ten, and the two that are let through anyway
				t.Errorf("later delete %d went: %v", i, got)
			}
		}
	})
	t.Run("a while", func(t *testing.T) {
		g := tripped()
		guard.Approve(&g.brake, g.now, time.Hour, 0)
		for i := range 50 {
			g.now = g.now.Add(time.Minute)
			if !g.weigh(fmt.Sprint("later", i), "v").Go {
				t.Errorf("later delete %d is held", i)
			}
		}
		g.now = g.now.Add(time.Hour)
		for i := range 3 {
			if got := g.weigh(fmt.Sprint("much later", i), "v").Go; got != (i < 2) {
				t.Errorf("much later delete %d went: %v", i, got)
			}
		}
	})
	for _, skew := range []time.Duration{24 * time.Hour, -24 * time.Hour} {
		t.Run(fmt.Sprint("by a clock that is off by ", skew), func(t *testing.T) {
			g := tripped()
			guard.Approve(&g.brake, g.now.Add(skew), 0, 0)
			if n := g.ask(); n != 3 {
				t.Errorf("%d went, want 3", n)
			}
			for i := range 3 {
				if got := g.weigh(fmt.Sprint("later", i), "v").Go; got != (i < 2) {
					t.Errorf("later delete %d went: %v", i, got)
				}
			}
		})
	}
	t.Run("a worker whose clock is behind another's", func(t *testing.T) {
		g := tripped()
		guard.Approve(&g.brake, g.now, 0, 0)
		g.now = g.now.Add(-time.Hour)
		gone := 0
		for i := range 10 {
			if g.weigh(fmt.Sprint("later", i), "v").Go {
				gone++
			}
		}
		if gone > 2 {
			t.Errorf("%d deletes went that came up after the approval", gone)
		}
	})
	t.Run("an approval outlives a trip, but no pause", func(t *testing.T) {
		g := tripped()
		guard.Approve(&g.brake, g.now, 0, 0)
		g.now = g.now.Add(time.Second)
		for i := range 3 {
			g.weigh(fmt.Sprint("later", i), "v")
		}
		guard.Pause(&g.brake, g.now)
		if n := g.ask(); n != 0 {
			t.Errorf("%d went in a pause", n)
		}
		guard.Approve(&g.brake, g.now, 0, 0)
		if n := g.ask(); n != 4 {
			t.Errorf("%d went, want 4", n)
		}
	})
}

func TestResume(t *testing.T) {
	g := newGroup(100, standard())
	guard.Pause(&g.brake, g.now)
	for i := range 30 {
		g.weigh(name(i), "v")
	}
	g.now = g.now.Add(72 * time.Hour) // a pause is no way past the brake
	if err := guard.Resume(&g.brake, g.limits, g.now); err != nil {
		t.Fatal(err)
	}
	if n := g.ask(); n != 0 || g.brake.State != state.Tripped {
		t.Errorf("%d went, the brake is %q", n, g.brake.State)
	}
	if err := guard.Resume(&g.brake, g.limits, g.now); !errkind.Is(err, errkind.Conflict) {
		t.Errorf("resume of a brake that tripped: %v", err)
	}
}

// However deletes, questions and time follow each other: no more of them go within the window than the limit, unless somebody
// approves; the number that waits is the number that waits; one announcement for each time that it trips.
func TestBrakeProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := guard.Limits{
			Keys: rapid.IntRange(0, 5).Draw(t, "keys"), Percent: rapid.IntRange(0, 60).Draw(t, "percent"), Within: time.Hour,
			Hold: time.Duration(rapid.IntRange(0, 10).Draw(t, "hold")) * time.Second,
		}
		n := rapid.IntRange(1, 40).Draw(t, "size")
		g := newGroup(n, l)
		most := max(l.Keys, n*l.Percent/100)
		went := 0
		for range rapid.IntRange(1, 100).Draw(t, "steps") {
			switch rapid.IntRange(0, 3).Draw(t, "step") {
			case 0, 1:
				key := name(rapid.IntRange(0, n-1).Draw(t, "key"))
				if g.rows[key] && g.weigh(key, "v").Go {
					went++
				}
			case 2:
				went += g.ask()
			case 3:
				g.now = g.now.Add(time.Duration(rapid.IntRange(0, 20).Draw(t, "pause")) * time.Second)
			}
			waiting := int64(0)
			for _, d := range g.deletions {
				if d.Waiting {
					waiting++
				}
			}
			if went > most || g.brake.Waiting != waiting || g.tripped > 1 {
				t.Fatalf("%d went of at most %d; %d wait, %d by the brake; tripped %d times", went, most, waiting, g.brake.Waiting, g.tripped)
			}
		}
	})
}
