package knative

import (
	"fmt"
	"os"
	"strings"
	"time"
)

// keep writes the results of a fleet into a document, in the place of what it said of that fleet before.
func (r *report) keep(path, fleet string) error {
	const title = "# What was seen on the cluster\n\n" +
		"Written by `hack/e2e.sh knative` itself: the last run of each scenario. Times are of a machine that had other work, too, where it had.\n"
	old, err := os.ReadFile(path) //nolint:gosec // named by the caller
	if err != nil && !os.IsNotExist(err) {
		return fmt.Errorf("read results: %w", err)
	}
	_, rest, _ := strings.Cut(string(old), "\n## ")
	var b strings.Builder
	b.WriteString(title)
	written := false
	section := func() {
		written = true
		fmt.Fprintf(&b, "\n## %s\n\n%s", fleet, r.markdown())
	}
	for part := range strings.SplitSeq(rest, "\n## ") {
		name, text, ok := strings.Cut(part, "\n")
		switch {
		case ok && name == fleet:
			section()
		case ok:
			fmt.Fprintf(&b, "\n## %s\n%s", name, strings.TrimRight(text, "\n")+"\n")
		}
	}
	if !written {
		section()
	}
	if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil { //nolint:gosec // a document
		return fmt.Errorf("write results: %w", err)
	}
	return nil
}

// markdown is a table of the results.
func (r *report) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, seed %d, %.0f s.\n\n| scenario | proves | result | seconds | seen |\n|---|---|---|---|---|\n", time.Now().UTC().Format(time.DateOnly), r.Seed, r.Seconds)
	for _, s := range r.Results {
		result := "ok"
		if !s.OK {
			reason, _, _ := strings.Cut(s.Error, "\n") // the report has all of it
			result = "**failed**: " + strings.ReplaceAll(reason, "|", "\\|")
		}
		var facts []string
		for _, f := range s.Facts {
			facts = append(facts, fmt.Sprintf("%s %v", f.Name, f.Value))
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %.1f | %s |\n", s.Scenario, s.Proves, result, s.Seconds, strings.ReplaceAll(strings.Join(facts, ", "), "|", "\\|"))
	}
	return b.String()
}
