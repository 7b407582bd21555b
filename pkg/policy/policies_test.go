package policy_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/bucketmesh/bucketmesh/pkg/config"
	"github.com/bucketmesh/bucketmesh/pkg/policy"
	"github.com/bucketmesh/bucketmesh/pkg/version"
)

func sized(h policy.Head, size int64) policy.Head {
	h.Version.Content.Size = size
	return h
}

func at(h policy.Head, replicas ...string) policy.Head {
	h.Replicas = replicas
	return h
}

// TestPolicies is what docs/conflicts.md tells of each policy.
func TestPolicies(t *testing.T) {
	largest := config.ConflictRule{Policy: config.Largest}
	editWins := config.ConflictRule{Policy: config.EditWins}
	deleteWins := config.ConflictRule{Policy: config.DeleteWins}
	quorum := config.ConflictRule{Policy: config.Quorum, Fallback: config.KeepBoth}
	cel := func(expression string) config.ConflictRule {
		return config.ConflictRule{Policy: config.CEL, Expression: expression}
	}
	md5 := func(h policy.Head, sum string) policy.Head {
		h.Version.Content.MD5 = sum
		return h
	}
	for _, tc := range []struct {
		name   string
		rule   config.ConflictRule
		heads  []policy.Head
		winner version.ID
		keep   []version.ID
		reason string
	}{
		{
			"largest: the largest wins although it is older", largest,
			[]policy.Head{sized(put("us@1", "us", 1, "a"), 9), sized(put("eu@1", "eu", 3, "b"), 8), sized(put("asia@1", "asia", 2, "c"), 7)},
			"us@1", []version.ID{"eu@1", "asia@1"}, "put us@1 of us wins over eu@1: it is the largest",
		},
		{
			"largest: of one size the latest", largest,
			[]policy.Head{put("us@1", "us", 1, "a"), put("eu@1", "eu", 3, "b")},
			"eu@1", []version.ID{"us@1"}, "put eu@1 of eu wins over us@1: it is the latest",
		},
		{
			"largest: an empty object is more than none", largest,
			[]policy.Head{del("us@1", "us", 9), sized(put("eu@1", "eu", 3, "b"), 0)},
			"eu@1", nil, "put eu@1 of eu wins over us@1: it is the largest",
		},
		{
			"edit-wins: a put wins over a later delete", editWins,
			[]policy.Head{del("us@1", "us", 9), put("eu@1", "eu", 3, "b")},
			"eu@1", nil, "put eu@1 of eu wins over us@1: a put is preferred to a delete",
		},
		{
			"edit-wins: of puts the latest", editWins,
			[]policy.Head{del("us@1", "us", 9), put("eu@1", "eu", 3, "b"), put("asia@1", "asia", 4, "c")},
			"asia@1", []version.ID{"eu@1"}, "put asia@1 of asia wins over eu@1: it is the latest",
		},
		{
			"delete-wins: a delete wins over a later put, which is kept", deleteWins,
			[]policy.Head{del("us@1", "us", 1), put("eu@1", "eu", 3, "b")},
			"us@1", []version.ID{"eu@1"}, "delete us@1 of us wins over eu@1: a delete is preferred to a put",
		},
		{
			"delete-wins: of puts the latest", deleteWins,
			[]policy.Head{put("us@1", "us", 1, "a"), put("eu@1", "eu", 3, "b")},
			"eu@1", []version.ID{"us@1"}, "put eu@1 of eu wins over us@1: it is the latest",
		},
		{
			"quorum: two of three win over the latest", quorum,
			[]policy.Head{at(put("us@1", "us", 1, "a"), "us", "eu"), at(put("asia@1", "asia", 3, "b"), "asia")},
			"us@1", []version.ID{"asia@1"}, "put us@1 of us wins over asia@1: more than half of the replicas hold its content",
		},
		{
			"quorum: equal contents count together, and one of them is kept as the other", quorum,
			[]policy.Head{put("us@1", "us", 1, "a"), put("eu@1", "eu", 2, "a"), put("asia@1", "asia", 3, "b")},
			"eu@1", []version.ID{"us@1", "asia@1"}, "put eu@1 of eu wins over us@1: it is the latest",
		},
		{
			"quorum: contents are equal by whatever digest both have", quorum,
			[]policy.Head{md5(put("us@1", "us", 1, ""), "m"), put("asia@1", "asia", 3, "b"), md5(put("eu@1", "eu", 2, "a"), "m")},
			"eu@1", []version.ID{"us@1", "asia@1"}, "put eu@1 of eu wins over us@1: it is the latest",
		},
		{
			"quorum: deletes are equal", quorum,
			[]policy.Head{del("us@1", "us", 1), del("eu@1", "eu", 2), put("asia@1", "asia", 3, "b")},
			"eu@1", []version.ID{"asia@1"}, "delete eu@1 of eu wins over us@1: it is the latest",
		},
		{
			"quorum: an empty object is no delete", quorum,
			[]policy.Head{del("us@1", "us", 1), sized(put("eu@1", "eu", 2, "e"), 0), put("asia@1", "asia", 3, "b")},
			"asia@1", []version.ID{"eu@1"}, "put asia@1 of asia wins over eu@1: it is the latest; no content is held by more than half of the replicas",
		},
		{
			"quorum: without a majority the fallback decides", config.ConflictRule{Policy: config.Quorum, Fallback: config.Primary, Order: []string{"us"}},
			[]policy.Head{put("us@1", "us", 1, "a"), put("eu@1", "eu", 2, "b"), put("asia@1", "asia", 3, "c")},
			"us@1", []version.ID{"asia@1", "eu@1"},
			"put us@1 of us wins over asia@1: its replica comes first in the order of the rule; no content is held by more than half of the replicas",
		},
		{
			"quorum: one of three that answered is no majority", quorum,
			[]policy.Head{put("us@1", "us", 1, "a"), put("eu@1", "eu", 2, "b")},
			"eu@1", []version.ID{"us@1"}, "put eu@1 of eu wins over us@1: it is the latest; no content is held by more than half of the replicas",
		},
		{
			"quorum: a fallback that can't decide keeps both", config.ConflictRule{Policy: config.Quorum, Fallback: config.Quorum},
			[]policy.Head{put("us@1", "us", 1, "a"), put("eu@1", "eu", 2, "b")},
			"eu@1", []version.ID{"us@1"}, "put eu@1 of eu wins over us@1: it is the latest; no content is held by more than half of the replicas",
		},
		{
			"cel: the highest wins", cel("head.replica == 'us' ? 2 : 1"),
			[]policy.Head{put("us@1", "us", 1, "a"), put("eu@1", "eu", 3, "b")},
			"us@1", []version.ID{"eu@1"}, "put us@1 of us wins over eu@1: the expression ranks it higher; ranks: us@1 2, eu@1 1",
		},
		{
			"cel: ties go to the latest", cel("head.size"),
			[]policy.Head{put("us@1", "us", 1, "a"), put("eu@1", "eu", 3, "b")},
			"eu@1", []version.ID{"us@1"}, "put eu@1 of eu wins over us@1: it is the latest; ranks: eu@1 3, us@1 3",
		},
		{
			"cel: a rank that can't be computed is the lowest, and the reason says why", cel("-1 / (head.size - 3)"),
			[]policy.Head{sized(put("us@1", "us", 1, "a"), 4), put("eu@1", "eu", 3, "b")},
			"us@1", []version.ID{"eu@1"}, "put us@1 of us wins over eu@1: the expression ranks it higher; ranks: us@1 -1, eu@1 none (division by zero)",
		},
		{
			"cel: not a number is no rank", cel("double(head.size) / 0.0 * (head.size == 3 ? 0.0 : -1.0)"),
			[]policy.Head{sized(put("us@1", "us", 1, "a"), 4), put("eu@1", "eu", 3, "b")},
			"us@1", []version.ID{"eu@1"}, "put us@1 of us wins over eu@1: the expression ranks it higher; ranks: us@1 -Inf, eu@1 none (not a number)",
		},
		{
			"cel: time, holders and the number of replicas", cel("head.writtenAt < timestamp('1970-01-01T00:00:01Z') && head.holders == ['asia', 'us'] && replicas == 3"),
			[]policy.Head{at(put("us@1", "us", 1, "a"), "us", "asia"), put("eu@1", "eu", 2, "b")},
			"us@1", []version.ID{"eu@1"}, "put us@1 of us wins over eu@1: the expression ranks it higher; ranks: us@1 true, eu@1 false",
		},
		{
			"cel: an expression that can't be used keeps both", cel("head.siez"),
			[]policy.Head{put("us@1", "us", 1, "a"), put("eu@1", "eu", 3, "b")},
			"eu@1", []version.ID{"us@1"}, "put eu@1 of eu wins over us@1: it is the latest; the expression can't be used: 1:1: this is no field of head",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			v := policy.Decide(tc.rule, tc.heads, 3)
			if v.Action != policy.Take || v.Winner != tc.winner || !slices.Equal(v.Keep, tc.keep) || v.Reason != tc.reason || v.Policy != string(tc.rule.Policy) {
				t.Errorf("Decide = %+v\nwant winner %q, keep %q, reason %q", v, tc.winner, tc.keep, tc.reason)
			}
		})
	}
}

