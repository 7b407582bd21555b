package diff_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/bucketmesh/bucketmesh/pkg/merge"
	"github.com/bucketmesh/bucketmesh/pkg/merge/diff"
)

var update = flag.Bool("update", false, "write the golden files anew")

func content(name, data string) diff.Content { return diff.Content{Name: name, Data: []byte(data)} }

// numbered are lines with their numbers; change replaces some of them.
func numbered(n int, change map[int]string) string {
	var b strings.Builder
	for i := 1; i <= n; i++ {
		s, ok := change[i]
		if !ok {
			s = fmt.Sprintf("line %d\n", i)
		}
		b.WriteString(s)
	}
	return b.String()
}

func TestGolden(t *testing.T) {
	for _, c := range []struct {
		name   string
		format merge.Format
		base   *diff.Content
		sides  []diff.Content
	}{
		{"text", merge.Text, new(content("before", numbered(20, nil))), []diff.Content{
			content("us", numbered(20, map[int]string{1: "LINE 1\n", 10: "ten\n", 11: ""})),
			content("europe", numbered(20, map[int]string{10: "zehn\nzehneinhalb\n", 20: "line 20"})),
			content("asia", numbered(20, nil)),
		}},
		{"text-no-base", merge.Text, nil, []diff.Content{content("us", "a\nb\nc\n"), content("eu", "a\nB\nc\nd\n")}},
		{"json", merge.JSON, new(content("before", `{"a":{"b":1,"c":[1,2,3,4,5]},"d":"x","gone":1}`)), []diff.Content{
			content("us", `{"a":{"b":2,"c":[1,2,9,4,5]},"d":"x"}`),
			content("eu", `{"a":{"b":3,"c":[1,2,3,4,5,6]},"d":"x","gone":1,"new/":{"x": [true]}}`),
		}},
		{"json-no-base", merge.JSON, nil, []diff.Content{content("us", `{"a":1,"b":1}`), content("eu", `{"a":2,"c":{},"b":1}`)}},
		{"json-that-is-none", merge.JSON, new(content("before", "{}")), []diff.Content{content("us", "{\"a\":"), content("eu", "{}")}},
		{"ndjson", merge.NDJSON, new(content("before", "{}\n")), []diff.Content{content("us", "{}\n1\n"), content("eu", "{}\n2\n")}},
		{"binary", merge.Text, new(content("before", "\x89PNG\x00")), []diff.Content{content("us", "\x89PNG\x01"), content("eu", "")}},
		{"hostile", merge.Text, new(content("be\x1b[2Jfore", "a\nb\n")), []diff.Content{
			content("us\n", "\x1b]0;title\x07\r\nb\t\u202e\n"), content("eu\u2066", "a\u009b31m\u200d\ufffd\nb"),
		}},
		{"equal", merge.Text, new(content("before", "a")), []diff.Content{content("us", "a"), content("eu", "a")}},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := diff.New(c.format, c.base, c.sides...)
			var shown bytes.Buffer
			if err := d.Write(&shown, false); err != nil {
				t.Fatal(err)
			}
			encoded, err := json.MarshalIndent(d, "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			golden(t, c.name+".txt", shown.Bytes())
			golden(t, c.name+".json", append(encoded, '\n'))
		})
	}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), string(got)); d != "" {
		t.Errorf("%s (-want +got):\n%s", file, d)
	}
}

