// Package text splits texts into lines, and makes what others wrote fit for a terminal.
//
// Errors are of kind Invalid: no text, or too many lines. There is no state: its functions are safe for concurrent use.
package text

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
)

// MaxLines is the largest number of lines that a text may have.
const MaxLines = 1 << 19

// Lines are the lines of a text, with their endings. What is not UTF-8, or has a zero byte, is no text.
func Lines(text []byte) ([]string, error) {
	if err := Check(text); err != nil {
		return nil, err
	}
	n := bytes.Count(text, []byte("\n"))
	if len(text) > 0 && text[len(text)-1] != '\n' {
		n++
	}
	if n > MaxLines {
		return nil, TooMany()
	}
	return slices.AppendSeq(make([]string, 0, n), strings.Lines(string(text))), nil
}

// TooMany is the error of more than MaxLines lines.
func TooMany() error { return errkind.New(errkind.Invalid, "read text: more than %d lines", MaxLines) }

// Check refuses what is no text.
func Check(text []byte) error {
	switch {
	case !utf8.Valid(text):
		return errkind.New(errkind.Invalid, "read text: it is not UTF-8")
	case bytes.IndexByte(text, 0) >= 0:
		return errkind.New(errkind.Invalid, "read text: it has a zero byte, as no text has")
	}
	return nil
}

// Shorten is the beginning of a text, up to n characters, in one line and fit for a terminal.
func Shorten(text string, n int) string {
	text = strings.TrimSpace(text)
	short, more := Cut(text, n)
	short = strings.ReplaceAll(strings.ReplaceAll(short, "\r\n", "⏎"), "\n", "⏎")
	if more > 0 {
		return Escape(short) + "…"
	}
	return Escape(short)
}

// Cut is the beginning of a text, up to n characters, and how many bytes follow it.
func Cut(text string, n int) (string, int) {
	for i := range text {
		if n--; n < 0 {
			return text[:i], len(text) - i
		}
	}
	return text, 0
}

// Line is a line up to n characters, fit for a terminal, without its end of line.
func Line(line string, n int) string {
	line = strings.TrimSuffix(line, "\n")
	short, more := Cut(line, n)
	if more > 0 {
		return fmt.Sprintf("%s… (%d bytes more)", Escape(short), more)
	}
	return Escape(short)
}

// Escape writes out what would not be seen on a terminal, or would steer it: control characters, those that change the
// direction of writing, and bytes that are not UTF-8. A tab is a space, as it would not line up.
func Escape(s string) string {
	var b strings.Builder
	for i, r := range s {
		switch {
		case r == '\t':
			b.WriteByte(' ')
		case r == '\r':
			b.WriteString(`\r`)
		case r == utf8.RuneError && !strings.HasPrefix(s[i:], "\uFFFD"):
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case r < utf8.RuneSelf && !unicode.IsPrint(r):
			fmt.Fprintf(&b, `\x%02x`, r)
		case !unicode.IsPrint(r):
			fmt.Fprintf(&b, `\u{%x}`, r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}
