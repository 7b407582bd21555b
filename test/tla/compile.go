package tla

import (
	"slices"
	"strings"
)

// env are the names that are bound where an expression stands, innermost first: values, *thunk and *closure.
type env struct {
	val any
	up  *env
}

// thunk is a definition of a LET without arguments: evaluated when it is needed, and once.
type thunk struct {
	e    *env
	code *code
	val  value
}

// closure is a definition of a LET with arguments, or a definition as an argument.
type closure struct {
	e    *env
	body *code
}

// state is what an expression is evaluated in. Unassigned variables of next are nil.
type state struct {
	cur, next []value
	path      []string // definitions that led to the step, for traces
}

// code is a compiled expression. do explores the ways to make it true as a step, and calls then at the end of each; without it the
// expression is a condition.
type code struct {
	eval  func(s *state, e *env) value
	do    func(s *state, e *env, then func())
	line  int
	fixed bool // says nothing of the state, nor of names that are bound
}

func (c *code) step(s *state, e *env, then func()) {
	if c.do != nil {
		c.do(s, e, then)
	} else if c.truth(s, e) {
		then()
	}
}

func (c *code) truth(s *state, e *env) bool {
	b, ok := c.eval(s, e).(bool)
	if !ok {
		fail(c.line, "this is neither true nor false")
	}
	return b
}

func (c *code) set(s *state, e *env) *set {
	x, ok := c.eval(s, e).(*set)
	if !ok {
		fail(c.line, "this is no set")
	}
	return x
}

func (c *code) int(s *state, e *env) int {
	x, ok := c.eval(s, e).(int)
	if !ok {
		fail(c.line, "this is no number")
	}
	return x
}

type compiler struct {
	m      *Module
	consts map[string]value
	vars   map[string]int
	defs   map[string]*code
}

// scope mirrors env while compiling.
type scope struct {
	name string
	up   *scope
}

func (sc *scope) find(name string) (depth int, ok bool) {
	for ; sc != nil; sc = sc.up {
		if sc.name == name {
			return depth, true
		}
		depth++
	}
	return 0, false
}

// outer is n steps outwards.
func (e *env) outer(n int) *env {
	for ; n > 0; n-- {
		e = e.up
	}
	return e
}

// global compiles a definition of the module once.
func (c *compiler) global(d *def) *code {
	if done := c.defs[d.name]; done != nil {
		return done
	}
	var sc *scope
	for _, p := range d.params {
		sc = &scope{p, sc}
	}
	out := c.compile(d.body, sc)
	if out.fixed && len(d.params) == 0 {
		var once value
		inner := out.eval
		out = &code{line: out.line, fixed: true, eval: func(s *state, e *env) value {
			if once == nil {
				once = inner(s, e)
			}
			return once
		}}
	}
	c.defs[d.name] = out
	return out
}

