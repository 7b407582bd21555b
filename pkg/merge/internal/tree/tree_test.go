package tree_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"pgregory.net/rapid"

	"github.com/bucketmesh/bucketmesh/pkg/merge/internal/tree"
)

func parse(t *testing.T, text string) *tree.Document {
	t.Helper()
	d, err := tree.Parse([]byte(text))
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return d
}

func TestWhatIsEqual(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{`{"a":1,"b":2}`, ` { "b" : 2, "a" : 1 } `, true},
		{`["é"]`, `["\u00e9"]`, true},
		{`{"é":1}`, `{"\u00E9":1}`, true},
		{`"\ud83d\ude00"`, `"😀"`, true},
		{`1`, `1.0`, false},
		{`1e2`, `100`, false},
		{`9007199254740993`, `9007199254740992`, false},
		{`0`, `-0`, false},
		{`[1,2]`, `[2,1]`, false},
		{`[[1],2]`, `[1,[2]]`, false},
		{`{}`, `[]`, false},
		{`"1"`, `1`, false},
		{`"null"`, `null`, false},
		{`{"a":"b"}`, `{"ab":""}`, false},
		{`"\ud800"`, `"\ud801"`, false},
		{`"\ud800"`, `"\ufffd"`, false},
		{`"\ud800"`, `"\"\\ud800\""`, false},
	} {
		if got := parse(t, c.a).Root.Sum == parse(t, c.b).Root.Sum; got != c.want {
			t.Errorf("%s and %s are equal: %v", c.a, c.b, got)
		}
	}
}

func TestStyle(t *testing.T) {
	for text, want := range map[string]tree.Style{
		`{"a":1,"b":[1,2]}`:               {Colon: ":", Comma: ","},
		`{"a": 1, "b": [1, 2]}`:           {Colon: ": ", Comma: ", "},
		`{"a": 1}`:                        {Colon: ": ", Comma: ", "},
		"{\n  \"a\": [1,2]\n}\n":          {Lines: true, Indent: "  ", Newline: "\n", Colon: ": ", Comma: ","},
		"[\r\n\t1,\r\n\t2\r\n]":           {Lines: true, Indent: "\t", Newline: "\r\n", Colon: ": ", Comma: ", "},
		"{\n\"a\" : {\n    \"b\" : 1\n}}": {Lines: true, Newline: "\n", Colon: " : ", Comma: ", "},
		"1":                               {Colon: ":", Comma: ","},
		"{}":                              {Colon: ":", Comma: ","},
		"{\n  \"a\":\n    {\"b\": 1},\n \"c\":1}": {Lines: true, Indent: "  ", Newline: "\n", Colon: ": ", Comma: ", "},
	} {
		if got := *parse(t, text).Style; got != want {
			t.Errorf("%q: style %+v, want %+v", text, got, want)
		}
	}
}

// What is written in any style is the same value, and in its own style the same text.
func TestWriteKeepsTheValue(t *testing.T) {
	indents := rapid.SampledFrom([]string{"", " ", "    ", "\t"})
	rapid.Check(t, func(t *rapid.T) {
		raw, err := json.Marshal(map[string]any{
			"a": rapid.SliceOfN(rapid.Int(), 0, 3).Draw(t, "a"), "b": rapid.MapOfN(rapid.String(), rapid.String(), 0, 3).Draw(t, "b"),
			rapid.String().Draw(t, "c"): nil,
		})
		if err != nil {
			t.Fatal(err)
		}
		lay := func(indent string) *tree.Document {
			text := raw
			if indent != "" {
				var b bytes.Buffer
				if err := json.Indent(&b, raw, "", indent); err != nil {
					t.Fatal(err)
				}
				text = b.Bytes()
			}
			d, err := tree.Parse(text)
			if err != nil {
				t.Fatal(err)
			}
			return d
		}
		from, to := lay(indents.Draw(t, "from")), lay(indents.Draw(t, "to"))
		got := tree.Write(from.Root, to.Style)
		if !bytes.Equal(got, to.Root.Raw) {
			t.Fatalf("%s, written as %+v is\n%s, want\n%s", from.Root.Raw, to.Style, got, to.Root.Raw)
		}
	})
}

func TestPointer(t *testing.T) {
	for want, path := range map[string][]string{"": nil, "/": {""}, "/a~1b/c~0d/0": {"a/b", "c~d", "0"}} {
		if got := tree.Pointer(path); got != want {
			t.Errorf("Pointer(%q) = %q, want %q", path, got, want)
		}
	}
}
