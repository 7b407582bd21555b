package policy

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/bucketmesh/bucketmesh/pkg/config"
	"github.com/bucketmesh/bucketmesh/pkg/version"
)

// criterion compares two heads by one property: negative if a is better.
type criterion struct {
	name    string
	compare func(a, b Head) int
}

// criteria are applied in order; together they are a total order on heads.
type criteria []criterion

// precedence comes before whatever a policy prefers.
func precedence(heads []Head) criteria {
	old := outdated(heads)
	return criteria{
		{"it was written at a writable replica", byWritable},
		{"its writer had, or may have, seen the content of the other", func(a, b Head) int { return cmp.Compare(flag(old[a.Version.ID]), flag(old[b.Version.ID])) }},
	}
}

// order is the order of a rule, and what else there is to say about ranked heads.
func order(rule config.ConflictRule, heads []Head, replicas int) (criteria, func(ranked []Head) string) {
	var own criteria
	remark := func([]Head) string { return "" }
	switch rule.Policy {
	case config.Quorum:
		most, say := majority(heads, replicas)
		own, remark = append(criteria{most}, preference(rule.Fallback, rule.Order)...), say
	case config.CEL:
		own, remark = ranking(rule.Expression, heads, replicas)
	case config.Merge, config.Manual, config.Webhook:
		own = preference(rule.Fallback, rule.Order)
	default:
		own = preference(rule.Policy, rule.Order)
	}
	return slices.Concat(precedence(heads), own, criteria{
		{"it is the latest", func(a, b Head) int { return cmp.Compare(b.Version.HLC, a.Version.HLC) }},
		{"of writes at the same time a put is preferred to a delete", byKind},
		{"of writes at the same time the digest of the content decides", byContent},
		{"of equal contents written at the same time the version id decides", byID},
	}), remark
}

// preference is what a policy puts before time.
func preference(policy config.Policy, primaries []string) criteria {
	switch policy {
	case config.Primary:
		return criteria{{"its replica comes first in the order of the rule", byRank(primaries)}}
	case config.Largest:
		return criteria{{"it is the largest", bySize}}
	case config.EditWins:
		return criteria{{"a put is preferred to a delete", byKind}}
	case config.DeleteWins:
		return criteria{{"a delete is preferred to a put", func(a, b Head) int { return byKind(b, a) }}}
	default:
		return nil
	}
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

// byRank prefers replicas by their place in the list; those that are not in it come after all that are. A head has the place of the
// best replica that holds it: how far it has come to others must not make it worse.
func byRank(primaries []string) func(a, b Head) int {
	rank := func(h Head) int {
		best := len(primaries)
		for _, name := range h.holders() {
			if i := slices.Index(primaries, name); i >= 0 {
				best = min(best, i)
			}
		}
		return best
	}
	return func(a, b Head) int { return cmp.Compare(rank(a), rank(b)) }
}

// byKind comes before the contents, as a delete has none: in doubt nothing disappears.
func byKind(a, b Head) int {
	return cmp.Compare(flag(b.Version.Kind == version.Put), flag(a.Version.Kind == version.Put))
}

// bySize takes a delete for less than an empty object: in doubt nothing disappears.
func bySize(a, b Head) int {
	return cmp.Or(byKind(a, b), cmp.Compare(b.Version.Content.Size, a.Version.Content.Size))
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
