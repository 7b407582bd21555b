package tla

// What steps are made of: conditions, choices, and values of the next state.

func (c *compiler) junction(n *node, sc *scope) *code {
	args := c.all(n.args, sc)
	and := n.op == `/\`
	out := &code{line: n.line, fixed: fixed(args)}
	out.eval = func(s *state, e *env) value {
		for _, a := range args {
			if a.truth(s, e) != and {
				return !and
			}
		}
		return and
	}
	if !and {
		out.do = func(s *state, e *env, then func()) {
			for _, a := range args {
				a.step(s, e, then)
			}
		}
		return out
	}
	out.do = func(s *state, e *env, then func()) {
		var from func(i int)
		from = func(i int) {
			if i == len(args) {
				then()
				return
			}
			args[i].step(s, e, func() { from(i + 1) })
		}
		from(0)
	}
	return out
}

// quantifier is \A or \E over the bindings from i on.
func (c *compiler) quantifier(n *node, sc *scope, i int) *code {
	if i == len(n.binds) {
		return c.compile(n.args[0], sc)
	}
	over := c.compile(n.binds[i].set, sc)
	body := c.quantifier(n, &scope{n.binds[i].name, sc}, i+1)
	all := n.op == `\A`
	out := &code{line: n.line, fixed: over.fixed && body.fixed, eval: func(s *state, e *env) value {
		for _, x := range over.set(s, e).elems {
			if body.truth(s, &env{x, e}) != all {
				return !all
			}
		}
		return all
	}}
	if !all {
		out.do = func(s *state, e *env, then func()) {
			for _, x := range over.set(s, e).elems {
				body.step(s, &env{x, e}, then)
			}
		}
	}
	return out
}

// choice is IF and CASE: conditions, each with what holds if it does; IF has one more for the rest.
func (c *compiler) choice(n *node, sc *scope) *code {
	args := c.all(n.args, sc)
	pick := func(s *state, e *env) *code {
		for i := 0; i+1 < len(args); i += 2 {
			if args[i].truth(s, e) {
				return args[i+1]
			}
		}
		if len(args)%2 == 0 {
			fail(n.line, "no case of CASE holds")
		}
		return args[len(args)-1]
	}
	return &code{
		line: n.line, fixed: fixed(args),
		eval: func(s *state, e *env) value { return pick(s, e).eval(s, e) },
		do:   func(s *state, e *env, then func()) { pick(s, e).step(s, e, then) },
	}
}

// assign is x' = e: it gives the variable its next value, or is a condition if it has one. In an initial state x = e is the same.
func (c *compiler) assign(n *node, i int, sc *scope) *code {
	right := c.compile(n.args[1], sc)
	return &code{
		line: n.line,
		eval: func(s *state, e *env) value { return equal(s.next[i], right.eval(s, e), n.line) },
		do: func(s *state, e *env, then func()) {
			v := right.eval(s, e)
			if s.next[i] != nil {
				if equal(s.next[i], v, n.line) {
					then()
				}
				return
			}
			s.next[i] = v
			then()
			s.next[i] = nil
		},
	}
}

func (c *compiler) unchanged(n *node) *code {
	vars := c.tupleOfVars(n)
	return &code{
		line: n.line,
		eval: func(s *state, _ *env) value {
			for _, i := range vars {
				if !equal(s.cur[i], s.next[i], n.line) {
					return false
				}
			}
			return true
		},
		do: func(s *state, _ *env, then func()) {
			var mine []int
			same := true
			for _, i := range vars {
				if s.next[i] == nil {
					s.next[i] = s.cur[i]
					mine = append(mine, i)
				} else if !equal(s.cur[i], s.next[i], n.line) {
					same = false
				}
			}
			if same {
				then()
			}
			for _, i := range mine {
				s.next[i] = nil
			}
		},
	}
}

func (c *compiler) tupleOfVars(n *node) []int {
	if d := c.m.defs[n.name]; n.op == "name" && d != nil {
		return c.tupleOfVars(d.body)
	}
	names := []*node{n}
	if n.op == "tuple" {
		names = n.args
	}
	var out []int
	for _, v := range names {
		i, ok := c.vars[v.name]
		if !ok {
			fail(n.line, "UNCHANGED wants variables, %q is none", v.name)
		}
		out = append(out, i)
	}
	return out
}

func (c *compiler) all(ns []*node, sc *scope) []*code {
	out := make([]*code, len(ns))
	for i, n := range ns {
		out[i] = c.compile(n, sc)
	}
	return out
}

func fixed(codes []*code) bool {
	for _, c := range codes {
		if !c.fixed {
			return false
		}
	}
	return true
}
