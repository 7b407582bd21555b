package merge_test

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"pgregory.net/rapid"
)

// drawLines draws lines that are often the same; whole are texts of rows, which all end.
func drawLines(header string, whole bool) func(*rapid.T, string) []byte {
	return func(t *rapid.T, label string) []byte {
		rows := rapid.SliceOfN(rapid.SampledFrom([]string{"1", "2", "3", "4", "5", "6", "7", "8", "9"}), 0, 12).Draw(t, label)
		return []byte(header + join(t, rows, whole, label))
	}
}

func join(t *rapid.T, rows []string, whole bool, label string) string {
	text := strings.Join(rows, "\n")
	if len(rows) > 0 && (whole || rapid.Bool().Draw(t, label+" ends")) {
		text += "\n"
	}
	return text
}

// editLines draws some insertions, removals and changes. A header stays.
func editLines(whole bool) func(*rapid.T, []byte, string) []byte {
	return func(t *rapid.T, base []byte, label string) []byte {
		header, text := "", string(base)
		if rest, ok := strings.CutPrefix(text, "h\n"); ok {
			header, text = "h\n", rest
		}
		var rows []string
		for l := range strings.Lines(text) {
			rows = append(rows, strings.TrimSuffix(l, "\n"))
		}
		for range rapid.IntRange(0, 3).Draw(t, label+" edits") {
			at := rapid.IntRange(0, len(rows)).Draw(t, label+" at")
			row := strconv.Itoa(rapid.IntRange(1, 40).Draw(t, label+" row"))
			switch what := rapid.IntRange(0, 2).Draw(t, label+" what"); {
			case what == 0 || at == len(rows):
				rows = slices.Insert(rows, at, row)
			case what == 1:
				rows = slices.Delete(rows, at, at+1)
			default:
				rows[at] = row
			}
		}
		return []byte(header + join(t, rows, whole, label))
	}
}

// literals are texts of values that a merge must keep.
var literals = []string{"0", "1", "1.0", "1e2", "-0", "9007199254740993", `"a"`, `"\u00e9"`, `"é"`, "null", "true", "{}", "[]"}

func drawJSON(t *rapid.T, label string) []byte {
	return lay(t, drawValue(t, label, 0), label)
}

func drawValue(t *rapid.T, label string, depth int) any {
	kind := rapid.IntRange(depth, 6).Draw(t, label+" kind")
	switch {
	case kind <= 2:
		members := map[string]any{}
		for _, name := range rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "c", "d", "~/", "é"}), 0, 5).Draw(t, label+" names") {
			members[name] = drawValue(t, label, depth+1)
		}
		return members
	case kind == 3:
		items := []any{}
		for range rapid.IntRange(0, 5).Draw(t, label+" items") {
			items = append(items, drawValue(t, label, depth+2))
		}
		return items
	}
	return json.RawMessage(rapid.SampledFrom(literals).Draw(t, label+" literal"))
}

func lay(t *rapid.T, v any, label string) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetIndent("", rapid.SampledFrom([]string{"", " ", "\t"}).Draw(t, label+" indent"))
	if err := e.Encode(v); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func editJSON(t *rapid.T, base []byte, label string) []byte {
	var v any
	d := json.NewDecoder(bytes.NewReader(base))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		t.Fatal(err)
	}
	for range rapid.IntRange(0, 3).Draw(t, label+" edits") {
		v = editValue(t, v, label)
	}
	return lay(t, v, label)
}

// editValue changes one place at a depth that is drawn.
func editValue(t *rapid.T, v any, label string) any {
	fresh := func() any { return json.RawMessage(rapid.SampledFrom(literals).Draw(t, label+" new")) }
	what := rapid.IntRange(0, 4).Draw(t, label+" what")
	switch v := v.(type) {
	case map[string]any:
		name := rapid.SampledFrom([]string{"a", "b", "c", "d", "e", "~/", "é"}).Draw(t, label+" name")
		switch old, ok := v[name]; {
		case what == 0:
			delete(v, name)
		case ok && what > 1:
			v[name] = editValue(t, old, label)
		default:
			v[name] = fresh()
		}
		return v
	case []any:
		at := rapid.IntRange(0, len(v)).Draw(t, label+" at")
		switch {
		case at == len(v) || what == 0:
			return slices.Insert(v, at, fresh())
		case what == 1:
			return slices.Delete(v, at, at+1)
		}
		v[at] = editValue(t, v[at], label)
		return v
	}
	return fresh()
}
