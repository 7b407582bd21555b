package tla

import "strconv"

// Expressions that begin with a sign or a word of their own.

func (p *parser) bindings() []bind {
	var out []bind
	for {
		names := p.names()
		p.want(`\in`)
		set := p.expr(6)
		for _, name := range names {
			out = append(out, bind{name, set})
		}
		if !p.take(",") {
			return out
		}
	}
}

func (p *parser) atom() *node {
	t := p.next()
	n := &node{op: t.text, line: t.line}
	switch {
	case t.kind == 'n':
		n.op = "num"
		n.num, _ = strconv.Atoi(t.text)
	case t.kind == 's':
		n.op, n.name = "str", t.text
	case t.text == "(":
		n = p.inside(")")
	case t.text == "@":
		n.op, n.name = "name", "@"
	case t.text == `\A` || t.text == `\E` || t.text == "CHOOSE":
		n.binds = p.bindings()
		p.want(":")
		n.args = []*node{p.expr(0)}
	case t.text == "IF":
		n.args = append(n.args, p.expr(0))
		p.want("THEN")
		n.args = append(n.args, p.expr(0))
		p.want("ELSE")
		n.args = append(n.args, p.expr(0))
	case t.text == "CASE":
		for {
			n.args = append(n.args, p.expr(0))
			p.want("->")
			n.args = append(n.args, p.expr(0))
			if !p.take("[]") {
				break
			}
		}
	case t.text == "LET":
		for p.isDef() {
			n.defs = append(n.defs, p.def())
		}
		p.want("IN")
		n.args = []*node{p.expr(0)}
	case t.text == "{":
		return p.set(n)
	case t.text == "<<":
		n.op = "tuple"
		for !p.take(">>") {
			n.args = append(n.args, p.expr(0))
			p.take(",")
		}
	case t.text == "[":
		return p.bracket(n)
	case t.kind == 'i':
		n.op, n.name = "name", t.text
		if p.take("(") {
			n.op = "call"
			for {
				n.args = append(n.args, p.expr(0))
				if !p.take(",") {
					break
				}
			}
			p.want(")")
		}
	default:
		fail(t.line, "%q can't begin an expression", t.text)
	}
	return n
}

func (p *parser) inside(end string) *node {
	n := p.expr(0)
	p.want(end)
	return n
}

func (p *parser) set(n *node) *node {
	n.op = "set"
	if p.take("}") {
		return n
	}
	if p.peek().kind == 'i' && p.toks[p.at+1].text == `\in` { // {x \in S : p}
		start := p.at
		n.binds = p.bindings()
		if p.take(":") {
			n.op = "filter"
			n.args = []*node{p.inside("}")}
			return n
		}
		p.at, n.binds = start, nil
	}
	n.args = []*node{p.expr(0)}
	if p.take(":") { // {e : x \in S}
		n.op = "map"
		n.binds = p.bindings()
	}
	for p.take(",") {
		n.args = append(n.args, p.expr(0))
	}
	p.want("}")
	return n
}

func (p *parser) bracket(n *node) *node {
	after := p.toks[p.at+1].text
	switch {
	case p.peek().kind == 'i' && after == "|->":
		n.op = "record"
		for {
			n.args = append(n.args, &node{op: "str", name: p.ident()})
			p.want("|->")
			n.args = append(n.args, p.expr(0))
			if !p.take(",") {
				break
			}
		}
		p.want("]")
		return n
	case p.peek().kind == 'i' && (after == `\in` || after == ","):
		n.op = "fun"
		n.binds = p.bindings()
		p.want("|->")
		n.args = []*node{p.inside("]")}
		return n
	}
	n.args = []*node{p.expr(0)}
	if p.take("EXCEPT") {
		n.op = "except"
		for {
			p.want("!")
			var u update
			for !p.take("=") {
				if p.take(".") {
					u.path = append(u.path, &node{op: "str", name: p.ident()})
				} else {
					p.want("[")
					u.path = append(u.path, p.inside("]"))
				}
			}
			u.to = p.expr(0)
			n.update = append(n.update, u)
			if !p.take(",") {
				break
			}
		}
		p.want("]")
		return n
	}
	p.want("]")
	n.op, n.name = "step", p.ident() // [A]_v
	return n
}
