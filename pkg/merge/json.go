package merge

import (
	"bytes"
	"slices"
	"strconv"

	"github.com/bucketmesh/bucketmesh/pkg/merge/internal/align"
	"github.com/bucketmesh/bucketmesh/pkg/merge/internal/text"
	"github.com/bucketmesh/bucketmesh/pkg/merge/internal/tree"
)

func mergeJSON(base []byte, sides []side) ([]byte, error) {
	var old tree.Document
	if base != nil {
		d, err := tree.Parse(base)
		if err != nil {
			return nil, err
		}
		old = *d
	}
	roots, styles, tail := make([]*tree.Node, len(sides)), make([]*tree.Style, len(sides)), old.Tail
	for i, s := range sides {
		d, err := tree.Parse(s.text)
		if err != nil {
			return nil, err
		}
		roots[i], styles[i] = d.Root, d.Style
		if base == nil && i == 0 || bytes.Equal(tail, old.Tail) {
			tail = d.Tail
		}
	}
	m := &jsonMerge{sides: sides, clash: &Clash{Format: JSON, NoBase: base == nil}}
	root := m.value(old.Root, roots)
	if err := m.clash.err(); err != nil {
		return nil, err
	}
	return append(tree.Write(root, tree.Pick(old.Style, styles)), tail...), nil
}

// jsonMerge walks over the base and all sides at once. A node that is nil is not there.
type jsonMerge struct {
	sides []side
	path  []string
	clash *Clash
}

// value merges one place. After a clash it goes on, to find the others; what it returns is of no use then.
func (m *jsonMerge) value(base *tree.Node, sides []*tree.Node) *tree.Node {
	versions := tree.Versions(base, sides)
	switch {
	case len(versions) == 0:
		return written(base, sides)
	case len(versions) == 1:
		return sides[versions[0][0]]
	case tree.Alike(tree.Object, base, versions, sides):
		return m.object(base, sides)
	case base != nil && tree.Alike(tree.Array, base, versions, sides):
		return m.array(base, sides)
	}
	p := Place{Pointer: tree.Pointer(m.path)}
	if base != nil {
		p.Values = append(p.Values, Value{Text: text.Shorten(string(base.Raw), maxText)})
	}
	for _, v := range versions {
		now := Value{Sides: numbers(m.sides, v), Gone: sides[v[0]] == nil}
		if !now.Gone {
			now.Text = text.Shorten(string(sides[v[0]].Raw), maxText)
		}
		p.Values = append(p.Values, now)
	}
	m.clash.add(p)
	return nil
}

// written is a value that nobody changed, as the first side writes it that writes it differently.
func written(base *tree.Node, sides []*tree.Node) *tree.Node {
	for _, s := range sides {
		if s != nil && !bytes.Equal(s.Raw, base.Raw) {
			return s
		}
	}
	return base
}

// like is an empty node that is laid out as the base, or else the first side that is there.
func like(base *tree.Node, sides []*tree.Node) *tree.Node {
	for _, n := range append([]*tree.Node{base}, sides...) {
		if n != nil {
			return &tree.Node{Kind: n.Kind, Inline: n.Inline, Style: n.Style}
		}
	}
	return nil
}

func (m *jsonMerge) object(base *tree.Node, sides []*tree.Node) *tree.Node {
	out := like(base, sides)
	old := tree.Index(base)
	now := make([]map[string]tree.Member, len(sides))
	for i, s := range sides {
		now[i] = tree.Index(s)
	}
	values := make([]*tree.Node, len(sides))
	for _, name := range tree.Order(base, sides) {
		was, ok := old[name]
		key := was.Key
		for i := range sides {
			v := now[i][name]
			values[i] = v.Value
			if !ok && v.Key != nil {
				key, ok = v.Key, true
			}
		}
		m.path = append(m.path, name)
		if v := m.value(was.Value, values); v != nil {
			out.Members = append(out.Members, tree.Member{Name: name, Key: key, Value: v})
		}
		m.path = m.path[:len(m.path)-1]
	}
	return out
}

func (m *jsonMerge) array(base *tree.Node, sides []*tree.Node) *tree.Node {
	out := like(base, sides)
	old := base.Sums()
	now := make([][]tree.Sum, len(sides))
	for i, s := range sides {
		now[i] = s.Sums()
	}
	at := 0
	for _, c := range align.Chunks(old, now...) {
		out.Items = append(out.Items, base.Items[at:c.Base.From]...)
		at = c.Base.To
		switch versions := align.Versions(c, old, now...); len(versions) {
		case 0:
			out.Items = append(out.Items, base.Items[c.Base.From:c.Base.To]...)
		case 1:
			i := versions[0][0]
			out.Items = append(out.Items, sides[i].Items[c.Sides[i].From:c.Sides[i].To]...)
		default:
			m.clash.add(m.clashOfItems(c, versions, base, sides))
		}
	}
	out.Items = append(out.Items, base.Items[at:]...)
	return out
}

func (m *jsonMerge) clashOfItems(c align.Chunk, versions [][]int, base *tree.Node, sides []*tree.Node) Place {
	value := func(n *tree.Node, s align.Span) Value {
		return Value{Gone: s.Len() == 0, Text: text.Shorten(tree.Join(n.Items[s.From:s.To], maxText), maxText)}
	}
	p := Place{Pointer: tree.Pointer(append(slices.Clip(m.path), strconv.Itoa(c.Base.From)))}
	if c.Base.Len() > 0 {
		p.Values = append(p.Values, value(base, c.Base))
	}
	for _, v := range versions {
		now := value(sides[v[0]], c.Sides[v[0]])
		now.Sides = numbers(m.sides, v)
		p.Values = append(p.Values, now)
	}
	return p
}
