package tla

import (
	"fmt"
	"strconv"
	"strings"
)

// ParseConfig reads a file of TLC's as far as Explore has use for it: constants (numbers, TRUE and FALSE, sets of strings), invariants
// and properties.
func ParseConfig(text string) (Question, error) {
	q := Question{Constants: map[string]any{}}
	section := ""
	for n, line := range strings.Split(text, "\n") {
		line, _, _ = strings.Cut(line, `\*`)
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		switch words[0] {
		case "SPECIFICATION", "CONSTANTS", "INVARIANTS", "PROPERTIES", "CHECK_DEADLOCK":
			section, words = words[0], words[1:]
		}
		switch section {
		case "INVARIANTS":
			q.Invariants = append(q.Invariants, words...)
		case "PROPERTIES":
			q.Steps = append(q.Steps, words...)
		case "CONSTANTS":
			name, text, ok := strings.Cut(strings.Join(words, " "), " = ")
			if !ok {
				if len(words) > 0 {
					return q, fmt.Errorf("line %d: want NAME = VALUE", n+1)
				}
				continue
			}
			if err := q.Set(name, text); err != nil {
				return q, fmt.Errorf("line %d: %w", n+1, err)
			}
		}
	}
	return q, nil
}

// Set gives a constant a value: a number, TRUE or FALSE, or a set of strings.
func (q *Question) Set(name, text string) error {
	switch {
	case text == "TRUE" || text == "FALSE":
		q.Constants[name] = text == "TRUE"
	case strings.HasPrefix(text, "{") && strings.HasSuffix(text, "}"):
		set := []string{}
		for s := range strings.SplitSeq(text[1:len(text)-1], ",") {
			if s = strings.Trim(strings.TrimSpace(s), `"`); s != "" {
				set = append(set, s)
			}
		}
		q.Constants[name] = set
	default:
		i, err := strconv.Atoi(text)
		if err != nil {
			return fmt.Errorf("the constant %s is %q: want a number, TRUE, FALSE or a set of strings", name, text)
		}
		q.Constants[name] = i
	}
	return nil
}
