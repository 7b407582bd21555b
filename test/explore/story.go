package main

import (
	"bytes"
	"fmt"
	"io"
	"slices"

	"github.com/bucketmesh/bucketmesh/pkg/reconcile/plan"
)

// cause is how a state was first reached.
type cause struct {
	from hash
	by   action
}

// tell finds the shortest way to a violation and tells it.
func tell(out io.Writer, sc *scope, mutant plan.Mutant, d *discovery) {
	way, ok := shortest(sc, mutant, d.state)
	if !ok {
		fmt.Fprintln(out, "the way to it was not found again")
		return
	}
	t := &teller{out: out, m: newMachine(sc, mutant), names: [maxWorkers]uint8{0, 1, 2}}
	s := initial(sc)
	for _, a := range way {
		t.m.do(&s, a)
		t.step(a, &s)
		t.tidy(&s)
	}
	if !d.atRest {
		t.m.do(&s, d.last)
		t.step(d.last, &s)
	} else {
		fmt.Fprintln(out, "     from here on nothing more goes wrong, and everything is looked at until it is at rest:")
		t.m.rest(&s, func(*world) bool { return false }, t.step)
	}
	fmt.Fprintf(out, "%4d VIOLATION %s\n", t.n+1, d.violation)
}

// shortest searches again, alone and with a memory of where each state came from.
func shortest(sc *scope, mutant plan.Mutant, goal []byte) ([]action, bool) {
	p := &part{search: &search{scope: sc, mutant: mutant, seen: &visited{}, rested: &visited{}}, machine: newMachine(sc, mutant)}
	causes := map[hash]cause{}
	first := initial(sc)
	p.push(&first)
	for level := p.take(); len(level) > 0; level = p.take() {
		for _, states := range level {
			for _, written := range split(states) {
				at := hashOf(written)
				if bytes.Equal(written, goal) {
					return unwind(causes, at), true
				}
				s := decode(written, sc)
				for _, a := range slices.Clone(p.machine.actions(&s)) {
					t := s
					p.machine.do(&t, a)
					if !p.machine.cut && p.push(&t) {
						causes[hashOf(p.enc.buf)] = cause{from: at, by: a}
					}
				}
			}
		}
	}
	return nil, false
}

func unwind(causes map[hash]cause, at hash) (way []action) {
	for c, ok := causes[at]; ok; c, ok = causes[at] {
		way = append(way, c.by)
		at = c.from
	}
	slices.Reverse(way)
	return way
}

// teller tells steps. Workers change their places in a state; here they keep their names.
type teller struct {
	out   io.Writer
	m     *machine
	n     int
	names [maxWorkers]uint8
	said  []string
}

// tidy makes s what it is after it was written and read, as the search has it.
func (t *teller) tidy(s *world) {
	s.tidy(t.m.scope, &t.names)
	var c codec
	c.world(s, t.m.scope)
	*s = decode(c.buf, t.m.scope)
}

// step tells what happened, and what is different now.
func (t *teller) step(a action, s *world) {
	t.n++
	fmt.Fprintf(t.out, "%4d %s\n", t.n, t.say(a, s))
	var now []string
	for r := range t.m.scope.replicas {
		h := s.row.replicas[r]
		now = append(now, fmt.Sprintf("%s holds %s; the row says %s%s%s", name(uint8(r)), sayObject(s.buckets[r]), s.row.say(h.version), sayTentative(&s.row, h), sayPrint(h.print))) //nolint:gosec // at most 3
	}
	for _, it := range s.row.intents[:s.row.ni] {
		now = append(now, fmt.Sprintf("intent %d at %s for %s%s", it.nonce, name(it.replica), s.row.say(it.version), [...]string{"", ", its lease has ended", ", without a lease"}[it.lease]))
	}
	for _, line := range now {
		if !slices.Contains(t.said, line) {
			fmt.Fprintf(t.out, "       %s\n", line)
		}
	}
	t.said = now
}

func (t *teller) say(a action, s *world) string {
	w := fmt.Sprintf("worker %d", t.names[a.w])
	at := name(a.r)
	switch a.kind {
	case userPut:
		return fmt.Sprintf("a user puts content %d at %s", s.buckets[a.r].content, at)
	case userEdit:
		return fmt.Sprintf("a user edits the object at %s with a tool that keeps our metadata: content %d", at, s.buckets[a.r].content)
	case userDelete:
		return "a user deletes at " + at
	case userReput:
		return fmt.Sprintf("a user puts the old content %d at %s again", a.k, at)
	case userRestore:
		return fmt.Sprintf("a user restores the old content %d at %s, with our nonce %d", s.buckets[a.r].content, at, s.buckets[a.r].nonce)
	case startSync:
		return w + " reads the row, to look at all replicas"
	case startHint:
		return w + " reads the row, to look at " + at + ", of which a notification tells"
	case startResolver:
		return w + " reads the row, to resolve the conflict"
	case lookAt:
		return w + " looks at " + at
	case goOn:
		return w + " goes on; it is " + sayPlace(s.workers[a.w])
	case writeAnswered:
		return fmt.Sprintf("%s writes (5c): %s; it is %s", w, sayEnd(s.workers[a.w].orders[a.k]), sayPlace(s.workers[a.w]))
	case writeUnanswered:
		return w + " writes (5c), and the answer is lost"
	case writeLost:
		return w + " writes (5c), and the request is lost"
	case crash:
		return w + " is killed"
	case leaseEnds:
		return fmt.Sprintf("the lease of the intent in place %d ends", a.k)
	case faultBegins:
		return at + [...]string{"", " answers no more", " refuses writes"}[a.k]
	default:
		return at + " is well again"
	}
}

func sayPlace(w worker) string {
	return [...]string{
		"done", "at line 2", "before the commit of line 3", "at line 5d", "at line 5b", "at line 5c", "at line 5e", "giving up the write",
		"at line 4a, reading", "at line 4a, writing the copy", "before line 4c",
	}[w.at]
}

func sayEnd(o order) string {
	if o.replica == 0 && o.nonce == 0 {
		return "overtaken"
	}
	return name(o.replica) + [...]string{" not yet", " is written", " refuses, it holds something else", " gives no answer", " does not take it", " wants to be left in peace"}[o.end]
}

func sayObject(o object) string {
	if o.content == 0 {
		return fmt.Sprintf("nothing (follows %b)", o.past)
	}
	nonce := ""
	if o.nonce != 0 {
		nonce = fmt.Sprintf(" nonce %d", o.nonce)
	}
	return fmt.Sprintf("content %d as #%d%s (follows %b)", o.content, o.serial, nonce, o.past)
}

func (r *row) say(v uint8) string {
	if v == 0 {
		return "genesis"
	}
	x := r.versions[v-1]
	if x.supposed {
		return fmt.Sprintf("%s%v, perhaps %v", id(&x), x.vector, x.lineage)
	}
	return fmt.Sprintf("%s%v", id(&x), x.vector)
}

func sayTentative(r *row, h holding) string {
	if h.tentative == 0 {
		return ""
	}
	return " or rather " + r.say(h.tentative)
}

func sayPrint(p mark) string {
	if p.content == 0 {
		return ", absent"
	}
	return fmt.Sprintf(", content %d as #%d", p.content, p.serial)
}

// split are the states of a chunk.
func split(states []byte) (all [][]byte) {
	for len(states) > 0 {
		n := int(states[0]) | int(states[1])<<8
		all = append(all, states[2:2+n])
		states = states[2+n:]
	}
	return all
}
