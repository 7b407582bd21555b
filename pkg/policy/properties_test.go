package policy_test

import (
	"cmp"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/bucketmesh/bucketmesh/pkg/config"
	"github.com/bucketmesh/bucketmesh/pkg/policy"
	"github.com/bucketmesh/bucketmesh/pkg/version"
)

// Few values, so that ties are frequent.
var (
	names   = []string{"us", "eu", "asia", "africa", "oceania"}
	digests = rapid.SampledFrom([]string{"", "a", "b", "c"})
	ids     = rapid.SampledFrom([]version.ID{"us@1", "us@2", "eu@1", "eu@2", "asia@1", "africa@1", "~@1"})

	policies = []config.Policy{
		config.KeepBoth, config.LastWriterWins, config.Primary, config.Largest, config.EditWins, config.DeleteWins,
		config.Quorum, config.CEL, config.Merge, config.Manual, config.Webhook,
	}
	// expressions give ranks of all types, no ranks for some or all heads, and are no expressions.
	expressions = []string{
		"head.size", "uint(head.size)", "double(head.size) / double(head.size)", "head.kind == 'put'", "10 / head.size",
		"head.holders[1] == 'us'", "size(head.holders) * 2 > replicas", "int(head.writtenAt)", "head.replica == 'eu' ? 1.5 : -0.0",
		"1 / 0", "'text'", "head.size +", "",
	}
)

func genVersion(t *rapid.T) *version.Version {
	vector := rapid.Custom(func(t *rapid.T) version.Vector {
		v := version.Vector{}
		for _, name := range []string{"us", "eu", version.Synchronizer} {
			if n := rapid.Uint64Range(0, 2).Draw(t, name); n > 0 {
				v[name] = n
			}
		}
		return v
	})
	v := &version.Version{
		ID: ids.Draw(t, "id"), Vector: vector.Draw(t, "vector"),
		Kind: rapid.SampledFrom([]version.Kind{version.Put, version.Put, version.Delete}).Draw(t, "kind"),
		HLC:  version.Timestamp(rapid.Int64Range(0, 3).Draw(t, "hlc")),
	}
	if v.Kind == version.Put {
		v.Content = version.Content{
			Size: rapid.Int64Range(0, 2).Draw(t, "size"), SHA256: digests.Draw(t, "sha"), MD5: digests.Draw(t, "md5"),
		}
	}
	if rapid.Bool().Draw(t, "resolution") {
		v.Lineage = vector.Draw(t, "lineage")
	}
	if rapid.Bool().Draw(t, "unacknowledged") {
		v.MayFollow = vector.Draw(t, "mayFollow")
	}
	if rapid.Bool().Draw(t, "merge") {
		v.Sources = rapid.SliceOfN(vector, 1, 2).Draw(t, "sources")
	}
	return v
}

// genHeads are heads as they occur: one version has one id, and a replica holds one version.
func genHeads(t *rapid.T) []policy.Head {
	versions := rapid.SliceOfNDistinct(rapid.Custom(genVersion), 1, 6, func(v *version.Version) version.ID { return v.ID }).Draw(t, "versions")
	heads := make([]policy.Head, len(versions))
	for i, v := range versions {
		heads[i] = policy.Head{Version: v, Writable: rapid.Bool().Draw(t, "writable")}
	}
	for _, name := range names {
		if i := rapid.IntRange(-1, len(heads)-1).Draw(t, name); i >= 0 {
			heads[i].Replicas = append(heads[i].Replicas, name)
			heads[i].Replica = heads[i].Replicas[0]
		}
	}
	return heads
}

