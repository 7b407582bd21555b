package diff

import (
	"fmt"

	"github.com/bucketmesh/bucketmesh/pkg/merge"
	"github.com/bucketmesh/bucketmesh/pkg/merge/internal/align"
	"github.com/bucketmesh/bucketmesh/pkg/merge/internal/text"
)

func (d *Diff) lines(base *Content, sides []Content) error {
	all := make([][]string, len(sides))
	for i, s := range sides {
		var err error
		if all[i], err = text.Lines(s.Data); err != nil {
			return fmt.Errorf("%s: %w", s.Name, err)
		}
	}
	old := all[0]
	if base != nil {
		var err error
		if old, err = text.Lines(base.Data); err != nil {
			return fmt.Errorf("%s: %w", base.Name, err)
		}
	}
	last := 0 // where the hunk before ends
	chunks := align.Chunks(old, all...)
	for n, c := range chunks {
		versions := align.Versions(c, old, all...)
		if len(versions) == 0 {
			continue
		}
		if len(d.Hunks) == maxPlaces {
			d.More++
			continue
		}
		next := len(old)
		if n+1 < len(chunks) {
			next = chunks[n+1].Base.From
		}
		h := Hunk{
			Clash:  d.clashes(base, len(versions)),
			Before: some(old[max(last, c.Base.From-maxContext):c.Base.From]),
			After:  some(old[c.Base.To:min(next, c.Base.To+maxContext)]),
		}
		last = c.Base.To
		if base != nil {
			p := part(old, c.Base)
			h.Base = &p
		}
		for i, s := range c.Sides {
			h.Sides = append(h.Sides, part(all[i], s))
			h.Sides[i].Same = base != nil
		}
		for _, v := range versions {
			for _, i := range v {
				h.Sides[i].Same = false
			}
		}
		d.Hunks = append(d.Hunks, h)
	}
	return nil
}

// clashes reports whether lines with so many versions, besides that of the base, can't be merged. Rows never clash; without a base
// all lines do.
func (d *Diff) clashes(base *Content, versions int) bool {
	if d.Format == merge.CSV || d.Format == merge.NDJSON {
		return false
	}
	return base == nil || versions > 1
}

func part(lines []string, s align.Span) Part {
	shown := lines[s.From:min(s.To, s.From+maxLines)]
	return Part{Lines: merge.Lines{From: s.From + 1, To: s.To}, Text: some(shown), More: s.Len() - len(shown)}
}

func some(lines []string) []string {
	var all []string
	for _, l := range lines {
		all = append(all, cut(l))
	}
	return all
}