// What can steer a terminal never gets there, whatever is compared.
func TestNothingSteersTheTerminal(t *testing.T) {
	steering := rapid.StringOf(rapid.RuneFrom([]rune("ab\"\\{}[]:,\n\r\t\x00\x07\x1b\x7f\u009b\u202e\u2028\ufffd"), unicode.Letter))
	rapid.Check(t, func(t *rapid.T) {
		format := rapid.SampledFrom([]merge.Format{merge.JSON, merge.Text, merge.CSV, merge.NDJSON, "", diff.Binary}).Draw(t, "format")
		draw := func(name string) diff.Content {
			data := steering.Draw(t, name)
			if rapid.Bool().Draw(t, "as JSON") {
				data = `{"` + strings.NewReplacer(`"`, "", `\`, "", "\n", "").Replace(data) + `":"` + "\x7f\u009b" + `"}`
			}
			if rapid.IntRange(0, 9).Draw(t, "broken") == 0 {
				data += "\xff\x9b"
			}
			return content(steering.Draw(t, "name"), data)
		}
		base, a, b := draw("base"), draw("a"), draw("b")
		var out bytes.Buffer
		if err := diff.New(format, &base, a, b).Write(&out, false); err != nil {
			t.Fatal(err)
		}
		for _, r := range out.String() {
			if r != '\n' && !unicode.IsPrint(r) {
				t.Fatalf("%U in %q", r, out.String())
			}
		}
	})
}

// A comparison says of a place that it clashes if, and only if, the merge fails.
func TestClashesAreThoseOfTheMerge(t *testing.T) {
	line := rapid.SampledFrom([]string{"1\n", "2\n", "3\n", "4\n"})
	value := rapid.SampledFrom([]string{`1`, `2`, `[1,2,3,4]`, `[1,9,3,4]`, `[1,2,3,8]`, `{}`, `{"x":1}`, `{"y":1}`, `{"x":2,"y":[]}`})
	for _, f := range []merge.Format{merge.Text, merge.JSON, merge.NDJSON} {
		clashes := 0
		rapid.Check(t, func(t *rapid.T) {
			draw := func(label string) diff.Content {
				if f == merge.JSON {
					return content(label, fmt.Sprintf(`{"a":%s,"b":{"c":%s}}`, value.Draw(t, label), value.Draw(t, label)))
				}
				return content(label, strings.Join(rapid.SliceOfN(line, 0, 6).Draw(t, label), ""))
			}
			base, a, b := new(draw("base")), draw("a"), draw("b")
			old := base.Data
			if rapid.Bool().Draw(t, "no base") {
				base, old = nil, nil
			}
			_, err := merge.Merge(f, old, a.Data, b.Data)
			_, failed := errors.AsType[*merge.Clash](err)
			said := false
			d := diff.New(f, base, a, b)
			for _, h := range d.Hunks {
				said = said || h.Clash
			}
			for _, c := range d.Changes {
				said = said || c.Clash
			}
			if bytes.Equal(a.Data, old) || bytes.Equal(b.Data, old) || bytes.Equal(a.Data, b.Data) {
				return // nothing to merge
			}
			if said != failed {
				t.Fatalf("%s: base %s, sides %s %s: the merge fails: %v, the comparison says: %v", f, old, a.Data, b.Data, err, said)
			}
			if failed {
				clashes++
			}
		})
		if clashes == 0 && f != merge.NDJSON {
			t.Errorf("%s: nothing ever clashed", f)
		}
	}
}

func TestWhatIsShownIsBounded(t *testing.T) {
	var base, side strings.Builder
	for i := range 2000 {
		fmt.Fprintf(&base, "%d\nsame %d\n", i, i)
		fmt.Fprintf(&side, "%s\n", strings.Repeat("x", 10000)+strings.Repeat("\ny", 200))
		fmt.Fprintf(&side, "same %d\n", i)
	}
	d := diff.New(merge.Text, new(content("before", base.String())), content("us", side.String()))
	if len(d.Hunks) != 500 || d.More != 1500 {
		t.Errorf("%d hunks and %d more", len(d.Hunks), d.More)
	}
	if s := d.Hunks[0].Sides[0]; len(s.Text) != 100 || s.More != 101 || len(s.Text[0]) != 2000 {
		t.Errorf("%d lines and %d more, the first of %d", len(s.Text), s.More, len(s.Text[0]))
	}
	var out bytes.Buffer
	if err := d.Write(&out, true); err != nil || !strings.Contains(out.String(), "... and 101 lines more, to line 201") ||
		!strings.Contains(out.String(), "(9700 bytes more)") && !strings.Contains(out.String(), "(1700 bytes more)") {
		t.Errorf("%v: %.2000s", err, out.String())
	}
}

func FuzzNew(f *testing.F) {
	f.Add("json", []byte(`{"a":[1,2]}`), []byte(`{"a":[1,3]}`), []byte(`{"b":"\u202e"}`))
	f.Add("text", []byte("a\nb\n"), []byte("a\x1b[2J\nb"), []byte("\xff"))
	f.Fuzz(func(t *testing.T, format string, base, a, b []byte) {
		for _, old := range []*diff.Content{nil, {Name: "base", Data: base}} {
			d := diff.New(merge.Format(format), old, content("a", string(a)), content("b", string(b)))
			if _, err := json.Marshal(d); err != nil {
				t.Error(err)
			}
			var out bytes.Buffer
			if err := d.Write(&out, false); err != nil {
				t.Error(err)
			}
			for _, r := range out.String() {
				if r != '\n' && !unicode.IsPrint(r) {
					t.Fatalf("%U in %q", r, out.String())
				}
			}
		}
	})
}
