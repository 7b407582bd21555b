package merge_test

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/merge"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestGolden merges the files of each folder of testdata/FORMAT: base.* (if there is one), and side1.*, side2.* and so on,
// in every order, and compares with merged.*, or with clash.txt if there must be no merge.
func TestGolden(t *testing.T) {
	folders, err := filepath.Glob("testdata/[cjnt]*/*") // not what rapid and fuzzing leave there
	if err != nil || len(folders) < 20 {
		t.Fatalf("found %d folders: %v", len(folders), err)
	}
	for _, dir := range folders {
		t.Run(strings.TrimPrefix(dir, "testdata/"), func(t *testing.T) {
			format := merge.Format(filepath.Base(filepath.Dir(dir)))
			var base []byte
			var sides [][]byte
			files, err := os.ReadDir(dir)
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range files {
				switch name, _, _ := strings.Cut(f.Name(), "."); {
				case name == "base":
					base = contents(t, dir, f.Name())
				case strings.HasPrefix(name, "side"):
					sides = append(sides, contents(t, dir, f.Name()))
				}
			}
			for _, order := range permutations(sides) {
				got, err := merge.Merge(format, base, order...)
				name := "merged." + string(format)
				if err != nil {
					name, got = "clash.txt", []byte(err.Error()+"\n")
				}
				golden(t, dir, name, got)
			}
		})
	}
}

