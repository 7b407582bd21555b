package plan

import (
	"slices"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/state"
	"github.com/bucketmesh/bucketmesh/pkg/version"
)

// spread is line 5: what it takes to bring target everywhere.
func (p *planner) spread(target version.ID) Step {
	t := p.version(target)
	if t == genesis || t.Kind == version.Delete && !p.Deletes || p.drift(t) {
		return p.rest(target)
	}
	var s Step
	for _, m := range p.Members {
		r := p.row.Replicas[m.Name]
		have := p.version(Effective(r))
		if Effective(r) == target {
			continue
		}
		if t.Kind == version.Delete && r.Status == state.StatusEvicted && !r.Print.Present { // there is nothing to delete
			p.row.Replicas[m.Name] = p.tentative(r, target)
			p.changed = true
			continue
		}
		if have.Kind == t.Kind && (t.Kind == version.Delete || (have.MetaHash == t.MetaHash || p.Mutant == MetaBlind) && have.Content.Compare(t.Content) == version.Equal) {
			p.row.Replicas[m.Name] = p.tentative(r, target)
			p.changed = true
			continue
		}
		if p.Unknown[m.Name] {
			s.Stranded = append(s.Stranded, m.Name)
			continue
		}
		if until, busy := p.busy(m.Name); busy {
			if s.Until.IsZero() || until.Before(s.Until) {
				s.Until = until
			}
			continue
		}
		s.Dests = append(s.Dests, m.Name)
	}
	s.Target = target
	if len(s.Dests) > 0 && t.Kind == version.Put {
		if s.Source = p.holder(target); s.Source == "" { // nobody who holds it answers
			s.Stranded = append(s.Stranded, s.Dests...)
			s.Dests = nil
		}
	}
	switch {
	case len(s.Dests) > 0:
		s.Action = Propagate
	case !s.Until.IsZero():
		s.Action = Wait
	default:
		rest := p.rest(target)
		rest.Stranded = s.Stranded
		return rest
	}
	s.Row, s.Changed = p.done(), p.changed
	return s
}

// drift reports that the only head was written at replicas where users may not write: it is left alone, and loses
// as soon as a writable replica has something.
func (p *planner) drift(t *version.Version) bool {
	return slices.ContainsFunc(p.Members, func(m Member) bool { return m.Name == t.Origin && !m.Writable })
}

// busy reports an intent at the replica that may still be written by somebody.
func (p *planner) busy(name string) (time.Time, bool) {
	for _, it := range p.row.Intents {
		if it.Replica == name && p.Now.Before(it.LeaseUntil) && !p.Concluded[it.Nonce] {
			return it.LeaseUntil, true
		}
	}
	return time.Time{}, false
}

// rest is line 6: nothing to write. A tentative version still needs a look at its replica.
func (p *planner) rest(target version.ID) Step {
	s := Step{Action: Settle, Target: target}
	for _, m := range p.Members {
		r := p.row.Replicas[m.Name]
		if r.Tentative == "" || p.Mutant == TentativeSettles {
			continue
		}
		if p.Unknown[m.Name] {
			s.Stranded = append(s.Stranded, m.Name)
			continue
		}
		s.Action = Again
	}
	s.Row, s.Changed = p.done(), p.changed
	return s
}
