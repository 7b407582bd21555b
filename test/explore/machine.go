package main

import (
	"fmt"

	"github.com/bucketmesh/bucketmesh/pkg/reconcile/plan"
)

// machine makes steps. Each goroutine has its own: it remembers answers of the planner.
type machine struct {
	scope            *scope
	mutant           plan.Mutant
	members          []plan.Member
	decisions        map[string]*decision
	acknowledgements map[string]*acknowledged
	resolutions      map[string]*resolution
	scratch          []byte
	acts             []action

	violation string // of the last step
	cut       bool   // the last step led out of what a state has room for
	residual  residual
	made      int // versions, ever
}

// residual counts what is documented to remain.
type residual struct {
	r2, r6 int
}

func (a *residual) add(b residual) {
	a.r2 += b.r2
	a.r6 += b.r6
}

func newMachine(s *scope, mutant plan.Mutant) *machine {
	m := &machine{
		scope: s, mutant: mutant, decisions: map[string]*decision{}, acknowledgements: map[string]*acknowledged{}, resolutions: map[string]*resolution{},
	}
	for i := range s.replicas {
		m.members = append(m.members, plan.Member{Name: name(uint8(i)), Writable: s.readOnly == 0 || i != s.readOnly}) //nolint:gosec // at most 3
	}
	return m
}

func (m *machine) fail(format string, args ...any) {
	if m.violation == "" {
		m.violation = fmt.Sprintf(format, args...)
	}
}

// store puts a row that plan made in the place of the old one, and tells the other workers.
func (m *machine) store(s *world, i int, n *next, remove bool) {
	if n.full {
		m.cut = true
		return
	}
	missing := s.row.missing
	var truth [maxVersions]uint8
	for v := range n.row.versions[:n.row.nv] {
		switch from := n.from[v]; {
		case from != 0:
			truth[v] = s.truth[from-1]
		case n.row.versions[v].origin != joiner:
			truth[v] = s.workers[i].looks[n.row.versions[v].origin].claim
			if n.row.versions[v].content == 0 {
				s.hidden &^= truth[v] // somebody saw it after all
			}
		}
	}
	for v := range n.row.versions[:n.row.nv] {
		if n.from[v] != 0 {
			continue
		}
		m.made++
		if n.row.versions[v].origin != joiner {
			continue
		}
		for k := range maxVersions {
			if n.oldPast[v]>>k&1 == 1 {
				truth[v] |= s.truth[k]
			}
			if n.newPast[v]>>k&1 == 1 {
				truth[v] |= truth[k]
			}
		}
	}
	s.row, s.truth = n.row, truth
	if missing && s.row.nv == 0 && s.row.ni == 0 && allGenesis(&s.row) {
		remove = true // there is nothing to remember: an absent row stays absent
	}
	if remove {
		s.row, s.truth = row{missing: true}, [maxVersions]uint8{}
		if missing {
			return
		}
	}
	for j := range s.workers[:m.scope.workers] {
		if j != i {
			m.overtaken(s, j)
		}
	}
}

func allGenesis(r *row) bool {
	for _, h := range r.replicas {
		if h != (holding{}) {
			return false
		}
	}
	return true
}

// overtaken tells a worker that the row changed. Where all that it can do yet is to fail at its next commit and read the row
// again, it does so at once: nobody can tell the difference.
func (m *machine) overtaken(s *world, j int) {
	w := &s.workers[j]
	switch w.at {
	case idle:
	case looking, finding, deciding:
		m.again(s, w)
	case storing, dropping:
		m.again(s, w)
	case settling:
		m.beginResolve(s, w)
	default:
		w.stale = true
	}
}

// again is goto 1. A call for a hint that is overtaken ends: its event comes again.
func (m *machine) again(s *world, w *worker) {
	if !w.full {
		*w = worker{}
		return
	}
	n := worker{at: looking, full: true, out: w.out, unknown: w.out}
	for _, k := range w.known[:w.nk] {
		if _, live := s.row.intent(k); live {
			n.known[n.nk] = k
			n.nk++
		}
	}
	*w = n
	if w.unknown == m.all() {
		w.at = deciding
	}
}

func (m *machine) all() uint8 { return 1<<m.scope.replicas - 1 }

func (w *worker) conclude(nonce uint8) {
	if w.nk < maxKnown {
		w.known[w.nk] = nonce
		w.nk++
	}
}
