package reconcile

import (
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/state"
	"github.com/bucketmesh/bucketmesh/pkg/version"
)

// Member is a replica as the planner sees it.
type Member struct {
	Name     string
	Writable bool // users may write here (mode ReadWrite)
}

// view is all that plan may know beside the row.
type view struct {
	members   []Member
	seen      map[string]Observation // replicas that answered; the others are taken at the row's word
	unknown   map[string]bool        // replicas that were asked and did not answer: nothing may be concluded or written there
	concluded map[string]bool        // nonces of our own requests that have surely ended
	lookedAt  time.Time              // before the first look
	now       time.Time
	deletes   bool // propagate deletes
	mutant    Mutant
}

// action is what to do next.
type action int

const (
	settle    action = iota // nothing to do, as far as was looked
	again                   // something is tentative: look at everything again
	identify                // read the contents of step.replicas to know whether they are the same
	conflict                // several heads: the conflict-resolver's turn
	propagate               // write step.target at step.dests
	wait                    // another process holds live intents at the only replicas that need work
)

// step is the planner's answer.
type step struct {
	action   action
	row      state.Row
	changed  bool // row differs from what was read
	replicas []string
	heads    []version.ID
	target   version.ID
	source   string // replica to read from; "" for a delete
	dests    []string
	until    time.Time
	stranded []string // replicas that need work and could not be asked, or have no source that answered
}

// plan is lines 3, 4 (detection) and 5 (choice of work) of the algorithm: pure and deterministic.
func plan(row state.Row, v view) step {
	p := planner{view: v, row: clone(row)}
	if need := p.absorb(); len(need) > 0 {
		// The row is left as it was: the observation is made again together with the contents.
		return step{action: identify, row: row, replicas: need}
	}
	heads := p.heads()
	if len(heads) > 1 {
		same, unsure := p.sameContent(heads)
		if len(unsure) > 0 {
			return step{action: identify, row: p.done(), changed: p.changed, replicas: unsure}
		}
		if !same {
			return step{action: conflict, row: p.done(), changed: p.changed, heads: heads}
		}
		heads = []version.ID{p.join(heads)}
	}
	return p.spread(heads[0])
}

type planner struct {
	view
	row     state.Row
	changed bool
	doubted map[string]version.ID // replicas with a user version that may be ours, and which one of ours
}

func clone(row state.Row) state.Row {
	row.Versions = maps.Clone(row.Versions)
	if row.Versions == nil {
		row.Versions = map[version.ID]*version.Version{}
	}
	row.Replicas = maps.Clone(row.Replicas)
	if row.Replicas == nil {
		row.Replicas = map[string]state.Replica{}
	}
	row.Counters = maps.Clone(row.Counters)
	if row.Counters == nil {
		row.Counters = version.Vector{}
	}
	row.Intents = slices.Clone(row.Intents)
	return row
}

// done is the row to store: versions that nothing refers to any more are forgotten.
func (p *planner) done() state.Row {
	if p.mutant == NonceForever { // this fault needs a long memory
		return p.row
	}
	prune(&p.row)
	return p.row
}

func prune(row *state.Row) {
	used := make(map[version.ID]bool, len(row.Versions))
	for _, r := range row.Replicas {
		used[r.Version], used[r.Tentative] = true, true
	}
	for _, it := range row.Intents {
		used[it.Version] = true
	}
	maps.DeleteFunc(row.Versions, func(id version.ID, _ *version.Version) bool { return !used[id] })
}

// genesis is the version of a replica that never held anything: absent, and before everything.
var genesis = &version.Version{Kind: version.Delete}

func lookup(row *state.Row, id version.ID) *version.Version {
	if v := row.Versions[id]; v != nil {
		return v
	}
	return genesis
}

func (p *planner) version(id version.ID) *version.Version { return lookup(&p.row, id) }

// effective is the version that a replica counts as: the tentative one, if there is one.
func effective(r state.Replica) version.ID {
	if r.Tentative != "" {
		return r.Tentative
	}
	return r.Version
}

// heads are the maximal versions, sorted by id.
func (p *planner) heads() []version.ID { return headsOf(&p.row, p.members) }

func headsOf(row *state.Row, members []Member) []version.ID {
	var all []version.ID
	for _, m := range members {
		if id := effective(row.Replicas[m.Name]); !slices.Contains(all, id) {
			all = append(all, id)
		}
	}
	var heads []version.ID
	for _, a := range all {
		dominated := slices.ContainsFunc(all, func(b version.ID) bool {
			return lookup(row, a).Vector.Before(lookup(row, b).Vector)
		})
		if !dominated {
			heads = append(heads, a)
		}
	}
	slices.Sort(heads)
	return heads
}

// sameContent compares heads pairwise with the first. Replicas whose bytes have to be read to know are in unsure.
func (p *planner) sameContent(heads []version.ID) (same bool, unsure []string) {
	first := p.version(heads[0])
	same = true
	for _, h := range heads[1:] {
		v := p.version(h)
		if v.Kind != first.Kind {
			return false, nil
		}
		if v.Kind == version.Delete {
			continue
		}
		if v.MetaHash != first.MetaHash {
			return false, nil
		}
		switch first.Content.Compare(v.Content) {
		case version.Different:
			return false, nil
		case version.Unsure:
			for _, id := range []version.ID{heads[0], h} {
				if r := p.holder(id); r != "" && p.version(id).Content.SHA256 == "" && !slices.Contains(unsure, r) {
					unsure = append(unsure, r)
				}
			}
			if len(unsure) == 0 {
				return false, nil // nobody can be read: different is the safe answer, it keeps both
			}
		case version.Equal:
		}
	}
	return same, unsure
}

