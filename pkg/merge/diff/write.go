package diff

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/bucketmesh/bucketmesh/pkg/merge/internal/text"
)

// wide is how many characters of a line a terminal is shown.
const wide = 300

// Colours, as terminals understand them.
const (
	plain = "\x1b[0m"
	bold  = "\x1b[1m"
	red   = "\x1b[31m"
	green = "\x1b[32m"
	dim   = "\x1b[2m"
)

// Write shows the comparison to a person. Nothing of the contents, nor of the names, can steer the terminal.
func (d *Diff) Write(w io.Writer, colour bool) error {
	p := printer{colour: colour, base: "base"}
	p.header(d)
	for _, h := range d.Hunks {
		p.hunk(h)
	}
	for _, c := range d.Changes {
		p.change(c)
	}
	if d.More > 0 {
		p.line(bold, "... and %d more", d.More)
	}
	if _, err := w.Write(p.out.Bytes()); err != nil {
		return fmt.Errorf("write comparison: %w", err)
	}
	return nil
}

type printer struct {
	out    bytes.Buffer
	colour bool
	base   string   // the names, all as wide as the widest
	sides  []string // of the sides
}

func (p *printer) line(colour, format string, args ...any) {
	s := fmt.Sprintf(format, args...)
	if p.colour && colour != "" {
		s = colour + s + plain
	}
	p.out.WriteString(s + "\n")
}

func (p *printer) header(d *Diff) {
	if d.Base != nil && d.Base.Name != "" {
		p.base = text.Line(d.Base.Name, wide)
	}
	width := utf8.RuneCountInString(p.base)
	for _, s := range d.Sides {
		p.sides = append(p.sides, text.Line(s.Name, wide))
		width = max(width, utf8.RuneCountInString(p.sides[len(p.sides)-1]))
	}
	pad := func(s string) string { return s + strings.Repeat(" ", width-utf8.RuneCountInString(s)) }
	p.base = pad(p.base)
	for i := range p.sides {
		p.sides[i] = pad(p.sides[i])
	}
	if d.Base == nil {
		p.line(dim, "%s  not known", p.base)
	} else {
		p.line(dim, "%s  %d bytes, sha256 %s", p.base, d.Base.Size, d.Base.SHA256)
	}
	for i, s := range d.Sides {
		p.line(dim, "%s  %d bytes, sha256 %s", p.sides[i], s.Size, s.SHA256)
	}
	if d.Note != "" {
		p.line(bold, "%s", text.Line(d.Note, wide))
	}
	if d.Format != Binary && len(d.Hunks)+len(d.Changes) == 0 {
		p.line("", "There is no difference in what they say.")
	}
}

// title is the line above a place.
func (p *printer) title(clash bool, where string) {
	p.out.WriteString("\n")
	if clash {
		p.line(bold, "@ %s: clash", where)
		return
	}
	p.line(bold, "@ %s", where)
}

func (p *printer) hunk(h Hunk) {
	where := h.Sides[0].Lines
	if h.Base != nil {
		where = h.Base.Lines
	}
	p.title(h.Clash, where.String())
	blank := strings.Repeat(" ", utf8.RuneCountInString(p.base))
	p.lines(dim, blank+"   ", h.Before)
	if h.Base != nil {
		p.part(red, p.base+" - ", *h.Base)
	}
	for i, s := range h.Sides {
		if s.Same {
			p.line(dim, "%s   as before", p.sides[i])
			continue
		}
		p.part(green, p.sides[i]+" + ", s)
	}
	p.lines(dim, blank+"   ", h.After)
}

func (p *printer) part(colour, prefix string, s Part) {
	if s.Lines.To < s.Lines.From {
		p.line(dim, "%s(nothing)", prefix)
	}
	p.lines(colour, prefix, s.Text)
	if s.More > 0 {
		p.line(dim, "%s... and %d lines more, to line %d", prefix, s.More, s.Lines.To)
	}
}

func (p *printer) lines(colour, prefix string, lines []string) {
	for _, l := range lines {
		p.line(colour, "%s%s", prefix, text.Line(l, wide))
		if !strings.HasSuffix(l, "\n") && utf8.RuneCountInString(l) < maxChars {
			p.line(dim, "%s(without a line's end)", prefix)
		}
	}
}

func (p *printer) change(c Change) {
	where := text.Line(c.Pointer, wide)
	if where == "" {
		where = "the whole document"
	}
	p.title(c.Clash, where)
	if c.Base != nil {
		p.value(red, p.base+" - ", *c.Base)
	}
	for i, v := range c.Sides {
		if v.Same {
			p.line(dim, "%s   as before", p.sides[i])
			continue
		}
		p.value(green, p.sides[i]+" + ", v)
	}
}

func (p *printer) value(colour, prefix string, v Value) {
	if v.Gone {
		p.line(dim, "%s(nothing)", prefix)
		return
	}
	for l := range strings.Lines(v.Text) {
		p.line(colour, "%s%s", prefix, text.Line(l, wide))
	}
}
