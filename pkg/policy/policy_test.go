package policy_test

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

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
			v := policy.Decide(tc.rule, tc.heads)
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

// Few values, so that ties are frequent.
var (
	replicas = rapid.SampledFrom([]string{"us", "eu", "asia", "africa"})
	digests  = rapid.SampledFrom([]string{"", "a", "b", "c"})
	ids      = rapid.SampledFrom([]version.ID{"us@1", "us@2", "eu@1", "eu@2", "asia@1", "africa@1", "~@1"})
)

func genHead(t *rapid.T) policy.Head {
	v := &version.Version{
		ID:   ids.Draw(t, "id"),
		Kind: rapid.SampledFrom([]version.Kind{version.Put, version.Delete}).Draw(t, "kind"),
		HLC:  version.Timestamp(rapid.Int64Range(0, 3).Draw(t, "hlc")),
	}
	if v.Kind == version.Put {
		v.Content = version.Content{
			Size: rapid.Int64Range(0, 2).Draw(t, "size"), SHA256: digests.Draw(t, "sha"), MD5: digests.Draw(t, "md5"),
		}
	}
	return policy.Head{Version: v, Replica: replicas.Draw(t, "replica"), Writable: rapid.Bool().Draw(t, "writable")}
}

// genHeads are heads as they occur: one version has one id.
func genHeads(t *rapid.T) []policy.Head {
	return rapid.SliceOfNDistinct(rapid.Custom(genHead), 1, 6, func(h policy.Head) version.ID { return h.Version.ID }).Draw(t, "heads")
}

func genRule(t *rapid.T) config.ConflictRule {
	return config.ConflictRule{
		Policy:  rapid.SampledFrom([]config.Policy{config.KeepBoth, config.LastWriterWins, config.Primary}).Draw(t, "policy"),
		Order:   rapid.SliceOfDistinct(replicas, rapid.ID[string]).Draw(t, "order"),
		Discard: rapid.Bool().Draw(t, "discard"),
	}
}

func equal(a, b policy.Verdict) bool {
	return a.Winner == b.Winner && slices.Equal(a.Keep, b.Keep) && a.Policy == b.Policy && a.Reason == b.Reason
}

func TestVerdictDoesNotDependOnTheOrderOfHeads(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rule, heads := genRule(t), genHeads(t)
		want := policy.Decide(rule, heads)
		if again := policy.Decide(rule, heads); !equal(want, again) {
			t.Fatalf("equal inputs: %+v and %+v", want, again)
		}
		before := slices.Clone(heads)
		shuffled := rapid.Permutation(heads).Draw(t, "permutation")
		if got := policy.Decide(rule, shuffled); !equal(want, got) {
			t.Fatalf("permuted: %+v, want %+v", got, want)
		}
		if !slices.Equal(before, heads) {
			t.Fatal("the heads were changed")
		}
	})
}

func TestVerdictIsSound(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rule, heads := genRule(t), genHeads(t)
		v := policy.Decide(rule, heads)
		byID := map[version.ID]policy.Head{}
		writable := false
		for _, h := range heads {
			byID[h.Version.ID] = h
			writable = writable || h.Writable
		}
		winner, ok := byID[v.Winner]
		if !ok {
			t.Fatalf("winner %q is no head", v.Winner)
		}
		if writable && !winner.Writable {
			t.Fatalf("winner %q was written at a read-only replica", v.Winner)
		}
		discard := rule.Policy == config.LastWriterWins && rule.Discard
		want := 0
		for _, h := range heads {
			if h.Version.Kind == version.Put && h.Version.ID != v.Winner && !discard {
				want++
			}
		}
		if len(v.Keep) != want {
			t.Fatalf("keep = %q, want %d of them", v.Keep, want)
		}
		seen := map[version.ID]bool{v.Winner: true}
		for _, id := range v.Keep {
			if seen[id] {
				t.Fatalf("keep holds %q twice, or the winner: %q", id, v.Keep)
			}
			seen[id] = true
			if byID[id].Version == nil || byID[id].Version.Kind != version.Put {
				t.Fatalf("keep holds %q, which is no put among the heads", id)
			}
		}
	})
}

// The winners of pairs are a total order: one of two wins whichever comes first (totality and antisymmetry), it is
// transitive, and the winner of many is the one that wins against each.
func TestPairsAreATotalOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rule, heads := genRule(t), genHeads(t)
		beats := func(a, b policy.Head) bool {
			return policy.Decide(rule, []policy.Head{a, b}).Winner == a.Version.ID
		}
		best := policy.Decide(rule, heads).Winner
		for i, a := range heads {
			for j, b := range heads {
				if i == j {
					continue
				}
				if beats(a, b) == beats(b, a) {
					t.Fatalf("%+v and %+v: no order", *a.Version, *b.Version)
				}
				if a.Version.ID == best && !beats(a, b) {
					t.Fatalf("%q is the best of all but loses against %q", best, b.Version.ID)
				}
				for k, c := range heads {
					if k != i && k != j && beats(a, b) && beats(b, c) && !beats(a, c) {
						t.Fatalf("%q beats %q beats %q, but not transitively", a.Version.ID, b.Version.ID, c.Version.ID)
					}
				}
			}
		}
	})
}

// A loser that leaves does not change the winner: replicas that see one head fewer still agree.
func TestLosersDoNotMatter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rule, heads := genRule(t), genHeads(t)
		v := policy.Decide(rule, heads)
		for i, h := range heads {
			if h.Version.ID == v.Winner {
				continue
			}
			rest := slices.Delete(slices.Clone(heads), i, i+1)
			if got := policy.Decide(rule, rest).Winner; got != v.Winner {
				t.Fatalf("without %q the winner is %q instead of %q", h.Version.ID, got, v.Winner)
			}
		}
	})
}

func TestReasonIsOneLine(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		if r := policy.Decide(genRule(t), genHeads(t)).Reason; r == "" || strings.ContainsAny(r, "\r\n") {
			t.Fatalf("reason %q", r)
		}
	})
}
