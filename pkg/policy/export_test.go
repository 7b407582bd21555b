package policy

import "github.com/bucketmesh/bucketmesh/pkg/config"

// Compare is the order of a rule on these heads.
func Compare(rule config.ConflictRule, heads []Head, replicas int) func(a, b Head) int {
	by, _ := order(known(rule), heads, replicas)
	return by.compare
}
