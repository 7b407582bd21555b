package text_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/merge/internal/text"
)

func TestLines(t *testing.T) {
	for in, want := range map[string][]string{
		"":            {},
		"a":           {"a"},
		"a\n":         {"a\n"},
		"a\r\nb\r\rc": {"a\r\n", "b\r\rc"},
		"\n\n":        {"\n", "\n"},
	} {
		if got, err := text.Lines([]byte(in)); err != nil || !slices.Equal(got, want) {
			t.Errorf("Lines(%q) = %q, %v", in, got, err)
		}
	}
	most := strings.Repeat("\n", text.MaxLines)
	if got, err := text.Lines([]byte(most)); err != nil || len(got) != text.MaxLines {
		t.Errorf("%d lines, %v", len(got), err)
	}
	for _, in := range []string{most + "a", "a\x00", "\xff", "\xed\xa0\x80"} {
		if _, err := text.Lines([]byte(in)); !errkind.Is(err, errkind.Invalid) {
			t.Errorf("%.10q: error %v", in, err)
		}
	}
}

func TestShorten(t *testing.T) {
	for in, want := range map[string]string{
		"":                       "",
		" a ":                    "a",
		"äöü":                    "äöü",
		"äöüÄÖ":                  "äöüÄÖ",
		"äöüÄÖÜ":                 "äöüÄÖ…",
		"a\r\nb\nc":              "a⏎b⏎…",
		"\x1b[0m":                `\x1b[0m`,
		"\u202e\u200b\u0085x":    `\u{202e}\u{200b}\u{85}x`,
		"\xff\ufffd":             `\xff` + "\ufffd",
		"a\tb\x7f":               `a b\x7f`,
		strings.Repeat("x", 100): "xxxxx…",
	} {
		if got := text.Shorten(in, 5); got != want {
			t.Errorf("Shorten(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestLine(t *testing.T) {
	for in, want := range map[string]string{"abc\n": "abc", "abc\r\n": `abc\r`, "abcdef\n": "abcde… (1 bytes more)"} {
		if got := text.Line(in, 5); got != want {
			t.Errorf("Line(%q) = %q, want %q", in, got, want)
		}
	}
}
