package reconcile_test

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const trapList = "testdata/traps.txt"

// trapDocs are the documents that name the traps, by the letter of their numbers.
var trapDocs = map[string]string{"R": "docs/algorithm.md", "T": "docs/algorithm.md", "E": "docs/notifications.md"}

var trapNumber = regexp.MustCompile(`^- \*\*([RTE])(\d+)\*\* (.*)$`)

// Each trap that the documents name has a test, and each in the list of tests is in the documents, by the same number and name.
func TestEveryTrapHasItsTest(t *testing.T) {
	documented := map[string]string{}
	for _, doc := range slices.Compact(slices.Sorted(maps.Values(trapDocs))) {
		maps.Copy(documented, trapsOfDocument(t, doc))
	}
	tests := map[string]map[string]bool{}
	listed := map[string]bool{}
	for line := range strings.Lines(readFile(t, trapList)) {
		if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		f := strings.Split(line, " | ")
		if len(f) != 4 {
			t.Errorf("%q: want number | trap | package | test", line)
			continue
		}
		number, name, folder, test := f[0], f[1], f[2], f[3]
		listed[number] = true
		if documented[number] != name {
			t.Errorf("%s is %q in the list of tests and %q in the documents", number, name, documented[number])
		}
		if tests[folder] == nil {
			tests[folder] = testsOf(t, folder)
		}
		if !tests[folder][test] {
			t.Errorf("%s %s: there is no test %s in %s", number, name, test, folder)
		}
	}
	for number, name := range documented {
		if !listed[number] {
			t.Errorf("%s %s: no test in %s", number, name, trapList)
		}
	}
}

// trapsOfDocument are the names of a document's traps by their numbers, which are 1, 2, 3 and so on for each letter. A name ends
// with the first sentence of its item.
func trapsOfDocument(t *testing.T, doc string) map[string]string {
	t.Helper()
	traps, last := map[string]string{}, map[string]int{}
	for line := range strings.Lines(readFile(t, filepath.Join("..", "..", doc))) {
		m := trapNumber.FindStringSubmatch(strings.TrimSpace(line))
		if m == nil {
			continue
		}
		if trapDocs[m[1]] != doc {
			t.Errorf("%s%s is in %s", m[1], m[2], doc)
		}
		if last[m[1]]++; strconv.Itoa(last[m[1]]) != m[2] {
			t.Errorf("%s: %s%s comes after %s%d", doc, m[1], m[2], m[1], last[m[1]]-1)
		}
		name, _, _ := strings.Cut(m[3], ". ")
		traps[m[1]+m[2]] = strings.TrimSuffix(name, ".")
	}
	if len(traps) == 0 {
		t.Errorf("%s names no traps", doc)
	}
	return traps
}

// testsOf are the names of the tests of a package; a part of a test that is named in its text counts as TestX/Part.
func testsOf(t *testing.T, folder string) map[string]bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", "..", folder, "*_test.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("tests of %s: %v, %v", folder, files, err)
	}
	test := regexp.MustCompile(`(?m)^func (Test\w+)\(t \*testing\.T\)`)
	part := regexp.MustCompile(`t\.Run\("(\w+)"`)
	names := map[string]bool{}
	var parts []string
	for _, f := range files {
		text := readFile(t, f)
		for _, m := range test.FindAllStringSubmatch(text, -1) {
			names[m[1]] = true
		}
		for _, m := range part.FindAllStringSubmatch(text, -1) {
			parts = append(parts, m[1])
		}
	}
	for _, name := range slices.Collect(maps.Keys(names)) {
		for _, p := range parts {
			names[name+"/"+p] = true
		}
	}
	return names
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
