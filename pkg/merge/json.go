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
	versions := versionsOf(base, sides)
	switch {
	case len(versions) == 0:
		return written(base, sides)
	case len(versions) == 1:
		return sides[versions[0][0]]
	case mergeable(tree.Object, base, true, versions, sides):
		return m.object(base, sides)
	case mergeable(tree.Array, base, false, versions, sides):
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

// versionsOf groups the sides that differ from the base by their values. Where there is no base, a side that has nothing
// differs in nothing.
func versionsOf(base *tree.Node, sides []*tree.Node) [][]int {
	var groups [][]int
next:
	for i, s := range sides {
		if equal(s, base) {
			continue
		}
		for g, group := range groups {
			if equal(s, sides[group[0]]) {
				groups[g] = append(groups[g], i)
				continue next
			}
		}
		groups = append(groups, []int{i})
	}
	return groups
}

func equal(a, b *tree.Node) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Sum == b.Sum
}

// mergeable reports whether the base, which may be missing if fresh, and all that changed it are of one kind.
func mergeable(k tree.Kind, base *tree.Node, fresh bool, versions [][]int, sides []*tree.Node) bool {
	if base == nil && !fresh || base != nil && base.Kind != k {
		return false
	}
	return !slices.ContainsFunc(versions, func(v []int) bool { s := sides[v[0]]; return s == nil || s.Kind != k })
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
	old := members(base)
	now := make([]map[string]tree.Member, len(sides))
	for i, s := range sides {
		now[i] = members(s)
	}
	values := make([]*tree.Node, len(sides))
	for _, name := range order(base, sides) {
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

func members(n *tree.Node) map[string]tree.Member {
	if n == nil {
		return nil
	}
	all := make(map[string]tree.Member, len(n.Members))
	for _, m := range n.Members {
		all[m.Name] = m
	}
	return all
}

// order is the order of all members: that of the base, with those that a side added behind the one that they follow there.
func order(base *tree.Node, sides []*tree.Node) []string {
	type link struct {
		name string
		next int // number of a link; 0 is the end
	}
	list := []link{{}} // the first has no name
	at := map[string]int{}
	insert := func(name string, behind int) int {
		list = append(list, link{name, list[behind].next})
		list[behind].next = len(list) - 1
		at[name] = len(list) - 1
		return len(list) - 1
	}
	firsts := 1 // links of the base
	for _, n := range append([]*tree.Node{base}, sides...) {
		if n == nil {
			continue
		}
		last := 0
		for _, m := range n.Members {
			if i, ok := at[m.Name]; ok {
				last = i
				continue
			}
			if last < firsts { // behind what sides before this one added there
				for list[last].next >= firsts {
					last = list[last].next
				}
			}
			last = insert(m.Name, last)
		}
		if firsts == 1 {
			firsts = len(list)
		}
	}
	names := make([]string, 0, len(at))
	for i := list[0].next; i != 0; i = list[i].next {
		names = append(names, list[i].name)
	}
	return names
}

func (m *jsonMerge) array(base *tree.Node, sides []*tree.Node) *tree.Node {
	out := like(base, sides)
	old := sums(base)
	now := make([][]tree.Sum, len(sides))
	for i, s := range sides {
		now[i] = sums(s)
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

func sums(n *tree.Node) []tree.Sum {
	all := make([]tree.Sum, len(n.Items))
	for i, item := range n.Items {
		all[i] = item.Sum
	}
	return all
}
