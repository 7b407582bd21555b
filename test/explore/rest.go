package main

// rest lets the system come to rest from a state where nobody is at work: no faults any more, leases end, a look at everything
// as often as it takes. proven is asked at each state where nobody is at work whether that one was tried before. It returns
// what happened, for a story, if told is true.
func (m *machine) rest(s *world, proven func(*world) bool, tell func(action, *world)) {
	m.violation = ""
	for range 60 {
		s.calm()
		if proven(s) {
			return
		}
		if m.atRest(s) {
			m.checkRest(s, tell)
			return
		}
		first := action{kind: startSync}
		if m.resolve(s).conflict {
			first.kind = startResolver
		}
		if !m.call(s, first, tell) {
			return
		}
		if first.kind == startResolver && !m.call(s, action{kind: startSync}, tell) {
			return
		}
	}
	m.fail("I2 convergence: not at rest after 60 rounds of looking")
}

// calm ends faults, leases and what is left of them.
func (s *world) calm() {
	s.crashes, s.losses, s.faults = 0, 0, 0
	s.fault = [maxReplicas]uint8{}
	for i := range s.row.intents[:s.row.ni] {
		if s.row.intents[i].lease == leaseLive {
			s.row.intents[i].lease = leaseEnded
		}
	}
	s.nh, s.history = 0, [maxOps]kept{} // users have stopped
}

// call runs worker 0 to the end of its call. It reports whether nothing was wrong.
func (m *machine) call(s *world, a action, tell func(action, *world)) bool {
	for n := 0; ; n++ {
		m.do(s, a)
		tell(a, s)
		if m.violation == "" {
			m.check(s)
		}
		if m.violation != "" || m.cut {
			return false
		}
		if n > 500 {
			m.fail("I2 convergence: a call does not end")
			return false
		}
		w := &s.workers[0]
		switch w.at {
		case idle:
			return true
		case looking:
			a = action{kind: lookAt}
			if !w.full {
				a.r = w.hint
			}
			for w.full && (w.seen|w.unknown)>>a.r&1 == 1 {
				a.r++
			}
		case writing:
			a = action{kind: writeAnswered}
			for w.orders[a.k].end != unsent {
				a.k++
			}
		default:
			a = action{kind: goOn}
		}
	}
}

// atRest: the row knows what all replicas hold, that is one version, and it is proven.
func (m *machine) atRest(s *world) bool {
	for r := range m.scope.replicas {
		h, b := s.row.replicas[r], s.buckets[r]
		if h.print.content != b.content || h.print.serial != b.serial || h.tentative != 0 {
			return false
		}
		if h.version != s.row.replicas[0].version && !m.resolve(s).drift {
			return false
		}
	}
	return true
}

// checkRest checks I2, I3 and I5.
func (m *machine) checkRest(s *world, tell func(action, *world)) {
	if m.resolve(s).drift {
		for r, member := range m.members {
			if member.Writable && s.buckets[r].content != 0 {
				m.fail("I2 convergence: at rest, what was written at the ReadOnly replica stands against content %d of replica %s", s.buckets[r].content, member.Name)
			}
		}
		return
	}
	for r := range m.scope.replicas {
		if s.buckets[r].content != s.buckets[0].content {
			m.fail("I2 convergence: at rest, replica a holds content %d and replica %s content %d", s.buckets[0].content, name(uint8(r)), s.buckets[r].content) //nolint:gosec // at most 3
			return
		}
	}
	if m.rolledBack(s, 0, 0, 0) {
		switch {
		case !m.rolledBack(s, s.hidden, s.unseen, s.revived):
			m.residual.r2++
		case m.scope.tags != generations && !m.rolledBack(s, s.hidden, s.unseen|s.blind, s.revived):
			m.residual.r6++
		default:
			m.fail("I3 rollback: the final content %d comes from no causally maximal operation", s.buckets[0].content)
			return
		}
	}
	before, made := *s, m.made
	if !m.call(s, action{kind: startSync}, tell) {
		return
	}
	for r := range uint8(m.scope.replicas) { //nolint:gosec // at most 3
		if !m.call(s, action{kind: startHint, r: r}, tell) {
			return
		}
	}
	if s.serials != before.serials || s.nonces != before.nonces || s.preserved != before.preserved || m.made != made {
		m.fail("I5 no loop: looking at what is already everywhere wrote something")
	}
}
