package plan

import (
	"slices"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/state"
	"github.com/bucketmesh/bucketmesh/pkg/version"
)

// absorb is line 3: what the replicas answered becomes versions. It returns the replicas whose bytes must be read
// first, because it can't be told without them whether an object is the one that we wrote.
func (p *planner) absorb() (need []string) {
	n := len(p.row.Intents)
	p.row.Intents = slices.DeleteFunc(p.row.Intents, func(it state.Intent) bool { // nobody will ever look at a replica that left the group
		return p.ended(it) && !slices.ContainsFunc(p.Members, func(m Member) bool { return m.Name == it.Replica })
	})
	p.changed = p.changed || len(p.row.Intents) != n
	for _, m := range p.Members {
		o, ok := p.Seen[m.Name]
		if !ok && p.Mutant == UnseenConfirm {
			if r := p.row.Replicas[m.Name]; r.Tentative != "" {
				r.Version, r.Tentative = r.Tentative, ""
				p.row.Replicas[m.Name], p.changed = r, true
			}
		}
		if !ok {
			continue
		}
		r := p.row.Replicas[m.Name]
		if p.gone(m.Name, r, o) {
			p.userVersion(m, r, o)
			continue
		}
		if Unchanged(r.Print, o.Print) {
			p.confirm(m.Name, r, o)
			continue
		}
		if p.evict(m.Name, r, o) {
			continue
		}
		adopted, unsure := p.adopt(m.Name, o)
		if unsure {
			need = append(need, m.Name)
			continue
		}
		if !adopted {
			p.userVersion(m, r, o)
		}
	}
	p.row.Late = slices.DeleteFunc(p.row.Late, func(l state.Late) bool { // not worth a commit of its own
		_, seen := p.Seen[l.Replica]
		return seen && !p.LookedAt.Before(l.Until)
	})
	return need
}

// confirm handles a replica that holds what the row says: a tentative version is proven, and what our own write's
// answer did not tell is filled in.
func (p *planner) confirm(name string, r state.Replica, o Observation) {
	before := r
	if r.Tentative != "" {
		r.Version, r.Tentative = r.Tentative, ""
		if r.Status != state.StatusEvicted || p.version(r.Version).Kind == version.Delete {
			r.Status, r.Detail = state.StatusOK, "" // whatever was in the way, it holds what it should
		}
	}
	if r.Print.Present {
		if r.Print.ModTime == 0 {
			r.Print.ModTime = o.Print.ModTime
		}
		if r.Print.VersionID == "" {
			r.Print.VersionID = o.Print.VersionID
		}
		if r.Print.Metageneration != o.Print.Metageneration { // writes are conditional on it, and listings tell it with the time
			r.Print.Metageneration, r.Print.ModTime = o.Print.Metageneration, o.Print.ModTime
		}
		p.learn(r.Version, o.Content)
	}
	if r.Status == state.StatusUnreadable {
		r.Status, r.Detail = state.StatusOK, ""
	}
	if r != before {
		p.row.Replicas[name] = r
		p.changed = true
	}
	// An intent that has ended and left no trace did not land.
	p.dropIntents(name, p.ended)
}

// evict notes that a replica's object expired there by a rule of its bucket. The replica keeps its version without having the
// object: nobody deleted it, so that the others keep theirs, and it is not brought back before somebody writes it anew. If no
// other replica has that version there is nobody to keep it, and it is a delete like any other.
func (p *planner) evict(name string, r state.Replica, o Observation) bool {
	if !o.Expired || o.Print.Present || !r.Print.Present {
		return false
	}
	elsewhere := slices.ContainsFunc(p.Members, func(m Member) bool {
		other := p.row.Replicas[m.Name]
		return m.Name != name && other.Print.Present && Effective(other) == Effective(r)
	})
	if !elsewhere || slices.ContainsFunc(p.row.Intents, func(it state.Intent) bool { return it.Replica == name }) {
		return false
	}
	p.row.Replicas[name] = state.Replica{
		Version: r.Version, Tentative: r.Tentative, Status: state.StatusEvicted, Detail: "it expired by a lifecycle rule of the bucket",
	}
	p.changed = true
	return true
}

