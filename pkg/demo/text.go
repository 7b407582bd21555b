package demo

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/bucketmesh/bucketmesh/pkg/object"
)

// bytesText is a number of bytes for a person.
func bytesText(n int64) string {
	units := []string{"B", "KiB", "MiB", "GiB"}
	f := float64(n)
	for f >= 1024 && len(units) > 1 {
		f, units = f/1024, units[1:]
	}
	return strings.TrimSuffix(fmt.Sprintf("%.1f", f), ".0") + " " + units[0]
}

// kinds in the order in which they are told.
var kinds = []Kind{Create, Overwrite, Edit, Delete, Large, Clash}

// Text writes the summary for a person.
func (s *Summary) Text(out io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "\nWhat was written where (%d changes, all acknowledged)\n\n", s.Changes)
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(t, "  \t \t")
	for _, k := range kinds {
		fmt.Fprintf(t, "%s\t", short[k])
	}
	fmt.Fprint(t, "objects now\tbytes\t\n")
	for _, r := range s.Replicas {
		fmt.Fprintf(t, "  %s\t%s\t", r.Name, r.Provider)
		for _, k := range kinds {
			fmt.Fprintf(t, "%d\t", r.Written[k])
		}
		fmt.Fprintf(t, "%d\t%s\t\n", r.Objects, bytesText(r.Bytes))
	}
	_ = t.Flush() // into memory
	b.WriteString("\n")
	for _, r := range s.Replicas {
		fmt.Fprintf(&b, "  for %s at %s stands %s, bucket %s\n", r.Provider, r.Name, r.Server, r.Bucket)
	}
	for _, note := range s.Notes {
		fmt.Fprintf(&b, "  %s\n", note)
	}

	p := s.Propagation
	fmt.Fprintf(&b, "\nHow long until it was everywhere (%d changes measured, from the writer's answer to the last replica)\n\n", p.Measured)
	fmt.Fprintf(&b, "  half of them within %.1f ms, 99%% within %.1f ms, all within %.1f ms\n", p.P50Millis, p.P99Millis, p.MaxMillis)

	b.WriteString("\nWritten in two regions at once\n\n")
	if len(s.ConflictsFound) == 0 {
		b.WriteString("  no conflict was found\n")
	}
	for _, c := range s.ConflictsFound {
		c.text(&b)
	}

	b.WriteString("\nRequests\n\n")
	c := s.Small
	if c.Changes > 0 {
		fmt.Fprintf(&b, "  %d new small objects: %s\n", c.Changes, perChange(c.Requests, c.Changes))
		fmt.Fprintf(&b, "  the ideal:%s %s\n", strings.Repeat(" ", len(fmt.Sprintf("%d new small objects", c.Changes))-len("the ideal")), perChange(c.Ideal, c.Changes))
	}
	r := s.Requests
	fmt.Fprintf(&b, "  all %d changes: %d GET, %d PUT (of these %d for parts), %d HEAD, %d LIST, %d DELETE\n", s.Changes, r.Get, r.Put, r.Multipart, r.Head, r.List, r.Delete)

	b.WriteString("\nChecked by listing and reading every object at every replica with the providers' own clients\n\n")
	fmt.Fprintf(&b, "  %s all replicas are equal in keys, bytes, content types and metadata\n", mark(s.Converged))
	fmt.Fprintf(&b, "  %s nothing was lost: each acknowledged content is current, knowingly overwritten, or kept as a conflict copy\n", mark(s.Lost == 0))
	fmt.Fprintf(&b, "  %s a conflict was found, resolved and its loser kept\n", mark(s.Conflicts > 0))
	for _, line := range append(append([]string{}, s.Differences...), s.LostContents...) {
		fmt.Fprintf(&b, "      %s\n", line)
	}
	fmt.Fprintf(&b, "\n%s in %.1f s\n", map[bool]string{true: "Everything is as promised,", false: "NOT as promised,"}[s.OK()], float64(s.DurationMillis)/1000)
	if _, err := io.WriteString(out, b.String()); err != nil {
		return fmt.Errorf("print summary: %w", err)
	}
	return nil
}

var short = map[Kind]string{Create: "new", Overwrite: "overwritten", Edit: "metadata", Delete: "deleted", Large: "large", Clash: "in conflict"}

func mark(ok bool) string {
	if ok {
		return "yes "
	}
	return "NO  "
}

func (c ConflictSummary) text(b *strings.Builder) {
	fmt.Fprintf(b, "  %s\n", c.Key)
	for _, w := range c.Writes {
		what := "won, and is the current content everywhere"
		if w.Copy != "" {
			what = "lost, and is kept everywhere as " + w.Copy
		}
		fmt.Fprintf(b, "    %-5s %4d B  sha256 %.12s  %s\n", w.Site, w.Size, w.SHA256, what)
	}
	fmt.Fprintf(b, "    why: policy %s, %s\n", c.Policy, c.Reason)
	fmt.Fprintf(b, "    resolved %.1f ms after it was found; conflict %s\n", c.ResolvedMillis, c.ID)
}

func perChange(r object.Snapshot, n int) string {
	per := func(k int64) string {
		return strings.TrimSuffix(strings.TrimRight(fmt.Sprintf("%.3f", float64(k)/float64(n)), "0"), ".")
	}
	return fmt.Sprintf("%s GET, %s PUT, %s HEAD, %s LIST, %s DELETE per change", per(r.Get), per(r.Put), per(r.Head), per(r.List), per(r.Delete))
}
