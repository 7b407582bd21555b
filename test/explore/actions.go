package main

import "slices"

// kind is what can happen next.
type kind uint8

const (
	userPut kind = iota
	userEdit
	userDelete
	userReput
	userRestore
	startSync
	startHint
	startResolver
	lookAt
	goOn
	writeAnswered
	writeUnanswered
	writeLost
	crash
	leaseEnds
	faultBegins
	faultEnds
)

// action is one thing that happens: to worker w or at replica r.
type action struct {
	kind    kind
	w, r, k uint8
}

// actions are all that can happen in a state, always in the same order.
func (m *machine) actions(s *world) []action {
	sc := m.scope
	acts := m.acts[:0]
	for i := range uint8(sc.workers) { //nolint:gosec // at most 3
		w := &s.workers[i]
		switch w.at {
		case idle:
			acts = append(acts, action{kind: startSync, w: i})
			for r := range uint8(sc.replicas) { //nolint:gosec // at most 3
				if sc.hints && !s.row.live(int(r)) {
					acts = append(acts, action{kind: startHint, w: i, r: r})
				}
			}
			if m.resolve(s).conflict {
				acts = append(acts, action{kind: startResolver, w: i})
			}
			continue
		case looking:
			for r := range uint8(sc.replicas) { //nolint:gosec // at most 3
				if !w.full {
					r = w.hint
				}
				if (w.seen|w.unknown)>>r&1 == 0 {
					acts = append(acts, action{kind: lookAt, w: i, r: r})
					if !sc.anyOrder || !w.full {
						break
					}
				}
			}
		case writing:
			for k := range w.no {
				if w.orders[k].end != unsent {
					continue
				}
				acts = append(acts, action{kind: writeAnswered, w: i, k: k})
				if s.losses > 0 {
					acts = append(acts, action{kind: writeUnanswered, w: i, k: k}, action{kind: writeLost, w: i, k: k})
				}
			}
		default:
			acts = append(acts, action{kind: goOn, w: i})
		}
		if s.crashes > 0 {
			acts = append(acts, action{kind: crash, w: i})
		}
	}
	if sc.leases {
		for k := range s.row.ni {
			if s.row.intents[k].lease == leaseLive {
				acts = append(acts, action{kind: leaseEnds, k: k})
			}
		}
	}
	acts = m.users(s, acts)
	for r := range uint8(sc.replicas) { //nolint:gosec // at most 3
		switch {
		case s.fault[r] != healthy:
			acts = append(acts, action{kind: faultEnds, r: r})
		case s.faults > 0:
			acts = append(acts, action{kind: faultBegins, r: r, k: silent}, action{kind: faultBegins, r: r, k: readOnly})
		}
	}
	m.acts = acts
	return acts
}

// users are what users can do.
func (m *machine) users(s *world, acts []action) []action {
	sc := m.scope
	if int(s.no) >= sc.ops {
		return acts
	}
	for r := range uint8(sc.replicas) { //nolint:gosec // at most 3
		b := s.buckets[r]
		acts = append(acts, action{kind: userPut, r: r})
		if b.content != 0 {
			acts = append(acts, action{kind: userDelete, r: r})
			if sc.restores && b.nonce != 0 {
				acts = append(acts, action{kind: userEdit, r: r})
			}
		}
		if sc.reputs {
			for k := range s.no {
				if c := s.ops[k].content; c == k+1 {
					acts = append(acts, action{kind: userReput, r: r, k: c})
				}
			}
		}
		for k := range s.nh {
			if s.history[k].replica == r {
				acts = append(acts, action{kind: userRestore, r: r, k: k})
			}
		}
	}
	return acts
}

// do makes an action happen.
func (m *machine) do(s *world, a action) {
	m.violation, m.cut = "", false
	w := &s.workers[a.w]
	switch a.kind {
	case userPut, userEdit, userDelete, userReput, userRestore:
		m.user(s, a)
	case startSync:
		m.begin(w, false, 0)
	case startHint:
		m.begin(w, true, a.r)
	case startResolver:
		m.beginResolve(s, w)
	case lookAt:
		m.look(s, w, a.r)
	case goOn:
		m.goOn(s, int(a.w))
	case writeAnswered:
		m.write(s, w, int(a.k), written, true)
	case writeUnanswered:
		s.losses--
		m.write(s, w, int(a.k), unanswered, true)
	case writeLost:
		s.losses--
		m.write(s, w, int(a.k), unanswered, false)
	case crash:
		s.crashes--
		*w = worker{}
	case leaseEnds:
		m.endLease(s, int(a.k))
	case faultBegins:
		s.faults--
		s.fault[a.r] = a.k
	case faultEnds:
		s.fault[a.r] = healthy
	}
}

// goOn is the next await of a worker that has only one.
func (m *machine) goOn(s *world, i int) {
	w := &s.workers[i]
	switch w.at {
	case finding:
		m.find(s, w)
	case deciding:
		m.decideNow(s, i)
	case reading:
		m.read(s, w)
	case storing:
		m.acknowledgeNow(s, i)
	case dropping:
		m.drop(s, i)
	case opening:
		m.open(s, w)
	case keeping:
		m.put(s, w)
	case settling:
		m.settleNow(s, i)
	}
}

// endLease lets time pass. A worker that has begun to look believes the intent to be live until its decision. A request that
// was not made by now is never made.
func (m *machine) endLease(s *world, k int) {
	s.row.intents[k].lease = leaseEnded
	for i := range s.workers[:m.scope.workers] {
		w := &s.workers[i]
		if w.at >= looking && w.at <= finding && !w.stale && w.seen|w.unknown != 0 {
			w.late |= 1 << k
		}
		if w.at != reading && w.at != writing {
			continue
		}
		for j := range w.orders[:w.no] {
			if o := &w.orders[j]; o.nonce == s.row.intents[k].nonce && o.end == unsent {
				o.end = unanswered
			}
		}
		if w.at == writing {
			m.written(s, w)
		}
	}
}

// time is what a provider says of a write: in the order of users' operations, or against it.
func (m *machine) time(s *world, ours bool) uint8 {
	t := 10 * (s.no + 1)
	if ours {
		t = 10*s.no + 5
	}
	if m.scope.backwards {
		t = 10*(maxOps+1) - t
	}
	return t
}

// user is an operation of a user, who knows nothing of us.
func (m *machine) user(s *world, a action) {
	b := &s.buckets[a.r]
	old := *b
	n := object{time: m.time(s, false), past: old.past | 1<<s.no, claim: old.claim | 1<<s.no}
	switch a.kind {
	case userPut:
		n.content = s.no + 1
	case userEdit: // by a tool that keeps the metadata
		n.content, n.nonce = s.no+1, old.nonce
	case userReput:
		n.content = a.k
	case userRestore:
		n.content, n.nonce = s.history[a.k].content, s.history[a.k].nonce
	case userDelete:
		if s.row.replicas[a.r].print.content == 0 {
			s.hidden |= 1 << s.no
		}
	default:
	}
	if n.content != 0 {
		s.serials++
		n.serial = s.serials
	}
	if m.scope.restores && old.content != 0 && old.nonce != 0 && s.nh < maxOps {
		s.remember(kept{replica: a.r, content: old.content, nonce: old.nonce})
	}
	if m.scope.tags == versions {
		s.below[a.r] = lower{content: old.content, serial: old.serial}
	}
	s.ops[s.no] = operation{content: n.content, past: old.past, replica: a.r}
	s.no++
	*b = n
}

func (s *world) remember(k kept) {
	if slices.Contains(s.history[:s.nh], k) {
		return
	}
	s.history[s.nh] = k
	s.nh++
}
