package main

import (
	"slices"

	"github.com/bucketmesh/bucketmesh/pkg/policy"
	"github.com/bucketmesh/bucketmesh/pkg/reconcile/plan"
	"github.com/bucketmesh/bucketmesh/pkg/state"
	"github.com/bucketmesh/bucketmesh/pkg/version"
)

// What a row becomes is asked of package plan, once for each different question: the same rows come back in very many states.

// maxAnswers bounds the memory of answers; when it is full they are forgotten.
const maxAnswers = 150_000

// next is a row that plan made of another one, and where its versions come from.
type next struct {
	row     row
	full    bool                // there was no room for it
	from    [maxVersions]uint8  // place in the old row; 0: new
	oldPast [maxVersions]uint16 // of a new version of the synchronizer: old versions in its past
	newPast [maxVersions]uint16 // and new ones of users
}

// decision is the answer to a plan.
type decision struct {
	next
	action         plan.Action
	changed        bool
	stranded, wait bool
	leftovers      bool // an earlier write at a destination has an unknown end
	gone           bool
	adopted        uint8 // replicas where a write of ours that was not acknowledged was recognised
	target, source uint8
	dests          []uint8
	intended       next // with the intents of line 5a, whose nonces are freshNonce and the next ones
}

// acknowledged is the answer to line 5e.
type acknowledged struct {
	next
	settled, gone bool
}

// resolution is the answer to line 4.
type resolution struct {
	next
	conflict bool
	drift    bool // the only head was written where users may not write: it is left alone
	losers   []loser
}

// freshNonce stands for a nonce that is drawn when an answer is used.
const freshNonce = 60

// unknownSerial is of an object whose answer a fault makes up.
const unknownSerial = 70

// become compacts a row that plan made.
func (m *machine) become(old *row, s *state.Row) (n next, places map[version.ID]uint8) {
	r, places, ok := m.compact(s)
	if !ok {
		n.full = true
		return n, nil
	}
	n.row = r
	olds := map[version.ID]uint8{}
	for i := range old.versions[:old.nv] {
		olds[id(&old.versions[i])] = uint8(i + 1) //nolint:gosec // at most maxVersions
	}
	for vid, p := range places {
		if p != 0 {
			n.from[p-1] = olds[vid]
		}
	}
	for vid, p := range places {
		if p == 0 || n.from[p-1] != 0 || r.versions[p-1].origin != joiner {
			continue
		}
		v := s.Versions[vid]
		for i := range old.versions[:old.nv] {
			if old.versions[i].vector.expand().LessEqual(v.Vector) {
				n.oldPast[p-1] |= 1 << i
			}
		}
		for uid, q := range places {
			if q != 0 && n.from[q-1] == 0 && r.versions[q-1].origin != joiner && s.Versions[uid].Vector.LessEqual(v.Vector) {
				n.newPast[p-1] |= 1 << (q - 1)
			}
		}
	}
	return n, places
}

// decide is plan.Plan, and plan.Intend if there is something to write.
func (m *machine) decide(s *world, w *worker) *decision {
	key := s.row.key(m.scratch[:0], m.scope.replicas)
	concluded := w.concluded(&s.row)
	key = append(key, w.seen, w.unknown, w.late, concluded, bit(w.full), w.hint)
	for i := range m.scope.replicas {
		if w.seen>>i&1 == 1 {
			o := &w.looks[i]
			key = append(key, o.content, o.serial, o.nonce, o.time)
		}
	}
	m.scratch = key
	if d, ok := m.decisions[string(key)]; ok {
		return d
	}
	if len(m.decisions) >= maxAnswers {
		clear(m.decisions)
	}
	d := m.plan(&s.row, w, concluded)
	m.decisions[string(key)] = d
	return d
}

func (m *machine) plan(r *row, w *worker, concluded uint8) *decision {
	before := m.expand(r, w.late)
	view := plan.View{
		Members: m.members, Seen: map[string]plan.Observation{}, Unknown: map[string]bool{}, Concluded: map[string]bool{},
		LookedAt: lookedAt, Now: decidedAt, Deletes: true, Mutant: m.mutant,
	}
	for i, member := range m.members {
		if w.seen>>i&1 == 1 {
			view.Seen[member.Name] = m.observation(w.looks[i], !w.full)
		}
		if w.unknown>>i&1 == 1 {
			view.Unknown[member.Name] = true
		}
	}
	for i, it := range before.Intents {
		if concluded>>i&1 == 1 {
			view.Concluded[it.Nonce] = true
		}
	}
	s := plan.Plan(before, view)
	d := &decision{action: s.Action, changed: s.Changed, stranded: len(s.Stranded) > 0, wait: !s.Until.IsZero(), gone: plan.Gone(&s.Row, m.members)}
	var places map[version.ID]uint8
	if d.next, places = m.become(r, &s.Row); d.full {
		return d
	}
	for i, member := range m.members {
		is := s.Row.Replicas[member.Name].Print
		if it, ok := r.intent(d.row.replicas[i].print.nonce); ok && is.Nonce != before.Replicas[member.Name].Print.Nonce && int(it.replica) == i {
			d.adopted |= 1 << i
		}
	}
	if s.Action != plan.Propagate {
		return d
	}
	d.target = places[s.Target]
	if s.Source != "" {
		d.source = place(s.Source)
	}
	for _, n := range s.Dests {
		d.dests = append(d.dests, place(n))
		for _, it := range s.Row.Intents {
			d.leftovers = d.leftovers || it.Replica == n
		}
	}
	fresh := uint8(freshNonce)
	row, _ := plan.Intend(s.Row, s.Target, s.Dests, func() string { fresh++; return token(fresh - 1) }, endsLater, "", m.mutant)
	if m.mutant == plan.IntentUnstored {
		row.Intents = s.Row.Intents
	}
	d.intended, places = m.become(r, &row)
	d.target = places[s.Target]
	d.full = d.intended.full
	return d
}

