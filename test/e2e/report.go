package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Summary of a run.
type Summary struct {
	Seed           uint64          `json:"seed"`
	State          string          `json:"state"`
	NoEvents       bool            `json:"noEvents"`
	Kills          int             `json:"kills"`
	Attempts       int             `json:"attempts"`
	Acknowledged   map[string]int  `json:"acknowledged"` // by kind
	Refused        int             `json:"refused"`      // conditions that did not hold
	Unknown        int             `json:"unknown"`
	Current        int             `json:"current"`
	Overwritten    int             `json:"overwritten"`
	Kept           int             `json:"kept"`
	Unguarded      int             `json:"unguardedEdits"` // edits of metadata alone that a bucket without versions could not guard
	Lost           int             `json:"lost"`
	Evidence       []string        `json:"evidence,omitempty"` // of each lost content
	Objects        int             `json:"objects"`
	Copies         int             `json:"conflictCopies"`
	ConvergedAfter float64         `json:"convergedAfterSeconds"` // the last write
	Dropped        int64           `json:"notificationsDropped,omitempty"`
	Grid           *gridCounts     `json:"eventGrid,omitempty"`
	Faults         []string        `json:"faults,omitempty"`
	Asserted       []string        `json:"asserted,omitempty"`
	Seconds        float64         `json:"seconds"`
	Requests       []requests      `json:"requests,omitempty"` // since the last start of bucketmesh
	Told           []changes       `json:"told"`
	Propagation    delays          `json:"propagation"`
	Status         json.RawMessage `json:"status,omitempty"` // bucketmesh's own word: requests, state, events
}

func (m *Summary) fill(s *Stage, e *evidence, verdicts []verdict, faults []string) {
	counts := s.ledger.counts()
	m.Attempts, m.Refused, m.Unknown = len(e.writes), counts[refused], counts[unknown]
	m.Acknowledged, m.Objects, m.Faults = map[string]int{}, len(e.current), append(m.Faults, faults...)
	for _, w := range e.writes {
		if w.outcome == acked {
			m.Acknowledged[string(w.kind)]++
		}
	}
	for _, copies := range e.kept {
		m.Copies += len(copies)
	}
	var lostKeys []string
	for _, v := range verdicts {
		switch v.fate {
		case isCurrent:
			m.Current++
		case overwritten:
			m.Overwritten++
		case isKept:
			m.Kept++
		case unguarded:
			m.Unguarded++
		case lost:
			m.Lost++
			m.Evidence = append(m.Evidence, fmt.Sprintf("LOST: operation %d, %s of %q at %s", v.write.op, v.write.kind, v.write.key, v.write.replica))
			if !slices.Contains(lostKeys, v.write.key) {
				lostKeys = append(lostKeys, v.write.key)
				m.Evidence = append(m.Evidence, explain(e, v.write.key))
			}
		}
	}
}

// report prints the summary. Anything lost or at fault is an error.
func (m *Summary) report(out io.Writer, format string) error {
	if format == "json" {
		enc := json.NewEncoder(out)
		enc.SetIndent("", "  ")
		if err := enc.Encode(m); err != nil {
			return fmt.Errorf("print summary: %w", err)
		}
	} else {
		m.print(out)
	}
	if m.Lost > 0 || len(m.Faults) > 0 {
		return fmt.Errorf("%d lost, %d faults (seed %d)", m.Lost, len(m.Faults), m.Seed)
	}
	return nil
}

func (m *Summary) print(out io.Writer) {
	for _, e := range m.Evidence {
		fmt.Fprintln(out, e)
	}
	for _, f := range m.Faults {
		fmt.Fprintln(out, "FAULT:", f)
	}
	for _, a := range m.Asserted {
		fmt.Fprintln(out, "asserted:", a)
	}
	total := 0
	kinds := make([]string, 0, len(m.Acknowledged))
	for k, n := range m.Acknowledged {
		total += n
		kinds = append(kinds, fmt.Sprintf("%s %d", k, n))
	}
	slices.Sort(kinds)
	fmt.Fprintf(out, "acknowledged %d (%s), refused by a condition %d, unknown %d\n", total, strings.Join(kinds, ", "), m.Refused, m.Unknown)
	fmt.Fprintf(out, "contents: current %d, overwritten by a user who followed %d, kept as conflict copy %d, LOST %d\n", m.Current, m.Overwritten, m.Kept, m.Lost)
	fmt.Fprintf(out, "edits of metadata alone that raced with bucketmesh at versitygw, where neither an ETag nor a version guards them: %d\n", m.Unguarded)
	fmt.Fprintf(out, "replicas equal in keys, bytes, content types and metadata: %d objects and %d conflict copies, %.1f s after the last write\n",
		m.Objects, m.Copies, m.ConvergedAfter)
	for _, t := range m.Told {
		fmt.Fprintf(out, "events of %s: %d\n", t.Replica, t.Events)
	}
	if g := m.Grid; g != nil {
		fmt.Fprintf(out, "events of the stand-in for Event Grid: delivered %d, %d of them once more, after %d failed deliveries; given up %d\n",
			g.Delivered, g.Duplicated, g.Retried, g.Lost)
	}
	for _, r := range m.Requests {
		fmt.Fprintf(out, "requests of bucketmesh to %s since its last start: get %d, put %d, head %d, list %d, delete %d, multipart %d\n", r.Replica,
			r.Counts["get"], r.Counts["put"], r.Counts["head"], r.Counts["list"], r.Counts["delete"], r.Counts["multipart"])
	}
	fmt.Fprintf(out, "user's write -> acknowledged copy, %d copies: p50 %.0f ms, p99 %.0f ms, max %.0f ms\n",
		m.Propagation.Copies, m.Propagation.P50, m.Propagation.P99, m.Propagation.Max)
	fmt.Fprintf(out, "seed=%d state=%s kills=%d lost=%d faults=%d seconds=%.0f\n", m.Seed, m.State, m.Kills, m.Lost, len(m.Faults), m.Seconds)
}
