package main

import "slices"

// The checks compare what the system did with the truth.

// prove lets an object count as following a resolution or a join, if it was seen after that had been stored: from then on
// a user who writes over it does follow it. So does an absence that is taken for our delete.
func (m *machine) prove(s *world, w *worker, before *row, n *next) {
	if m.cut {
		return
	}
	for r := range m.scope.replicas {
		if w.seen>>r&1 == 0 || w.broken>>r&1 == 1 {
			continue
		}
		h, was := n.row.replicas[r], before.replicas[r]
		if h.version == 0 {
			continue
		}
		old := n.from[h.version-1]
		if before := old == was.version || old == was.tentative; old == 0 || !before && h.print.content != 0 || h.print.content != w.looks[r].content || h.print.serial != w.looks[r].serial {
			continue
		}
		s.buckets[r].claim |= s.truth[h.version-1]
	}
}

// check is I1 and I4.
func (m *machine) check(s *world) {
	for k := range s.ops[:s.no] {
		if c := s.ops[k].content; c != 0 && s.preserved>>c&1 == 0 && !m.current(s, c) && !s.overwritten(k) {
			m.fail("I1 lost update: content %d of operation %d is nowhere", c, k)
		}
	}
	for r := range m.scope.replicas {
		h, b := s.row.replicas[r], s.buckets[r]
		if h.version == 0 || b.content == 0 || h.print.content == 0 || h.print.serial != b.serial {
			continue
		}
		for k := range s.ops[:s.no] {
			if (s.truth[h.version-1]&^b.claim)>>k&1 == 1 && s.ops[k].content != b.content {
				m.fail("I4 recorded past: the version of replica %s claims operation %d, which its object never followed", name(uint8(r)), k) //nolint:gosec // at most 3
			}
		}
	}
}

func (m *machine) current(s *world, content uint8) bool {
	for r := range m.scope.replicas {
		if s.buckets[r].content == content {
			return true
		}
	}
	return false
}

// overwritten reports that a user overwrote operation k, or the same content elsewhere, knowing it.
func (s *world) overwritten(k int) bool {
	for same := range s.ops[:s.no] {
		if s.ops[same].content != s.ops[k].content {
			continue
		}
		for j := range s.ops[:s.no] {
			if j != same && s.ops[j].past>>same&1 == 1 {
				return true
			}
		}
	}
	return false
}

// checkOverwrite is I6: what is overwritten is in the past of what overwrites it, or preserved.
func (m *machine) checkOverwrite(s *world, w *worker, over object) {
	c := over.content
	if c == 0 || w.content == c || s.preserved>>c&1 == 1 {
		return
	}
	for k := range s.ops[:s.no] {
		if s.ops[k].content == c && (w.truth|s.unseen)>>k&1 == 1 { // what a create covered was deleted by a user (R2)
			return
		}
	}
	m.fail("I6 overwrite: content %d is neither in the past of the version that is written over it, with content %d, nor preserved", c, w.content)
}

// rolledBack is I3: the final value comes from a user operation that no user overwrote knowingly, at a replica where
// users may write. Operations in the masks of residuals don't count as overwriting, and contents in revived count as written again.
func (m *machine) rolledBack(s *world, hidden, ignore, revived uint8) bool {
	meant := slices.ContainsFunc(s.ops[:s.no], func(op operation) bool { return m.members[op.replica].Writable })
	if !meant { // nobody wrote where users may write
		return false
	}
	for k := range s.ops[:s.no] {
		if s.ops[k].content != s.buckets[0].content || !m.members[s.ops[k].replica].Writable {
			continue
		}
		if revived>>s.ops[k].content&1 == 1 {
			return false
		}
		newest := true // of what counts
		for j := range s.ops[:s.no] {
			if j != k && s.ops[j].past>>k&1 == 1 && ignore>>j&1 == 0 && m.members[s.ops[j].replica].Writable && !s.cutOff(k, j, hidden) {
				newest = false
			}
		}
		if newest {
			return false
		}
	}
	return true
}

// cutOff reports that operation j follows k through a delete of what nobody knew to be there: that delete left no trace, so
// nothing tells that j follows k.
func (s *world) cutOff(k, j int, hidden uint8) bool {
	for d := range s.ops[:s.no] {
		if hidden>>d&1 == 1 && s.ops[d].past>>k&1 == 1 && (j == d || s.ops[j].past>>d&1 == 1) {
			return true
		}
	}
	return false
}