func genRule(t *rapid.T, policies ...config.Policy) config.ConflictRule {
	anything := append(slices.Clone(policies), "", "coin-toss")
	return config.ConflictRule{
		Policy:     rapid.SampledFrom(anything).Draw(t, "policy"),
		Fallback:   rapid.SampledFrom(anything).Draw(t, "fallback"),
		Order:      rapid.SliceOfDistinct(rapid.SampledFrom(names), rapid.ID[string]).Draw(t, "order"),
		Discard:    rapid.Bool().Draw(t, "discard"),
		Expression: rapid.SampledFrom(expressions).Draw(t, "expression"),
		MaxSize:    rapid.Int64Range(0, 2).Draw(t, "maxSize"),
	}
}

func genReplicas(t *rapid.T) int { return rapid.IntRange(2, len(names)).Draw(t, "replicas") }

func equal(a, b policy.Verdict) bool {
	return a.Action == b.Action && a.Winner == b.Winner && slices.Equal(a.Keep, b.Keep) && a.Policy == b.Policy && a.Reason == b.Reason
}

func TestVerdictDoesNotDependOnTheOrderOfHeads(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rule, heads, n := genRule(t, policies...), genHeads(t), genReplicas(t)
		want := policy.Decide(rule, heads, n)
		if again := policy.Decide(rule, heads, n); !equal(want, again) {
			t.Fatalf("equal inputs: %+v and %+v", want, again)
		}
		before := slices.Clone(heads)
		shuffled := slices.Clone(rapid.Permutation(heads).Draw(t, "permutation"))
		for i, h := range shuffled {
			shuffled[i].Replicas = rapid.Permutation(h.Replicas).Draw(t, "holders")
		}
		if got := policy.Decide(rule, shuffled, n); !equal(want, got) {
			t.Fatalf("permuted: %+v, want %+v", got, want)
		}
		for i := range heads {
			if heads[i].Version != before[i].Version || !slices.Equal(heads[i].Replicas, before[i].Replicas) {
				t.Fatal("the heads were changed")
			}
		}
	})
}

func TestVerdictIsSound(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rule, heads := genRule(t, policies...), genHeads(t)
		v := policy.Decide(rule, heads, genReplicas(t))
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
		// The winner, what is kept and the deletes are all heads: only discard drops any.
		var want []version.ID
		for _, h := range heads {
			if h.Version.Kind == version.Put && h.Version.ID != v.Winner && (rule.Policy != config.LastWriterWins || !rule.Discard) {
				want = append(want, h.Version.ID)
			}
		}
		slices.Sort(want)
		if got := slices.Sorted(slices.Values(v.Keep)); !slices.Equal(got, want) {
			t.Fatalf("keep = %q, want %q", got, want)
		}
		if v.Reason == "" || strings.ContainsAny(v.Reason, "\r\n") {
			t.Fatalf("reason %q", v.Reason)
		}
	})
}

// TestOrderIsTotal: of the heads of one conflict, one comes first whichever is asked about first, and the order is
// transitive. Only a head is equal to itself.
func TestOrderIsTotal(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rule, heads, n := genRule(t, policies...), genHeads(t), genReplicas(t)
		compare := policy.Compare(rule, heads, n)
		for i, a := range heads {
			for j, b := range heads {
				switch d := compare(a, b); {
				case d != -compare(b, a):
					t.Fatalf("%q and %q: not antisymmetric", a.Version.ID, b.Version.ID)
				case (d == 0) != (i == j):
					t.Fatalf("%q and %q: %d", a.Version.ID, b.Version.ID, d)
				}
				for _, c := range heads {
					if compare(a, b) < 0 && compare(b, c) < 0 && compare(a, c) >= 0 {
						t.Fatalf("%q before %q before %q, but not transitively", a.Version.ID, b.Version.ID, c.Version.ID)
					}
				}
			}
		}
		best := slices.MinFunc(heads, compare).Version.ID
		if v := policy.Decide(rule, heads, n); v.Winner != best {
			t.Fatalf("the winner is %q, the first is %q", v.Winner, best)
		}
	})
}

