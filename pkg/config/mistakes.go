package config

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Mistake is one thing that is wrong with a document.
type Mistake struct {
	Path    string `json:"path"`            // of the field, as spec.replicas[1].mode; "" is the document as a whole
	Line    int    `json:"line,omitempty"`  // in the file, from 1; 0 if the field is not there
	Value   string `json:"value,omitempty"` // as it was written, quoted if it is text, shortened; "" if it is missing or could be a secret
	Problem string `json:"problem"`
	Mend    string `json:"mend"`
}

// String is the mistake in one line.
func (m Mistake) String() string {
	var b strings.Builder
	if m.Path == "" {
		b.WriteString("document")
	} else {
		b.WriteString(m.Path)
	}
	if m.Line > 0 {
		fmt.Fprintf(&b, " (line %d)", m.Line)
	}
	b.WriteString(": ")
	if m.Value != "" {
		b.WriteString(m.Value)
		b.WriteByte(' ')
	}
	b.WriteString(m.Problem)
	b.WriteString("; ")
	b.WriteString(m.Mend)
	return b.String()
}

// Mistakes are all that is wrong with a document, sorted by path.
type Mistakes []Mistake

// Error has one mistake per line.
func (m Mistakes) Error() string {
	if len(m) == 1 {
		return m[0].String()
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%d mistakes", len(m))
	for _, one := range m {
		b.WriteString("\n  ")
		b.WriteString(one.String())
	}
	return b.String()
}

// collector gathers mistakes while a document is decoded and checked. Lines come from the decoder.
type collector struct {
	lines    map[string]int
	mistakes Mistakes
}

// add records a mistake at path; value is shown as it is.
func (c *collector) add(path, value, problem, mend string) {
	c.mistakes = append(c.mistakes, Mistake{Path: path, Line: c.lines[path], Value: value, Problem: problem, Mend: mend})
}

// sorted is what was found, by path; list items in the order of their numbers.
func (c *collector) sorted() Mistakes {
	slices.SortStableFunc(c.mistakes, func(a, b Mistake) int {
		return cmp.Or(comparePaths(a.Path, b.Path), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Problem, b.Problem))
	})
	return slices.Compact(c.mistakes)
}

func comparePaths(a, b string) int {
	split := func(p string) []string {
		return strings.FieldsFunc(p, func(r rune) bool { return r == '.' || r == '[' || r == ']' })
	}
	return slices.CompareFunc(split(a), split(b), func(x, y string) int {
		m, errX := strconv.Atoi(x)
		n, errY := strconv.Atoi(y)
		if errX == nil && errY == nil {
			return cmp.Compare(m, n)
		}
		return cmp.Compare(x, y)
	})
}

// maxShown is how much of a value is repeated in a message, in bytes.
const maxShown = 80

// shorten cuts a text for a message.
func shorten(s string) string {
	if len(s) <= maxShown {
		return s
	}
	cut := maxShown
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "..."
}

// quote is a text as it is shown in a message.
func quote(s string) string { return strconv.Quote(shorten(s)) }