// gone reports that an object which expired at a replica is nowhere any more, because whoever had it left the group: that is a delete like any other.
func (p *planner) gone(name string, r state.Replica, o Observation) bool {
	is := p.version(Effective(r))
	if r.Status != state.StatusEvicted || r.Print.Present || o.Print.Present || is.Kind == version.Delete {
		return false
	}
	return !slices.ContainsFunc(p.Members, func(m Member) bool {
		other := p.row.Replicas[m.Name]
		its := p.version(Effective(other)).Vector
		return m.Name != name && (other.Print.Present && is.Vector.LessEqual(its) || is.Vector.Before(its))
	}) && !slices.ContainsFunc(p.row.Intents, func(it state.Intent) bool { return is.Vector.LessEqual(p.version(it.Version).Vector) })
}

// learn adds what an observation knows about a version's content, so that a later comparison need not read it.
func (p *planner) learn(id version.ID, c version.Content) {
	v := p.row.Versions[id]
	if v == nil || v.Kind != version.Put {
		return
	}
	if merged := v.Content.Merge(c); merged != v.Content {
		w := *v
		w.Content = merged
		p.row.Versions[id] = &w
		p.changed = true
	}
}

// adopt recognises our own write that was not acknowledged (a crash between lines 5c and 5e). Only an intent that is
// still in the row counts, and only while the row knows of nothing at the replica but what the write was conditional
// on: an object that brings our nonce later is a user's restore or copy of ours (R3). And the object must be what we
// meant to write: a tool that edits an object keeps our nonce in its metadata.
func (p *planner) adopt(name string, o Observation) (adopted, unsure bool) {
	if p.Mutant == NoNonce {
		return false, false
	}
	for i, it := range p.row.Intents {
		if it.Replica != name || !p.trusting() && !Unchanged(it.Expect, p.row.Replicas[name].Print) {
			continue
		}
		v := p.version(it.Version)
		switch {
		case !o.Print.Present && v.Kind == version.Delete:
		case o.Print.Present && v.Kind == version.Put && o.Print.Nonce == it.Nonce && p.Mutant == AdoptAnyContent:
		case o.Print.Present && v.Kind == version.Put && o.Print.Nonce == it.Nonce:
			if v.MetaHash != o.Print.MetaHash {
				continue
			}
			switch v.Content.Compare(o.Content) {
			case version.Different:
				continue
			case version.Unsure:
				if v.Content.SHA256 == "" && v.Content.MD5 == "" {
					continue // we never knew what we wrote: taken for a user's write
				}
				return false, true
			case version.Equal:
			}
		default:
			continue
		}
		p.row.Replicas[name] = state.Replica{Version: it.Version, Print: o.Print, Over: it.Expect.VersionID}
		p.learn(it.Version, o.Content)
		if p.Mutant == NonceNotConsumed {
			p.row.Intents[i].LeaseUntil = time.Time{} // nobody writes under it any more, but it is believed
		} else {
			p.row.Intents = slices.Delete(p.row.Intents, i, i+1)
		}
		p.changed = true
		return true, false
	}
	if p.Mutant == NonceForever && o.Print.Present && o.Print.Nonce != "" {
		for id, v := range p.row.Versions {
			if v.Kind == version.Put && v.Content.Compare(o.Content) == version.Equal {
				p.row.Replicas[name] = state.Replica{Version: id, Print: o.Print}
				p.changed = true
				return true, false
			}
		}
	}
	return false, false
}

// trusting are the faults that believe a nonce without asking what happened since.
func (p *planner) trusting() bool {
	return p.Mutant == NoLease || p.Mutant == NonceForever || p.Mutant == NonceNotConsumed
}

