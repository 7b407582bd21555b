package main

import "github.com/bucketmesh/bucketmesh/pkg/reconcile/plan"

// The lines of the engine, one await at a time.

// begin starts a call: of sync, looking at all replicas or at the one of a hint.
func (m *machine) begin(w *worker, hinted bool, replica uint8) {
	*w = worker{at: looking, full: !hinted, hint: replica}
}

// beginResolve starts a call of the conflict-resolver.
func (m *machine) beginResolve(s *world, w *worker) {
	*w = worker{}
	r := m.resolve(s)
	if !r.conflict {
		return
	}
	w.at = settling
	if m.mutant != plan.OverwriteFirst {
		m.keep(w, r)
	}
}

func (m *machine) keep(w *worker, r *resolution) {
	for _, l := range r.losers {
		w.losers[w.nl] = l
		w.nl++
		w.at = opening
	}
}

// look is line 2 at one replica.
func (m *machine) look(s *world, w *worker, r uint8) {
	switch believed := m.mutant == plan.ErrorAbsent || m.mutant == plan.DeniedAbsent; {
	case s.fault[r] == silent && believed:
		w.seen |= 1 << r
	case s.fault[r] == silent:
		w.unknown |= 1 << r
	default:
		w.seen |= 1 << r
		w.looks[r] = s.buckets[r]
	}
	if !w.full || w.seen|w.unknown == m.all() {
		w.at = deciding
		if m.scope.tags == versions && m.mutant != plan.NoRecovery && m.doubtful(s, w) != 0 {
			w.at = finding
		}
	}
}

// doubtful are the replicas where line 5d has to look.
func (m *machine) doubtful(s *world, w *worker) uint8 { return m.decide(s, w).adopted &^ w.found }

// find is line 5d at one replica: what our write replaced is kept, if it is not what we expected.
func (m *machine) find(s *world, w *worker) {
	doubt := m.doubtful(s, w)
	for r := range m.scope.replicas {
		if doubt>>r&1 == 0 {
			continue
		}
		w.found |= 1 << r
		it, _ := s.row.intent(w.looks[r].nonce)
		below := s.below[r]
		if s.buckets[r].serial == w.looks[r].serial && below.content != 0 && below.serial != it.expect.serial {
			s.preserved |= 1 << below.content
		}
		break
	}
	if m.doubtful(s, w) == 0 {
		w.at = deciding
	}
}

// decideNow is line 3 with its commit, and with 5a's.
func (m *machine) decideNow(s *world, i int) {
	w := &s.workers[i]
	d := m.decide(s, w)
	if d.full {
		m.cut = true
		return
	}
	before := s.row
	switch d.action {
	case plan.Identify:
		m.fail("the planner asks for contents that it knows")
	case plan.Conflict:
		m.store(s, i, &d.next, false)
		m.prove(s, w, &before, &d.next)
		*w = worker{}
	case plan.Wait:
		m.store(s, i, &d.next, false)
		m.prove(s, w, &before, &d.next)
		*w = worker{}
	case plan.Again:
		w.full = true
		if d.changed {
			m.store(s, i, &d.next, false)
			m.prove(s, w, &before, &d.next)
		}
		m.again(s, w)
	case plan.Settle:
		if !w.full && (d.stranded || w.unknown != 0) {
			w.full = true
			m.again(s, w)
			return
		}
		m.store(s, i, &d.next, d.gone && !d.stranded && w.unknown == 0)
		m.prove(s, w, &before, &d.next)
		*w = worker{}
	case plan.Propagate:
		if !w.full && (d.leftovers || d.stranded) {
			w.full = true
			m.again(s, w)
			return
		}
		m.propagate(s, i, d, &before)
	}
}

// propagate is 5a.
func (m *machine) propagate(s *world, i int, d *decision, before *row) {
	w := &s.workers[i]
	m.store(s, i, &d.intended, false)
	if m.cut {
		return
	}
	m.prove(s, w, before, &d.intended)
	n := worker{
		at: writing, full: true, out: w.out, known: w.known, nk: w.nk, target: d.target, loose: d.stranded || d.wait || w.unknown != 0,
		content: s.row.versions[d.target-1].content, truth: s.truth[d.target-1],
	}
	for k, r := range d.dests {
		s.nonces++
		for j := range s.row.intents[:s.row.ni] {
			if s.row.intents[j].nonce == freshNonce+uint8(k) { //nolint:gosec // at most 2
				s.row.intents[j].nonce = s.nonces
			}
		}
		n.orders[k] = order{replica: r, nonce: s.nonces, expect: s.row.replicas[r].print}
		n.no++
		if v := s.row.replicas[r].version; v != 0 && s.truth[v-1]&^n.truth&^s.unseen != 0 && s.row.versions[v-1].content == 0 {
			m.fail("I6 overwrite: the row says that replica %s holds a delete that is not in the past of what is to be written there", name(r))
		}
	}
	if n.content != 0 {
		n.source, n.pin = d.source, s.row.replicas[d.source].print
		opened := !w.full && w.hint == d.source && w.seen>>w.hint&1 == 1 // the look was the pinned read
		if opened {
			n.content = w.looks[w.hint].content
		} else {
			n.at = reading
		}
	}
	*w = n
}

