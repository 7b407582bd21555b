package tla

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Question is what Explore is to find out.
type Question struct {
	Constants  map[string]any // bool, int, string, or a []string as a set
	Invariants []string       // state predicates
	Steps      []string       // properties [][A]_v of steps
	Reach      string         // from every state this state predicate can be reached …
	By         string         // … by steps of this disjunct of Next alone
	Limit      int            // states; 0 is no limit
}

// Answer is what was found.
type Answer struct {
	States, Edges, Depth int
	Complete             bool     // every reachable state was seen
	Violated             string   // the name of what does not hold
	Trace                []string // how to get there, one step a line
}

type hash [16]byte

type exploration struct {
	q          Question
	m          *Module
	c          *compiler
	next       *code
	invariants []*code
	steps      []*code

	seen    map[hash]int32
	parent  []int32
	depth   []int32
	answer  Answer
	goal    []int32
	byEdges [][2]int32
}

// Explore visits the states that Init and Next allow, nearest first, and stops at the first that breaks a rule.
func (m *Module) Explore(q Question) (a Answer, err error) {
	defer rescue(&err)
	x := &exploration{q: q, m: m, seen: map[hash]int32{}}
	x.c = &compiler{m: m, consts: constants(q.Constants), vars: map[string]int{}, defs: map[string]*code{}}
	for _, name := range m.Constants {
		if _, ok := q.Constants[name]; !ok {
			return a, fmt.Errorf("the constant %s has no value", name)
		}
	}
	for i, v := range m.Variables {
		x.c.vars[v] = i
	}
	x.next = x.named("Next")
	for _, name := range q.Invariants {
		x.invariants = append(x.invariants, x.named(name))
	}
	for _, name := range q.Steps {
		x.steps = append(x.steps, x.property(name))
	}
	x.run()
	return x.answer, nil
}

func constants(in map[string]any) map[string]value {
	out := map[string]value{}
	for name, v := range in {
		if list, ok := v.([]string); ok {
			var elems []value
			for _, s := range list {
				elems = append(elems, s)
			}
			v = newSet(elems)
		}
		out[name] = v
	}
	return out
}

func (x *exploration) named(name string) *code {
	return x.c.compile(&node{op: "name", name: name}, nil)
}

// property is the A of a definition [][A]_v.
func (x *exploration) property(name string) *code {
	d := x.m.defs[name]
	if d == nil || d.body.op != "[]" || d.body.args[0].op != "step" {
		fail(0, "%s is not of the form [][A]_v", name)
	}
	return x.c.compile(d.body.args[0].args[0], nil)
}

// init is the state that Init describes: variable = value, for each.
func (x *exploration) init() []value {
	s := &state{cur: make([]value, len(x.m.Variables)), next: make([]value, len(x.m.Variables))}
	var initial []value
	x.c.compile(primed(x.m.defs["Init"].body, x.c.vars), nil).step(s, nil, func() { initial = slices.Clone(s.next) })
	if initial == nil || slices.Contains(initial, nil) {
		fail(0, "Init does not say what each variable is")
	}
	return initial
}

// primed turns x = e into x' = e.
func primed(n *node, vars map[string]int) *node {
	out := *n
	if _, ok := vars[n.name]; ok && n.op == "name" {
		return &node{op: "'", args: []*node{n}, line: n.line}
	}
	out.args = nil
	for i, a := range n.args {
		if n.op == "=" && i > 0 {
			out.args = append(out.args, a)
		} else {
			out.args = append(out.args, primed(a, vars))
		}
	}
	return &out
}

func hashed(vals []value) hash {
	sum := sha256.Sum256([]byte(strings.Join(keys(vals), ";")))
	return hash(sum[:16])
}

func (x *exploration) add(vals []value, parent int32) (at int32, fresh bool) {
	h := hashed(vals)
	if at, ok := x.seen[h]; ok {
		return at, false
	}
	at = int32(len(x.parent)) //nolint:gosec // memory ends before the numbers do
	x.seen[h] = at
	x.parent = append(x.parent, parent)
	d := int32(0)
	if parent >= 0 {
		d = x.depth[parent] + 1
	}
	x.depth = append(x.depth, d)
	return at, true
}