// TestQuorumCountsWhatIsKnownToBeEqual: that the first and the last are the same follows only from the one between them.
func TestQuorumCountsWhatIsKnownToBeEqual(t *testing.T) {
	known := func(h policy.Head, md5 string) policy.Head {
		h.Version.Content.MD5 = md5
		return h
	}
	heads := []policy.Head{
		known(put("us@1", "us", 1, ""), "m"), known(put("eu@1", "eu", 2, "x"), "m"), known(put("asia@1", "asia", 3, "x"), ""),
		at(put("africa@1", "africa", 9, "y"), "africa", "oceania"),
	}
	for _, order := range [][]int{{0, 1, 2, 3}, {0, 2, 1, 3}, {1, 2, 0, 3}, {3, 2, 1, 0}} {
		var some []policy.Head
		for _, i := range order {
			some = append(some, heads[i])
		}
		if v := policy.Decide(config.ConflictRule{Policy: config.Quorum}, some, 5); v.Winner != "asia@1" {
			t.Errorf("%v: %+v", order, v)
		}
	}
}

// TestPoliciesThatTrySomethingFirst have the fallback's winner, and keep what it keeps.
func TestPoliciesThatTrySomethingFirst(t *testing.T) {
	merge := config.ConflictRule{Policy: config.Merge, Fallback: config.Primary, Order: []string{"us", "eu"}, MaxSize: 10}
	manual := config.ConflictRule{Policy: config.Manual, Fallback: config.KeepBoth}
	webhook := config.ConflictRule{Policy: config.Webhook, Fallback: config.Largest}
	two := []policy.Head{put("us@1", "us", 1, "a"), put("eu@1", "eu", 3, "b")}
	const first = "put us@1 of us wins over eu@1: its replica comes first in the order of the rule"
	for _, tc := range []struct {
		name   string
		rule   config.ConflictRule
		heads  []policy.Head
		action policy.Action
		winner version.ID
		keep   []version.ID
		reason string
	}{
		{"two puts are merged", merge, two, policy.Merge, "us@1", []version.ID{"eu@1"}, "primary decides: " + first},
		{
			"three, too", merge, append(slices.Clone(two), put("asia@1", "asia", 9, "c")), policy.Merge, "us@1", []version.ID{"eu@1", "asia@1"},
			"primary decides: " + first,
		},
		{
			"a delete can't be", merge, append(slices.Clone(two), del("asia@1", "asia", 9)), policy.Take, "us@1", []version.ID{"eu@1"},
			"a delete can't be merged, so primary decides: " + first,
		},
		{
			"one put is nothing to merge", merge, two[:1], policy.Take, "us@1", nil,
			"there is nothing to merge with, so primary decides: put us@1 of us is the only head",
		},
		{
			"one put at two replicas is still one", merge, []policy.Head{two[0], put("us@1", "asia", 1, "a")}, policy.Take, "us@1", nil,
			"there is nothing to merge with, so primary decides: put us@1 of us is the only head",
		},
		{
			"what may not be written is not merged", merge, []policy.Head{readOnly(two[0]), two[1]}, policy.Take, "eu@1", []version.ID{"us@1"},
			"not all contents may be merged: one was written at a ReadOnly replica, or another's writer had, or may have, seen it, " +
				"so primary decides: put eu@1 of eu wins over us@1: it was written at a writable replica",
		},
		{
			"what is as large as allowed is merged", merge, []policy.Head{two[1], sized(put("us@1", "us", 1, "a"), 10)}, policy.Merge, "us@1", []version.ID{"eu@1"},
			"primary decides: " + first,
		},
		{
			"what is larger is not", merge, []policy.Head{two[1], sized(put("us@1", "us", 1, "a"), 11)}, policy.Take, "us@1", []version.ID{"eu@1"},
			"a content is larger than the 10 bytes that are merged, so primary decides: " + first,
		},
		{
			"there is a largest size even if the rule has none", config.ConflictRule{Policy: config.Merge}, []policy.Head{two[1], sized(put("us@1", "us", 1, "a"), 4<<20+1)},
			policy.Take, "eu@1", []version.ID{"us@1"},
			"a content is larger than the 4194304 bytes that are merged, so keep-both decides: put eu@1 of eu wins over us@1: it is the latest",
		},
		{
			"a person is asked", manual, two, policy.Ask, "eu@1", []version.ID{"us@1"},
			"keep-both decides: put eu@1 of eu wins over us@1: it is the latest",
		},
		{
			"about deletes, too", manual, []policy.Head{two[0], del("eu@1", "eu", 3)}, policy.Ask, "eu@1", []version.ID{"us@1"},
			"keep-both decides: delete eu@1 of eu wins over us@1: it is the latest",
		},
		{
			"a service is asked", webhook, []policy.Head{sized(put("us@1", "us", 1, "a"), 9), two[1]}, policy.Ask, "us@1", []version.ID{"eu@1"},
			"largest decides: put us@1 of us wins over eu@1: it is the largest",
		},
		{
			"nobody is asked whether a read-only replica wins", webhook, []policy.Head{readOnly(sized(put("us@1", "us", 1, "a"), 9)), two[1]}, policy.Take, "eu@1", []version.ID{"us@1"},
			"there is nothing to ask about: put eu@1 of eu wins over us@1: it was written at a writable replica",
		},
		{
			"a fallback never drops", config.ConflictRule{Policy: config.Manual, Fallback: config.LastWriterWins, Discard: true}, two, policy.Ask, "eu@1", []version.ID{"us@1"},
			"last-writer-wins decides: put eu@1 of eu wins over us@1: it is the latest",
		},
		{
			"a fallback that can't decide keeps both", config.ConflictRule{Policy: config.Manual, Fallback: config.Webhook}, two, policy.Ask, "eu@1", []version.ID{"us@1"},
			"keep-both decides: put eu@1 of eu wins over us@1: it is the latest",
		},
		{
			"one version at two replicas is no question", manual, []policy.Head{two[0], put("us@1", "asia", 1, "a")}, policy.Take, "us@1", nil,
			"there is nothing to ask about: put us@1 of us is the only head",
		},
		{"no heads", manual, nil, policy.Take, "", nil, "there is no head"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			v := policy.Decide(tc.rule, tc.heads, 3)
			if v.Action != tc.action || v.Winner != tc.winner || !slices.Equal(v.Keep, tc.keep) || v.Reason != tc.reason || v.Policy != string(tc.rule.Policy) {
				t.Errorf("Decide = %+v\nwant action %d, winner %q, keep %q, reason %q", v, tc.action, tc.winner, tc.keep, tc.reason)
			}
		})
	}
}

