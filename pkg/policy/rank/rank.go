// Package rank is the policy cel: an expression in the Common Expression Language gives each head of a conflict a rank,
// and the highest rank wins.
//
// Two synchronizers must come to the same ranks. So an expression sees only what the row has (the fields of Head), and
// whatever could differ from one evaluation or machine to the next is refused when it is compiled: maps, whose order is
// random, and time zones, which every machine has its own list of. What an evaluation may cost is bounded.
//
// Errors of Compile are of kind errkind.Invalid and begin with the place in the expression, LINE:COLUMN. An evaluation has
// no errors: a head whose rank can't be computed has the lowest one, which says why.
//
// Concurrency: an Expression may be evaluated by many goroutines at the same time.
package rank

import (
	"cmp"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types"
)

// Head is what an expression sees of a head.
type Head struct {
	Replica   string    // head.replica: a replica that holds it
	Kind      string    // head.kind: put or delete
	Size      int64     // head.size: bytes, 0 of a delete
	WrittenAt time.Time // head.writtenAt
	Holders   []string  // head.holders: all replicas that hold it
}

// Expression is a compiled expression.
type Expression struct{ program cel.Program }

// Of is the rank of a head in a group of so many replicas.
func (e *Expression) Of(h Head, replicas int) Rank {
	out, _, err := e.program.Eval(map[string]any{
		varReplica: h.Replica, varKind: h.Kind, varSize: h.Size, varWrittenAt: h.WrittenAt.UTC(), varHolders: h.Holders,
		varReplicas: replicas,
	})
	if err != nil {
		return Rank{none: strings.Join(strings.Fields(err.Error()), " ")}
	}
	switch v := out.(type) {
	case types.Bool:
		r := Rank{text: strconv.FormatBool(bool(v))}
		if v {
			r.int = 1
		}
		return r
	case types.Int:
		return Rank{int: int64(v), text: strconv.FormatInt(int64(v), 10)}
	case types.Uint:
		return Rank{uint: uint64(v), text: strconv.FormatUint(uint64(v), 10)}
	case types.Double:
		if math.IsNaN(float64(v)) {
			return Rank{none: "not a number"}
		}
		return Rank{double: float64(v), text: strconv.FormatFloat(float64(v), 'g', -1, 64)}
	}
	return Rank{none: fmt.Sprintf("a %s is no rank", out.Type().TypeName())} // Compile lets no such expression through
}

// Rank is the value of an expression for one head. Ranks of one expression are totally ordered.
type Rank struct {
	none   string // why there is no value
	text   string
	int    int64 // one of the three is used, by the type of the expression
	uint   uint64
	double float64
}

// Compare is positive if r is higher than s. No value is the lowest, whatever the reason.
func (r Rank) Compare(s Rank) int {
	if r.none != "" || s.none != "" {
		return cmp.Compare(flag(r.none == ""), flag(s.none == ""))
	}
	return cmp.Or(cmp.Compare(r.int, s.int), cmp.Compare(r.uint, s.uint), cmp.Compare(r.double, s.double))
}

// None is why there is no value, "" if there is one.
func (r Rank) None() string { return r.none }

// String is the value for a person.
func (r Rank) String() string {
	if r.none != "" {
		return "none (" + r.none + ")"
	}
	return r.text
}

func flag(b bool) int {
	if b {
		return 1
	}
	return 0
}
