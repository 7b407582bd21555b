package plan

import (
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/state"
	"github.com/bucketmesh/bucketmesh/pkg/version"
)

// Clone is a row that can be changed without changing the one it was made of. Versions are shared: they are immutable.
func Clone(row state.Row) state.Row {
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
	row.Intents, row.Told, row.Late = slices.Clone(row.Intents), slices.Clone(row.Told), slices.Clone(row.Late)
	return row
}

// Prune forgets the versions that nothing in the row refers to.
func Prune(row *state.Row) {
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

// Lookup is a version of the row, or the genesis.
func Lookup(row *state.Row, id version.ID) *version.Version {
	if v := row.Versions[id]; v != nil {
		return v
	}
	return genesis
}

// Effective is the version that a replica counts as: the tentative one, if there is one.
func Effective(r state.Replica) version.ID {
	if r.Tentative != "" {
		return r.Tentative
	}
	return r.Version
}

// Heads are the maximal versions, sorted by id.
func Heads(row *state.Row, members []Member) []version.ID {
	var all []version.ID
	for _, m := range members {
		if id := Effective(row.Replicas[m.Name]); !slices.Contains(all, id) {
			all = append(all, id)
		}
	}
	var heads []version.ID
	for _, a := range all {
		dominated := slices.ContainsFunc(all, func(b version.ID) bool {
			return Lookup(row, a).Vector.Before(Lookup(row, b).Vector)
		})
		if !dominated {
			heads = append(heads, a)
		}
	}
	slices.Sort(heads)
	return heads
}

// nextDot gives a dot that this key never had, even if its row was removed meanwhile: dots follow the clock.
func nextDot(row *state.Row, name string, now time.Time) (version.ID, uint64) {
	dot := max(row.Counters[name]+1, uint64(max(now.UnixMicro(), 0)))
	row.Counters[name] = dot
	return version.ID(name + "." + strconv.FormatUint(dot, 36)), dot
}
