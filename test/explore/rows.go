package main

import (
	"strings"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/reconcile/plan"
	"github.com/bucketmesh/bucketmesh/pkg/state"
	"github.com/bucketmesh/bucketmesh/pkg/version"
)

// A row is made into a state.Row for the functions of package plan, and back.

// The moments that matter: a lease ended before the first look, or between that and the decision, or it did not.
var (
	endedBefore = time.Unix(0, 100)
	lookedAt    = time.Unix(0, 200)
	endedSince  = time.Unix(0, 300)
	decidedAt   = time.Unix(0, 400)
	endsLater   = time.Unix(0, 900)
)

// digits are of base 36, as in ids of versions.
const digits = "0123456789abcdefghijklmnopqrstuvwxyz"

func name(replica uint8) string { return "abc~"[replica : replica+1] }

func place(name string) uint8 { return uint8(strings.IndexByte("abc~", name[0])) } //nolint:gosec // it is one of the four

// number and digit write a small number as one printable byte.
func digit(n uint8) byte    { return '0' + n }
func number(s string) uint8 { return s[0] - '0' }
func token(n uint8) string  { return string([]byte{digit(n)}) }
func id(v *ver) version.ID {
	return version.ID(name(v.origin) + "." + digits[v.vector[v.origin]:v.vector[v.origin]+1])
}
func contentOf(c uint8) version.Content { return version.Content{Size: 1, MD5: token(c)} }

func (m *machine) fingerprint(p mark) state.Fingerprint {
	if p.content == 0 {
		return state.Fingerprint{}
	}
	f := state.Fingerprint{Present: true, Tag: token(p.content)}
	if m.scope.tags == generations {
		f.Tag += token(p.serial)
	}
	if m.scope.tags == versions {
		f.VersionID = token(p.serial)
	}
	if p.told {
		f.ModTime = int64(p.serial)
	}
	if p.nonce != 0 {
		f.Nonce = token(p.nonce)
	}
	return f
}

// parsePrint is the inverse. A serial that the fingerprint does not tell is told by the request id of our write.
func parsePrint(f state.Fingerprint, request string) mark {
	if !f.Present {
		return mark{}
	}
	p := mark{content: number(f.Tag), told: f.ModTime != 0}
	switch {
	case len(f.Tag) > 1:
		p.serial = number(f.Tag[1:])
	case f.VersionID != "":
		p.serial = number(f.VersionID)
	case p.told:
		p.serial = uint8(f.ModTime) //nolint:gosec // it was made of one
	case request != "":
		p.serial = number(request)
	}
	if f.Nonce != "" {
		p.nonce = number(f.Nonce)
	}
	return p
}

func parseVector(v version.Vector) (out vector) {
	for n, dot := range v {
		out[place(n)] = uint8(dot) //nolint:gosec // dots are small here
	}
	return out
}

func (v vector) expand() version.Vector {
	out := version.Vector{}
	for i, dot := range v {
		if dot != 0 {
			out[name(uint8(i))] = uint64(dot) //nolint:gosec // i < 4
		}
	}
	return out
}

func (v *ver) expand() *version.Version {
	out := &version.Version{
		ID: id(v), Vector: v.vector.expand(), Kind: version.Delete, Origin: name(v.origin), HLC: version.Timestamp(v.hlc),
	}
	if v.content != 0 {
		out.Kind, out.Content = version.Put, contentOf(v.content)
	}
	out.Joined = v.joined
	if v.hasLineage {
		out.Lineage, out.Supposed = v.lineage.expand(), v.supposed
	}
	if v.may != (vector{}) {
		out.MayFollow = v.may.expand()
	}
	return out
}

func (r *row) id(v uint8) version.ID {
	if v == 0 {
		return ""
	}
	return id(&r.versions[v-1])
}

// statuses are those of state.Replica, by number.
var statuses = [...]state.Status{state.StatusOK, state.StatusUnreadable, state.StatusRefused}

// expand is the row as plan knows it; late are intents whose lease ended between the look and the decision.
func (m *machine) expand(r *row, late uint8) state.Row {
	out := state.Row{
		Group: "g", Key: "k", Rev: 1, Counters: r.counters.expand(),
		Versions: make(map[version.ID]*version.Version, r.nv), Replicas: make(map[string]state.Replica, m.scope.replicas),
	}
	if r.missing {
		out.Rev = 0
	}
	for i := range r.versions[:r.nv] {
		v := r.versions[i].expand()
		out.Versions[v.ID] = v
	}
	for i := range m.scope.replicas {
		h := r.replicas[i]
		if h == (holding{}) {
			continue
		}
		x := state.Replica{Version: r.id(h.version), Tentative: r.id(h.tentative), Print: m.fingerprint(h.print), Status: statuses[h.status]}
		if h.print.serial != 0 {
			x.RequestID = token(h.print.serial)
		}
		if h.over != 0 {
			x.Over = token(h.over)
		}
		out.Replicas[m.members[i].Name] = x
	}
	for i, it := range r.intents[:r.ni] {
		until := endsLater
		switch {
		case it.lease == leaseNever:
			until = time.Time{}
		case it.lease == leaseEnded && late>>i&1 == 1:
			until = endedSince
		case it.lease == leaseEnded:
			until = endedBefore
		}
		out.Intents = append(out.Intents, state.Intent{
			Nonce: token(it.nonce), Replica: name(it.replica), Version: r.id(it.version), Expect: m.fingerprint(it.expect), LeaseUntil: until,
		})
	}
	for _, l := range r.lates[:r.nl] {
		out.Late = append(out.Late, state.Late{
			Nonce: token(l.nonce), Replica: name(l.replica), Content: contentOf(l.content), Lineage: l.lineage.expand(), Until: endsLater,
		})
	}
	return out
}

