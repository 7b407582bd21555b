package tla

import (
	"fmt"
	"regexp"
	"strings"
)

type token struct {
	kind      byte // 'i' name, 'n' number, 's' string, 'o' operator or delimiter, 'e' end
	text      string
	line, col int
}

// The longest match comes first.
var lexeme = regexp.MustCompile(`^(?:([A-Za-z_][A-Za-z0-9_]*)|([0-9]+)|"([^"\n]*)"|(-{4,}|={4,}|<=>|\|->|\\[A-Za-z]+|\\/|/\\|==|=>|<<|>>|<=|>=|<>|->|<-|\[\]|\.\.|[][(){},:.'~#=<>\\+*@!-]))`)

var (
	lineComment  = regexp.MustCompile(`\\\*[^\n]*`)
	blockComment = regexp.MustCompile(`(?s)\(\*.*?\*\)`)
	notNewline   = regexp.MustCompile(`[^\n]`)
)

// lex makes tokens of a text. Comments become spaces, because columns matter.
func lex(text string) ([]token, error) {
	blank := func(s string) string { return notNewline.ReplaceAllString(s, " ") }
	text = lineComment.ReplaceAllStringFunc(blockComment.ReplaceAllStringFunc(text, blank), blank)
	var out []token
	for n, line := range strings.Split(text, "\n") {
		for col := 0; col < len(line); {
			if line[col] == ' ' || line[col] == '\t' || line[col] == '\r' {
				col++
				continue
			}
			m := lexeme.FindStringSubmatch(line[col:])
			if m == nil {
				return nil, fmt.Errorf("line %d, column %d: %q is nothing that is known", n+1, col+1, line[col])
			}
			t := token{kind: 'o', text: m[4], line: n + 1, col: col + 1}
			switch {
			case m[1] != "":
				t.kind, t.text = 'i', m[1]
			case m[2] != "":
				t.kind, t.text = 'n', m[2]
			case m[4] == "":
				t.kind, t.text = 's', m[3]
			}
			out = append(out, t)
			col += len(m[0])
		}
	}
	return append(out, token{kind: 'e'}), nil
}
