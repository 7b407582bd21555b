// Package policy decides conflicts: given the heads of a key (versions of which none is in another's past), which one
// wins and which of the others have to be preserved before anything is overwritten.
//
// Everything here is a pure function: no I/O, no clock, no randomness, no errors, no locks. Two synchronizers that see
// the same heads come to the same verdict, in whatever order they see them; that is what makes replicas converge.
package policy

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/bucketmesh/bucketmesh/pkg/config"
	"github.com/bucketmesh/bucketmesh/pkg/version"
)

// Head is one of the maximal versions of a key.
type Head struct {
	Version  *version.Version // not nil
	Replica  string           // where it is
	Writable bool             // false: written at a ReadOnly replica; it can't win against a writable head
}

// Verdict is a decided conflict.
type Verdict struct {
	Winner version.ID // "" if there were no heads
	// Keep names the losers whose bytes must be preserved, best first: puts only, each once, never the winner.
	Keep   []version.ID
	Policy string // the policy that decided
	Reason string // for a person; the same for the same heads
}

// Decide applies a rule to the heads of one key. A policy that it does not know is treated as keep-both, because that
// loses nothing.
func Decide(rule config.ConflictRule, heads []Head) Verdict {
	known := rule.Policy
	switch known {
	case config.KeepBoth, config.LastWriterWins, config.Primary:
	default:
		known = config.KeepBoth
	}
	v := Verdict{Policy: string(known)}
	if len(heads) == 0 {
		v.Reason = "there is no head"
		return v
	}
	better := order(known, rule.Order, outdated(heads))
	ranked := slices.SortedFunc(slices.Values(heads), better.compare)
	v.Winner = ranked[0].Version.ID
	v.Reason = better.reason(ranked)
	if known == config.LastWriterWins && rule.Discard {
		return v
	}
	for _, h := range ranked[1:] {
		id := h.Version.ID
		if h.Version.Kind == version.Put && id != v.Winner && !slices.Contains(v.Keep, id) {
			v.Keep = append(v.Keep, id)
		}
	}
	return v
}

// criterion compares two heads by one property: negative if a is better.
type criterion struct {
	name    string
	compare func(a, b Head) int
}

// criteria are applied in order; together they are a total order on heads.
type criteria []criterion

func order(policy config.Policy, primaries []string, old map[version.ID]bool) criteria {
	all := criteria{
		{"it was written at a writable replica", byWritable},
		{"its writer had, or may have, seen the content of the other", func(a, b Head) int { return cmp.Compare(flag(old[a.Version.ID]), flag(old[b.Version.ID])) }},
	}
	if policy == config.Primary {
		all = append(all, criterion{"its replica comes first in the order of the rule", byRank(primaries)})
	}
	return append(all,
		criterion{"it is the latest", func(a, b Head) int { return cmp.Compare(b.Version.HLC, a.Version.HLC) }},
		criterion{"of writes at the same time a put is preferred to a delete", byKind},
		criterion{"of writes at the same time the digest of the content decides", byContent},
		criterion{"of equal contents written at the same time the version id decides", byID},
	)
}

// outdated are the heads whose content another head's writer had seen: resolutions of an earlier conflict, which have the
// losers in their past but not the edits that were made to the winner meanwhile, and our own writes that a user overwrote
// before they were acknowledged. Whatever the policy prefers, it must not bring such a content back over its successor.
func outdated(heads []Head) map[version.ID]bool {
	old := map[version.ID]bool{}
	for _, h := range heads {
		for _, other := range heads {
			if other.Version.ID != h.Version.ID && other.Version.MayHaveSeen(h.Version) {
				old[h.Version.ID] = true
			}
		}
	}
	return old
}

func (c criteria) compare(a, b Head) int {
	for _, by := range c {
		if d := by.compare(a, b); d != 0 {
			return d
		}
	}
	return 0
}

// reason says which criterion put the first of the ranked heads before the second.
func (c criteria) reason(ranked []Head) string {
	w := ranked[0]
	for _, h := range ranked[1:] {
		if h.Version.ID == w.Version.ID {
			continue // one version seen at two replicas is no competitor of itself
		}
		for _, by := range c {
			if by.compare(w, h) != 0 {
				return fmt.Sprintf("%s %s of %s wins over %s: %s", w.Version.Kind, w.Version.ID, w.Replica, h.Version.ID, by.name)
			}
		}
	}
	return fmt.Sprintf("%s %s of %s is the only head", w.Version.Kind, w.Version.ID, w.Replica)
}

func byWritable(a, b Head) int { return cmp.Compare(flag(b.Writable), flag(a.Writable)) }

// byRank prefers replicas by their place in the list; those that are not in it come after all that are.
func byRank(primaries []string) func(a, b Head) int {
	rank := func(h Head) int {
		if i := slices.Index(primaries, h.Replica); i >= 0 {
			return i
		}
		return len(primaries)
	}
	return func(a, b Head) int { return cmp.Compare(rank(a), rank(b)) }
}

// byKind comes before the contents, as a delete has none: in doubt nothing disappears.
func byKind(a, b Head) int {
	return cmp.Compare(flag(b.Version.Kind == version.Put), flag(a.Version.Kind == version.Put))
}

func byContent(a, b Head) int {
	x, y := a.Version.Content, b.Version.Content
	return cmp.Or(
		cmp.Compare(y.SHA256, x.SHA256),
		cmp.Compare(y.MD5, x.MD5),
		cmp.Compare(y.Size, x.Size),
	)
}

// byID ends with the replica, so that not even the reason depends on the order of heads.
func byID(a, b Head) int {
	return cmp.Or(cmp.Compare(b.Version.ID, a.Version.ID), cmp.Compare(b.Replica, a.Replica))
}

func flag(b bool) int {
	if b {
		return 1
	}
	return 0
}
