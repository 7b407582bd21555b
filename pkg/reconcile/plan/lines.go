package plan

import (
	"slices"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/state"
	"github.com/bucketmesh/bucketmesh/pkg/version"
)

// The rows at the lines 4c, 5a and 5e. Each function takes the row as it was stored and gives the one to store; whether it
// is stored is for the compare-and-set to say.

// Order is one write at one destination, as line 5a stored it.
type Order struct {
	Replica string
	Nonce   string
	Expect  state.Fingerprint // what the write is conditional on
}

// Intend is line 5a: an intent for each destination of a target, each with a nonce of its own.
func Intend(row state.Row, target version.ID, dests []string, nonce func() string, lease time.Time, owner string, m Mutant) (state.Row, []Order) {
	row = Clone(row)
	orders := make([]Order, 0, len(dests))
	for _, d := range dests {
		o := Order{Replica: d, Nonce: nonce(), Expect: row.Replicas[d].Print}
		if m == OneNonce {
			o.Nonce = "n"
		}
		orders = append(orders, o)
		if m != NoNonce {
			row.Intents = append(row.Intents, state.Intent{
				Nonce: o.Nonce, Replica: d, Version: target, Expect: o.Expect, LeaseUntil: lease, Owner: owner,
			})
		}
		if m == StateFirst {
			r := row.Replicas[d]
			r.Version, r.Tentative = target, ""
			row.Replicas[d] = r
		}
	}
	return row, orders
}

// Landed is what the answer to a successful write told of the object.
type Landed struct {
	Tag, VersionID, Metageneration string
	ModTime                        int64 // unix nanoseconds; 0 if the answer did not tell
	RequestID                      string
}

// Written is line 5e for one order that was carried out: the replica holds the target, and the intent goes.
func Written(row *state.Row, o Order, target version.ID, a Landed, m Mutant) {
	r := state.Replica{Version: target}
	if t := Lookup(row, target); t.Kind != version.Delete {
		r.Print = state.Fingerprint{
			Present: true, Tag: a.Tag, VersionID: a.VersionID, Metageneration: a.Metageneration,
			ModTime: a.ModTime, MetaHash: t.MetaHash, Nonce: o.Nonce,
		}
		if m == NoNonce {
			r.Print.Nonce = ""
		}
		r.RequestID, r.EchoDue, r.Over = a.RequestID, true, o.Expect.VersionID
	}
	row.Replicas[o.Replica] = r
	Withdraw(row, o.Nonce)
}

// Withdraw removes the intents of orders that will have no effect any more.
func Withdraw(row *state.Row, nonces ...string) {
	row.Intents = slices.DeleteFunc(row.Intents, func(it state.Intent) bool { return slices.Contains(nonces, it.Nonce) })
}

// Refused is an order that its replica does not take at all: the row says why, and the intent goes.
func Refused(row *state.Row, o Order, detail string) {
	r := row.Replicas[o.Replica]
	r.Status, r.Detail = state.StatusRefused, detail
	row.Replicas[o.Replica] = r
	Withdraw(row, o.Nonce)
}

// Resolve is line 4c: a version that follows all heads, with the content of the winner, which is one of them. The replicas that
// hold the winner get it tentatively. It has the winner's own rank, never a higher one (R5).
func Resolve(row state.Row, members []Member, heads []version.ID, winner version.ID, now time.Time, m Mutant) (resolved state.Row, id version.ID) {
	row = Clone(row)
	w := Lookup(&row, winner)
	id, dot := nextDot(&row, version.Synchronizer, now)
	v := *w
	v.ID, v.Origin, v.Lineage = id, version.Synchronizer, w.ContentVector()
	for _, h := range heads {
		u := Lookup(&row, h)
		v.Vector = v.Vector.Join(u.Vector)
		if m == RankUp {
			v.HLC = max(v.HLC, u.HLC)
		}
	}
	if m == LineageLost {
		v.Lineage, v.Supposed = nil, false
	}
	if m == RankUp {
		v.HLC++
		v.Lineage, v.Supposed, v.MayFollow = nil, false, nil
	}
	v.Vector = v.Vector.With(version.Synchronizer, dot)
	row.Versions[id] = &v
	for _, member := range members {
		if r := row.Replicas[member.Name]; Effective(r) == winner {
			if m == EagerJoin {
				r.Version = id
			} else {
				r.Tentative = id
			}
			row.Replicas[member.Name] = r
		}
	}
	Prune(&row)
	return row, id
}

// Merge is line 4c for heads whose contents were merged: a version that follows all of them and is nowhere yet. Only an intent
// keeps it in the row, until it is written at one of the replicas; from there it travels like any other. Until then the heads
// are what they were. Its rank is the lowest of the heads: whoever edits one of them meanwhile is newer than the merge, which
// brings that head's content back.
func Merge(row state.Row, heads []version.ID, content version.Content, metaHash string, now time.Time) (merged state.Row, id version.ID) {
	row = Clone(row)
	id, dot := nextDot(&row, version.Synchronizer, now)
	v := &version.Version{ID: id, Kind: version.Put, Content: content, MetaHash: metaHash, Origin: version.Synchronizer}
	for i, h := range heads {
		u := Lookup(&row, h)
		v.Vector = v.Vector.Join(u.Vector)
		if len(u.MayFollow) > 0 {
			v.MayFollow = v.MayFollow.Join(u.MayFollow)
		}
		v.Sources = minimal(append(append(v.Sources, u.ContentVector()), u.Sources...))
		v.ProviderTime = max(v.ProviderTime, u.ProviderTime)
		if i == 0 || u.HLC < v.HLC {
			v.HLC = u.HLC
		}
	}
	v.Vector = v.Vector.With(version.Synchronizer, dot)
	row.Versions[id] = v
	return row, id
}

// minimal leaves out the vectors that follow another one of them: whoever has seen those has seen these. So the sources of merges of
// merges stay few.
func minimal(all []version.Vector) []version.Vector {
	var least []version.Vector
	for i, v := range all {
		follows := slices.ContainsFunc(all[:i], func(w version.Vector) bool { return w.LessEqual(v) }) || slices.ContainsFunc(all[i+1:], func(w version.Vector) bool { return w.Before(v) })
		if !follows {
			least = append(least, v)
		}
	}
	return least
}

// Gone reports that the key is absent on every replica, confirmed, and that nobody is about to write it.
func Gone(row *state.Row, members []Member) bool {
	if len(row.Intents) > 0 || len(row.Told) > 0 {
		return false
	}
	for _, m := range members {
		r := row.Replicas[m.Name]
		if r.Print.Present || r.Tentative != "" || !fine(r) {
			return false
		}
	}
	return len(Heads(row, members)) == 1
}

// fine reports that a replica needs nothing: that an object expired there is as it should be.
func fine(r state.Replica) bool { return r.Status == state.StatusOK || r.Status == state.StatusEvicted }

// Settled reports that every replica holds the same version, proven, and that nobody is about to write one.
func Settled(row *state.Row, members []Member) bool {
	first := row.Replicas[members[0].Name].Version
	for _, m := range members {
		r := row.Replicas[m.Name]
		if r.Tentative != "" || r.Version != first || !fine(r) {
			return false
		}
	}
	return len(row.Intents) == 0
}
