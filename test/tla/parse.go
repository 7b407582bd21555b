package tla

import (
	"fmt"
	"slices"
)

// node is an expression. What the fields hold depends on op.
type node struct {
	op     string // "name", "call", "num", "str", "\/", "/\", "=", …
	name   string
	num    int
	args   []*node
	binds  []bind
	defs   []*def
	update []update
	line   int
}

// bind is x \in set.
type bind struct {
	name string
	set  *node
}

// update is one clause of EXCEPT: where, and what to put there.
type update struct {
	path []*node
	to   *node
}

// def is a definition: a name, parameters, a body.
type def struct {
	name   string
	params []string
	body   *node
}

// Module is a specification that was read.
type Module struct {
	Constants, Variables []string

	defs  map[string]*def
	order []string
}

// Names are the definitions, in the order of the text.
func (m *Module) Names() []string { return slices.Clone(m.order) }

type parser struct {
	toks   []token
	at     int
	bounds []int // columns of the lists of /\ and \/ that we are in
}

// failure ends a parse or an evaluation; it never leaves the package.
type failure struct{ err error }

func fail(line int, format string, args ...any) {
	panic(failure{fmt.Errorf("line %d: "+format, append([]any{line}, args...)...)})
}

func rescue(err *error) {
	switch r := recover().(type) {
	case nil:
	case failure:
		*err = r.err
	default:
		panic(r)
	}
}

// Parse reads a module.
func Parse(text string) (m *Module, err error) {
	defer rescue(&err)
	toks, err := lex(text)
	if err != nil {
		return nil, err
	}
	p := &parser{toks: toks}
	m = &Module{defs: map[string]*def{}}
	p.next() // ----
	p.want("MODULE")
	p.next()
	p.next()
	for {
		t := p.peek()
		switch {
		case len(t.text) > 3 && t.text[:4] == "====":
			return m, nil
		case len(t.text) > 3 && t.text[:4] == "----":
			p.next()
		case t.text == "EXTENDS":
			p.next()
			p.names()
		case t.text == "CONSTANTS":
			p.next()
			m.Constants = append(m.Constants, p.names()...)
		case t.text == "VARIABLES":
			p.next()
			m.Variables = append(m.Variables, p.names()...)
		default:
			d := p.def()
			if m.defs[d.name] != nil {
				fail(t.line, "%s is defined twice", d.name)
			}
			m.defs[d.name] = d
			m.order = append(m.order, d.name)
		}
	}
}

func (p *parser) peek() token {
	t := p.toks[p.at]
	if n := len(p.bounds); n > 0 && t.kind != 'e' && t.col <= p.bounds[n-1] {
		return token{kind: 'e', line: t.line} // the item of a list ends where a text stands at its column, or before
	}
	return t
}

func (p *parser) next() token {
	t := p.peek()
	if t.kind == 'e' {
		fail(t.line, "the text ends in the middle of an expression")
	}
	p.at++
	return t
}

func (p *parser) is(text string) bool {
	t := p.peek()
	return t.text == text && t.kind != 's' && t.kind != 'e'
}

func (p *parser) take(text string) bool {
	if p.is(text) {
		p.at++
		return true
	}
	return false
}

func (p *parser) want(text string) {
	if !p.take(text) {
		fail(p.toks[p.at].line, "want %q, found %q", text, p.peek().text)
	}
}

func (p *parser) ident() string {
	t := p.next()
	if t.kind != 'i' {
		fail(t.line, "want a name, found %q", t.text)
	}
	return t.text
}

func (p *parser) names() []string {
	out := []string{p.ident()}
	for p.take(",") {
		out = append(out, p.ident())
	}
	return out
}

func (p *parser) def() *def {
	d := &def{name: p.ident()}
	if p.take("(") {
		for {
			d.params = append(d.params, p.ident())
			if p.take("(") { // which(_): a definition as an argument
				p.ident()
				p.want(")")
			}
			if !p.take(",") {
				break
			}
		}
		p.want(")")
	}
	p.want("==")
	d.body = p.expr(0)
	return d
}

// isDef reports that a definition begins here: NAME == or NAME(...) ==.
func (p *parser) isDef() bool {
	if p.peek().kind != 'i' {
		return false
	}
	i, depth := p.at+1, 0
	for ; i < len(p.toks); i++ {
		switch p.toks[i].text {
		case "(":
			depth++
		case ")":
			depth--
		case "==":
			return depth == 0
		default:
			if depth == 0 {
				return false
			}
		}
	}
	return false
}

var infix = map[string]int{
	"=>": 1, "<=>": 2, `\/`: 3, `/\`: 3, "=": 5, "#": 5, "<": 5, ">": 5, "<=": 5, ">=": 5, `\in`: 5, `\notin`: 5, `\subseteq`: 5,
	`\cup`: 8, `\cap`: 8, `\`: 8, "..": 9, "+": 10, "-": 11, "*": 13,
}

var prefix = map[string]int{"~": 4, "UNCHANGED": 4, "[]": 4, "<>": 4, "SUBSET": 8, "UNION": 8, "DOMAIN": 9}

// chains are the operators that may follow themselves without parentheses.
var chains = map[string]bool{`\/`: true, `/\`: true, `\cup`: true, `\cap`: true, "+": true, "-": true, "*": true}

// expr is an expression of operators that bind at least as strongly as level. What TLA+ calls ambiguous is refused.
func (p *parser) expr(level int) *node {
	left, before := p.prefixed()
	for {
		t := p.peek()
		l, ok := infix[t.text]
		if t.kind != 'o' || !ok || l < level {
			return left
		}
		if strength, ok := prefix[before]; ok && strength == l || infix[before] == l && (before != t.text || !chains[before]) {
			fail(t.line, "%s after %s wants parentheses", t.text, before)
		}
		p.next()
		right := p.expr(l + 1)
		left, before = &node{op: t.text, args: []*node{left, right}, line: t.line}, t.text
	}
}

// prefixed is an operand, and the operator before it if there is one.
func (p *parser) prefixed() (n *node, before string) {
	t := p.peek()
	if t.kind == 'o' && (t.text == `/\` || t.text == `\/`) {
		return p.list(t), ""
	}
	if l, ok := prefix[t.text]; ok && t.kind != 's' {
		p.next()
		return &node{op: t.text, args: []*node{p.expr(l + 1)}, line: t.line}, t.text
	}
	return p.postfix(p.atom()), ""
}

// list is a list of /\ or \/, one below the other.
func (p *parser) list(first token) *node {
	n := &node{op: first.text, line: first.line}
	for {
		t := p.toks[p.at]
		if t.text != first.text || t.col != first.col || t.kind != 'o' || p.peek().kind == 'e' {
			break
		}
		p.at++
		p.bounds = append(p.bounds, first.col)
		n.args = append(n.args, p.expr(0))
		p.bounds = p.bounds[:len(p.bounds)-1]
	}
	return n
}

func (p *parser) postfix(n *node) *node {
	for {
		t := p.peek()
		switch {
		case p.take("'"):
			n = &node{op: "'", args: []*node{n}, line: t.line}
		case p.take("["):
			n = &node{op: "apply", args: []*node{n, p.expr(0)}, line: t.line}
			p.want("]")
		case p.take("."):
			n = &node{op: "apply", args: []*node{n, {op: "str", name: p.ident()}}, line: t.line}
		default:
			return n
		}
	}
}
