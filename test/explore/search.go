package main

import (
	"encoding/binary"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/reconcile/plan"
)

// result is what a scope came to.
type result struct {
	states, transitions, rests int
	residual                   residual
	violations                 int
	depth                      int
	cut                        bool
	seconds                    float64
	memory                     uint64 // in use at most, as seen between levels
	found                      *discovery
}

// discovery is the first violation of the lowest level, in the order of the states' bytes.
type discovery struct {
	state     []byte // where it is, or where everybody stops and the way to rest begins
	last      action // the step that violates, unless it is on the way to rest
	atRest    bool
	violation string
}

// chunk is a part of a level: states as they are written, each with its length before it.
const chunk = 1 << 20

// search visits all states of a scope, level by level, so that the first violation that it finds is one of the nearest.
type search struct {
	scope  *scope
	mutant plan.Mutant
	seen   *visited
	rested *visited
}

// explore runs a search on a number of goroutines.
func explore(sc *scope, mutant plan.Mutant, procs int) result {
	start := time.Now()
	s := &search{scope: sc, mutant: mutant, seen: &visited{}, rested: &visited{}}
	parts := make([]*part, procs)
	for i := range parts {
		parts[i] = &part{search: s, machine: newMachine(sc, mutant)}
	}
	first := initial(sc)
	parts[0].push(&first)
	var r result
	level := parts[0].take()
	for len(level) > 0 {
		var next atomic.Int64
		var all sync.WaitGroup
		for _, p := range parts {
			all.Go(func() {
				for i := next.Add(1) - 1; int(i) < len(level); i = next.Add(1) - 1 {
					p.expand(level[i])
					level[i] = nil
				}
			})
		}
		all.Wait()
		level = level[:0]
		for _, p := range parts {
			level = append(level, p.take()...)
			r.found = nearest(r.found, p.found)
			r.violations += p.violations
			p.violations = 0
			r.cut = r.cut || p.cut
		}
		r.depth++
		var mem runtime.MemStats
		runtime.ReadMemStats(&mem)
		r.memory = max(r.memory, mem.Sys-mem.HeapReleased)
		r.states = s.seen.len()
		if r.found != nil {
			break
		}
		if sc.most > 0 && r.states >= sc.most && len(level) > 0 {
			r.cut = true
			break
		}
	}
	for _, p := range parts {
		r.transitions += p.transitions
		r.residual.add(p.machine.residual)
	}
	r.rests = s.rested.len()
	r.seconds = time.Since(start).Seconds()
	return r
}

func initial(sc *scope) world {
	s := world{crashes: uint8(sc.crashes), losses: uint8(sc.losses), faults: uint8(sc.faults)} //nolint:gosec // small
	s.row.missing = true
	return s
}

// part is the share of one goroutine.
type part struct {
	*search

	machine     *machine
	out         [][]byte
	transitions int
	violations  int
	cut         bool
	found       *discovery
	enc         codec
}

// push adds a state to the next level, if it was not seen before.
func (p *part) push(s *world) bool {
	s.tidy(p.scope, nil)
	p.enc = codec{buf: p.enc.buf[:0]}
	p.enc.world(s, p.scope)
	if !p.seen.add(hashOf(p.enc.buf)) {
		return false
	}
	n := len(p.out)
	if n == 0 || len(p.out[n-1])+len(p.enc.buf)+2 > chunk {
		p.out = append(p.out, make([]byte, 0, chunk))
		n++
	}
	c := binary.LittleEndian.AppendUint16(p.out[n-1], uint16(len(p.enc.buf))) //nolint:gosec // below 1000
	p.out[n-1] = append(c, p.enc.buf...)
	return true
}

func (p *part) take() [][]byte {
	out := p.out
	p.out = nil
	return out
}

func decode(buf []byte, sc *scope) (s world) {
	c := codec{buf: buf, decoding: true}
	c.world(&s, sc)
	return s
}

// expand makes all steps from all states of a chunk.
func (p *part) expand(states []byte) {
	for len(states) > 0 {
		n := int(binary.LittleEndian.Uint16(states))
		p.successors(states[2 : 2+n])
		states = states[2+n:]
	}
}

func (p *part) successors(written []byte) {
	m := p.machine
	s := decode(written, p.scope)
	if p.quiet(&s) {
		t := s
		m.rest(&t, p.proven, func(action, *world) {})
		p.judge(written, action{}, true)
	}
	for _, a := range m.actions(&s) {
		t := s
		m.do(&t, a)
		p.transitions++
		if m.cut {
			p.cut = true
			continue
		}
		if m.violation == "" && !p.push(&t) {
			continue
		}
		if m.violation == "" {
			m.check(&t)
		}
		p.judge(written, a, false)
	}
}

func (p *part) quiet(s *world) bool {
	for i := range s.workers[:p.scope.workers] {
		if s.workers[i].at != idle {
			return false
		}
	}
	return true
}

// proven notes a state where nobody is at work, and reports whether it was noted before.
func (p *part) proven(s *world) bool {
	p.enc = codec{buf: p.enc.buf[:0]}
	p.enc.world(s, p.scope)
	return !p.rested.add(hashOf(p.enc.buf))
}

func (p *part) judge(written []byte, a action, atRest bool) {
	if p.machine.violation == "" {
		return
	}
	p.violations++
	p.found = nearest(p.found, &discovery{state: slices.Clone(written), last: a, atRest: atRest, violation: p.machine.violation})
}

// nearest is one of two findings of a level, the same whoever found them first.
func nearest(a, b *discovery) *discovery {
	switch {
	case a == nil:
		return b
	case b == nil || slices.Compare(a.state, b.state) <= 0:
		return a
	}
	return b
}