// TestLosersDoNotMatter: a loser that leaves does not change the winner. Of quorum, and of heads of which one writer saw another's
// content, this can't be said: there a loser is a reason.
func TestLosersDoNotMatter(t *testing.T) {
	independent := slices.DeleteFunc(slices.Clone(policies), func(p config.Policy) bool { return p == config.Quorum })
	rapid.Check(t, func(t *rapid.T) {
		rule, heads, n := genRule(t, independent...), genHeads(t), genReplicas(t)
		for _, h := range heads {
			h.Version.Vector, h.Version.Lineage, h.Version.MayFollow = nil, nil, nil
		}
		v := policy.Decide(rule, heads, n)
		for i, h := range heads {
			if h.Version.ID == v.Winner {
				continue
			}
			rest := slices.Delete(slices.Clone(heads), i, i+1)
			if got := policy.Decide(rule, rest, n).Winner; got != v.Winner {
				t.Fatalf("without %q the winner is %q instead of %q", h.Version.ID, got, v.Winner)
			}
		}
	})
}

// TestR7HoldsForEveryPolicy: among the writable heads (or all, if none is), one whose content was seen by the writer of
// another head never wins against one that nobody has seen. It is not merged, and nobody is asked whether it is to win.
func TestR7HoldsForEveryPolicy(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rule, heads := genRule(t, policies...), genHeads(t)
		v := policy.Decide(rule, heads, genReplicas(t))
		candidates := slices.DeleteFunc(slices.Clone(heads), func(h policy.Head) bool { return !h.Writable })
		if len(candidates) == 0 {
			candidates = heads
		}
		fresh := slices.DeleteFunc(slices.Clone(candidates), func(h policy.Head) bool {
			return slices.ContainsFunc(heads, func(other policy.Head) bool {
				return other.Version.ID != h.Version.ID && other.Version.MayHaveSeen(h.Version)
			})
		})
		if len(fresh) == 0 {
			fresh = candidates // each may have seen another: then there is nothing to go by
		}
		var want []version.ID
		for _, h := range fresh {
			want = append(want, h.Version.ID)
		}
		slices.Sort(want)
		if !slices.Contains(want, v.Winner) {
			t.Fatalf("%s lets %q win, want one of %q", v.Policy, v.Winner, want)
		}
		if got := policy.MayWin(heads); !slices.Equal(got, want) {
			t.Fatalf("MayWin = %q, want %q", got, want)
		}
		switch v.Action {
		case policy.Merge:
			if rule.Policy != config.Merge || len(want) != len(heads) || len(heads) < 2 {
				t.Fatalf("%s merges %d heads, of which %q may win", rule.Policy, len(heads), want)
			}
			for _, h := range heads {
				if h.Version.Kind != version.Put || h.Version.Content.Size > cmp.Or(rule.MaxSize, 2) {
					t.Fatalf("%+v is merged", *h.Version)
				}
			}
		case policy.Ask:
			if !rule.Policy.Asks() || len(want) < 2 {
				t.Fatalf("%s asks, and %q may win", rule.Policy, want)
			}
		case policy.Take:
		}
	})
}

// TestQuorumIsTheMajority: if a content that may win is held by more than half of the replicas, it wins.
func TestQuorumIsTheMajority(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rule, heads := genRule(t, policies...), genHeads(t)
		rule.Policy = config.Quorum
		holders := map[string]int{}
		content := map[version.ID]string{}
		for i, h := range heads {
			name := "gone"
			if h.Version.Kind == version.Put {
				name = rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "content")
				// Either digest tells the contents apart, but only two that have the same one tell that they are equal.
				h.Version.Content = version.Content{Size: 1, SHA256: name}
			}
			heads[i] = h
			content[h.Version.ID] = name
			holders[name] += len(h.Replicas)
		}
		v := policy.Decide(rule, heads, len(names))
		for _, id := range policy.MayWin(heads) {
			if 2*holders[content[id]] > len(names) && content[v.Winner] != content[id] {
				t.Fatalf("%q wins, and %d of %d replicas hold the content of %q", v.Winner, holders[content[id]], len(names), id)
			}
		}
	})
}
