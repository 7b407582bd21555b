package cli

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/bucketmesh/bucketmesh/pkg/broker"
	"github.com/bucketmesh/bucketmesh/pkg/control"
	"github.com/bucketmesh/bucketmesh/pkg/pipeline"
)

func (a *App) status() *cobra.Command {
	var at place
	var out output
	cmd := &cobra.Command{
		Use:   "status " + stateUsage,
		Short: "Show how the group is doing: keys, what is left to do and why, conflicts, triggers, replicas, the books of events",
		Long: "Shows how the group is doing. It asks the process that works on the data directory, or reads the directory itself if\n" +
			"there is none. No bucket is asked: the health of a replica is what it answered to the requests that were needed anyway.\n\n" +
			"Each event about an object that came in is applied, superseded (it told nothing new), filtered (not about a key of the\n" +
			"group), in conflict, a dead letter, or in flight. If one is none of these, it was lost: status says so, and ends with 6.\n\n" +
			"Of services it shows what is in their database, without the data directory. Their broker can't be asked what is under way: an\n" +
			"event without an outcome counts as lost after an hour (`bucketmesh audit balance --under-way` takes another time).",
		Args: noArgs,
	}
	show := func(s pipeline.Status) error {
		if !s.Ledger.Holds {
			a.code = Broken
		}
		return out.print(a.Out, s, func(w io.Writer) { statusTables(w, s, time.Now()) })
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if at.data == "" {
			return at.withBooks(cmd.Context(), a, func(_ string, db *pipeline.State) error {
				g, err := at.group()
				if err != nil {
					return err
				}
				s, err := pipeline.ServicesStatus(cmd.Context(), g, db)
				if err != nil {
					return err //nolint:wrapcheck // says what could not be read
				}
				return show(s)
			})
		}
		return at.withAPI(cmd.Context(), a, pipeline.Inspect, func(api control.API) error {
			s, err := api.Status(cmd.Context())
			if err != nil {
				return err //nolint:wrapcheck // says what could not be read
			}
			return show(s)
		})
	}
	at.flags(cmd)
	out.flag(cmd)
	return cmd
}

func statusTables(w io.Writer, s pipeline.Status, now time.Time) {
	switch {
	case s.Services:
		fmt.Fprintf(w, "Group %s: this is what is in the database of its services.\n\n", s.Group)
	case s.Running:
		fmt.Fprintf(w, "Group %s is up since %s (process %d).\n\n", s.Group, when(s.Started), s.PID)
	default:
		fmt.Fprintf(w, "Group %s: nobody works on it. This is what is in the data directory.\n\n", s.Group)
	}
	if s.Brake.State != "armed" {
		brakeLine(w, s.Brake)
		fmt.Fprintln(w)
	}
	kept := number(s.Events.Events)
	if s.Services {
		kept = ""
	}
	row(w, "KEYS", "TO DO", "CONFLICTS", "UNRESOLVED", "OUTBOX", "EVENTS", "DEAD LETTERS")
	row(w, number(s.Keys), number(s.Dirty), number(s.Conflicts), number(s.OpenConflicts), number(s.Outbox), kept, number(s.Events.DeadLetters))
	fmt.Fprintln(w)
	row(w, "REPLICA", "MODE", "LEVEL", "HEALTH", "GET", "PUT", "HEAD", "LIST", "DELETE", "URL")
	for _, r := range s.Replicas {
		cells := []string{r.Name, string(r.Mode), r.Level, health(r, now)}
		if q := r.Requests; q != nil {
			cells = append(cells, number(q.Get), number(q.Put), number(q.Head), number(q.List), number(q.Delete))
		} else {
			cells = append(cells, "", "", "", "", "")
		}
		row(w, append(cells, r.URL)...)
	}
	fmt.Fprintln(w)
	if !s.Services {
		triggerTable(w, s.Events.Triggers)
	}
	books(w, s.Ledger)
	if len(s.DirtyKeys) == 0 {
		return
	}
	fmt.Fprintln(w)
	row(w, "TO DO", "TRIES", "NEXT LOOK", "WHY")
	for _, d := range s.DirtyKeys {
		row(w, visible(d.Key), number(d.Attempts), due(d.Due, now), short(d.Reason, 120))
	}
	if more := s.Dirty - int64(len(s.DirtyKeys)); more > 0 {
		fmt.Fprintf(w, "and %d more\n", more)
	}
}

func triggerTable(w io.Writer, ts []broker.TriggerStatus) {
	row(w, "TRIGGER", "WAITING", "AT WORK", "RETRIED", "DEAD LETTERS")
	for _, t := range ts {
		row(w, t.Name, number(t.Pending), number(t.InFlight), number(t.Retried), number(t.Dead))
	}
	fmt.Fprintln(w)
}

func health(r pipeline.ReplicaStatus, now time.Time) string {
	switch h := r.Health; {
	case h == nil:
		return ""
	case h.OK:
		return "ok"
	default:
		return fmt.Sprintf("failing for %s: %s", now.Sub(h.Since).Round(time.Second), short(h.Message, 80))
	}
}

func due(at, now time.Time) string {
	if !at.After(now) {
		return "now"
	}
	return "in " + at.Sub(now).Round(time.Second).String()
}
