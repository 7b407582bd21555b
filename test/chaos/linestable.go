package main

import (
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/bucketmesh/bucketmesh/test/e2e"
)

// lineRow is what happened at one line.
type lineRow struct {
	Line    string  `json:"line"`
	Kills   int     `json:"kills"`   // proved to have been there
	Seconds float64 `json:"seconds"` // from the start of the process to its death, all kills together
}

// linesTable is the result of a run of lines.
type linesTable struct {
	Seed         uint64    `json:"seed"`
	Lines        []lineRow `json:"lines"`
	Kills        int       `json:"kills"`
	Episodes     int       `json:"episodes"` // that were judged
	Acknowledged int       `json:"acknowledged"`
	Current      int       `json:"current"`
	Overwritten  int       `json:"overwritten"`
	Kept         int       `json:"kept"`
	Lost         int       `json:"lost"`
	Copies       int       `json:"conflictCopies"`
	QuietMax     float64   `json:"quietSecondsMax"` // from the start of the last process until the replicas were equal and judged
	Seconds      float64   `json:"seconds"`
	Faults       []string  `json:"faults,omitempty"`
}

func (t *linesTable) begin(seed uint64, lines []string) {
	t.Seed = seed
	for _, line := range lines {
		t.Lines = append(t.Lines, lineRow{Line: line})
	}
}

func (t *linesTable) killed(line string, took time.Duration) {
	for i := range t.Lines {
		if t.Lines[i].Line == line {
			t.Lines[i].Kills++
			t.Lines[i].Seconds += took.Seconds()
		}
	}
	t.Kills++
}

func (t *linesTable) judged(sum *e2e.Summary, took time.Duration) {
	t.Episodes++
	for _, n := range sum.Acknowledged {
		t.Acknowledged += n
	}
	t.Current, t.Overwritten, t.Kept, t.Lost = t.Current+sum.Current, t.Overwritten+sum.Overwritten, t.Kept+sum.Kept, t.Lost+sum.Lost
	t.Copies += sum.Copies
	t.QuietMax = max(t.QuietMax, took.Seconds())
}

func (t *linesTable) print(out io.Writer, format string) error {
	if format == "json" {
		enc := json.NewEncoder(out)
		enc.SetIndent("", "  ")
		return enc.Encode(t)
	}
	for _, f := range t.Faults {
		fmt.Fprintln(out, f)
	}
	fmt.Fprintf(out, "%-12s %6s %6s %8s\n", "line", "kills", "lost", "seconds")
	for _, l := range t.Lines {
		fmt.Fprintf(out, "%-12s %6d %6d %8.1f\n", l.Line, l.Kills, t.Lost, l.Seconds)
	}
	fmt.Fprintf(out, "acknowledged writes %d; contents: current %d, overwritten by a user who followed %d, kept as conflict copy %d, LOST %d\n",
		t.Acknowledged, t.Current, t.Overwritten, t.Kept, t.Lost)
	fmt.Fprintf(out, "seed=%d kills=%d episodes=%d lost=%d quiet_max=%.1f seconds=%.0f\n", t.Seed, t.Kills, t.Episodes, t.Lost, t.QuietMax, t.Seconds)
	return nil
}
