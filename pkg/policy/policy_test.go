package policy_test

import (
	"slices"
	"testing"

	"github.com/bucketmesh/bucketmesh/pkg/config"
	"github.com/bucketmesh/bucketmesh/pkg/policy"
	"github.com/bucketmesh/bucketmesh/pkg/version"
)

func put(id version.ID, replica string, hlc int64, sha string) policy.Head {
	return policy.Head{Replica: replica, Writable: true, Version: &version.Version{
		ID: id, Kind: version.Put, HLC: version.Timestamp(hlc), Content: version.Content{Size: 3, SHA256: sha},
	}}
}

func del(id version.ID, replica string, hlc int64) policy.Head {
	return policy.Head{Replica: replica, Writable: true, Version: &version.Version{
		ID: id, Kind: version.Delete, HLC: version.Timestamp(hlc),
	}}
}

func heldBy(h policy.Head, replicas ...string) policy.Head {
	h.Replicas = replicas
	return h
}

func readOnly(h policy.Head) policy.Head {
	h.Writable = false
	return h
}

func TestDecide(t *testing.T) {
	keepBoth := config.ConflictRule{Policy: config.KeepBoth}
	lww := config.ConflictRule{Policy: config.LastWriterWins}
	primary := config.ConflictRule{Policy: config.Primary, Order: []string{"eu", "us"}}
	for _, tc := range []struct {
		name   string
		rule   config.ConflictRule
		heads  []policy.Head
		winner version.ID
		keep   []version.ID
		reason string
	}{
		{"no heads", keepBoth, nil, "", nil, "there is no head"},
		{"one head", keepBoth, []policy.Head{put("us@1", "us", 1, "a")}, "us@1", nil, "put us@1 of us is the only head"},
		{
			"keep-both: the latest wins, all others are kept, best first", keepBoth,
			[]policy.Head{put("us@1", "us", 10, "a"), put("eu@1", "eu", 30, "b"), put("asia@1", "asia", 20, "c")},
			"eu@1", []version.ID{"asia@1", "us@1"}, "put eu@1 of eu wins over asia@1: it is the latest",
		},
		{
			"last-writer-wins keeps losers as well", lww,
			[]policy.Head{put("us@1", "us", 10, "a"), put("eu@1", "eu", 30, "b")},
			"eu@1", []version.ID{"us@1"}, "put eu@1 of eu wins over us@1: it is the latest",
		},
		{
			"last-writer-wins with discard keeps nothing", config.ConflictRule{Policy: config.LastWriterWins, Discard: true},
			[]policy.Head{put("us@1", "us", 10, "a"), put("eu@1", "eu", 30, "b")},
			"eu@1", nil, "put eu@1 of eu wins over us@1: it is the latest",
		},
		{
			"discard means nothing to keep-both", config.ConflictRule{Policy: config.KeepBoth, Discard: true},
			[]policy.Head{put("us@1", "us", 10, "a"), put("eu@1", "eu", 30, "b")},
			"eu@1", []version.ID{"us@1"}, "put eu@1 of eu wins over us@1: it is the latest",
		},
		{
			"primary: the first of the order wins although it is older", primary,
			[]policy.Head{put("us@1", "us", 90, "a"), put("eu@1", "eu", 10, "b"), put("asia@1", "asia", 99, "c")},
			"eu@1", []version.ID{"us@1", "asia@1"}, "put eu@1 of eu wins over us@1: its replica comes first in the order of the rule",
		},
		{
			"primary: the next of the order when the first has no head", primary,
			[]policy.Head{put("asia@1", "asia", 99, "c"), put("us@1", "us", 1, "a")},
			"us@1", []version.ID{"asia@1"}, "put us@1 of us wins over asia@1: its replica comes first in the order of the rule",
		},
		{
			"primary: the copy at another replica does not make the first one's write worse", primary,
			[]policy.Head{heldBy(put("eu@1", "asia", 10, "b"), "asia", "eu"), put("us@1", "us", 90, "a")},
			"eu@1", []version.ID{"us@1"}, "put eu@1 of asia wins over us@1: its replica comes first in the order of the rule",
		},
		{
			"primary: replicas outside of the order by time", primary,
			[]policy.Head{put("asia@1", "asia", 5, "c"), put("africa@1", "africa", 6, "d")},
			"africa@1", []version.ID{"asia@1"}, "put africa@1 of africa wins over asia@1: it is the latest",
		},
		{
			"a later delete wins and the edit is kept", keepBoth,
			[]policy.Head{put("us@1", "us", 10, "a"), del("eu@1", "eu", 30)},
			"eu@1", []version.ID{"us@1"}, "delete eu@1 of eu wins over us@1: it is the latest",
		},
		{
			"a later edit wins and there is nothing to keep of a delete", keepBoth,
			[]policy.Head{put("us@1", "us", 40, "a"), del("eu@1", "eu", 30)},
			"us@1", nil, "put us@1 of us wins over eu@1: it is the latest",
		},
		{
			"an edit wins over a delete of the same time, known content or not", keepBoth,
			[]policy.Head{
				del("us@9", "us", 30),
				{Replica: "eu", Writable: true, Version: &version.Version{ID: "eu@1", Kind: version.Put, HLC: 30}},
			},
			"eu@1", nil, "put eu@1 of eu wins over us@9: of writes at the same time a put is preferred to a delete",
		},
		{
			"a read-only replica never wins against a writable one", keepBoth,
			[]policy.Head{put("us@1", "us", 1, "a"), readOnly(put("asia@1", "asia", 99, "z"))},
			"us@1", []version.ID{"asia@1"}, "put us@1 of us wins over asia@1: it was written at a writable replica",
		},
		{
			"not even against a delete, nor when it is the primary", config.ConflictRule{Policy: config.Primary, Order: []string{"asia"}},
			[]policy.Head{del("us@1", "us", 1), readOnly(put("asia@1", "asia", 99, "z"))},
			"us@1", []version.ID{"asia@1"}, "delete us@1 of us wins over asia@1: it was written at a writable replica",
		},
		{
			"among read-only replicas the policy decides", keepBoth,
			[]policy.Head{readOnly(put("us@1", "us", 1, "a")), readOnly(put("asia@1", "asia", 99, "z"))},
			"asia@1", []version.ID{"us@1"}, "put asia@1 of asia wins over us@1: it is the latest",
		},
		{
			"same time: the content decides", keepBoth,
			[]policy.Head{put("us@1", "us", 1, "a"), put("eu@1", "eu", 1, "b")},
			"eu@1", []version.ID{"us@1"}, "put eu@1 of eu wins over us@1: of writes at the same time the digest of the content decides",
		},
		{
			"same time and content: the id decides", keepBoth,
			[]policy.Head{put("us@1", "us", 1, "a"), put("eu@1", "eu", 1, "a")},
			"us@1", []version.ID{"eu@1"}, "put us@1 of us wins over eu@1: of equal contents written at the same time the version id decides",
		},
		{
			"one version at two replicas is kept once", keepBoth,
			[]policy.Head{put("us@1", "us", 1, "a"), put("us@1", "asia", 1, "a"), put("eu@1", "eu", 2, "b"), put("eu@1", "us", 2, "b")},
			"eu@1", []version.ID{"us@1"}, "put eu@1 of us wins over us@1: it is the latest",
		},
		{
			"an unknown policy loses nothing", config.ConflictRule{Policy: "coin-toss", Discard: true},
			[]policy.Head{put("us@1", "us", 10, "a"), put("eu@1", "eu", 30, "b")},
			"eu@1", []version.ID{"us@1"}, "put eu@1 of eu wins over us@1: it is the latest",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			v := policy.Decide(tc.rule, tc.heads, 3)
			if v.Winner != tc.winner || !slices.Equal(v.Keep, tc.keep) || v.Reason != tc.reason {
				t.Errorf("Decide = %+v\nwant winner %q, keep %q, reason %q", v, tc.winner, tc.keep, tc.reason)
			}
			want := string(tc.rule.Policy)
			if tc.rule.Policy == "coin-toss" {
				want = string(config.KeepBoth)
			}
			if v.Policy != want {
				t.Errorf("policy = %q, want %q", v.Policy, want)
			}
		})
	}
}