// TestR7NoPolicyBringsBackAnOldContent: the two histories of docs/adr/0004 with every policy, each made to prefer the old
// content.
func TestR7NoPolicyBringsBackAnOldContent(t *testing.T) {
	// us and eu wrote at once, the resolution took us's content, and meanwhile a user at eu edited a copy of us's content.
	resolution := put("~@1", "us", 9, "z")
	resolution.Version.Vector = version.Vector{"us": 1, "eu": 1, version.Synchronizer: 1}
	resolution.Version.Lineage = version.Vector{"us": 1}
	edit := put("eu@2", "eu", 2, "a")
	edit.Version.Vector = version.Vector{"us": 1, "eu": 2}
	// Our copy of us's write landed at eu, unacknowledged, and a user at eu edited it.
	original := put("us@1", "us", 9, "z")
	original.Version.Vector = version.Vector{"us": 1}
	blind := put("eu@1", "eu", 2, "a")
	blind.Version.Vector, blind.Version.MayFollow = version.Vector{"eu": 1}, version.Vector{"us": 1}
	gone := del("eu@1", "eu", 2)
	gone.Version.Vector, gone.Version.MayFollow = blind.Version.Vector, blind.Version.MayFollow

	for _, old := range []policy.Head{resolution, original} {
		old.Version.Content.Size = 9
	}
	histories := map[string][2]policy.Head{
		"resolution": {at(resolution, "us", "asia"), edit}, "unacknowledged": {at(original, "us", "asia"), blind}, "deleted": {at(original, "us", "asia"), gone},
	}
	for _, p := range policies {
		rule := config.ConflictRule{Policy: p, Fallback: config.Primary, Order: []string{"us", "asia", "eu"}, Expression: "head.replica == 'us'"}
		for name, heads := range histories {
			old, successor := heads[0], heads[1]
			v := policy.Decide(rule, heads[:], 3)
			if v.Action != policy.Take || v.Winner != successor.Version.ID || !slices.Equal(v.Keep, []version.ID{old.Version.ID}) {
				t.Errorf("%s, %s: %+v", p, name, v)
			}
			if !strings.Contains(v.Reason, "its writer had, or may have, seen the content of the other") {
				t.Errorf("%s, %s: reason %q", p, name, v.Reason)
			}
			// Without the knowledge of R7 the policy would have it otherwise, or the test would prove nothing.
			blank := func(h policy.Head) policy.Head {
				v := *h.Version
				v.Vector, v.Lineage, v.MayFollow = nil, nil, nil
				h.Version = &v
				return h
			}
			if p == config.DeleteWins && name == "deleted" {
				continue // prefers the successor anyway
			}
			if v := policy.Decide(rule, []policy.Head{blank(old), blank(successor)}, 3); v.Winner != old.Version.ID {
				t.Errorf("%s, %s: it is not R7 that decides: %+v", p, name, v)
			}
		}
	}
}
