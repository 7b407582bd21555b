// Package align lays versions of one sequence beside their common base: where they differ from it, and what each of them has
// there. It is the part of a three-way merge that merges and their display share, for any number of sides.
//
// It has no errors and no state: its functions are safe for concurrent use.
package align

import (
	"slices"

	"znkr.io/diff"
)

// fastAbove is the number of elements, of both sequences together and without their common beginning and end, above which the
// difference is found in O(n log n) steps by elements that are unique. Below it is close to the smallest one, in
// O(n^1.5 log n) steps. The fast way finds larger differences at worst, so that a merge is refused that could have been made.
const fastAbove = 1 << 16

// Span is a part of a sequence: from From up to, and without, To.
type Span struct{ From, To int }

// Len is the number of elements.
func (s Span) Len() int { return s.To - s.From }

// Chunk is a place where at least one side differs from the base.
type Chunk struct {
	Base    Span
	Sides   []Span // what each side has instead, in the order of the sides
	Changed []bool // whether a side has a difference in this place at all
}

// Chunks are the places where sides differ from base, in their order. Between two chunks is at least one element, and all
// sides have there what base has: changes that touch each other are in one chunk, because nothing says which of them
// comes first.
func Chunks[T comparable](base []T, sides ...[]T) []Chunk {
	edits := make([][]edit, len(sides))
	for i, side := range sides {
		edits[i] = between(base, side)
	}
	var chunks []Chunk
	shift := make([]int, len(sides)) // position in a side minus position in base
	for {
		from, ok := first(edits)
		if !ok {
			return chunks
		}
		c := Chunk{Base: Span{from, from}, Sides: make([]Span, len(sides)), Changed: make([]bool, len(sides))}
		for i := range sides {
			c.Sides[i].From = from + shift[i]
		}
		for grown := true; grown; {
			grown = false
			for i := range edits {
				for len(edits[i]) > 0 && edits[i][0].base.From <= c.Base.To {
					e := edits[i][0]
					edits[i] = edits[i][1:]
					c.Base.To = max(c.Base.To, e.base.To)
					shift[i] = e.side.To - e.base.To
					c.Changed[i], grown = true, true
				}
			}
		}
		for i := range sides {
			c.Sides[i].To = c.Base.To + shift[i]
		}
		chunks = append(chunks, c)
	}
}

// edit is one difference between base and a side.
type edit struct{ base, side Span }

func first(edits [][]edit) (from int, ok bool) {
	for _, e := range edits {
		if len(e) > 0 && (!ok || e[0].base.From < from) {
			from, ok = e[0].base.From, true
		}
	}
	return from, ok
}

func between[T comparable](base, side []T) []edit {
	options := []diff.Option{diff.Context(0)}
	if differing(base, side) > fastAbove {
		options = append(options, diff.Fast())
	}
	hunks := diff.Hunks(base, side, options...)
	edits := make([]edit, len(hunks))
	for i, h := range hunks {
		edits[i] = edit{Span{h.PosX, h.EndX}, Span{h.PosY, h.EndY}}
	}
	return edits
}

// differing is the number of elements between the common beginning and the common end.
func differing[T comparable](a, b []T) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	a, b = a[n:], b[n:]
	for len(a) > 0 && len(b) > 0 && a[len(a)-1] == b[len(b)-1] {
		a, b = a[:len(a)-1], b[:len(b)-1]
	}
	return len(a) + len(b)
}

// Versions groups the sides by what they have in a chunk: each group is the numbers of the sides that have the same, and
// differ from the base, in the order of the sides. More than one group is a clash.
func Versions[T comparable](c Chunk, base []T, sides ...[]T) [][]int {
	old := base[c.Base.From:c.Base.To]
	var groups [][]int
next:
	for i, s := range c.Sides {
		now := sides[i][s.From:s.To]
		if !c.Changed[i] || slices.Equal(now, old) {
			continue
		}
		for g, group := range groups {
			if first := group[0]; slices.Equal(now, sides[first][c.Sides[first].From:c.Sides[first].To]) {
				groups[g] = append(groups[g], i)
				continue next
			}
		}
		groups = append(groups, []int{i})
	}
	return groups
}
