package merge

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/merge/internal/text"
)

const (
	maxPlaces  = 20  // of a clash
	maxShown   = 3   // of them in its message
	maxText    = 60  // characters of a value
	maxPointer = 200 // characters of a pointer in a message
)

// Clash is the error of a merge whose sides want different things of the same place.
type Clash struct {
	Format Format  `json:"format"`
	NoBase bool    `json:"noBase,omitempty"` // no common base was known: with one it might have been none
	Places []Place `json:"places"`           // in the order of the base; the first 20
	More   int     `json:"more,omitempty"`   // places beyond these
}

// Place is where sides clash.
type Place struct {
	Pointer string `json:"pointer,omitempty"` // JSON: RFC 6901; of an array the first item, by its number in the base
	Lines   Lines  `json:"lines,omitzero"`    // text: of the base
	Header  bool   `json:"header,omitempty"`  // CSV: it is the header
	// Values are the different ones there: first that of the base, if it has one, then in the order of their text.
	Values []Value `json:"values"`
}

// Value is what some sides have at a place, or the base.
type Value struct {
	Sides []int  `json:"sides,omitempty"` // numbers of sides, as they were given, from 0; none: the base
	Gone  bool   `json:"gone,omitempty"`  // there is nothing
	Lines Lines  `json:"lines,omitzero"`  // text: in the first of the sides
	Text  string `json:"text,omitempty"`  // the beginning, in one line, without control characters
}

// Lines is a range of lines, counted from 1. If To is before From it is the gap in front of From.
type Lines struct {
	From int `json:"from"`
	To   int `json:"to"`
}

// String is the range in words.
func (l Lines) String() string {
	switch {
	case l.To < l.From && l.From == 1:
		return "the beginning"
	case l.To < l.From:
		return "after line " + strconv.Itoa(l.To)
	case l.From == l.To:
		return "line " + strconv.Itoa(l.From)
	}
	return fmt.Sprintf("lines %d-%d", l.From, l.To)
}

// add notes a place, if there is room.
func (c *Clash) add(p Place) {
	if len(c.Places) == maxPlaces {
		c.More++
		return
	}
	slices.SortStableFunc(p.Values, func(a, b Value) int {
		if (a.Sides == nil) != (b.Sides == nil) { // the base comes first
			return cmp.Compare(len(a.Sides), len(b.Sides))
		}
		return cmp.Or(strings.Compare(a.Text, b.Text), cmp.Compare(a.Lines.From, b.Lines.From))
	})
	c.Places = append(c.Places, p)
}

// Error implements error. It is the same whatever the order of the sides.
func (c *Clash) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "merge %s: clash", c.Format)
	for i, p := range c.Places {
		if i == maxShown {
			break
		}
		b.WriteString([]string{" ", "; "}[min(i, 1)] + p.where())
		separator, was := ": ", ""
		for _, v := range p.Values {
			said := v.Text
			if v.Gone {
				said = "nothing"
			}
			if v.Sides == nil {
				was = " (was " + said + ")"
				continue
			}
			b.WriteString(separator + said)
			separator = ", "
		}
		b.WriteString(was)
	}
	if more := c.More + max(0, len(c.Places)-maxShown); more > 0 {
		fmt.Fprintf(&b, "; and %d more", more)
	}
	if c.NoBase {
		b.WriteString(" (no common version is known)")
	}
	return b.String()
}

func (p Place) where() string {
	switch {
	case p.Header:
		return "at the header"
	case p.Lines.From > 1 && p.Lines.To < p.Lines.From:
		return p.Lines.String()
	case p.Lines != Lines{}:
		return "at " + p.Lines.String()
	case p.Pointer == "":
		return "at the whole document"
	}
	return "at " + text.Shorten(p.Pointer, maxPointer)
}

// Unwrap gives the kind.
func (c *Clash) Unwrap() error { return errkind.New(errkind.Invalid, "clash") }

// err is the clash as an error if it has places.
func (c *Clash) err() error {
	if len(c.Places) == 0 {
		return nil
	}
	return c
}