// successors calls found with each state that a step leads to.
func (x *exploration) successors(vals []value, found func(next []value, path []string)) {
	s := &state{cur: vals, next: make([]value, len(vals))}
	x.next.step(s, nil, func() {
		if i := slices.Index(s.next, nil); i >= 0 {
			fail(0, "%s does not say what becomes of %s", strings.Join(s.path, " > "), x.m.Variables[i])
		}
		found(slices.Clone(s.next), s.path)
	})
}

func (x *exploration) run() {
	type item struct {
		at   int32
		vals []value
	}
	first := x.init()
	at, _ := x.add(first, -1)
	queue := []item{{at, first}}
	x.judge(first, at)
	for len(queue) > 0 && x.answer.Violated == "" {
		if x.q.Limit > 0 && len(x.parent) >= x.q.Limit {
			x.answer.States, x.answer.Depth = len(x.parent), int(slices.Max(x.depth))
			return
		}
		it := queue[0]
		queue[0], queue = item{}, queue[1:]
		x.successors(it.vals, func(next []value, path []string) {
			if x.answer.Violated != "" {
				return
			}
			x.answer.Edges++
			to, fresh := x.add(next, it.at)
			if x.q.Reach != "" && slices.Contains(path, x.q.By) {
				x.byEdges = append(x.byEdges, [2]int32{it.at, to})
			}
			for i, p := range x.steps {
				if !p.truth(&state{cur: it.vals, next: next}, nil) {
					x.broken(x.q.Steps[i], it.at, strings.Join(path, " > "))
					return
				}
			}
			if fresh {
				x.judge(next, to)
				queue = append(queue, item{to, next})
			}
		})
	}
	x.answer.States, x.answer.Depth = len(x.parent), int(slices.Max(x.depth))
	if x.answer.Violated == "" {
		x.answer.Complete = true
		x.reach()
	}
}

func (x *exploration) judge(vals []value, at int32) {
	s := &state{cur: vals}
	for i, inv := range x.invariants {
		if !inv.truth(s, nil) {
			x.broken(x.q.Invariants[i], at, "")
			return
		}
	}
	if x.q.Reach != "" && x.named(x.q.Reach).truth(s, nil) {
		x.goal = append(x.goal, at)
	}
}

// reach looks for a state from where the goal can't be reached any more.
func (x *exploration) reach() {
	if x.q.Reach == "" {
		return
	}
	back := map[int32][]int32{}
	for _, e := range x.byEdges {
		back[e[1]] = append(back[e[1]], e[0])
	}
	good := map[int32]bool{}
	work := x.goal
	for _, g := range work {
		good[g] = true
	}
	for len(work) > 0 {
		at := work[len(work)-1]
		work = work[:len(work)-1]
		for _, from := range back[at] {
			if !good[from] {
				good[from] = true
				work = append(work, from)
			}
		}
	}
	for at := range x.parent {
		if !good[int32(at)] { //nolint:gosec // as above
			x.broken(x.q.Reach+" is out of reach", int32(at), "") //nolint:gosec // as above
			return
		}
	}
}

// broken notes what does not hold and plays the way there again, for the trace.
func (x *exploration) broken(what string, at int32, last string) {
	x.answer.Violated = what
	var way []int32
	for ; at > 0; at = x.parent[at] {
		way = append(way, at)
	}
	slices.Reverse(way)
	vals := x.init()
	for _, want := range way {
		var step string
		var to []value
		x.successors(vals, func(next []value, path []string) {
			if got, ok := x.seen[hashed(next)]; ok && got == want && to == nil {
				step, to = strings.Join(path, " > "), next
			}
		})
		x.answer.Trace = append(x.answer.Trace, step+x.changes(vals, to))
		vals = to
	}
	if last != "" {
		x.answer.Trace = append(x.answer.Trace, last)
	}
}

func (x *exploration) changes(from, to []value) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(x.c.vars)) {
		if i := x.c.vars[name]; byKey(from[i], to[i]) != 0 {
			b.WriteString("\n      " + name + " = " + key(to[i]))
		}
	}
	return b.String()
}