func (c *compiler) compile(n *node, sc *scope) *code {
	switch n.op {
	case "name":
		return c.name(n, sc)
	case "call":
		return c.call(n, sc)
	case `/\`, `\/`:
		return c.junction(n, sc)
	case `\A`, `\E`:
		return c.quantifier(n, sc, 0)
	case "IF", "CASE":
		return c.choice(n, sc)
	case "LET":
		return c.let(n, sc)
	case "'":
		inner := c.compile(n.args[0], sc)
		return &code{line: n.line, eval: func(s *state, e *env) value { return inner.eval(&state{cur: s.next}, e) }}
	case "UNCHANGED":
		return c.unchanged(n.args[0])
	case "=":
		if l := n.args[0]; l.op == "'" && l.args[0].op == "name" {
			if i, ok := c.vars[l.args[0].name]; ok {
				return c.assign(n, i, sc)
			}
		}
	}
	return c.term(n, sc)
}

func (c *compiler) name(n *node, sc *scope) *code {
	switch n.name {
	case "TRUE", "FALSE":
		is := n.name == "TRUE"
		return &code{line: n.line, fixed: true, eval: func(*state, *env) value { return is }}
	}
	if depth, ok := sc.find(n.name); ok {
		return &code{
			line: n.line,
			eval: func(s *state, e *env) value {
				x := e.outer(depth).val
				if t, ok := x.(*thunk); ok {
					if t.val == nil {
						t.val = t.code.eval(s, t.e)
					}
					return t.val
				}
				return x
			},
			do: func(s *state, e *env, then func()) {
				switch x := e.outer(depth).val.(type) {
				case *thunk:
					x.code.step(s, x.e, then)
				case bool:
					if x {
						then()
					}
				default:
					fail(n.line, "%s is neither true nor false", n.name)
				}
			},
		}
	}
	if i, ok := c.vars[n.name]; ok {
		return &code{line: n.line, eval: func(s *state, _ *env) value {
			if s.cur[i] == nil {
				fail(n.line, "%s has no value yet", n.name)
			}
			return s.cur[i]
		}}
	}
	if v, ok := c.consts[n.name]; ok {
		return &code{line: n.line, fixed: true, eval: func(*state, *env) value { return v }}
	}
	d := c.m.defs[n.name]
	if d == nil {
		fail(n.line, "%s is not defined", n.name)
	}
	if len(d.params) > 0 {
		fail(n.line, "%s wants arguments", n.name)
	}
	return c.enter(d.name, c.global(d))
}

// enter makes a definition show in the trace of a step.
func (c *compiler) enter(name string, body *code) *code {
	return &code{line: body.line, fixed: body.fixed,
		eval: func(s *state, _ *env) value { return body.eval(s, nil) },
		do: func(s *state, _ *env, then func()) {
			s.path = append(s.path, name)
			body.step(s, nil, then)
			s.path = s.path[:len(s.path)-1]
		},
	}
}

func (c *compiler) call(n *node, sc *scope) *code {
	if f := c.builtin(n, sc); f != nil {
		return f
	}
	args := make([]func(s *state, e *env) any, len(n.args))
	for i, a := range n.args {
		args[i] = c.argument(a, sc)
	}
	bindArgs := func(s *state, e, at *env) *env {
		for _, a := range args {
			at = &env{a(s, e), at}
		}
		return at
	}
	if depth, ok := sc.find(n.name); ok {
		get := func(e *env) *closure {
			f, ok := e.outer(depth).val.(*closure)
			if !ok {
				fail(n.line, "%s takes no arguments", n.name)
			}
			return f
		}
		return &code{
			line: n.line,
			eval: func(s *state, e *env) value { f := get(e); return f.body.eval(s, bindArgs(s, e, f.e)) },
			do: func(s *state, e *env, then func()) {
				f := get(e)
				f.body.step(s, bindArgs(s, e, f.e), then)
			},
		}
	}
	d := c.m.defs[n.name]
	if d == nil || len(d.params) != len(n.args) {
		fail(n.line, "%s is not defined with %d arguments", n.name, len(n.args))
	}
	body := c.global(d)
	return &code{
		line: n.line,
		eval: func(s *state, e *env) value { return body.eval(s, bindArgs(s, e, nil)) },
		do: func(s *state, e *env, then func()) {
			at := bindArgs(s, e, nil)
			s.path = append(s.path, d.name+"("+spelled(at, len(args))+")")
			body.step(s, at, then)
			s.path = s.path[:len(s.path)-1]
		},
	}
}

// spelled are the arguments of a call that are short.
func spelled(e *env, n int) string {
	var out []string
	for range n {
		switch x := e.val.(type) {
		case int, string, bool:
			out = append(out, key(x))
		default:
			out = append(out, "…")
		}
		e = e.up
	}
	slices.Reverse(out)
	return strings.Join(out, ", ")
}

func (c *compiler) argument(a *node, sc *scope) func(s *state, e *env) any {
	if a.op == "name" {
		if depth, ok := sc.find(a.name); ok {
			return func(_ *state, e *env) any { return e.outer(depth).val }
		}
		if d := c.m.defs[a.name]; d != nil && len(d.params) > 0 {
			f := &closure{body: c.global(d)}
			return func(*state, *env) any { return f }
		}
	}
	code := c.compile(a, sc)
	return func(s *state, e *env) any { return code.eval(s, e) }
}

func (c *compiler) let(n *node, sc *scope) *code {
	type local struct {
		body   *code
		params bool
	}
	var locals []local
	for _, d := range n.defs {
		inner := sc
		for _, p := range d.params {
			inner = &scope{p, inner}
		}
		locals = append(locals, local{c.compile(d.body, inner), len(d.params) > 0})
		sc = &scope{d.name, sc}
	}
	body := c.compile(n.args[0], sc)
	extend := func(e *env) *env {
		for _, l := range locals {
			if l.params {
				e = &env{&closure{e, l.body}, e}
			} else {
				e = &env{&thunk{e: e, code: l.body}, e}
			}
		}
		return e
	}
	return &code{
		line: n.line,
		eval: func(s *state, e *env) value { return body.eval(s, extend(e)) },
		do:   func(s *state, e *env, then func()) { body.step(s, extend(e), then) },
	}
}
