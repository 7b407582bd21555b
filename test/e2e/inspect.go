package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// auditPage is how many entries of the audit log are asked for at once.
const auditPage = 400

// requests that one replica got.
type requests struct {
	Replica string         `json:"replica"`
	Counts  map[string]int `json:"counts"`
}

// changes that one replica told of, once each, those that were news and those that were not.
type changes struct {
	Replica string `json:"replica"`
	Events  int    `json:"events"`
}

// delays from a user's write to the acknowledged copy, by bucketmesh's own audit log.
type delays struct {
	Copies int     `json:"copies"`
	P50    float64 `json:"p50Millis"`
	P99    float64 `json:"p99Millis"`
	Max    float64 `json:"maxMillis"`
}

// inspect asks bucketmesh itself: dead letters are a fault, the rest is for the summary.
func (s *Stage) inspect(ctx context.Context, m *Summary) {
	if err := errors.Join(s.askStatus(ctx, m), s.askDeadLetters(ctx, m), s.askAudit(ctx, m)); err != nil {
		m.Faults = append(m.Faults, err.Error())
	}
}

func (s *Stage) ask(ctx context.Context, into any, args ...string) error {
	out, err := s.Program.run(ctx, time.Minute, append(args, "--output", "json")...)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(out, into); err != nil {
		return fmt.Errorf("read the answer of bucketmesh %s: %w", args[0], err)
	}
	return nil
}

func (s *Stage) askStatus(ctx context.Context, m *Summary) error {
	if err := s.ask(ctx, &m.Status, "status"); err != nil {
		return err
	}
	var st struct {
		Replicas []struct {
			Name     string         `json:"name"`
			Requests map[string]int `json:"requests"`
		} `json:"replicas"`
	}
	if err := json.Unmarshal(m.Status, &st); err != nil {
		return fmt.Errorf("read status: %w", err)
	}
	for _, r := range st.Replicas {
		m.Requests = append(m.Requests, requests{r.Name, r.Requests})
	}
	return nil
}

func (s *Stage) askDeadLetters(ctx context.Context, m *Summary) error {
	var letters []json.RawMessage
	err := s.ask(ctx, &letters, "dead-letters", "list", "--limit", "100000")
	for _, l := range letters {
		m.Faults = append(m.Faults, "a dead letter: "+string(l))
	}
	return err
}

// askAudit reads how long copies took, and how many changes each replica told of: one that tells of none is a fault. Writes
// whose time a server tells in whole seconds are left out.
func (s *Stage) askAudit(ctx context.Context, m *Summary) error {
	var took []time.Duration
	told := map[string]int{}
	for after := int64(0); ; {
		var page []struct {
			Seq   int64  `json:"seq"`
			Type  string `json:"type"`
			Event struct {
				Source string                               `json:"source"`
				Data   struct{ Written, Applied time.Time } `json:"data"`
			} `json:"event"`
		}
		if err := s.ask(ctx, &page, "audit", "list", "--after", strconv.FormatInt(after, 10), "--limit", strconv.Itoa(auditPage)); err != nil {
			return err
		}
		for _, e := range page {
			after = e.Seq
			d := e.Event.Data
			if strings.Contains(e.Type, ".object.") {
				told[e.Event.Source]++
			}
			if strings.Contains(e.Type, ".sync.applied.") && d.Written.Nanosecond() != 0 {
				took = append(took, d.Applied.Sub(d.Written))
			}
		}
		if len(page) < auditPage {
			break
		}
	}
	for _, r := range s.replicas {
		m.Told = append(m.Told, changes{r.name, told[r.from]})
		if told[r.from] == 0 {
			m.Faults = append(m.Faults, fmt.Sprintf("no notification of %s arrived (source %s)", r.name, r.from))
		}
	}
	slices.Sort(took)
	if n := len(took); n > 0 {
		at := func(i int) float64 { return float64(took[min(i, n-1)].Microseconds()) / 1000 }
		m.Propagation = delays{Copies: n, P50: at(n / 2), P99: at(n * 99 / 100), Max: at(n - 1)}
	}
	return nil
}
