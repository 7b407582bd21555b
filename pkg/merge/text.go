package merge

import (
	"bytes"
	"slices"
	"strings"

	"github.com/bucketmesh/bucketmesh/pkg/merge/internal/align"
	"github.com/bucketmesh/bucketmesh/pkg/merge/internal/text"
)

func mergeText(base []byte, sides []side) ([]byte, error) {
	all := make([][]string, len(sides))
	for i, s := range sides {
		var err error
		if all[i], err = text.Lines(s.text); err != nil {
			return nil, err
		}
	}
	old, err := text.Lines(base)
	if err != nil {
		return nil, err
	}
	clash := &Clash{Format: Text, NoBase: base == nil}
	var out bytes.Buffer
	at := 0
	for _, c := range align.Chunks(old, all...) {
		write(&out, old[at:c.Base.From])
		at = c.Base.To
		switch versions := align.Versions(c, old, all...); len(versions) {
		case 0:
			write(&out, old[c.Base.From:c.Base.To])
		case 1:
			i := versions[0][0]
			write(&out, all[i][c.Sides[i].From:c.Sides[i].To])
		default:
			clash.add(clashOfLines(c, versions, old, all, sides))
		}
	}
	write(&out, old[at:])
	if err := clash.err(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

func clashOfLines(c align.Chunk, versions [][]int, old []string, all [][]string, sides []side) Place {
	value := func(lines []string, s align.Span) Value {
		some := strings.Join(lines[s.From:min(s.To, s.From+maxText)], "")
		return Value{Lines: Lines{s.From + 1, s.To}, Gone: s.Len() == 0, Text: text.Shorten(some, maxText)}
	}
	p := Place{Lines: Lines{c.Base.From + 1, c.Base.To}}
	if c.Base.Len() > 0 {
		p.Values = append(p.Values, value(old, c.Base))
	}
	for _, v := range versions {
		now := value(all[v[0]], c.Sides[v[0]])
		now.Sides = numbers(sides, v)
		p.Values = append(p.Values, now)
	}
	return p
}

// numbers are the caller's numbers of sides.
func numbers(sides []side, which []int) []int {
	var all []int
	for _, i := range which {
		all = append(all, sides[i].of...)
	}
	slices.Sort(all)
	return all
}

func write(out *bytes.Buffer, lines []string) {
	for _, l := range lines {
		out.WriteString(l)
	}
}
