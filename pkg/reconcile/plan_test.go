package reconcile

import (
	"maps"
	"reflect"
	"slices"
	"strconv"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/bucketmesh/bucketmesh/pkg/state"
	"github.com/bucketmesh/bucketmesh/pkg/version"
)

// Properties of the planner, on rows that a history of plans and writes can make.

var epoch = time.Unix(1_800_000_000, 0)

// history is a group of replicas that the test writes to at random, with a row that only plan changes.
type history struct {
	t       *rapid.T
	members []Member
	holds   map[string]Observation // what each replica holds; an absent one has a zero Print
	row     state.Row
	now     time.Time
	serial  int
}

func newHistory(t *rapid.T) *history {
	h := &history{t: t, holds: map[string]Observation{}, now: epoch, row: state.Row{Group: "g", Key: "k"}}
	for i := range rapid.IntRange(2, 4).Draw(t, "replicas") {
		name := string(rune('a' + i))
		h.members = append(h.members, Member{Name: name, Writable: i == 0 || rapid.IntRange(0, 4).Draw(t, "mode") > 0})
		h.holds[name] = Observation{}
	}
	return h
}

func (h *history) replica() string {
	return h.members[rapid.IntRange(0, len(h.members)-1).Draw(h.t, "replica")].Name
}

func (h *history) write(name, nonce string, content version.Content, meta string) {
	h.serial++
	h.holds[name] = Observation{
		Print:   state.Fingerprint{Present: true, Tag: "t" + strconv.Itoa(h.serial), ModTime: h.now.UnixNano(), Nonce: nonce, MetaHash: meta},
		Content: content, Time: h.now.UnixNano(),
	}
}

// content is one of few, so that equal ones meet; some have no digest.
func (h *history) content() version.Content {
	c := version.Content{Size: 1 + int64(rapid.IntRange(0, 2).Draw(h.t, "content"))}
	if rapid.IntRange(0, 3).Draw(h.t, "digest") > 0 {
		c.MD5 = "md5-" + strconv.FormatInt(c.Size, 10)
	}
	return c
}

// view is what a look could find now.
func (h *history) view() view {
	v := view{
		members: h.members, seen: map[string]Observation{}, unknown: map[string]bool{}, concluded: map[string]bool{},
		lookedAt: h.now, now: h.now.Add(time.Millisecond), deletes: rapid.IntRange(0, 4).Draw(h.t, "deletes") > 0,
	}
	for _, m := range h.members {
		switch rapid.IntRange(0, 5).Draw(h.t, "look") {
		case 0:
			v.unknown[m.Name] = true
		case 1: // not looked at
		default:
			v.seen[m.Name] = h.holds[m.Name]
		}
	}
	for _, it := range h.row.Intents {
		if rapid.IntRange(0, 3).Draw(h.t, "concluded") == 0 {
			v.concluded[it.Nonce] = true
		}
	}
	return v
}

// step makes one thing happen.
func (h *history) step() {
	h.now = h.now.Add(time.Duration(rapid.IntRange(1, 40).Draw(h.t, "seconds")) * time.Second)
	switch rapid.IntRange(0, 6).Draw(h.t, "step") {
	case 0, 1:
		h.write(h.replica(), "", h.content(), rapid.SampledFrom([]string{"", "m"}).Draw(h.t, "meta"))
	case 2:
		h.holds[h.replica()] = Observation{Time: h.now.UnixNano()}
	case 3: // a tool edits the object and keeps our nonce, or restores it
		name := h.replica()
		if o := h.holds[name]; o.Print.Present {
			h.write(name, o.Print.Nonce, h.content(), o.Print.MetaHash)
		}
	default:
		h.perform(plan(h.row, h.view()))
	}
}