// userVersion gives a user's write a version: it follows whatever the replica held (assumption A1). At a replica where
// users may not write it follows nothing, so that it never dominates.
func (p *planner) userVersion(m Member, r state.Replica, o Observation) {
	parent := p.version(r.Version) // never the tentative one: nothing proves that it was there
	if p.Mutant == TentativeParent {
		parent = p.version(Effective(r))
	}
	id, dot := nextDot(&p.row, m.Name, p.now())
	v := &version.Version{ID: id, Kind: version.Delete, Origin: m.Name, ProviderTime: o.Time}
	if m.Writable || p.Mutant == ReadOnlyWrites {
		v.Vector = parent.Vector.With(m.Name, dot)
	} else {
		v.Vector = version.Vector{m.Name: dot}
	}
	if o.Print.Present {
		v.Kind, v.Content, v.MetaHash = version.Put, o.Content, o.Print.MetaHash
		if p.Past {
			v.Past = parent.Succeeding()
		}
	}
	if p.Mutant != ProviderClockRank && p.Mutant != MayFollowLost {
		v.MayFollow = parent.MayFollow
	}
	for _, it := range p.row.Intents { // our write may have landed, unseen, before the user's
		if it.Replica == m.Name && !p.Concluded[it.Nonce] && p.Mutant != ProviderClockRank && p.Mutant != MayFollowLost {
			v.MayFollow = v.MayFollow.Join(p.version(it.Version).Vector)
		}
	}
	v.HLC = version.Timestamp(o.Time)
	if p.Mutant != ProviderClockRank {
		v.HLC = max(v.HLC, parent.HLC+1)
		for _, it := range p.row.Intents { // R4
			if it.Replica == m.Name && !p.Concluded[it.Nonce] {
				v.HLC = max(v.HLC, p.version(it.Version).HLC+1)
			}
		}
	}
	if lineage := p.late(m.Name, o); lineage != nil {
		v.Lineage, v.Supposed = lineage, true
	}
	p.row.Versions[id] = v
	p.row.Replicas[m.Name] = state.Replica{Version: id, Print: o.Print}
	p.changed = true
	// Whatever we were about to write there was conditional on a state that is gone. From now on an object with the nonce
	// of such an intent is a user's restore or copy of ours; should a late write of ours land after all, it is taken for a user's: a false
	// conflict, no loss, and no rollback, because the row remembers what it brings.
	p.rememberLate(m.Name)
	p.dropIntents(m.Name, func(state.Intent) bool { return true })
}

// maxLate bounds Row.Late: the oldest are forgotten.
const maxLate = 16

// rememberLate notes the writes at a replica whose intents are about to end and that may yet land.
func (p *planner) rememberLate(replica string) {
	for _, it := range p.row.Intents {
		if v := p.version(it.Version); it.Replica == replica && v.Kind == version.Put && !p.ended(it) {
			p.row.Late = append(p.row.Late, state.Late{
				Replica: replica, Nonce: it.Nonce, Until: it.LeaseUntil, Lineage: v.ContentVector(), Content: v.Content, MetaHash: v.MetaHash,
			})
		}
	}
	p.row.Late = p.row.Late[max(len(p.row.Late)-maxLate, 0):]
}

// late is the late write of ours that an object may be. It may as well be a user's restore of what we had written earlier: so it counts
// as a user's, with the lineage of the content that it brings, and whoever has overwritten that content must not lose to it.
func (p *planner) late(replica string, o Observation) (lineage version.Vector) {
	if !o.Print.Present || o.Print.Nonce == "" {
		return nil
	}
	brings := func(at, nonce, metaHash string, c version.Content) bool {
		return at == replica && nonce == o.Print.Nonce && metaHash == o.Print.MetaHash && c.Compare(o.Content) != version.Different
	}
	// An intent that could not be adopted: the row knows of something that came after what it expects, or nobody knows what we wrote.
	for _, it := range p.row.Intents {
		if v := p.version(it.Version); v.Kind == version.Put && brings(it.Replica, it.Nonce, v.MetaHash, v.Content) {
			return v.ContentVector()
		}
	}
	for _, l := range p.row.Late {
		if brings(l.Replica, l.Nonce, l.MetaHash, l.Content) {
			return l.Lineage
		}
	}
	return nil
}

// ended reports that an intent's writer can't write any more: the lease ended before we looked, or it is our own request
// and has been answered.
func (p *planner) ended(it state.Intent) bool {
	return !p.LookedAt.Before(it.LeaseUntil) || p.Concluded[it.Nonce]
}

func (p *planner) dropIntents(name string, which func(state.Intent) bool) {
	if p.Mutant == NoLease {
		return
	}
	n := len(p.row.Intents)
	p.row.Intents = slices.DeleteFunc(p.row.Intents, func(it state.Intent) bool {
		if p.Mutant == NonceNotConsumed && it.LeaseUntil.IsZero() {
			return false
		}
		return it.Replica == name && which(it)
	})
	if len(p.row.Intents) != n {
		p.changed = true
	}
}