// acknowledge is line 5e: plan.Written, and what becomes of writes that were not.
func (m *machine) acknowledge(s *world, w *worker) *acknowledged {
	key := append(s.row.key(m.scratch[:0], m.scope.replicas), w.target, bit(w.loose))
	for _, o := range w.orders[:w.no] {
		key = append(key, o.replica, o.nonce, o.end, o.serial, o.expect.content, o.expect.serial)
	}
	m.scratch = key
	if a, ok := m.acknowledgements[string(key)]; ok {
		return a
	}
	if len(m.acknowledgements) >= maxAnswers {
		clear(m.acknowledgements)
	}
	row := plan.Clone(m.expand(&s.row, 0))
	target := s.row.id(w.target)
	failed := false
	for _, o := range w.orders[:w.no] {
		po := plan.Order{Replica: name(o.replica), Nonce: token(o.nonce), Expect: m.fingerprint(o.expect)}
		failed = failed || o.end != written
		switch o.end {
		case written:
			plan.Written(&row, po, target, m.landed(w.content, o.serial), m.mutant)
		case forbidden:
			plan.Refused(&row, po, "")
		case left:
			plan.Withdraw(&row, po.Nonce)
		case unanswered:
			if m.mutant == plan.TimeoutFailed {
				plan.Withdraw(&row, po.Nonce)
			}
			if m.mutant == plan.TimeoutDone {
				plan.Written(&row, po, target, m.landed(w.content, unknownSerial), m.mutant)
			}
		case refused:
			if m.mutant == plan.RefusedDone {
				plan.Written(&row, po, target, m.landed(w.content, unknownSerial), m.mutant)
			}
		}
	}
	plan.Prune(&row)
	a := &acknowledged{}
	a.settled = !failed && !w.loose && plan.Settled(&row, m.members)
	a.gone = a.settled && plan.Gone(&row, m.members)
	a.next, _ = m.become(&s.row, &row)
	m.acknowledgements[string(key)] = a
	return a
}

func (m *machine) landed(content, serial uint8) plan.Landed {
	if content == 0 {
		return plan.Landed{}
	}
	f := m.fingerprint(mark{content: content, serial: serial, told: m.scope.tags == generations})
	return plan.Landed{Tag: f.Tag, VersionID: f.VersionID, ModTime: f.ModTime, RequestID: token(serial)}
}

// withdraw is the row after a read that failed.
func (m *machine) withdraw(s *world, w *worker) next {
	row := plan.Clone(m.expand(&s.row, 0))
	for _, o := range w.orders[:w.no] {
		plan.Withdraw(&row, token(o.nonce))
	}
	n, _ := m.become(&s.row, &row)
	return n
}

// resolve is line 4: what the policy says, and plan.Resolve.
func (m *machine) resolve(s *world) *resolution {
	key := s.row.key(m.scratch[:0], m.scope.replicas)
	m.scratch = key
	if r, ok := m.resolutions[string(key)]; ok {
		return r
	}
	if len(m.resolutions) >= maxAnswers {
		clear(m.resolutions)
	}
	r := m.settle(&s.row)
	m.resolutions[string(key)] = r
	return r
}

func (m *machine) settle(old *row) *resolution {
	before := m.expand(old, 0)
	heads := plan.Heads(&before, m.members)
	if len(heads) < 2 {
		return &resolution{drift: slices.ContainsFunc(m.members, func(member plan.Member) bool {
			return !member.Writable && member.Name == plan.Lookup(&before, heads[0]).Origin
		})}
	}
	r := &resolution{conflict: true}
	ranked := m.heads(&before, heads)
	verdict := policy.Decide(m.scope.rule, ranked, m.scope.replicas)
	switch m.mutant {
	case plan.FirstHeadWins:
		verdict.Keep, verdict.Winner = verdict.Keep[:0], heads[0]
		for _, h := range ranked {
			if h.Version.ID != heads[0] && h.Version.Kind == version.Put {
				verdict.Keep = append(verdict.Keep, h.Version.ID)
			}
		}
	case plan.KeepNothing:
		verdict.Keep = nil
	default:
	}
	for _, h := range ranked {
		for _, keep := range verdict.Keep {
			if h.Version.ID == keep {
				at := place(h.Replica)
				r.losers = append(r.losers, loser{replica: at, print: old.replicas[at].print})
			}
		}
	}
	row, _ := plan.Resolve(before, m.members, heads, verdict.Winner, decidedAt, m.mutant)
	r.next, _ = m.become(old, &row)
	return r
}

func (m *machine) heads(row *state.Row, heads []version.ID) []policy.Head {
	out := make([]policy.Head, 0, len(heads))
	for _, h := range heads {
		head := policy.Head{Version: plan.Lookup(row, h), Writable: true}
		for _, member := range m.members {
			if plan.Effective(row.Replicas[member.Name]) == h && head.Replica == "" {
				head.Replica = member.Name
			}
			if member.Name == head.Version.Origin {
				head.Writable = member.Writable
			}
		}
		out = append(out, head)
	}
	return out
}

func bit(b bool) uint8 {
	if b {
		return 1
	}
	return 0
}

// concluded are the intents of the row whose requests this call knows to have ended.
func (w *worker) concluded(r *row) (mask uint8) {
	for i, it := range r.intents[:r.ni] {
		for _, n := range w.known[:w.nk] {
			if n == it.nonce {
				mask |= 1 << i
			}
		}
	}
	return mask
}
