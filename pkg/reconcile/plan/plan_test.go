package plan

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
func (h *history) view() View {
	v := View{
		Members: h.members, Seen: map[string]Observation{}, Unknown: map[string]bool{}, Concluded: map[string]bool{},
		LookedAt: h.now, Now: h.now.Add(time.Millisecond), Deletes: rapid.IntRange(0, 4).Draw(h.t, "deletes") > 0,
	}
	for _, m := range h.members {
		switch rapid.IntRange(0, 5).Draw(h.t, "look") {
		case 0:
			v.Unknown[m.Name] = true
		case 1: // not looked at
		default:
			v.Seen[m.Name] = h.holds[m.Name]
		}
	}
	for _, it := range h.row.Intents {
		if rapid.IntRange(0, 3).Draw(h.t, "concluded") == 0 {
			v.Concluded[it.Nonce] = true
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
	case 2: // a user deletes it, or a rule of the bucket does
		h.holds[h.replica()] = Observation{Time: h.now.UnixNano(), Expired: rapid.Bool().Draw(h.t, "expired")}
	case 3: // a tool edits the object and keeps our nonce, or restores it
		name := h.replica()
		if o := h.holds[name]; o.Print.Present {
			h.write(name, o.Print.Nonce, h.content(), o.Print.MetaHash)
		}
	default:
		h.perform(Plan(h.row, h.view()))
	}
}

// perform stores a step and carries it out, or a part of it.
func (h *history) perform(s Step) {
	h.row = s.Row
	h.row.Rev++
	if s.Action == Conflict && rapid.Bool().Draw(h.t, "resolve") {
		h.row, _ = Resolve(h.row, h.members, s.Heads, s.Heads[0], h.now, None)
	}
	if s.Action != Propagate {
		return
	}
	target := Lookup(&h.row, s.Target)
	var orders []Order
	h.row, orders = Intend(h.row, s.Target, s.Dests, func() string { h.serial++; return "n" + strconv.Itoa(h.serial) }, h.now.Add(30*time.Second), "", None)
	for _, o := range orders {
		if rapid.Bool().Draw(h.t, "lands") && o.Expect.Tag == h.holds[o.Replica].Print.Tag {
			if target.Kind == version.Put {
				h.write(o.Replica, o.Nonce, target.Content, target.MetaHash)
			} else {
				h.holds[o.Replica] = Observation{Time: h.now.UnixNano()}
			}
		}
	}
}

// forAll checks a property of a plan at the end of random histories.
func forAll(t *testing.T, property func(t *rapid.T, h *history, v View, s Step)) {
	t.Helper()
	rapid.Check(t, func(t *rapid.T) {
		h := newHistory(t)
		for range rapid.IntRange(0, 25).Draw(t, "steps") {
			h.step()
		}
		v := h.view()
		property(t, h, v, Plan(h.row, v))
	})
}

// deep is a row that shares nothing with another one.
func deep(row state.Row) state.Row {
	row = Clone(row)
	for id, v := range row.Versions {
		w := *v
		w.Vector, w.Lineage, w.MayFollow = maps.Clone(v.Vector), maps.Clone(v.Lineage), maps.Clone(v.MayFollow)
		row.Versions[id] = &w
	}
	return row
}

func TestPlanIsPureAndDeterministic(t *testing.T) {
	forAll(t, func(t *rapid.T, h *history, v View, s Step) {
		before := deep(h.row)
		again := Plan(h.row, v)
		if !reflect.DeepEqual(deep(h.row), before) {
			t.Fatalf("the row that was handed in changed:\n%+v\n%+v", before, h.row)
		}
		if !reflect.DeepEqual(deep(again.Row), deep(s.Row)) || again.Action != s.Action || again.Target != s.Target || again.Source != s.Source ||
			!slices.Equal(again.Dests, s.Dests) || !slices.Equal(again.Heads, s.Heads) || !slices.Equal(again.Replicas, s.Replicas) ||
			again.Changed != s.Changed || !again.Until.Equal(s.Until) || !slices.Equal(again.Stranded, s.Stranded) {
			t.Fatalf("two plans of the same:\n%+v\n%+v", s, again)
		}
	})
}

func TestPlanWritesNothingItMustNot(t *testing.T) {
	forAll(t, func(t *rapid.T, h *history, v View, s Step) {
		if s.Action != Propagate {
			if len(s.Dests) > 0 || s.Source != "" {
				t.Fatalf("action %d has destinations %v and source %q", s.Action, s.Dests, s.Source)
			}
			return
		}
		if heads := Heads(&s.Row, h.members); len(heads) != 1 || heads[0] != s.Target {
			t.Fatalf("writes %s while the heads are %v", s.Target, heads)
		}
		target := Lookup(&s.Row, s.Target)
		if target == genesis || target.Kind == version.Delete && !v.Deletes {
			t.Fatalf("propagates %+v", target)
		}
		for _, d := range s.Dests {
			r := s.Row.Replicas[d]
			if v.Unknown[d] {
				t.Fatalf("writes to %s, which did not answer", d)
			}
			if Effective(r) == s.Target {
				t.Fatalf("writes to %s what it holds", d)
			}
			if have := Lookup(&s.Row, Effective(r)); !have.Vector.LessEqual(target.Vector) {
				t.Fatalf("overwrites %s of %s, which %s does not follow", have.ID, d, target.ID)
			}
			if target.Kind == version.Delete && !r.Print.Present {
				t.Fatalf("deletes at %s what is not there", d)
			}
			if r.Status == state.StatusEvicted && target.Kind == version.Put && Lookup(&s.Row, Effective(r)).ID == s.Target {
				t.Fatalf("brings %s back to %s, where it expired", s.Target, d)
			}
		}
		if target.Kind == version.Put {
			r := s.Row.Replicas[s.Source]
			if v.Unknown[s.Source] || Effective(r) != s.Target || !r.Print.Present || slices.Contains(s.Dests, s.Source) {
				t.Fatalf("reads %s from %s: %+v", s.Target, s.Source, r)
			}
		}
	})
}

func TestPlanHeadsAreAnAntichain(t *testing.T) {
	forAll(t, func(t *rapid.T, h *history, _ View, s Step) {
		heads := Heads(&s.Row, h.members)
		if len(heads) == 0 {
			t.Fatal("there is no head")
		}
		for _, a := range heads {
			for _, b := range heads {
				if a != b && Lookup(&s.Row, a).Vector.LessEqual(Lookup(&s.Row, b).Vector) {
					t.Fatalf("head %s is in the past of head %s", a, b)
				}
			}
		}
		if s.Action == Conflict && (len(s.Heads) < 2 || !slices.Equal(s.Heads, heads)) {
			t.Fatalf("a conflict of %v while the heads are %v", s.Heads, heads)
		}
	})
}

// Planning again on the row that a plan made, with the same answers, changes nothing but what a second look proves:
// tentative versions, and intents that have ended.
func TestPlanIsIdempotent(t *testing.T) {
	forAll(t, func(t *rapid.T, _ *history, v View, s Step) {
		next := Plan(s.Row, v)
		for name, r := range s.Row.Replicas {
			n := next.Row.Replicas[name]
			if Effective(n) != Effective(r) {
				if n.Tentative == "" || !joined(&next.Row, Effective(n), Effective(r)) {
					t.Fatalf("%s counted as %s and now as %s\nfirst  %+v\nsecond %+v", name, Effective(r), Effective(n), s, next)
				}
			}
		}
		for id := range next.Row.Versions {
			if s.Row.Versions[id] == nil && next.Row.Versions[id].Origin != version.Synchronizer {
				t.Fatalf("version %s was found in what had been looked at already", id)
			}
		}
		third := Plan(next.Row, v)
		fourth := Plan(third.Row, v)
		if fourth.Changed {
			t.Fatalf("four plans of the same do not come to rest:\n%+v\n%+v", third, fourth)
		}
	})
}

// joined reports that a version is a join or resolution over another one.
func joined(row *state.Row, id, over version.ID) bool {
	v := Lookup(row, id)
	return v.Origin == version.Synchronizer && Lookup(row, over).Vector.LessEqual(v.Vector)
}

// What is not looked at is taken at the row's word, and nothing of it is proven.
func TestPlanProvesNothingItDidNotSee(t *testing.T) {
	forAll(t, func(t *rapid.T, h *history, v View, s Step) {
		for _, m := range h.members {
			before, after := h.row.Replicas[m.Name], s.Row.Replicas[m.Name]
			if _, seen := v.Seen[m.Name]; seen {
				continue
			}
			if after.Version != before.Version || after.Print != before.Print || before.Tentative != "" && after.Tentative == "" {
				t.Fatalf("%s was not looked at, and changed from %+v to %+v", m.Name, before, after)
			}
		}
	})
}

// What expires at one replica is no delete: no other replica loses its object by it, and somebody has it.
func TestPlanKeepsWhatExpiresElsewhere(t *testing.T) {
	forAll(t, func(t *rapid.T, h *history, v View, s Step) {
		for _, m := range h.members {
			before, after := h.row.Replicas[m.Name], s.Row.Replicas[m.Name]
			if after.Status != state.StatusEvicted || before.Status == state.StatusEvicted || s.Action == Identify {
				continue
			}
			if !v.Seen[m.Name].Expired || after.Version != before.Version || after.Print.Present {
				t.Fatalf("%s is evicted: from %+v to %+v, seen %+v", m.Name, before, after, v.Seen[m.Name])
			}
			if !slices.ContainsFunc(h.members, func(o Member) bool {
				r := h.row.Replicas[o.Name]
				return o.Name != m.Name && r.Print.Present && Effective(r) == Effective(before)
			}) {
				t.Fatalf("%s is evicted, and nobody else had what it held: %+v", m.Name, h.row)
			}
		}
	})
}

// A row does not grow with the number of changes.
func TestPlanKeepsRowsSmall(t *testing.T) {
	forAll(t, func(t *rapid.T, h *history, _ View, s Step) {
		if n, most := len(s.Row.Versions), 2*len(h.members)+len(s.Row.Intents); n > most {
			t.Fatalf("%d versions for %d replicas and %d intents", n, len(h.members), len(s.Row.Intents))
		}
		for id := range s.Row.Counters {
			if id != version.Synchronizer && !slices.ContainsFunc(h.members, func(m Member) bool { return m.Name == id }) {
				t.Fatalf("a counter of %q", id)
			}
		}
		for _, r := range s.Row.Replicas {
			for _, id := range []version.ID{r.Version, r.Tentative} {
				if id != "" && s.Row.Versions[id] == nil {
					t.Fatalf("version %s is held and forgotten", id)
				}
			}
		}
	})
}
