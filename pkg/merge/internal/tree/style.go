package tree

import (
	"bytes"
	"strings"
)

// Style is how a document is laid out, as far as its beginning tells.
type Style struct {
	Lines   bool   // members and items are on lines of their own, where a value is not Inline
	Indent  string // of one level
	Newline string
	Colon   string // between name and value
	Comma   string // between values in one line
}

// same reports whether text of one style can stand in a document of the other.
func (s *Style) same(o *Style) bool {
	a, b := *s, *o
	if a.Lines {
		a.Comma, b.Comma = "", "" // in values in one line only: a matter of taste
	}
	return a == b
}

// Pick is the style of a merge: that of the first side which changed it, and else that of the base. Base may be nil.
func Pick(base *Style, sides []*Style) *Style {
	for _, s := range sides {
		if base == nil || !s.same(base) {
			return s
		}
	}
	return base
}

// between learns from the white space (and the comma) in front of a value at a depth.
func (s *Style) between(gap []byte, depth int) {
	i := bytes.LastIndexByte(gap, '\n')
	switch {
	case i < 0:
		if after, ok := bytes.CutPrefix(gap, []byte(",")); ok && s.Comma == "" {
			s.Comma = "," + string(after)
		}
	case s.Newline == "" && depth == 1:
		s.Newline = "\n"
		if i > 0 && gap[i-1] == '\r' {
			s.Newline = "\r\n"
		}
		s.Indent = string(gap[i+1:])
	}
}

// colon learns from what is between a name and a value.
func (s *Style) colon(gap []byte) {
	if s.Colon == "" && bytes.IndexByte(gap, '\n') < 0 {
		s.Colon = string(gap)
	}
}

// finish fills in what the document did not tell.
func (s *Style) finish() {
	s.Lines = s.Newline != ""
	if s.Colon == "" {
		s.Colon = ":"
		if s.Lines {
			s.Colon = ": "
		}
	}
	if s.Comma == "" {
		_, space, _ := strings.Cut(s.Colon, ":")
		s.Comma = "," + space
	}
}

// Write is the text of a value in a style. What was read in the same style keeps its text as it is.
func Write(n *Node, style *Style) []byte {
	w := writer{style: style}
	w.value(n, 0, false)
	return w.out.Bytes()
}

type writer struct {
	out   bytes.Buffer
	style *Style
}

func (w *writer) value(n *Node, depth int, inline bool) {
	inline = inline || n.Inline && n.Style.Lines
	switch {
	case n.Kind == Scalar, n.Raw != nil && n.Style.same(w.style):
		w.out.Write(n.Raw)
	case n.Kind == Object:
		w.list("{", "}", len(n.Members), depth, inline, func(i int) {
			w.out.Write(n.Members[i].Key)
			w.out.WriteString(w.style.Colon)
			w.value(n.Members[i].Value, depth+1, inline)
		})
	case n.Kind == Array:
		w.list("[", "]", len(n.Items), depth, inline, func(i int) { w.value(n.Items[i], depth+1, inline) })
	}
}

func (w *writer) list(open, shut string, n, depth int, inline bool, item func(i int)) {
	lines := w.style.Lines && !inline && n > 0
	w.out.WriteString(open)
	for i := range n {
		switch {
		case lines && i > 0:
			w.out.WriteByte(',')
		case i > 0:
			w.out.WriteString(w.style.Comma)
		}
		if lines {
			w.line(depth + 1)
		}
		item(i)
	}
	if lines {
		w.line(depth)
	}
	w.out.WriteString(shut)
}

func (w *writer) line(depth int) {
	w.out.WriteString(w.style.Newline)
	for range depth {
		w.out.WriteString(w.style.Indent)
	}
}
