// Package tree reads JSON documents into trees that keep their text: number literals, escapes, the order of members, and the
// way in which a document is laid out. Values are compared by digests, so that reading and comparing take time
// and memory that are linear in the size of a document.
//
// Errors are of kind Invalid: no JSON, a member's name twice in one object, too deep, too many values. The package has no
// state; a tree is not changed after it was read, and is safe for concurrent use then.
package tree

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
)

// Limits of a document. They bound the stack and the memory that a hostile one can take.
const (
	MaxDepth  = 1000    // objects and arrays in each other
	MaxValues = 1 << 19 // values, at any depth
)

// Kind is the sort of a value.
type Kind byte

// The kinds.
const (
	Scalar Kind = iota // null, a boolean, a number or a string
	Object
	Array
)

// Sum is a digest of a value. Equal digests mean equal values: objects with the same members in any order, strings that
// are the same after their escapes, numbers with the same literal (1.0 is not 1: whoever wrote one of them meant it).
type Sum [sha256.Size]byte

// Node is a value.
type Node struct {
	Kind    Kind
	Raw     []byte   // its text; empty if the value was put together by a merge
	Inline  bool     // written in one line
	Style   *Style   // that of the document that Raw is from
	Sum     Sum      // not set if the value was put together by a merge
	Members []Member // of an object, in the order of the text
	Items   []*Node  // of an array
}

// Member is a member of an object.
type Member struct {
	Name  string // without escapes
	Key   []byte // the name's text
	Value *Node
}

// Document is a value and what is around it.
type Document struct {
	Root  *Node
	Style *Style
	Tail  []byte // the white space after the value
}

// Parse reads a document.
func Parse(text []byte) (*Document, error) {
	if !utf8.Valid(text) {
		return nil, errkind.New(errkind.Invalid, "parse JSON: the text is not UTF-8")
	}
	if err := shallow(text); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(text, new(json.RawMessage)); err != nil {
		return nil, errkind.New(errkind.Invalid, "parse JSON: %w", err)
	}
	p := &parser{text: text, dec: json.NewDecoder(bytes.NewReader(text)), style: &Style{}}
	p.dec.UseNumber()
	root, _, err := p.value()
	if err != nil {
		return nil, err
	}
	p.style.finish()
	return &Document{Root: root, Style: p.style, Tail: text[p.end():]}, nil
}

// shallow refuses what is nested too deeply before anything recursive sees it.
func shallow(text []byte) error {
	depth, quoted := 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{', c == '[':
			if depth++; depth > MaxDepth {
				return errkind.New(errkind.Invalid, "parse JSON: more than %d objects and arrays in each other", MaxDepth)
			}
		case c == '}', c == ']':
			depth--
		}
	}
	return nil
}

// parser builds the tree of a text that is known to be valid.
type parser struct {
	text   []byte
	dec    *json.Decoder
	style  *Style
	values int
	path   []string // names and numbers on the way to where the parser is
}

func (p *parser) end() int { return int(p.dec.InputOffset()) }

// token reads the next token: its text begins at from.
func (p *parser) token() (t json.Token, from int, err error) {
	from = p.end()
	if t, err = p.dec.Token(); err != nil {
		return nil, 0, errkind.New(errkind.Invalid, "parse JSON: %w", err)
	}
	for from < p.end() && strings.IndexByte(" \t\r\n,:", p.text[from]) >= 0 {
		from++
	}
	return t, from, nil
}

// value reads a value: its text begins at from.
func (p *parser) value() (n *Node, from int, err error) {
	if p.values++; p.values > MaxValues {
		return nil, 0, errkind.New(errkind.Invalid, "parse JSON: more than %d values", MaxValues)
	}
	t, from, err := p.token()
	if err != nil {
		return nil, 0, err
	}
	n = &Node{Style: p.style}
	switch t {
	case json.Delim('{'):
		n.Kind = Object
		err = p.object(n, from+1)
	case json.Delim('['):
		n.Kind = Array
		err = p.array(n, from+1)
	default:
		n.Sum = sumScalar(t, p.text[from:p.end()])
	}
	if err != nil {
		return nil, 0, err
	}
	n.Raw = p.text[from:p.end():p.end()]
	n.Inline = bytes.IndexByte(n.Raw, '\n') < 0
	return n, from, nil
}

// object reads the members; last is where the text of the one before, or the bracket, ends.
func (p *parser) object(n *Node, last int) error {
	seen := map[string]bool{}
	for p.dec.More() {
		t, from, err := p.token()
		if err != nil {
			return err
		}
		text, ok := t.(string)
		if !ok {
			return errkind.New(errkind.Invalid, "parse JSON: the name of a member of %q is no string", Pointer(p.path))
		}
		key := p.text[from:p.end():p.end()]
		name := exact(text, key)
		p.path = append(p.path, name)
		if seen[name] {
			return errkind.New(errkind.Invalid, "parse JSON: %q is there twice: remove one of them", Pointer(p.path))
		}
		seen[name] = true
		p.style.between(p.text[last:from], len(p.path))
		colon := p.end()
		v, from, err := p.value()
		if err != nil {
			return err
		}
		p.style.colon(p.text[colon:from])
		n.Members = append(n.Members, Member{Name: name, Key: key, Value: v})
		last, p.path = p.end(), p.path[:len(p.path)-1]
	}
	n.Sum = sumObject(n.Members)
	_, _, err := p.token()
	return err
}

// array reads the items; last is where the text of the one before, or the bracket, ends.
func (p *parser) array(n *Node, last int) error {
	for p.dec.More() {
		p.path = append(p.path, strconv.Itoa(len(n.Items)))
		v, from, err := p.value()
		if err != nil {
			return err
		}
		p.style.between(p.text[last:from], len(p.path))
		n.Items = append(n.Items, v)
		last, p.path = p.end(), p.path[:len(p.path)-1]
	}
	n.Sum = sumArray(n.Items)
	_, _, err := p.token()
	return err
}

// Join is the text of values, one behind the other, until it has n bytes or more.
func Join(values []*Node, n int) string {
	var b strings.Builder
	for i, v := range values {
		if b.Len() >= n {
			break
		}
		if i > 0 {
			b.WriteString(", ")
		}
		b.Write(v.Raw)
	}
	return b.String()
}
