package merge_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/bucketmesh/bucketmesh/pkg/merge"
)

// formats have a way to draw a content, and to draw one that was edited.
var formats = map[merge.Format]struct {
	draw func(*rapid.T, string) []byte
	edit func(*rapid.T, []byte, string) []byte
}{
	merge.JSON:   {drawJSON, func(t *rapid.T, base []byte, label string) []byte { return editJSON(t, base, label) }},
	merge.Text:   {drawLines("", false), editLines(false)},
	merge.CSV:    {drawLines("h\n", true), editLines(true)},
	merge.NDJSON: {drawLines("", true), editLines(true)},
}

func eachFormat(t *testing.T, check func(*rapid.T, merge.Format, func(string) []byte, func([]byte, string) []byte)) {
	for f, d := range formats {
		t.Run(string(f), func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				check(t, f, func(label string) []byte { return d.draw(t, label) },
					func(base []byte, label string) []byte { return d.edit(t, base, label) })
			})
		})
	}
}

func TestOneSideIsTaken(t *testing.T) {
	eachFormat(t, func(t *rapid.T, f merge.Format, draw func(string) []byte, edit func([]byte, string) []byte) {
		base := draw("base")
		x := edit(base, "x")
		for _, sides := range [][][]byte{{x}, {x, x}, {base, x}, {x, base}, {base, x, base, x}} {
			if got, err := merge.Merge(f, base, sides...); err != nil || !bytes.Equal(got, x) {
				t.Fatalf("merge(%q; %q) = %q, %v", base, sides, got, err)
			}
		}
		if got, err := merge.Merge(f, nil, x, x); err != nil || !bytes.Equal(got, x) {
			t.Fatalf("merge of equal contents without a base = %q, %v", got, err)
		}
	})
}

func TestOrderDoesNotMatter(t *testing.T) {
	eachFormat(t, func(t *rapid.T, f merge.Format, draw func(string) []byte, edit func([]byte, string) []byte) {
		base := draw("base")
		var sides [][]byte
		for i := range rapid.IntRange(2, 4).Draw(t, "sides") {
			sides = append(sides, edit(base, strconv.Itoa(i)))
		}
		if rapid.Bool().Draw(t, "no base") {
			base = nil
		}
		want, wantErr := merge.Merge(f, base, sides...)
		got, err := merge.Merge(f, base, rapid.Permutation(sides).Draw(t, "order")...)
		if !bytes.Equal(got, want) || (err == nil) != (wantErr == nil) || err != nil && err.Error() != wantErr.Error() {
			t.Fatalf("%q, %v\nand in another order\n%q, %v", want, wantErr, got, err)
		}
		if _, ok := errors.AsType[*merge.Clash](err); err != nil && !ok {
			t.Fatalf("error %v is no clash", err)
		}
	})
}

func TestMergingAgainChangesNothing(t *testing.T) {
	eachFormat(t, func(t *rapid.T, f merge.Format, draw func(string) []byte, edit func([]byte, string) []byte) {
		base := draw("base")
		a, b := edit(base, "a"), edit(base, "b")
		m, err := merge.Merge(f, base, a, b)
		if err != nil {
			return
		}
		if again, err := merge.Merge(f, base, a, b, a, b); err != nil || !bytes.Equal(again, m) {
			t.Fatalf("each side twice: %q, %v, want %q", again, err, m)
		}
		if f == merge.Text || f == merge.JSON && bytes.Contains(base, []byte("[")) {
			return // the difference between base and m need not be the sum of both differences
		}
		again, err := merge.Merge(f, base, m, a)
		if err != nil || meaning(f, again) != meaning(f, m) {
			t.Fatalf("merge(%q; %q, %q) = %q, and then with the second %q, %v", base, a, b, m, again, err)
		}
	})
}

// Merging pair by pair and all at once says the same where both are possible, and both are possible or none.
func TestGroupingDoesNotMatter(t *testing.T) {
	eachFormat(t, func(t *rapid.T, f merge.Format, draw func(string) []byte, edit func([]byte, string) []byte) {
		base := draw("base")
		if f == merge.Text || f == merge.JSON && bytes.Contains(base, []byte("[")) {
			return // a pair that was merged is another text, whose differences may be found in other places
		}
		a, b, c := edit(base, "a"), edit(base, "b"), edit(base, "c")
		if f == merge.JSON && bytes.ContainsAny(slices.Concat(a, b, c), "[") {
			return
		}
		all, allErr := merge.Merge(f, base, a, b, c)
		pair, err := merge.Merge(f, base, a, b)
		if err == nil {
			pair, err = merge.Merge(f, base, pair, c)
		}
		if (err == nil) != (allErr == nil) || err == nil && meaning(f, pair) != meaning(f, all) {
			t.Fatalf("base %q, sides %q %q %q\nat once %q, %v\nin pairs %q, %v", base, a, b, c, all, allErr, pair, err)
		}
	})
}

