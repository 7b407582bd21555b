package tla

import "slices"

// Terms: what has a value and makes no step.

func (c *compiler) term(n *node, sc *scope) *code {
	switch n.op {
	case "CHOOSE", "filter", "map", "fun":
		return c.comprehension(n, sc)
	case "except":
		return c.except(n, sc)
	case "step":
		fail(n.line, "[A]_v is a property of steps, and no term")
	}
	args := c.all(n.args, sc)
	out := &code{line: n.line, fixed: fixed(args)}
	out.eval = operator(n, args)
	return out
}

func operator(n *node, a []*code) func(s *state, e *env) value {
	ints := func(f func(x, y int) value) func(s *state, e *env) value {
		return func(s *state, e *env) value { return f(a[0].int(s, e), a[1].int(s, e)) }
	}
	sets := func(f func(x, y *set) value) func(s *state, e *env) value {
		return func(s *state, e *env) value { return f(a[0].set(s, e), a[1].set(s, e)) }
	}
	keep := func(want bool) func(x, y *set) value {
		return func(x, y *set) value {
			return &set{elems: slices.DeleteFunc(slices.Clone(x.elems), func(v value) bool { return y.has(v) != want })}
		}
	}
	values := func(s *state, e *env) []value {
		out := make([]value, len(a))
		for i := range a {
			out[i] = a[i].eval(s, e)
		}
		return out
	}
	switch n.op {
	case "num":
		return func(*state, *env) value { return n.num }
	case "str":
		return func(*state, *env) value { return n.name }
	case "tuple":
		return func(s *state, e *env) value { return tuple(values(s, e)...) }
	case "set":
		return func(s *state, e *env) value { return newSet(values(s, e)) }
	case "record":
		return func(s *state, e *env) value {
			var dom, vals []value
			for i := 0; i < len(a); i += 2 {
				dom, vals = append(dom, a[i].eval(s, e)), append(vals, a[i+1].eval(s, e))
			}
			return newFun(dom, vals)
		}
	case "apply":
		return func(s *state, e *env) value {
			f, x := function(a[0], s, e), a[1].eval(s, e)
			i, ok := f.at(x)
			if !ok {
				fail(n.line, "%s has no %s", key(f), key(x))
			}
			return f.vals[i]
		}
	case "=":
		return func(s *state, e *env) value { return equal(a[0].eval(s, e), a[1].eval(s, e), n.line) }
	case "#":
		return func(s *state, e *env) value { return !equal(a[0].eval(s, e), a[1].eval(s, e), n.line) }
	case "=>":
		return func(s *state, e *env) value { return !a[0].truth(s, e) || a[1].truth(s, e) }
	case "<=>":
		return func(s *state, e *env) value { return a[0].truth(s, e) == a[1].truth(s, e) }
	case "~":
		return func(s *state, e *env) value { return !a[0].truth(s, e) }
	case `\in`:
		return func(s *state, e *env) value { return a[1].set(s, e).has(a[0].eval(s, e)) }
	case `\notin`:
		return func(s *state, e *env) value { return !a[1].set(s, e).has(a[0].eval(s, e)) }
	case `\subseteq`:
		return sets(func(x, y *set) value { return !slices.ContainsFunc(x.elems, func(v value) bool { return !y.has(v) }) })
	case `\cup`:
		return sets(func(x, y *set) value { return newSet(slices.Concat(x.elems, y.elems)) })
	case `\cap`:
		return sets(keep(true))
	case `\`:
		return sets(keep(false))
	case "<":
		return ints(func(x, y int) value { return x < y })
	case ">":
		return ints(func(x, y int) value { return x > y })
	case "<=":
		return ints(func(x, y int) value { return x <= y })
	case ">=":
		return ints(func(x, y int) value { return x >= y })
	case "+":
		return ints(func(x, y int) value { return x + y })
	case "-":
		return ints(func(x, y int) value { return x - y })
	case "*":
		return ints(func(x, y int) value { return x * y })
	case "..":
		return ints(func(x, y int) value {
			var out []value
			for ; x <= y; x++ {
				out = append(out, x)
			}
			return &set{elems: out}
		})
	case "UNION":
		return func(s *state, e *env) value {
			var out []value
			for _, x := range a[0].set(s, e).elems {
				inner, ok := x.(*set)
				if !ok {
					fail(n.line, "UNION of what is no set")
				}
				out = append(out, inner.elems...)
			}
			return newSet(out)
		}
	case "DOMAIN":
		return func(s *state, e *env) value { return &set{elems: function(a[0], s, e).dom} }
	}
	fail(n.line, "%s is not supported", n.op)
	return nil
}

func function(c *code, s *state, e *env) *fun {
	f, ok := c.eval(s, e).(*fun)
	if !ok {
		fail(c.line, "this is no function")
	}
	return f
}

// builtin are the operators of the standard modules that are used here.
func (c *compiler) builtin(n *node, sc *scope) *code {
	if c.m.defs[n.name] != nil {
		return nil
	}
	var f func(s *state, e *env, a []*code) value
	switch n.name {
	case "Cardinality":
		f = func(s *state, e *env, a []*code) value { return len(a[0].set(s, e).elems) }
	case "Len":
		f = func(s *state, e *env, a []*code) value { return len(function(a[0], s, e).dom) }
	case "Append":
		f = func(s *state, e *env, a []*code) value {
			return tuple(append(slices.Clone(function(a[0], s, e).vals), a[1].eval(s, e))...)
		}
	default:
		return nil
	}
	args := c.all(n.args, sc)
	return &code{line: n.line, fixed: fixed(args), eval: func(s *state, e *env) value { return f(s, e, args) }}
}

// comprehension are the terms that go through a set.
func (c *compiler) comprehension(n *node, sc *scope) *code {
	if len(n.binds) != 1 {
		fail(n.line, "one name at a time, please")
	}
	over := c.compile(n.binds[0].set, sc)
	body := c.compile(n.args[0], &scope{n.binds[0].name, sc})
	out := &code{line: n.line, fixed: over.fixed && body.fixed}
	switch n.op {
	case "CHOOSE":
		out.eval = func(s *state, e *env) value {
			for _, x := range over.set(s, e).elems {
				if body.truth(s, &env{x, e}) {
					return x
				}
			}
			fail(n.line, "there is nothing to choose")
			return nil
		}
	case "filter":
		out.eval = func(s *state, e *env) value {
			var elems []value
			for _, x := range over.set(s, e).elems {
				if body.truth(s, &env{x, e}) {
					elems = append(elems, x)
				}
			}
			return &set{elems: elems}
		}
	default:
		out.eval = func(s *state, e *env) value {
			dom := over.set(s, e).elems
			vals := make([]value, len(dom))
			for i, x := range dom {
				vals[i] = body.eval(s, &env{x, e})
			}
			if n.op == "map" {
				return newSet(vals)
			}
			return newFun(dom, vals)
		}
	}
	return out
}

func (c *compiler) except(n *node, sc *scope) *code {
	type clause struct {
		path []*code
		to   *code
	}
	base := c.compile(n.args[0], sc)
	var clauses []clause
	for _, u := range n.update {
		clauses = append(clauses, clause{c.all(u.path, sc), c.compile(u.to, &scope{"@", sc})})
	}
	return &code{line: n.line, eval: func(s *state, e *env) value {
		v := base.eval(s, e)
		for _, cl := range clauses {
			var set func(v value, path []*code) value
			set = func(v value, path []*code) value {
				if len(path) == 0 {
					return cl.to.eval(s, &env{v, e})
				}
				f, ok := v.(*fun)
				if !ok {
					fail(n.line, "EXCEPT of what is no function")
				}
				x := path[0].eval(s, e)
				i, ok := f.at(x)
				if !ok {
					fail(n.line, "%s has no %s", key(f), key(x))
				}
				return f.with(i, set(f.vals[i], path[1:]))
			}
			v = set(v, cl.path)
		}
		return v
	}}
}