// holder is a replica that counts as holding version id and did answer, or was not asked.
func (p *planner) holder(id version.ID) string {
	best := ""
	for _, m := range p.members {
		r, ok := p.row.Replicas[m.Name]
		if !ok || effective(r) != id || !r.Print.Present || p.unknown[m.Name] {
			continue
		}
		_, seen := p.seen[m.Name]
		if best == "" || seen {
			best = m.Name
			if seen {
				break
			}
		}
	}
	return best
}

// nextDot gives a dot that this key never had, even if its row was removed meanwhile: dots follow the clock.
func nextDot(row *state.Row, name string, now time.Time) (version.ID, uint64) {
	dot := max(row.Counters[name]+1, uint64(max(now.UnixMicro(), 0)))
	row.Counters[name] = dot
	return version.ID(name + "." + strconv.FormatUint(dot, 36)), dot
}

// join makes one version of heads with equal content. The replicas that hold them get it tentatively: only a later look
// proves that what they held then is still there (R1).
func (p *planner) join(heads []version.ID) version.ID {
	id, dot := nextDot(&p.row, version.Synchronizer, p.now)
	first := p.version(heads[0])
	v := &version.Version{ID: id, Kind: first.Kind, MetaHash: first.MetaHash, Content: first.Content, Origin: version.Synchronizer}
	for _, h := range heads {
		u := p.version(h)
		v.Vector = v.Vector.Join(u.Vector)
		v.Lineage = v.Lineage.Join(u.ContentVector())
		if len(u.MayFollow) > 0 {
			v.MayFollow = v.MayFollow.Join(u.MayFollow)
		}
		v.Content = v.Content.Merge(u.Content)
		v.HLC = max(v.HLC, u.HLC)
		v.ProviderTime = max(v.ProviderTime, u.ProviderTime)
	}
	v.Vector = v.Vector.With(version.Synchronizer, dot)
	p.row.Versions[id] = v
	for _, m := range p.members {
		r, ok := p.row.Replicas[m.Name]
		if ok && slices.Contains(heads, effective(r)) {
			p.row.Replicas[m.Name] = p.tentative(r, id)
		}
	}
	p.changed = true
	return id
}

func (p *planner) tentative(r state.Replica, id version.ID) state.Replica {
	if p.mutant == EagerJoin {
		r.Version = id
		return r
	}
	r.Tentative = id
	return r
}

// spread is line 5: what it takes to bring target everywhere.
func (p *planner) spread(target version.ID) step {
	t := p.version(target)
	if t == genesis || t.Kind == version.Delete && !p.deletes || p.drift(t) {
		return p.rest(target)
	}
	var s step
	for _, m := range p.members {
		r := p.row.Replicas[m.Name]
		have := p.version(effective(r))
		if effective(r) == target {
			continue
		}
		if have.Kind == t.Kind && (t.Kind == version.Delete || have.MetaHash == t.MetaHash && have.Content.Compare(t.Content) == version.Equal) {
			p.row.Replicas[m.Name] = p.tentative(r, target)
			p.changed = true
			continue
		}
		if p.unknown[m.Name] {
			s.stranded = append(s.stranded, m.Name)
			continue
		}
		if until, busy := p.busy(m.Name); busy {
			if s.until.IsZero() || until.Before(s.until) {
				s.until = until
			}
			continue
		}
		s.dests = append(s.dests, m.Name)
	}
	s.target = target
	if len(s.dests) > 0 && t.Kind == version.Put {
		if s.source = p.holder(target); s.source == "" { // nobody who holds it answers
			s.stranded = append(s.stranded, s.dests...)
			s.dests = nil
		}
	}
	switch {
	case len(s.dests) > 0:
		s.action = propagate
	case !s.until.IsZero():
		s.action = wait
	default:
		rest := p.rest(target)
		rest.stranded = s.stranded
		return rest
	}
	s.row, s.changed = p.done(), p.changed
	return s
}

// drift reports that the only head was written at replicas where users may not write: it is left alone, and loses
// as soon as a writable replica has something.
func (p *planner) drift(t *version.Version) bool {
	return slices.ContainsFunc(p.members, func(m Member) bool { return m.Name == t.Origin && !m.Writable })
}

// busy reports an intent at the replica that may still be written by somebody.
func (p *planner) busy(name string) (time.Time, bool) {
	for _, it := range p.row.Intents {
		if it.Replica == name && p.now.Before(it.LeaseUntil) && !p.concluded[it.Nonce] {
			return it.LeaseUntil, true
		}
	}
	return time.Time{}, false
}

// rest is line 6: nothing to write. A tentative version still needs a look at its replica.
func (p *planner) rest(target version.ID) step {
	s := step{action: settle, target: target}
	for _, m := range p.members {
		r := p.row.Replicas[m.Name]
		if r.Tentative == "" {
			continue
		}
		if p.unknown[m.Name] {
			s.stranded = append(s.stranded, m.Name)
			continue
		}
		s.action = again
	}
	s.row, s.changed = p.done(), p.changed
	return s
}
