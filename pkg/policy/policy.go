// Package policy decides conflicts: given the heads of a key (versions of which none is in another's past), which one
// wins, which of the others have to be preserved before anything is overwritten, and whether something else is tried
// first: a merge, or a question to somebody outside.
//
// Every policy is a total order on heads. Two criteria come first in all of them: a write at a ReadOnly replica loses, and
// so does a content that the writer of another head had seen (R7), whatever the policy prefers.
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
	Replicas []string         // all replicas that hold it; Replica need not be among them
	Writable bool             // false: written at a ReadOnly replica; it can't win against a writable head
}

// holders are the replicas that hold the head, each once, sorted.
func (h Head) holders() []string {
	all := append([]string{h.Replica}, h.Replicas...)
	slices.Sort(all)
	all = slices.Compact(all)
	if all[0] == "" {
		return all[1:]
	}
	return all
}

// Action is what is done with a conflict.
type Action int

// The actions.
const (
	Take  Action = iota // the winner stands
	Merge               // the contents of all heads are to be merged; Winner and Keep are what happens if that fails
	Ask                 // somebody outside decides; Winner and Keep are what happens at the deadline
)

// Verdict is a decided conflict.
type Verdict struct {
	Action Action
	Winner version.ID // "" if there were no heads
	// Keep names the losers whose bytes must be preserved, best first: puts only, each once, never the winner.
	Keep   []version.ID
	Policy string // the policy of the rule
	Reason string // for a person; the same for the same heads
}

// Decide applies a rule to the heads of one key in a group of so many replicas. A policy that it does not know is treated
// as keep-both, because that loses nothing.
func Decide(rule config.ConflictRule, heads []Head, replicas int) Verdict {
	rule = known(rule)
	v := Verdict{Policy: string(rule.Policy)}
	if len(heads) == 0 {
		v.Reason = "there is no head"
		return v
	}
	by, remark := order(rule, heads, replicas)
	ranked := slices.SortedFunc(slices.Values(heads), by.compare)
	v.Winner = ranked[0].Version.ID
	if rule.Policy != config.LastWriterWins || !rule.Discard {
		v.Keep = losers(ranked)
	}
	reason := by.reason(ranked) + remark(ranked)
	switch rule.Policy {
	case config.Merge:
		if why := unmergeable(rule, heads); why != "" {
			v.Reason = fmt.Sprintf("%s, so %s decides: %s", why, rule.Fallback, reason)
			return v
		}
		v.Action = Merge
		v.Reason = string(rule.Fallback) + " decides: " + reason // if it fails
	case config.Manual, config.Webhook:
		if len(MayWin(heads)) < 2 {
			v.Reason = "there is nothing to ask about: " + reason
			return v
		}
		v.Action = Ask
		v.Reason = string(rule.Fallback) + " decides: " + reason // at the deadline
	default:
		v.Reason = reason
	}
	return v
}

// known is a rule that names policies of this version only.
func known(rule config.ConflictRule) config.ConflictRule {
	if !rule.Policy.HasFallback() {
		if !decides(rule.Policy) && rule.Policy != config.CEL {
			rule.Policy = config.KeepBoth
		}
		return rule
	}
	if !decides(rule.Fallback) {
		rule.Fallback = config.KeepBoth
	}
	return rule
}

// decides reports whether a policy is an order by itself, of any heads.
func decides(p config.Policy) bool {
	switch p {
	case config.KeepBoth, config.LastWriterWins, config.Primary, config.Largest, config.EditWins, config.DeleteWins:
		return true
	default:
		return false
	}
}

// losers are the puts among ranked heads but for the winner, each once.
func losers(ranked []Head) []version.ID {
	var keep []version.ID
	for _, h := range ranked[1:] {
		id := h.Version.ID
		if h.Version.Kind == version.Put && id != ranked[0].Version.ID && !slices.Contains(keep, id) {
			keep = append(keep, id)
		}
	}
	return keep
}

// MayWin are the heads that somebody who decides otherwise than by the order (a person, a webhook) may choose: not a write
// at a ReadOnly replica beside others, and no content that the writer of another head had seen. Sorted by id.
func MayWin(heads []Head) []version.ID {
	if len(heads) == 0 {
		return nil
	}
	first := precedence(heads)
	best := slices.MinFunc(heads, first.compare)
	var out []version.ID
	for _, h := range heads {
		if first.compare(h, best) == 0 {
			out = append(out, h.Version.ID)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// unmergeable says why contents are not merged, "" if they are.
func unmergeable(rule config.ConflictRule, heads []Head) string {
	largest := cmp.Or(rule.MaxSize, config.DefaultMaxSize)
	ids := map[version.ID]bool{}
	for _, h := range heads {
		ids[h.Version.ID] = true
	}
	has := func(what func(Head) bool) bool { return slices.ContainsFunc(heads, what) }
	switch {
	case has(func(h Head) bool { return h.Version.Kind == version.Delete }):
		return "a delete can't be merged"
	case len(ids) < 2:
		return "there is nothing to merge with"
	case len(MayWin(heads)) < len(ids):
		// A merge would bring back what its successor left out, or what was written where nobody may write.
		return "not all contents may be merged: one was written at a ReadOnly replica, or another's writer had, or may have, seen it"
	case has(func(h Head) bool { return h.Version.Content.Size > largest }):
		return fmt.Sprintf("a content is larger than the %d bytes that are merged", largest)
	}
	return ""
}