// read is 5b.
func (m *machine) read(s *world, w *worker) {
	o := s.buckets[w.source]
	switch {
	case s.fault[w.source] == silent:
		w.at, w.retry = dropping, !w.stale && m.heldElsewhere(s, w)
		if w.retry {
			w.out |= 1 << w.source
		}
	case m.mutant == plan.UnpinnedRead && o.content != 0:
		w.at, w.content = writing, o.content
		m.written(s, w)
		return
	case o.content == 0 || !m.matches(o, w.pin):
		w.at, w.retry = dropping, true
	default:
		w.at = writing
		m.written(s, w)
		return
	}
	for _, o := range w.orders[:w.no] {
		w.conclude(o.nonce)
	}
	if w.stale {
		m.again(s, w)
	}
}

func (m *machine) heldElsewhere(s *world, w *worker) bool {
	for r := range m.scope.replicas {
		if r != int(w.source) && w.out>>r&1 == 0 && s.row.replicas[r].print.content != 0 && s.row.effective(r) == w.target {
			return true
		}
	}
	return false
}

// matches is a condition on the tag.
func (m *machine) matches(o object, p mark) bool {
	if m.scope.tags == generations {
		return o.serial == p.serial
	}
	return o.content == p.content
}

// drop stores that nothing was written.
func (m *machine) drop(s *world, i int) {
	w := &s.workers[i]
	n := m.withdraw(s, w)
	m.store(s, i, &n, false)
	if !w.retry {
		*w = worker{}
		return
	}
	m.again(s, w)
}

// write is 5c at one destination; end says what becomes of the request if nothing is in its way.
func (m *machine) write(s *world, w *worker, k int, end uint8, lands bool) {
	o := &w.orders[k]
	b := &s.buckets[o.replica]
	uncond := w.content != 0 && m.mutant == plan.UnconditionalPut || w.content == 0 && m.mutant == plan.UnconditionalDel
	holds := b.content == 0
	if o.expect.content != 0 {
		holds = b.content != 0 && m.matches(*b, o.expect)
	}
	switch {
	case s.fault[o.replica] == readOnly:
		o.end = forbidden
	case s.fault[o.replica] == silent:
		o.end = left
	case !lands:
		o.end = unanswered
	case w.content == 0 && b.content == 0 && uncond:
		o.end = written
	case !holds && !uncond:
		o.end = refused
	default:
		o.end = end
		m.land(s, w, o)
	}
	m.written(s, w)
}

// written goes on to 5e when no write is left to be done.
func (m *machine) written(s *world, w *worker) {
	for _, x := range w.orders[:w.no] {
		if x.end == unsent {
			return
		}
	}
	for _, x := range w.orders[:w.no] {
		switch x.end {
		case refused:
			w.conclude(x.nonce)
		case forbidden, left:
			w.conclude(x.nonce)
			w.out |= 1 << x.replica
		}
	}
	w.at = storing
	if w.stale {
		m.again(s, w)
	}
}

// land is a write that happens.
func (m *machine) land(s *world, w *worker, o *order) {
	b := &s.buckets[o.replica]
	m.checkOverwrite(s, w, *b)
	if m.scope.tags != generations && b.content != 0 && o.expect.content != 0 && o.expect.serial != 0 && b.serial != o.expect.serial {
		s.blind |= b.past &^ w.truth
	}
	if b.content == 0 && o.expect.content == 0 { // an absence that came later looks like the one that was expected
		if unseen := (b.claim | s.absence(o.replica)) &^ w.truth; unseen != 0 {
			s.unseen |= unseen
			s.revived |= 1 << w.content
		}
	}
	if m.scope.tags == versions {
		s.below[o.replica] = lower{content: b.content, serial: b.serial}
	}
	*b = object{past: w.truth, claim: w.truth, time: m.time(s, true)}
	if w.content != 0 {
		s.serials++
		b.content, b.serial, o.serial = w.content, s.serials, s.serials
		if m.mutant != plan.NoNonce {
			b.nonce = o.nonce
		}
	}
	for j := range s.workers[:m.scope.workers] {
		s.workers[j].broken |= 1 << o.replica
	}
}

// absence is what the row says that the absence at a replica follows.
func (s *world) absence(replica uint8) (follows uint8) {
	h := s.row.replicas[replica]
	for _, v := range []uint8{h.version, h.tentative} {
		if v != 0 && s.row.versions[v-1].content == 0 {
			follows |= s.truth[v-1]
		}
	}
	return follows
}

// acknowledgeNow is 5e.
func (m *machine) acknowledgeNow(s *world, i int) {
	w := &s.workers[i]
	a := m.acknowledge(s, w)
	m.store(s, i, &a.next, a.gone)
	if a.settled {
		*w = worker{}
		return
	}
	m.again(s, w)
}

// open is the pinned read of 4a.
func (m *machine) open(s *world, w *worker) {
	l := w.losers[w.nl-1]
	o := s.buckets[l.replica]
	switch {
	case s.fault[l.replica] == silent:
		*w = worker{}
	case o.content == 0 || !m.matches(o, l.print): // a head changed, and the row does not know
		m.begin(w, false, 0)
	default:
		w.hand, w.at = o.content, keeping
	}
}

// put is the copy of 4a.
func (m *machine) put(s *world, w *worker) {
	s.preserved |= 1 << w.hand
	w.hand = 0
	if w.nl--; w.nl > 0 {
		w.at = opening
		return
	}
	if m.mutant == plan.OverwriteFirst {
		*w = worker{}
		return
	}
	w.at = settling
	if w.stale {
		m.beginResolve(s, w)
	}
}

// settleNow is 4c.
func (m *machine) settleNow(s *world, i int) {
	w := &s.workers[i]
	r := m.resolve(s)
	m.store(s, i, &r.next, false)
	*w = worker{}
	if m.mutant == plan.OverwriteFirst {
		m.keep(w, r)
		w.stale = true
	}
}
