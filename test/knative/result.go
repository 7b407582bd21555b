package knative

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
	"time"
)

// Result of a scenario.
type Result struct {
	Scenario string  `json:"scenario"`
	Proves   string  `json:"proves"`
	OK       bool    `json:"ok"`
	Seconds  float64 `json:"seconds"`
	Facts    []Fact  `json:"facts"`
	Error    string  `json:"error,omitempty"`
}

// Fact is something that a scenario counted or measured.
type Fact struct {
	Name  string `json:"name"`
	Value any    `json:"value"`
}

func (r *Result) fact(name string, value any) { r.Facts = append(r.Facts, Fact{name, value}) }

// took is a fact in milliseconds.
func (r *Result) took(name string, d time.Duration) { r.fact(name+"Millis", d.Milliseconds()) }

// report is the results of a run.
type report struct {
	Seed    uint64   `json:"seed"`
	OK      bool     `json:"ok"`
	Seconds float64  `json:"seconds"`
	Results []Result `json:"results"`
}

// print says what was found. That something was wrong is an error.
func (r *report) print(out io.Writer, format string) error {
	if format == "json" {
		enc := json.NewEncoder(out)
		enc.SetIndent("", "  ")
		if err := enc.Encode(r); err != nil {
			return fmt.Errorf("print results: %w", err)
		}
	} else {
		r.table(out)
	}
	failed := 0
	for _, s := range r.Results {
		if !s.OK {
			failed++
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d scenarios failed (seed %d)", failed, len(r.Results), r.Seed)
	}
	return nil
}

func (r *report) table(out io.Writer) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "\tSCENARIO\tSECONDS\tWHAT\tFACTS")
	for _, s := range r.Results {
		ok := "ok"
		if !s.OK {
			ok = "FAIL"
		}
		fmt.Fprintf(w, "%s\t%s\t%.1f\t%s\t", ok, s.Scenario, s.Seconds, s.Proves)
		for i, f := range s.Facts {
			if i > 0 {
				fmt.Fprint(w, ", ")
			}
			fmt.Fprintf(w, "%s=%v", f.Name, f.Value)
		}
		fmt.Fprintln(w)
	}
	_ = w.Flush() // of a terminal
	for _, s := range r.Results {
		if s.Error != "" {
			fmt.Fprintf(out, "%s: %s\n", s.Scenario, s.Error)
		}
	}
}
