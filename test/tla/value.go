package tla

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// value is a bool, an int, a string, a *set or a *fun. Values are immutable.
type value any

// set has its elements in the order of their keys.
type set struct {
	elems []value
	text  string
}

// fun is a function; records are functions of strings, and tuples are functions of 1..n.
type fun struct {
	dom  []value // in the order of their keys
	vals []value
	text string
}

// key is the same for equal values, and only for these. It is what sets are ordered by.
func key(v value) string {
	switch x := v.(type) {
	case bool:
		if x {
			return "TRUE"
		}
		return "FALSE"
	case int:
		return strconv.Itoa(x)
	case string:
		return `"` + x + `"`
	case *set:
		if x.text == "" {
			x.text = "{" + strings.Join(keys(x.elems), ",") + "}"
		}
		return x.text
	case *fun:
		if x.text == "" {
			var b strings.Builder
			b.WriteByte('[')
			for i, d := range x.dom {
				b.WriteString(key(d) + ":" + key(x.vals[i]) + ",")
			}
			x.text = b.String() + "]"
		}
		return x.text
	}
	panic(failure{fmt.Errorf("%T is no value", v)})
}

func keys(vs []value) []string {
	out := make([]string, len(vs))
	for i, v := range vs {
		out[i] = key(v)
	}
	return out
}

func byKey(a, b value) int {
	switch x := a.(type) {
	case int:
		if y, ok := b.(int); ok {
			return x - y
		}
	case string:
		if y, ok := b.(string); ok {
			return strings.Compare(x, y)
		}
	}
	return strings.Compare(key(a), key(b))
}

// equal compares values of one kind; others can't be compared, in TLC neither.
func equal(a, b value, line int) bool {
	switch x := a.(type) {
	case bool:
		if y, ok := b.(bool); ok {
			return x == y
		}
	case int:
		if y, ok := b.(int); ok {
			return x == y
		}
	case string:
		if y, ok := b.(string); ok {
			return x == y
		}
	case *set:
		if y, ok := b.(*set); ok {
			return x == y || len(x.elems) == len(y.elems) && key(x) == key(y)
		}
	case *fun:
		if y, ok := b.(*fun); ok {
			return x == y || len(x.dom) == len(y.dom) && key(x) == key(y)
		}
	}
	fail(line, "%s and %s can't be compared", key(a), key(b))
	return false
}

func newSet(elems []value) *set {
	slices.SortFunc(elems, byKey)
	return &set{elems: slices.CompactFunc(elems, func(a, b value) bool { return byKey(a, b) == 0 })}
}

func (s *set) has(v value) bool {
	_, ok := slices.BinarySearchFunc(s.elems, v, byKey)
	return ok
}

func newFun(dom, vals []value) *fun {
	f := &fun{dom: dom, vals: vals}
	if !slices.IsSortedFunc(dom, byKey) {
		at := make([]int, len(dom))
		for i := range at {
			at[i] = i
		}
		slices.SortFunc(at, func(i, j int) int { return byKey(dom[i], dom[j]) })
		f = &fun{dom: make([]value, len(dom)), vals: make([]value, len(dom))}
		for i, j := range at {
			f.dom[i], f.vals[i] = dom[j], vals[j]
		}
	}
	return f
}

func (f *fun) at(x value) (int, bool) { return slices.BinarySearchFunc(f.dom, x, byKey) }

func (f *fun) with(i int, v value) *fun {
	g := &fun{dom: f.dom, vals: slices.Clone(f.vals)}
	g.vals[i] = v
	return g
}

func tuple(vals ...value) *fun {
	dom := make([]value, len(vals))
	for i := range vals {
		dom[i] = i + 1
	}
	return &fun{dom: dom, vals: vals}
}
