package config

import (
	"slices"
	"strings"
)

// Keys with a meaning of their own, relative to a replica's prefix.
const (
	ReservedPrefix = ".bucketmesh/" // what the program itself keeps in a bucket: never part of a group
	ConflictPrefix = ".conflicts/"  // conflict copies: always part of the group, so that they are at every replica
)

// Conflict policies, modes, dialects and providers that this version knows, in the order in which messages list them.
var (
	fallbacks = []string{string(KeepBoth), string(LastWriterWins), string(Primary), string(Largest), string(EditWins), string(DeleteWins)}
	policies  = []string{
		string(KeepBoth), string(LastWriterWins), string(Primary), string(Largest), string(EditWins), string(DeleteWins),
		string(Quorum), string(CEL), string(Merge), string(Manual), string(Webhook),
	}
	formats    = []string{string(FormatAuto), string(FormatJSON), string(FormatText), string(FormatCSV), string(FormatNDJSON)}
	lifecycles = []string{string(LifecyclePropagate), string(LifecycleIgnore)}
	modes      = []string{string(ReadWrite), string(ReadOnly)}
	dialects   = []string{"aws", "minio", "versitygw", "rgw"}
	providers  = []string{"s3", "gcs", "azblob", "mem"}
)

// matcher holds the patterns of a group, ready to match.
type matcher struct {
	include, exclude []pattern
	rules            []pattern // as Group.Conflicts
}

// compile makes the matcher of g. Patterns that are not valid match nothing; Load refuses them.
func compile(g *Group) *matcher {
	list := func(texts []string) []pattern {
		out := make([]pattern, 0, len(texts))
		for _, t := range texts {
			if p, err := compilePattern(t); err == nil {
				out = append(out, p)
			}
		}
		return out
	}
	m := &matcher{include: list(g.Filter.Include), exclude: list(g.Filter.Exclude)}
	if len(g.Filter.Include) == 0 {
		m.include = []pattern{{text: everything, all: true}}
	}
	for _, rule := range g.Conflicts {
		p, err := compilePattern(rule.Match)
		if err != nil {
			p = pattern{text: `\`} // matches no key
		}
		m.rules = append(m.rules, p)
	}
	return m
}

func (g *Group) patterns() *matcher {
	if g.matcher != nil {
		return g.matcher
	}
	return compile(g)
}

// Match reports whether a key, relative to the replicas' prefixes, takes part in the group.
func (g *Group) Match(key string) bool {
	switch {
	case key == "" || strings.HasPrefix(key, ReservedPrefix):
		return false
	case strings.HasPrefix(key, ConflictPrefix):
		return true
	}
	m := g.patterns()
	matches := func(p pattern) bool { return p.match(key) }
	return slices.ContainsFunc(m.include, matches) && !slices.ContainsFunc(m.exclude, matches)
}

// Rule is the first conflict rule that matches a key, keep-both if none does.
func (g *Group) Rule(key string) ConflictRule {
	for i, p := range g.patterns().rules {
		if p.match(key) {
			return g.Conflicts[i]
		}
	}
	return ConflictRule{Match: everything, Policy: KeepBoth}
}

// Replica is the replica of that name.
func (g *Group) Replica(name string) (Replica, bool) {
	i := slices.IndexFunc(g.Replicas, func(r Replica) bool { return r.Name == name })
	if i < 0 {
		return Replica{}, false
	}
	return g.Replicas[i], true
}

// Located is a key at one replica.
type Located struct {
	Replica Replica
	Key     string // relative to the replica's prefix; never empty
}

// ReplicaFor finds where a change belongs: source is that of the event (Replica.Source), bucketKey the key in the bucket.
// There is at most one answer from a loaded group, whose replicas never overlap. Whether the key takes part is the
// matter of Match.
func (g *Group) ReplicaFor(source, bucketKey string) []Located {
	var found []Located
	for _, r := range g.Replicas {
		if r.Source() != source {
			continue
		}
		if key, ok := strings.CutPrefix(bucketKey, r.Prefix); ok && key != "" {
			found = append(found, Located{Replica: r, Key: key})
		}
	}
	return found
}

// BucketKey is the key in the replica's bucket of a key of the group.
func (r Replica) BucketKey(key string) string { return r.Prefix + key }
