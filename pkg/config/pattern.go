package config

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/bmatcuk/doublestar/v4"
)

const (
	everything = "**"
	// maxPattern bounds one pattern, in bytes: a key has at most 1,024.
	maxPattern  = 1024
	maxPatterns = 256
)

// pattern is a key pattern that is ready to match: a doublestar pattern, where ** also works inside of a name.
type pattern struct {
	text   string // of doublestar
	all    bool   // matches every key
	prefix string // "tmp/" of tmp/**, which needs no matching; "" if the pattern is not of that form
}

// compilePattern checks a pattern and makes it ready.
func compilePattern(s string) (pattern, error) {
	switch {
	case s == "":
		return pattern{}, fmt.Errorf("is empty")
	case len(s) > maxPattern:
		return pattern{}, fmt.Errorf("is longer than %d bytes", maxPattern)
	case !utf8.ValidString(s):
		return pattern{}, fmt.Errorf("is not valid UTF-8")
	}
	text := spread(s)
	if !doublestar.ValidatePattern(text) {
		return pattern{}, fmt.Errorf("is not a valid pattern")
	}
	p := pattern{text: text, all: s == everything}
	if dir, ok := strings.CutSuffix(s, "/**"); ok && dir != "" && !strings.ContainsAny(dir, `*?[]{}\`) {
		p.prefix = dir + "/"
	}
	return p, nil
}

func (p pattern) match(key string) bool {
	switch {
	case p.all:
		return true
	case p.prefix != "":
		return strings.HasPrefix(key, p.prefix) || key == p.prefix[:len(p.prefix)-1]
	}
	return doublestar.MatchUnvalidated(p.text, key)
}

// spread makes ** cross "/" wherever it stands. doublestar gives it that meaning only if it is a whole path element and
// otherwise takes it for *, so that config/**.json would quietly leave out config/eu/app.json.
func spread(s string) string {
	const crossing = "{*,*/**/*}"
	var b strings.Builder
	inClass := false
	for i := 0; i < len(s); {
		switch c := s[i]; {
		case c == '\\' && i+1 < len(s):
			b.WriteString(s[i : i+2])
			i += 2
			continue
		case inClass:
			inClass = c != ']'
		case c == '[':
			inClass = true
		case c == '*':
			end := i
			for end < len(s) && s[end] == '*' {
				end++
			}
			alone := (i == 0 || s[i-1] == '/') && (end == len(s) || s[end] == '/')
			switch {
			case end-i == 1:
				b.WriteByte('*')
			case alone:
				b.WriteString(everything)
			default:
				b.WriteString(crossing)
			}
			i = end
			continue
		}
		b.WriteByte(s[i])
		i++
	}
	return b.String()
}
