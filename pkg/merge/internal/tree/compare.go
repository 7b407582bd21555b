package tree

import "slices"

// Versions groups the sides that differ from the base by their values. Where there is no base, a side that has nothing
// differs in nothing.
func Versions(base *Node, sides []*Node) [][]int {
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

func equal(a, b *Node) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Sum == b.Sum
}

// Alike reports whether all that changed a base are of one kind, and so is the base, if there is one.
func Alike(k Kind, base *Node, versions [][]int, sides []*Node) bool {
	if base != nil && base.Kind != k {
		return false
	}
	return !slices.ContainsFunc(versions, func(v []int) bool { s := sides[v[0]]; return s == nil || s.Kind != k })
}

// Index is the members of an object by name; of nothing it has none.
func Index(n *Node) map[string]Member {
	if n == nil {
		return nil
	}
	all := make(map[string]Member, len(n.Members))
	for _, m := range n.Members {
		all[m.Name] = m
	}
	return all
}

// Order is the order of all members: that of the base, with those that a side added behind the one that they follow there.
func Order(base *Node, sides []*Node) []string {
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
	for _, n := range append([]*Node{base}, sides...) {
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

// Sums are the digests of the items of an array.
func (n *Node) Sums() []Sum {
	all := make([]Sum, len(n.Items))
	for i, item := range n.Items {
		all[i] = item.Sum
	}
	return all
}
