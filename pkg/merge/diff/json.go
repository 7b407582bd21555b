package diff

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/bucketmesh/bucketmesh/pkg/merge/internal/align"
	"github.com/bucketmesh/bucketmesh/pkg/merge/internal/tree"
)

func (d *Diff) json(base *Content, sides []Content) error {
	var old *tree.Node
	if base != nil {
		doc, err := tree.Parse(base.Data)
		if err != nil {
			return fmt.Errorf("%s: %w", base.Name, err)
		}
		old = doc.Root
	}
	roots := make([]*tree.Node, len(sides))
	for i, s := range sides {
		doc, err := tree.Parse(s.Data)
		if err != nil {
			return fmt.Errorf("%s: %w", s.Name, err)
		}
		roots[i] = doc.Root
	}
	w := &walk{diff: d, based: base != nil}
	w.value(old, roots)
	return nil
}

// walk goes over the base and all sides at once. A node that is nil is not there.
type walk struct {
	diff  *Diff
	based bool
	path  []string
}

func (w *walk) value(base *tree.Node, sides []*tree.Node) {
	versions := tree.Versions(base, sides)
	all := len(versions) == 1 && len(versions[0]) == len(sides) // without a base: all have it, and agree
	if len(versions) == 0 || !w.based && all {
		return
	}
	switch {
	case tree.Alike(tree.Object, base, versions, sides) && !(base == nil && len(versions) == 1):
		w.object(base, sides)
	case base != nil && tree.Alike(tree.Array, base, versions, sides):
		w.array(base, sides)
	default:
		w.add(w.path, versions, value(base), func(i int) Value { return value(sides[i]) })
	}
}

func (w *walk) object(base *tree.Node, sides []*tree.Node) {
	old := tree.Index(base)
	now := make([]map[string]tree.Member, len(sides))
	for i, s := range sides {
		now[i] = tree.Index(s)
	}
	values := make([]*tree.Node, len(sides))
	for _, name := range tree.Order(base, sides) {
		for i := range sides {
			values[i] = now[i][name].Value
		}
		w.path = append(w.path, name)
		w.value(old[name].Value, values)
		w.path = w.path[:len(w.path)-1]
	}
}

func (w *walk) array(base *tree.Node, sides []*tree.Node) {
	old := base.Sums()
	now := make([][]tree.Sum, len(sides))
	for i, s := range sides {
		now[i] = s.Sums()
	}
	for _, c := range align.Chunks(old, now...) {
		if versions := align.Versions(c, old, now...); len(versions) > 0 {
			path := append(slices.Clip(w.path), strconv.Itoa(c.Base.From))
			w.add(path, versions, items(base, c.Base), func(i int) Value { return items(sides[i], c.Sides[i]) })
		}
	}
}

func (w *walk) add(path []string, versions [][]int, base Value, side func(int) Value) {
	if len(w.diff.Changes) == maxPlaces {
		w.diff.More++
		return
	}
	c := Change{Pointer: tree.Pointer(path), Clash: len(versions) > 1}
	if w.based {
		c.Base = &base
	}
	for i := range w.diff.Sides {
		v := side(i)
		v.Same = w.based
		c.Sides = append(c.Sides, v)
	}
	for _, v := range versions {
		for _, i := range v {
			c.Sides[i].Same = false
		}
	}
	w.diff.Changes = append(w.diff.Changes, c)
}

func value(n *tree.Node) Value {
	if n == nil {
		return Value{Gone: true}
	}
	return Value{Text: cut(string(n.Raw[:min(len(n.Raw), 4*maxChars)]))}
}

func items(n *tree.Node, s align.Span) Value {
	return Value{Gone: s.Len() == 0, Text: cut(tree.Join(n.Items[s.From:s.To], 4*maxChars))}
}
