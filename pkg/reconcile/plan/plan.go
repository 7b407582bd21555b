package plan

import (
	"cmp"
	"slices"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/state"
	"github.com/bucketmesh/bucketmesh/pkg/version"
)

// Member is a replica as the planner sees it.
type Member struct {
	Name     string
	Writable bool // users may write here (mode ReadWrite)
}

// View is all that Plan may know beside the row.
type View struct {
	Members   []Member
	Seen      map[string]Observation // replicas that answered; the others are taken at the row's word
	Unknown   map[string]bool        // replicas that were asked and did not answer: nothing may be concluded or written there
	Concluded map[string]bool        // nonces of our own requests that have surely ended
	LookedAt  time.Time              // before the first look
	Now       time.Time
	Deletes   bool // propagate deletes
	Past      bool // versions remember what they replaced, for merges
	Mutant    Mutant
}

// Action is what to do next.
type Action int

// The actions.
const (
	Settle    Action = iota // nothing to do, as far as was looked
	Again                   // something is tentative: look at everything again
	Identify                // read the contents of Step.Replicas to know whether they are the same
	Conflict                // several heads: the conflict-resolver's turn
	Propagate               // write Step.Target at Step.Dests
	Wait                    // another process holds live intents at the only replicas that need work
)

// Step is the planner's answer.
type Step struct {
	Action   Action
	Row      state.Row
	Changed  bool // Row differs from what was read
	Replicas []string
	Heads    []version.ID
	Target   version.ID
	Source   string // replica to read from; "" for a delete
	Dests    []string
	Until    time.Time
	Stranded []string // replicas that need work and could not be asked, or have no source that answered
}

// Plan is lines 3, 4 (detection) and 5 (choice of work) of the algorithm: pure and deterministic.
func Plan(row state.Row, v View) Step {
	p := planner{View: v, row: Clone(row)}
	if need := p.absorb(); len(need) > 0 {
		// The row is left as it was: the observation is made again together with the contents.
		return Step{Action: Identify, Row: row, Replicas: need}
	}
	heads := p.heads()
	if p.Mutant == NewestHead {
		heads = p.newest(heads)
	}
	if len(heads) > 1 {
		same, unsure := p.sameContent(heads)
		if len(unsure) > 0 {
			return Step{Action: Identify, Row: p.done(), Changed: p.changed, Replicas: unsure}
		}
		if !same {
			return Step{Action: Conflict, Row: p.done(), Changed: p.changed, Heads: heads}
		}
		heads = []version.ID{p.join(heads)}
	}
	return p.spread(heads[0])
}

type planner struct {
	View
	row     state.Row
	changed bool
}

// done is the row to store: versions that nothing refers to any more are forgotten.
func (p *planner) done() state.Row {
	if p.Mutant == NonceForever { // this fault needs a long memory
		return p.row
	}
	Prune(&p.row)
	return p.row
}

func (p *planner) version(id version.ID) *version.Version { return Lookup(&p.row, id) }

// heads are the maximal versions, sorted by id.
func (p *planner) heads() []version.ID { return Heads(&p.row, p.Members) }

// now is the clock that dots follow.
func (p *planner) now() time.Time {
	if p.Mutant == DotsRestart {
		return time.Time{}
	}
	return p.Now
}

// newest is a fault.
func (p *planner) newest(heads []version.ID) []version.ID {
	best := slices.MaxFunc(heads, func(a, b version.ID) int { return cmp.Compare(p.version(a).HLC, p.version(b).HLC) })
	return []version.ID{best}
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
		if v.MetaHash != first.MetaHash && p.Mutant != MetaBlind {
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
	for _, m := range p.Members {
		r, ok := p.row.Replicas[m.Name]
		if !ok || Effective(r) != id || !r.Print.Present || p.Unknown[m.Name] {
			continue
		}
		_, seen := p.Seen[m.Name]
		if best == "" || seen {
			best = m.Name
			if seen {
				break
			}
		}
	}
	return best
}

// join makes one version of heads with equal content. The replicas that hold them get it tentatively: only a later look
// proves that what they held then is still there (R1).
func (p *planner) join(heads []version.ID) version.ID {
	id, dot := nextDot(&p.row, version.Synchronizer, p.now())
	first := p.version(heads[0])
	v := &version.Version{ID: id, Kind: first.Kind, MetaHash: first.MetaHash, Content: first.Content, Origin: version.Synchronizer, Past: first.Past, Joined: true}
	meant := slices.ContainsFunc(heads, func(h version.ID) bool { return !p.drift(p.version(h)) })
	for _, h := range heads {
		u := p.version(h)
		v.Vector = v.Vector.Join(u.Vector)
		if meant && p.drift(u) {
			continue // what was written where users may not write gives the others neither its rank nor its lineage
		}
		// Rank and lineage are those of one of them: joined, they would be of a write that nobody made, and that nobody can have seen (R7).
		if p.Mutant == JoinedLineage {
			v.HLC, v.Lineage = max(v.HLC, u.HLC), v.Lineage.Join(u.ContentVector())
		} else if v.Lineage == nil || u.HLC > v.HLC {
			v.HLC, v.Lineage, v.Supposed = u.HLC, u.ContentVector(), u.Supposed
		}
		if len(u.MayFollow) > 0 {
			v.MayFollow = v.MayFollow.Join(u.MayFollow)
		}
		v.Sources = minimal(append(v.Sources, u.Sources...))
		v.Content = v.Content.Merge(u.Content)
		v.ProviderTime = max(v.ProviderTime, u.ProviderTime)
	}
	v.Vector = v.Vector.With(version.Synchronizer, dot)
	p.row.Versions[id] = v
	for _, m := range p.Members {
		r, ok := p.row.Replicas[m.Name]
		if ok && slices.Contains(heads, Effective(r)) {
			p.row.Replicas[m.Name] = p.tentative(r, id)
		}
	}
	p.changed = true
	return id
}

func (p *planner) tentative(r state.Replica, id version.ID) state.Replica {
	if p.Mutant == EagerJoin {
		r.Version = id
		return r
	}
	r.Tentative = id
	return r
}
