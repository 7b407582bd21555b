package policy

import (
	"cmp"
	"slices"

	"github.com/bucketmesh/bucketmesh/pkg/version"
)

// majority prefers the content that more than half of the replicas hold. Equal contents of several heads count together,
// and so do deletes, which are all the same absence. The remark says that there is none.
func majority(heads []Head, replicas int) (criterion, func(ranked []Head) string) {
	at := map[version.ID]map[string]bool{} // who holds the content of a version
	for _, h := range heads {
		at[h.Version.ID] = map[string]bool{}
	}
	for i, class := range classes(heads) {
		for _, j := range class {
			for _, r := range heads[j].holders() {
				at[heads[i].Version.ID][r] = true
			}
		}
	}
	has := func(h Head) bool { return 2*len(at[h.Version.ID]) > replicas }
	remark := func(ranked []Head) string {
		if slices.ContainsFunc(ranked, has) {
			return ""
		}
		return "; no content is held by more than half of the replicas"
	}
	return criterion{"more than half of the replicas hold its content", func(a, b Head) int { return cmp.Compare(flag(has(b)), flag(has(a))) }}, remark
}

// classes are, for each head, the heads with the same content, itself among them. What is the same as the same is the
// same: of a and c it may only be known that both are b, one by its MD5 and the other by its SHA-256.
func classes(heads []Head) [][]int {
	label := make([]int, len(heads))
	for i := range heads {
		label[i] = i
	}
	for i := range heads {
		for j := range heads[:i] {
			if from, to := label[i], label[j]; from != to && sameContent(heads[i].Version, heads[j].Version) {
				for k := range label {
					if label[k] == from {
						label[k] = to
					}
				}
			}
		}
	}
	out := make([][]int, len(heads))
	for i := range heads {
		for j := range heads {
			if label[i] == label[j] {
				out[i] = append(out[i], j)
			}
		}
	}
	return out
}

// sameContent: a delete has none, and none is none.
func sameContent(u, v *version.Version) bool {
	return u.ID == v.ID || u.Kind == v.Kind && u.Content.Compare(v.Content) == version.Equal
}