// meaning is a content without what the order of sides may decide.
func meaning(f merge.Format, text []byte) string {
	if f == merge.JSON {
		var v any
		d := json.NewDecoder(bytes.NewReader(text))
		d.UseNumber()
		if err := d.Decode(&v); err != nil {
			return "invalid: " + string(text)
		}
		sorted, err := json.Marshal(v)
		if err != nil {
			return err.Error()
		}
		return string(sorted)
	}
	lines := strings.Split(string(text), "\n")
	slices.Sort(lines)
	return strings.TrimSpace(strings.Join(lines, "\n"))
}

// No line that any side added is lost, and no line is there that nobody wrote.
func TestAddedLinesAreThere(t *testing.T) {
	for _, f := range []merge.Format{merge.Text, merge.CSV, merge.NDJSON} {
		t.Run(string(f), func(t *testing.T) {
			merged := 0
			rapid.Check(t, func(t *rapid.T) {
				base := formats[f].draw(t, "base")
				sides := [][]byte{formats[f].edit(t, base, "a"), formats[f].edit(t, base, "b"), formats[f].edit(t, base, "c")}
				got, err := merge.Merge(f, base, sides...)
				if err != nil {
					return
				}
				merged++
				has, had := lines(got), lines(base)
				written := map[string]int{}
				for _, s := range sides {
					for line, n := range lines(s) {
						if n > had[line] && had[line] == 0 && has[line] < n && line != "" {
							t.Fatalf("base %q, sides %q: %q is lost in %q", base, sides, line, got)
						}
						written[line] += n
					}
				}
				for line := range has {
					if written[line] == 0 {
						t.Fatalf("base %q, sides %q: nobody wrote %q of %q", base, sides, line, got)
					}
				}
				for line := range had {
					for _, s := range sides {
						if lines(s)[line] == 0 && has[line] > max(lines(sides[0])[line], lines(sides[1])[line], lines(sides[2])[line]) {
							t.Fatalf("base %q, sides %q: %q was removed, and is in %q", base, sides, line, got)
						}
					}
				}
			})
			if merged == 0 {
				t.Error("nothing was ever merged")
			}
		})
	}
}

func lines(text []byte) map[string]int {
	n := map[string]int{}
	for l := range strings.Lines(string(text)) {
		n[strings.TrimRight(l, "\r\n")]++
	}
	return n
}

// Edits of different fields, at any depth, are all in the result; what nobody edited is as it was.
func TestDisjointFieldsAreUnited(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(2, 12).Draw(t, "fields")
		base, sides := map[string]any{}, []map[string]any{{}, {}, {}}
		want := map[string]any{}
		for i := range n {
			path := "f" + strconv.Itoa(i)
			in := func(doc map[string]any, v any) {
				for range i % 3 { // the depth
					inner, ok := doc["o"].(map[string]any)
					if !ok {
						inner = map[string]any{}
						doc["o"] = inner
					}
					doc = inner
				}
				doc[path] = v
			}
			in(base, 0)
			who := rapid.IntRange(-1, 2).Draw(t, "editor")
			for s := range sides {
				in(sides[s], map[bool]int{false: 0, true: i + 1}[s == who])
			}
			in(want, map[bool]int{false: 0, true: i + 1}[who >= 0])
		}
		var texts [][]byte
		for _, s := range sides {
			texts = append(texts, marshal(t, s, rapid.SampledFrom([]string{"", "  ", "\t"}).Draw(t, "indent")))
		}
		got, err := merge.Merge(merge.JSON, marshal(t, base, ""), texts...)
		if err != nil || meaning(merge.JSON, got) != string(marshal(t, want, "")) {
			t.Fatalf("sides %q: %s, %v, want %s", texts, got, err, marshal(t, want, ""))
		}
	})
}

func marshal(t *rapid.T, v any, indent string) []byte {
	text, err := json.MarshalIndent(v, "", indent)
	if indent == "" {
		text, err = json.Marshal(v)
	}
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestMergedJSONIsValid(t *testing.T) {
	merged := 0
	rapid.Check(t, func(t *rapid.T) {
		base := drawJSON(t, "base")
		a, b := editJSON(t, base, "a"), editJSON(t, base, "b")
		if rapid.Bool().Draw(t, "no base") {
			base = nil
		}
		got, err := merge.Merge(merge.JSON, base, a, b)
		if err != nil {
			return
		}
		merged++
		if !json.Valid(got) {
			t.Fatalf("merge(%q; %q, %q) = %q", base, a, b, got)
		}
	})
	if merged == 0 {
		t.Error("nothing was ever merged")
	}
}