func contents(t *testing.T, dir, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func golden(t *testing.T, dir, name string, got []byte) {
	t.Helper()
	if *update {
		for _, old := range []string{"merged", "clash"} {
			files, _ := filepath.Glob(filepath.Join(dir, old+".*"))
			for _, f := range files {
				if err := os.Remove(f); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := os.WriteFile(filepath.Join(dir, name), got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if want := contents(t, dir, name); string(want) != string(got) {
		t.Errorf("got:\n%s\nwant %s:\n%s", got, name, want)
	}
}

func permutations(sides [][]byte) [][][]byte {
	if len(sides) < 2 {
		return [][][]byte{sides}
	}
	var all [][][]byte
	for i := range sides {
		rest := slices.Delete(slices.Clone(sides), i, i+1)
		for _, p := range permutations(rest) {
			all = append(all, append([][]byte{sides[i]}, p...))
		}
	}
	return all
}

func TestFormatOf(t *testing.T) {
	for _, c := range []struct {
		key, media string
		want       merge.Format
	}{
		{"a/b.json", "", merge.JSON},
		{"a/b.JSON", "text/plain", merge.JSON},
		{"a/b", "application/json; charset=utf-8", merge.JSON},
		{"a/b", "Application/Vnd.Api+JSON", merge.JSON},
		{"map.geojson", "", merge.JSON},
		{"events.jsonl", "application/json", merge.NDJSON},
		{"events", "application/x-ndjson", merge.NDJSON},
		{"list.csv", "application/octet-stream", merge.CSV},
		{"list", "text/csv", merge.CSV},
		{"README.md", "", merge.Text},
		{"x", "text/plain", merge.Text},
		{"conf.yaml", "", merge.Text},
		{"x", "image/svg+xml", merge.Text},
		{"photo.jpg", "image/jpeg", ""},
		{"a.json.gz", "application/gzip", ""},
		{"a.json/b", "", ""},
		{"x", "", ""},
	} {
		got, ok := merge.FormatOf(c.key, c.media)
		if got != c.want || ok != (c.want != "") {
			t.Errorf("FormatOf(%q, %q) = %q, %v; want %q", c.key, c.media, got, ok, c.want)
		}
	}
}

func TestRefusals(t *testing.T) {
	deep := strings.Repeat("[", 1001) + strings.Repeat("]", 1001)
	for _, c := range []struct {
		name   string
		format merge.Format
		base   string
		sides  []string
		want   string
	}{
		{"no sides", merge.JSON, "{}", nil, "no contents"},
		{"unknown format", "xml", "", []string{"a", "b"}, `no format "xml"`},
		{"no JSON", merge.JSON, "{}", []string{`{"a":1}`, `{"a":`}, "parse JSON"},
		{"base is no JSON", merge.JSON, "x", []string{`{"a":1}`, `{"b":1}`}, "parse JSON"},
		{"two documents", merge.JSON, "{}", []string{`{"a":1}`, `{"b":1} {}`}, "parse JSON"},
		{"twice", merge.JSON, "{}", []string{`{"a":{"x":1}}`, `{"a":{"b/c":1,"b\u002fc":2}}`}, `"/a/b~1c" is there twice`},
		{"twice in the base", merge.JSON, `{"a":1,"a":1}`, []string{`{"a":1}`, `{"a":2}`}, `"/a" is there twice`},
		{"too deep", merge.JSON, "[]", []string{deep, "[1]"}, "more than 1000"},
		{"deeper than any stack", merge.JSON, "[]", []string{strings.Repeat("[", 1<<22), "[1]"}, "more than 1000"},
		{"too many values", merge.JSON, "[]", []string{"[" + strings.Repeat("1,", 1<<19) + "1]", "[1]"}, "more than 524288 values"},
		{"JSON is not UTF-8", merge.JSON, "{}", []string{"{\"a\":\"\xff\"}", `{"b":1}`}, "UTF-8"},
		{"text is not UTF-8", merge.Text, "a", []string{"\xff\n", "b"}, "UTF-8"},
		{"UTF-16", merge.Text, "a", []string{"a\x00b\x00", "b"}, "zero byte"},
		{"too many lines", merge.Text, "a", []string{strings.Repeat("\n", 1<<19+1), "b"}, "more than 524288 lines"},
		{"CSV with open quotes", merge.CSV, "a\n", []string{"a\n\"b\n", "a\nc\n"}, "merge csv"},
		{"CSV is not UTF-8", merge.CSV, "a\n", []string{"a\n\xff\n", "a\nc\n"}, "UTF-8"},
		{"too many rows", merge.CSV, "a\n", []string{strings.Repeat("b\n", 1<<19+1), "a\nc\n"}, "more than 524288 lines"},
		{"NDJSON", merge.NDJSON, "{}\n", []string{"{}\n\n{\n", "{}\n1\n"}, "line 3 is not JSON"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := merge.Merge(c.format, []byte(c.base), texts(c.sides)...)
			if err == nil || !strings.Contains(err.Error(), c.want) || !errkind.Is(err, errkind.Invalid) {
				t.Errorf("error %v, want one of kind invalid that says %q", err, c.want)
			}
			if _, ok := errors.AsType[*merge.Clash](err); ok {
				t.Error("it is no clash")
			}
		})
	}
}

func texts(sides []string) [][]byte {
	var all [][]byte
	for _, s := range sides {
		all = append(all, []byte(s))
	}
	return all
}

// Nothing is left of the rows, and the mark stays whole.
func TestAByteOrderMarkIsNotCut(t *testing.T) {
	const mark = "\uFEFF"
	got, err := merge.Merge(merge.NDJSON, []byte(mark+"1\n2"), []byte(mark+"1"), []byte(mark+"2"))
	if err != nil || string(got) != mark {
		t.Errorf("merged to %q, %v, want the mark alone", got, err)
	}
}

func TestClashSaysWhoAndWhere(t *testing.T) {
	base := []byte(`{"a":{"b":1,"c":[1,2,3,4]}}`)
	_, err := merge.Merge(merge.JSON, base, []byte(`{"a":{"b":2,"c":[1,2,9,4]}}`), base,
		[]byte(`{"a":{"c":[1,2,8,4]}}`), []byte(`{"a":{"b":2, "c":[1,2,9,4]}}`))
	clash, ok := errors.AsType[*merge.Clash](err)
	if !ok || !errkind.Is(err, errkind.Invalid) {
		t.Fatalf("error %v of kind %v, want a clash", err, errkind.Of(err))
	}
	got := fmt.Sprintf("%+v", clash.Places)
	want := `[{Pointer:/a/b Lines:line 0 Header:false Values:[{Sides:[] Gone:false Lines:line 0 Text:1} ` +
		`{Sides:[2] Gone:true Lines:line 0 Text:} {Sides:[0 3] Gone:false Lines:line 0 Text:2}]} ` +
		`{Pointer:/a/c/2 Lines:line 0 Header:false Values:[{Sides:[] Gone:false Lines:line 0 Text:3} ` +
		`{Sides:[2] Gone:false Lines:line 0 Text:8} {Sides:[0 3] Gone:false Lines:line 0 Text:9}]}]`
	if got != want {
		t.Errorf("places\n%s, want\n%s", got, want)
	}
}

func TestClashIsShortAndFitForATerminal(t *testing.T) {
	var base, a, b strings.Builder
	for i := range 100 {
		fmt.Fprintf(&base, "line %d\nsame %d\n", i, i)
		fmt.Fprintf(&a, "\x1b[31m%s %d\u202e\nsame %d\n", strings.Repeat("ä", 1000), i, i)
		fmt.Fprintf(&b, "b %d\nsame %d\n", i, i)
	}
	_, err := merge.Merge(merge.Text, []byte(base.String()), []byte(a.String()), []byte(b.String()))
	clash, ok := errors.AsType[*merge.Clash](err)
	if !ok {
		t.Fatal(err)
	}
	if len(clash.Places) != 20 || clash.More != 80 || !strings.Contains(err.Error(), "and 97 more") {
		t.Errorf("%d places and %d more: %v", len(clash.Places), clash.More, err)
	}
	if len(err.Error()) > 1000 || strings.ContainsAny(err.Error(), "\x1b\n\u202e") {
		t.Errorf("message %q", err)
	}
}
