package conformance_test

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the table into docs/conformance.md")

const (
	document = "../../docs/conformance.md"
	begin    = "<!-- table: made by go test ./test/conformance -run TestConformance -update -->\n"
	end      = "<!-- end of table -->\n"
)

// table is what was found: verdicts by attribute, source and destination.
type table struct {
	attributes []attribute
	found      map[string]map[string]map[string]verdict
}

func newTable(all []attribute) *table {
	return &table{attributes: all, found: map[string]map[string]map[string]verdict{}}
}

func (tb *table) set(from, id string, to map[string]verdict) {
	if tb.found[id] == nil {
		tb.found[id] = map[string]map[string]verdict{}
	}
	tb.found[id][from] = to
}

// text is the table in Markdown.
func (tb *table) text() string {
	var b strings.Builder
	names := map[string]string{s3Cloud: "S3", gcsCloud: "GCS", azureCloud: "Azure"}
	section := ""
	for _, a := range tb.attributes {
		if a.section != section {
			section = a.section
			fmt.Fprintf(&b, "\n### %s\n\n| |", strings.ToUpper(section[:1])+section[1:])
			for _, from := range cloudNames() {
				for _, to := range cloudNames() {
					fmt.Fprintf(&b, " %s → %s |", names[from], names[to])
				}
			}
			b.WriteString(" |\n|---|" + strings.Repeat("---|", 10) + "\n")
		}
		fmt.Fprintf(&b, "| %s |", strings.ReplaceAll(a.name, "|", `\|`))
		for _, from := range cloudNames() {
			for _, to := range cloudNames() {
				v := nothing
				if got := tb.found[a.section+"/"+a.name][from][to]; got != "" {
					v = got
				}
				fmt.Fprintf(&b, " %s |", v)
			}
		}
		fmt.Fprintf(&b, " %s |\n", notes(a))
	}
	return b.String() + "\n"
}

// notes are why it is refused, and what else is to be said.
func notes(a attribute) string {
	var all []string
	for _, to := range append(cloudNames(), "*") {
		if why := a.refused[to]; why != "" && !slices.Contains(all, "“"+why+"”") {
			all = append(all, "“"+why+"”")
		}
	}
	if a.note != "" {
		all = append(all, a.note)
	}
	return strings.ReplaceAll(strings.Join(all, "; "), "|", `\|`)
}

// compare holds the document to the table, or makes it so.
func (tb *table) compare(t *testing.T) {
	t.Helper()
	text, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no place for the table", document)
	}
	want := before + begin + tb.text() + end + after
	switch {
	case want == string(text):
	case *update:
		if err := os.WriteFile(document, []byte(want), 0o600); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("the table in %s is out of date: run this test with -update, and read the difference", document)
	}
}