// perform stores a step and carries it out, or a part of it.
func (h *history) perform(s step) {
	h.row = s.row
	h.row.Rev++
	if s.action == conflict && rapid.Bool().Draw(h.t, "resolve") {
		h.settleConflict(s.heads)
	}
	if s.action != propagate {
		return
	}
	target := lookup(&h.row, s.target)
	for _, d := range s.dests {
		h.serial++
		nonce := "n" + strconv.Itoa(h.serial)
		expect := h.row.Replicas[d].Print
		h.row.Intents = append(slices.Clone(h.row.Intents), state.Intent{
			Nonce: nonce, Replica: d, Version: s.target, Expect: expect, LeaseUntil: h.now.Add(30 * time.Second),
		})
		if rapid.Bool().Draw(h.t, "lands") && expect.Tag == h.holds[d].Print.Tag {
			if target.Kind == version.Put {
				h.write(d, nonce, target.Content, target.MetaHash)
			} else {
				h.holds[d] = Observation{Time: h.now.UnixNano()}
			}
		}
	}
}

// settleConflict is line 4c with the first head as the winner.
func (h *history) settleConflict(heads []version.ID) {
	row := clone(h.row)
	id, dot := nextDot(&row, version.Synchronizer, h.now)
	r := *lookup(&row, heads[0])
	r.ID, r.Origin, r.Lineage = id, version.Synchronizer, r.ContentVector()
	for _, x := range heads {
		r.Vector = r.Vector.Join(lookup(&row, x).Vector)
	}
	r.Vector = r.Vector.With(version.Synchronizer, dot)
	row.Versions[id] = &r
	for name, rep := range row.Replicas {
		if effective(rep) == heads[0] {
			rep.Tentative = id
			row.Replicas[name] = rep
		}
	}
	prune(&row)
	h.row = row
}

// forAll checks a property of a plan at the end of random histories.
func forAll(t *testing.T, property func(t *rapid.T, h *history, v view, s step)) {
	t.Helper()
	rapid.Check(t, func(t *rapid.T) {
		h := newHistory(t)
		for range rapid.IntRange(0, 25).Draw(t, "steps") {
			h.step()
		}
		v := h.view()
		property(t, h, v, plan(h.row, v))
	})
}

// deep is a row that shares nothing with another one.
func deep(row state.Row) state.Row {
	row = clone(row)
	for id, v := range row.Versions {
		w := *v
		w.Vector, w.Lineage, w.MayFollow = maps.Clone(v.Vector), maps.Clone(v.Lineage), maps.Clone(v.MayFollow)
		row.Versions[id] = &w
	}
	return row
}

func TestPlanIsPureAndDeterministic(t *testing.T) {
	forAll(t, func(t *rapid.T, h *history, v view, s step) {
		before := deep(h.row)
		again := plan(h.row, v)
		if !reflect.DeepEqual(deep(h.row), before) {
			t.Fatalf("the row that was handed in changed:\n%+v\n%+v", before, h.row)
		}
		if !reflect.DeepEqual(deep(again.row), deep(s.row)) || again.action != s.action || again.target != s.target || again.source != s.source ||
			!slices.Equal(again.dests, s.dests) || !slices.Equal(again.heads, s.heads) || !slices.Equal(again.replicas, s.replicas) ||
			again.changed != s.changed || !again.until.Equal(s.until) || !slices.Equal(again.stranded, s.stranded) {
			t.Fatalf("two plans of the same:\n%+v\n%+v", s, again)
		}
	})
}

func TestPlanWritesNothingItMustNot(t *testing.T) {
	forAll(t, func(t *rapid.T, h *history, v view, s step) {
		if s.action != propagate {
			if len(s.dests) > 0 || s.source != "" {
				t.Fatalf("action %d has destinations %v and source %q", s.action, s.dests, s.source)
			}
			return
		}
		if heads := headsOf(&s.row, h.members); len(heads) != 1 || heads[0] != s.target {
			t.Fatalf("writes %s while the heads are %v", s.target, heads)
		}
		target := lookup(&s.row, s.target)
		if target == genesis || target.Kind == version.Delete && !v.deletes {
			t.Fatalf("propagates %+v", target)
		}
		for _, d := range s.dests {
			r := s.row.Replicas[d]
			if v.unknown[d] {
				t.Fatalf("writes to %s, which did not answer", d)
			}
			if effective(r) == s.target {
				t.Fatalf("writes to %s what it holds", d)
			}
			if have := lookup(&s.row, effective(r)); !have.Vector.LessEqual(target.Vector) {
				t.Fatalf("overwrites %s of %s, which %s does not follow", have.ID, d, target.ID)
			}
			if target.Kind == version.Delete && !r.Print.Present {
				t.Fatalf("deletes at %s what is not there", d)
			}
		}
		if target.Kind == version.Put {
			r := s.row.Replicas[s.source]
			if v.unknown[s.source] || effective(r) != s.target || !r.Print.Present || slices.Contains(s.dests, s.source) {
				t.Fatalf("reads %s from %s: %+v", s.target, s.source, r)
			}
		}
	})
}

