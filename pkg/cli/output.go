package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/spf13/cobra"
)

// output is the flag --output of commands that print a table.
type output struct{ format string }

func (o *output) flag(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&o.format, "output", "o", "table", "table or json")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"table", "json"}, cobra.ShellCompDirectiveNoFileComp))
	inner := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if o.format != "table" && o.format != "json" {
			return usageError{fmt.Errorf("the flag --output must be table or json, not %q", o.format)}
		}
		return inner(cmd, args)
	}
}

// print writes v as JSON, or has table write it for a person.
func (o *output) print(w io.Writer, v any, table func(w io.Writer)) error {
	if o.format == "json" {
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		enc.SetEscapeHTML(false)
		if err := enc.Encode(v); err != nil {
			return fmt.Errorf("print: %w", err)
		}
		return nil
	}
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	table(t)
	if err := t.Flush(); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	return nil
}

// limitUsage is what every flag --limit means; checkLimit refuses what it can't.
const limitUsage = "how many, 0 is all"

func checkLimit(n int) error {
	if n < 0 {
		return usageError{fmt.Errorf("the flag --limit must be 0 (all) or more, not %d", n)}
	}
	return nil
}

// row writes one line of a table. The last cell is not padded.
func row(w io.Writer, cells ...string) {
	for i := range cells {
		if cells[i] == "" {
			cells[i] = "-"
		}
	}
	fmt.Fprintln(w, strings.Join(cells, "\t"))
}

// visible is a key as a person can read it on a terminal: what would not show, or would disturb the table, is quoted.
func visible(s string) string {
	odd := strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) || r == '"' })
	if odd || s != strings.TrimSpace(s) {
		return strconv.Quote(s)
	}
	return s
}

// printable is a text as it can be shown on a terminal: what would steer it is written out.
func printable(s string) string {
	var b strings.Builder
	for _, r := range s {
		if unicode.IsPrint(r) {
			b.WriteRune(r)
		} else {
			b.WriteString(strings.Trim(strconv.QuoteRune(r), "'"))
		}
	}
	return b.String()
}

// when is a time for a person.
func when(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Local().Format("2006-01-02 15:04:05")
}

func number[T int | int64 | uint64](n T) string { return fmt.Sprint(n) }

// short is the first line of a text, cut.
func short(s string, limit int) string {
	s, _, _ = strings.Cut(s, "\n")
	if r := []rune(s); len(r) > limit {
		return string(r[:limit-1]) + "…"
	}
	return s
}
