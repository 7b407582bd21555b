package merge

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"io"
	"strings"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/merge/internal/text"
)

// table is a content of rows.
type table struct {
	mark    string // in front of the first row: a byte order mark, or nothing
	header  string // of a CSV
	rows    []string
	newline string // that of the first row; empty if there is only one row, without an end
	ended   bool   // the last row has an end of line
}

func mergeRows(f Format, base []byte, sides []side) ([]byte, error) {
	read := readLines
	if f == CSV {
		read = readCSV
	}
	old, err := read(base)
	if err != nil {
		return nil, err
	}
	now := make([]table, len(sides))
	for i, s := range sides {
		if now[i], err = read(s.text); err != nil {
			return nil, err
		}
	}
	out := table{mark: old.mark, newline: old.newline}
	for _, t := range now {
		if out.newline == "" || out.newline == old.newline && t.newline != "" {
			out.newline = t.newline
		}
		if out.mark == old.mark {
			out.mark = t.mark
		}
		out.ended = out.ended || t.ended
	}
	if f == CSV {
		if out.header, err = header(old, base == nil, now, sides); err != nil {
			return nil, err
		}
	}
	out.rows = union(old, now)
	return out.text(), nil
}

// header is the one that all sides have. An empty content has none: where there was nothing before, it adds nothing.
func header(old table, noBase bool, now []table, sides []side) (string, error) {
	var groups [][]int
	var names []string
next:
	for i, t := range now {
		if t.header == "" && old.header == "" {
			continue
		}
		for g, name := range names {
			if name == t.header {
				groups[g] = append(groups[g], i)
				continue next
			}
		}
		names, groups = append(names, t.header), append(groups, []int{i})
	}
	switch len(names) {
	case 0:
		return "", nil
	case 1:
		return names[0], nil
	}
	p := Place{Header: true}
	if old.header != "" {
		p.Values = append(p.Values, Value{Text: text.Shorten(old.header, maxText)})
	}
	for g, name := range names {
		p.Values = append(p.Values, Value{Sides: numbers(sides, groups[g]), Gone: name == "", Text: text.Shorten(name, maxText)})
	}
	c := &Clash{Format: CSV, NoBase: noBase}
	c.add(p)
	return "", c
}

// union are the rows of the base that stay, in its order, and then those that were added, side by side.
func union(old table, sides []table) []string {
	was, most, fewest, having := count(old.rows), map[string]int{}, map[string]int{}, map[string]int{}
	for _, s := range sides {
		for row, n := range count(s.rows) {
			if having[row]++; having[row] == 1 {
				fewest[row] = n
			}
			most[row], fewest[row] = max(most[row], n), min(fewest[row], n)
		}
	}
	left := make(map[string]int, len(most)) // rows that are still to be written
	for row, n := range most {
		switch {
		case n > was[row]:
			left[row] = n
		case having[row] == len(sides):
			left[row] = fewest[row]
		}
	}
	rows := make([]string, 0, len(old.rows))
	written := map[string]int{}
	for _, row := range old.rows {
		if left[row] > 0 {
			left[row]--
			written[row]++
			rows = append(rows, row)
		}
	}
	for _, s := range sides {
		seen := map[string]int{}
		for _, row := range s.rows {
			seen[row]++
			if left[row] > 0 && seen[row] > written[row] {
				left[row]--
				written[row]++
				rows = append(rows, row)
			}
		}
	}
	return rows
}

func count(rows []string) map[string]int {
	n := make(map[string]int, len(rows))
	for _, row := range rows {
		n[row]++
	}
	return n
}

func (t table) text() []byte {
	newline := t.newline
	if newline == "" {
		newline = "\n"
	}
	var b bytes.Buffer
	b.WriteString(t.mark)
	if t.header != "" {
		b.WriteString(t.header + newline)
	}
	for _, row := range t.rows {
		b.WriteString(row)
		b.WriteString(newline)
	}
	if !t.ended {
		b.Truncate(max(len(t.mark), b.Len()-len(newline)))
	}
	return b.Bytes()
}

const byteOrderMark = "\uFEFF"

// newTable is a table without rows, and the text of its rows.
func newTable(content []byte) (t table, rest []byte, err error) {
	if err := text.Check(content); err != nil {
		return table{}, nil, err
	}
	if rest, ok := bytes.CutPrefix(content, []byte(byteOrderMark)); ok {
		t.mark, content = byteOrderMark, rest
	}
	t.ended = bytes.HasSuffix(content, []byte("\n"))
	return t, content, nil
}

// add takes in a row with its end.
func (t *table) add(row string) error {
	if len(t.rows) == text.MaxLines {
		return text.TooMany()
	}
	body, ended := strings.CutSuffix(row, "\n")
	newline := "\n"
	if ended {
		if cut, ok := strings.CutSuffix(body, "\r"); ok {
			body, newline = cut, "\r\n"
		}
		if t.newline == "" {
			t.newline = newline
		}
	}
	t.rows = append(t.rows, body)
	return nil
}

// readLines reads an NDJSON. Empty lines are no rows.
func readLines(content []byte) (table, error) {
	t, rest, err := newTable(content)
	if err != nil {
		return table{}, err
	}
	number := 0
	for row := range strings.Lines(string(rest)) {
		number++
		if strings.TrimSpace(row) == "" {
			continue
		}
		if !json.Valid([]byte(row)) {
			return table{}, errkind.New(errkind.Invalid, "merge ndjson: line %d is not JSON", number)
		}
		if err := t.add(row); err != nil {
			return table{}, err
		}
	}
	return t, nil
}

// readCSV reads a CSV. A row ends where its last field does, and may have several lines. Empty lines are no rows.
func readCSV(content []byte) (table, error) {
	t, rest, err := newTable(content)
	if err != nil {
		return table{}, err
	}
	r := csv.NewReader(bytes.NewReader(rest))
	r.Comma, r.FieldsPerRecord, r.ReuseRecord = separator(rest), -1, true
	for from := int64(0); ; from = r.InputOffset() {
		_, err := r.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return table{}, errkind.New(errkind.Invalid, "merge csv: %w", err)
		}
		row := string(rest[from:r.InputOffset()])
		for strings.HasPrefix(row, "\n") || strings.HasPrefix(row, "\r\n") {
			row = row[strings.IndexByte(row, '\n')+1:]
		}
		if err := t.add(row); err != nil {
			return table{}, err
		}
	}
	if len(t.rows) > 0 {
		t.header, t.rows = t.rows[0], t.rows[1:]
	}
	return t, nil
}

// separator is what stands between fields: that of , ; tab and | which is most often in the first line, outside of quotes.
func separator(content []byte) rune {
	line, _, _ := bytes.Cut(content, []byte("\n"))
	found := map[rune]int{}
	quoted := false
	for _, c := range string(line) {
		if c == '"' {
			quoted = !quoted
		}
		if !quoted {
			found[c]++
		}
	}
	best := ','
	for _, c := range ";\t|" {
		if found[c] > found[best] {
			best = c
		}
	}
	return best
}