func TestPlanHeadsAreAnAntichain(t *testing.T) {
	forAll(t, func(t *rapid.T, h *history, _ view, s step) {
		heads := headsOf(&s.row, h.members)
		if len(heads) == 0 {
			t.Fatal("there is no head")
		}
		for _, a := range heads {
			for _, b := range heads {
				if a != b && lookup(&s.row, a).Vector.LessEqual(lookup(&s.row, b).Vector) {
					t.Fatalf("head %s is in the past of head %s", a, b)
				}
			}
		}
		if s.action == conflict && (len(s.heads) < 2 || !slices.Equal(s.heads, heads)) {
			t.Fatalf("a conflict of %v while the heads are %v", s.heads, heads)
		}
	})
}

// Planning again on the row that a plan made, with the same answers, changes nothing but what a second look proves:
// tentative versions, and intents that have ended.
func TestPlanIsIdempotent(t *testing.T) {
	forAll(t, func(t *rapid.T, _ *history, v view, s step) {
		next := plan(s.row, v)
		for name, r := range s.row.Replicas {
			n := next.row.Replicas[name]
			if effective(n) != effective(r) {
				if n.Tentative == "" || !joined(&next.row, effective(n), effective(r)) {
					t.Fatalf("%s counted as %s and now as %s\nfirst  %+v\nsecond %+v", name, effective(r), effective(n), s, next)
				}
			}
		}
		for id := range next.row.Versions {
			if s.row.Versions[id] == nil && next.row.Versions[id].Origin != version.Synchronizer {
				t.Fatalf("version %s was found in what had been looked at already", id)
			}
		}
		third := plan(next.row, v)
		fourth := plan(third.row, v)
		if fourth.changed {
			t.Fatalf("four plans of the same do not come to rest:\n%+v\n%+v", third, fourth)
		}
	})
}

// joined reports that a version is a join or resolution over another one.
func joined(row *state.Row, id, over version.ID) bool {
	v := lookup(row, id)
	return v.Origin == version.Synchronizer && lookup(row, over).Vector.LessEqual(v.Vector)
}

// What is not looked at is taken at the row's word, and nothing of it is proven.
func TestPlanProvesNothingItDidNotSee(t *testing.T) {
	forAll(t, func(t *rapid.T, h *history, v view, s step) {
		for _, m := range h.members {
			before, after := h.row.Replicas[m.Name], s.row.Replicas[m.Name]
			if _, seen := v.seen[m.Name]; seen {
				continue
			}
			if after.Version != before.Version || after.Print != before.Print || before.Tentative != "" && after.Tentative == "" {
				t.Fatalf("%s was not looked at, and changed from %+v to %+v", m.Name, before, after)
			}
		}
	})
}

// A row does not grow with the number of changes.
func TestPlanKeepsRowsSmall(t *testing.T) {
	forAll(t, func(t *rapid.T, h *history, _ view, s step) {
		if n, most := len(s.row.Versions), 2*len(h.members)+len(s.row.Intents); n > most {
			t.Fatalf("%d versions for %d replicas and %d intents", n, len(h.members), len(s.row.Intents))
		}
		for id := range s.row.Counters {
			if id != version.Synchronizer && !slices.ContainsFunc(h.members, func(m Member) bool { return m.Name == id }) {
				t.Fatalf("a counter of %q", id)
			}
		}
		for _, r := range s.row.Replicas {
			for _, id := range []version.ID{r.Version, r.Tentative} {
				if id != "" && s.row.Versions[id] == nil {
					t.Fatalf("version %s is held and forgotten", id)
				}
			}
		}
	})
}