// compact is the inverse of expand, with the dots of each replica numbered anew: only their order means anything, and the
// next one is above all. places gives each version's place by the id that it had before. ok is false if there is no room.
func (m *machine) compact(s *state.Row) (r row, places map[version.ID]uint8, ok bool) {
	if len(s.Versions) > maxVersions || len(s.Intents) > maxIntents || len(s.Late) > maxLates {
		return row{}, nil, false
	}
	var used [4][64]bool
	for _, v := range s.Versions {
		for _, vec := range []version.Vector{v.Vector, v.Lineage, v.MayFollow} {
			for n, dot := range vec {
				used[place(n)][dot] = true
			}
		}
	}
	for _, l := range s.Late {
		for n, dot := range l.Lineage {
			used[place(n)][dot] = true
		}
	}
	var rank [4][64]uint8
	for i := range used {
		used[i][0] = false
		for dot, u := range used[i] {
			if u {
				r.counters[i]++
				rank[i][dot] = r.counters[i]
			}
		}
	}
	again := func(v vector) vector {
		for i := range v {
			v[i] = rank[i][v[i]]
		}
		return v
	}
	ids := make([]version.ID, 0, len(s.Versions))
	for id := range s.Versions {
		ids = append(ids, id)
	}
	insertionSort(ids)
	places = map[version.ID]uint8{"": 0}
	for i, vid := range ids {
		v := s.Versions[vid]
		places[vid] = uint8(i + 1) //nolint:gosec // at most maxVersions
		x := ver{
			vector: again(parseVector(v.Vector)), may: again(parseVector(v.MayFollow)), lineage: again(parseVector(v.Lineage)),
			hasLineage: v.Lineage != nil, supposed: v.Supposed, joined: v.Joined, origin: place(v.Origin), hlc: uint8(v.HLC), //nolint:gosec // ranks are small here
		}
		if v.Kind == version.Put {
			x.content = number(v.Content.MD5)
		}
		r.versions[i] = x
	}
	r.nv = uint8(len(ids)) //nolint:gosec // at most maxVersions
	for i := range m.scope.replicas {
		x := s.Replicas[m.members[i].Name]
		h := holding{version: places[x.Version], tentative: places[x.Tentative], print: parsePrint(x.Print, x.RequestID)}
		for n, st := range statuses {
			if st == x.Status {
				h.status = uint8(n) //nolint:gosec // three
			}
		}
		if x.Over != "" {
			h.over = number(x.Over)
		}
		r.replicas[i] = h
	}
	for _, it := range s.Intents {
		x := intent{nonce: number(it.Nonce), replica: place(it.Replica), version: places[it.Version], expect: parsePrint(it.Expect, "")}
		switch {
		case it.LeaseUntil.IsZero():
			x.lease = leaseNever
		case !it.LeaseUntil.Equal(endsLater):
			x.lease = leaseEnded
		}
		r.intents[r.ni] = x
		r.ni++
	}
	for _, l := range s.Late {
		r.lates[r.nl] = late{nonce: number(l.Nonce), replica: place(l.Replica), content: number(l.Content.MD5), lineage: again(parseVector(l.Lineage))}
		r.nl++
	}
	return r, places, true
}

func insertionSort(ids []version.ID) {
	for i := 1; i < len(ids); i++ {
		for j := i; j > 0 && ids[j] < ids[j-1]; j-- {
			ids[j], ids[j-1] = ids[j-1], ids[j]
		}
	}
}

// observation is what a look at an object tells. Only the notification of a delete tells when that was.
func (m *machine) observation(o object, hinted bool) plan.Observation {
	if o.content == 0 {
		if hinted {
			return plan.Observation{Time: int64(o.time)}
		}
		return plan.Observation{}
	}
	return plan.Observation{
		Print:   m.fingerprint(mark{content: o.content, serial: o.serial, nonce: o.nonce, told: true}),
		Content: contentOf(o.content), Time: int64(o.time),
	}
}
