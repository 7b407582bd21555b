package policy

import (
	"fmt"
	"strings"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/policy/rank"
	"github.com/bucketmesh/bucketmesh/pkg/version"
)

// place tells heads apart, also if one version was seen at two replicas.
type place struct {
	id      version.ID
	replica string
}

// ranking prefers the head that an expression ranks highest. The remark names the ranks, and why a head has none. An
// expression that can't be used, which a loaded document does not have, prefers none.
func ranking(expression string, heads []Head, replicas int) (criteria, func(ranked []Head) string) {
	e, err := rank.Compile(expression)
	if err != nil {
		return nil, func([]Head) string { return "; the expression can't be used: " + err.Error() }
	}
	ranks := make(map[place]rank.Rank, len(heads))
	of := func(h Head) rank.Rank { return ranks[place{h.Version.ID, h.Replica}] }
	for _, h := range heads {
		ranks[place{h.Version.ID, h.Replica}] = e.Of(rank.Head{
			Replica: h.Replica, Kind: string(h.Version.Kind), Size: h.Version.Content.Size,
			WrittenAt: time.Unix(0, int64(h.Version.HLC)), Holders: h.holders(),
		}, replicas)
	}
	remark := func(ranked []Head) string {
		all := make([]string, len(ranked))
		for i, h := range ranked {
			all[i] = fmt.Sprintf("%s %s", h.Version.ID, of(h))
		}
		return "; ranks: " + strings.Join(all, ", ")
	}
	return criteria{{"the expression ranks it higher", func(a, b Head) int { return of(b).Compare(of(a)) }}}, remark
}
