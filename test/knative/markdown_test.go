package knative

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Each fleet has a place of its own in the document, which a new run takes.
func TestResultsAreKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "results.md")
	run := func(seed uint64, ok bool) *report {
		r := Result{Scenario: "first", Proves: "a put", OK: ok, Seconds: 1, Error: "one | two\nthree"}
		r.fact("seen", seed)
		return &report{Seed: seed, OK: ok, Results: []Result{r}}
	}
	for _, step := range []struct {
		fleet string
		run   *report
	}{{"minios", run(1, true)}, {"clouds", run(2, false)}, {"minios", run(3, true)}} {
		if err := step.run.keep(path, step.fleet); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	got := string(text)
	for _, want := range []string{
		"# What was seen on the cluster\n", "\n## minios\n", "\n## clouds\n",
		"| first | a put | ok | 1.0 | seen 3 |", `| first | a put | **failed**: one \| two | 1.0 | seen 2 |`,
	} {
		if strings.Count(got, want) != 1 {
			t.Errorf("%q is there %d times:\n%s", want, strings.Count(got, want), got)
		}
	}
	if strings.Contains(got, "seen 1") || strings.Index(got, "## minios") > strings.Index(got, "## clouds") {
		t.Errorf("the old run is there, or the order changed:\n%s", got)
	}
}
