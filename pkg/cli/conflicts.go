package cli

import (
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/spf13/cobra"

	"github.com/bucketmesh/bucketmesh/pkg/audit"
	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/state"
	"github.com/bucketmesh/bucketmesh/pkg/version"
)

func (a *App) conflicts() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "conflicts",
		Short: "Keys that were written in two places at once: who won, and where the others are kept",
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.conflictsList(), a.conflictsShow(), a.conflictsDiff(), a.conflictsResolve(), a.conflictsRestore(), a.conflictsTry())
	return cmd
}

func (a *App) conflictsList() *cobra.Command {
	var at place
	var out output
	var limit int
	var open bool
	cmd := &cobra.Command{
		Use:   "list " + stateUsage,
		Short: "List conflicts, newest first",
		Long: "Lists conflicts, newest first. The states: detected (nobody has looked at it yet), pending (a person or a webhook decides,\n" +
			"until the deadline; then the fallback does), merging (the merged content is being written), resolved, and superseded\n" +
			"(its versions changed before it was decided; if they still are in conflict, that is another one).",
		Args: noArgs,
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := checkLimit(limit); err != nil {
			return err
		}
		if limit == 0 {
			limit = math.MaxInt32 // a store takes 0 for its own default
		}
		return at.withState(cmd.Context(), a, func(group string, s state.Store, _ audit.Log) error {
			filter := ""
			if open {
				filter = state.ConflictOpen
			}
			found, err := s.Conflicts(cmd.Context(), group, filter, limit)
			if err != nil {
				return fmt.Errorf("list conflicts: %w", err)
			}
			if found == nil {
				found = []state.Conflict{} // JSON: a list
			}
			return out.print(a.Out, found, func(w io.Writer) {
				row(w, "ID", "DETECTED", "STATE", "DEADLINE", "POLICY", "WINNER AT", "VERSIONS", "KEY")
				for _, c := range found {
					row(w, c.ID, when(c.Detected), c.State, when(c.Deadline), c.Policy, winnerAt(&c), number(versions(&c)), visible(c.Key))
				}
			})
		})
	}
	at.flags(cmd)
	out.flag(cmd)
	cmd.Flags().IntVar(&limit, "limit", 100, limitUsage)
	cmd.Flags().BoolVar(&open, "unresolved", false, "only those that are not decided yet: detected, pending and merging")
	return cmd
}

// winnerAt is the replica that holds the winner. A merge is of none of them.
func winnerAt(c *state.Conflict) string {
	if len(c.Winner.Sources) > 0 {
		return "merged"
	}
	return c.WinnerAt
}

// versions are all that took part.
func versions(c *state.Conflict) int {
	if c.State == state.ConflictResolved && len(c.Winner.Sources) == 0 {
		return len(c.Losers) + 1
	}
	return len(c.Losers) // a merge is none of them
}

func (a *App) conflictsShow() *cobra.Command {
	var at place
	var out output
	cmd := &cobra.Command{
		Use:               "show " + stateUsage + " ID",
		Short:             "Show one conflict: every write, who won and why, where the others are kept",
		Args:              oneConflict,
		ValidArgsFunction: a.conflictIDs(&at, ""),
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return at.withState(cmd.Context(), a, func(group string, s state.Store, _ audit.Log) error {
			c, err := s.Conflict(cmd.Context(), group, args[0])
			if err != nil {
				if errkind.Is(err, errkind.NotFound) {
					return errkind.New(errkind.NotFound, "show conflict: the group %s has no conflict %q: `bucketmesh conflicts list` shows which it has", group, args[0])
				}
				return fmt.Errorf("show conflict: %w", err)
			}
			return out.print(a.Out, c, func(w io.Writer) { conflictTable(w, &c, at.data, time.Now()) })
		})
	}
	at.flags(cmd)
	out.flag(cmd)
	return cmd
}

// oneConflict wants the id of a conflict.
func oneConflict(_ *cobra.Command, args []string) error {
	if len(args) != 1 {
		return usageError{errors.New("name the id of one conflict, as conflicts list shows it")}
	}
	return nil
}

// conflictIDs completes ids of conflicts in a state, with their keys.
func (a *App) conflictIDs(at *place, filter string) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) (ids []cobra.Completion, _ cobra.ShellCompDirective) {
		if len(args) == 0 && at.data != "" {
			_ = at.withState(cmd.Context(), a, func(group string, s state.Store, _ audit.Log) error { // without a state nothing is offered
				found, err := s.Conflicts(cmd.Context(), group, filter, 100)
				for _, c := range found {
					ids = append(ids, cobra.CompletionWithDesc(c.ID, visible(c.Key)))
				}
				return err //nolint:wrapcheck // nobody sees it
			})
		}
		return ids, cobra.ShellCompDirectiveNoFileComp
	}
}

func conflictTable(w io.Writer, c *state.Conflict, dir string, now time.Time) {
	fmt.Fprintf(w, "Conflict %s on the key %s: %s, policy %s\n", c.ID, visible(c.Key), c.State, c.Policy)
	fmt.Fprintf(w, "Detected: %s\n", when(c.Detected))
	switch {
	case c.State == state.ConflictResolved:
		fmt.Fprintf(w, "Decided: %s: %s\n", when(c.Resolved), printable(c.Reason))
	case c.Reason != "":
		fmt.Fprintf(w, "%s\n", printable(c.Reason))
	}
	if !c.Deadline.IsZero() && c.Open() {
		fmt.Fprintf(w, "Deadline: %s (%s), then the fallback decides\n", when(c.Deadline), due(c.Deadline, now))
	}
	fmt.Fprintln(w)
	row(w, "ROLE", "VERSION", "WRITTEN AT", "WHEN", "WHAT", "DIGEST", "KEPT AS")
	if c.State == state.ConflictResolved || c.State == state.ConflictMerging {
		role := "winner"
		if len(c.Winner.Sources) > 0 {
			role = "merge"
		}
		versionRow(w, role, c.Winner, visible(c.Key))
	}
	for _, l := range c.Losers {
		switch {
		case c.State == state.ConflictResolved:
			versionRow(w, "loser", l.Version, visible(l.Copy))
		case l.Copy != "":
			versionRow(w, "open", l.Version, visible(l.Copy))
		case c.Open():
			versionRow(w, "open", l.Version, visible(c.Key)+" at "+l.Replica)
		default:
			versionRow(w, "open then", l.Version, "")
		}
	}
	fmt.Fprintln(w)
	switch {
	case c.Open():
		fmt.Fprintf(w, "See the contents: bucketmesh conflicts diff %s%s\n", c.ID, inDir(dir))
		fmt.Fprintf(w, "Decide it: bucketmesh conflicts resolve %s%s (--take REPLICA | --version V | --merged FILE)\n", c.ID, inDir(dir))
	case copies(c.Losers) > 0:
		fmt.Fprintln(w, bringBack(c, dir))
	case c.State == state.ConflictSuperseded:
		fmt.Fprintf(w, "What is open now: bucketmesh conflicts list%s --unresolved\n", inDir(dir))
	}
}

// copies are how many losers were kept.
func copies(losers []state.Loser) (n int) {
	for _, l := range losers {
		if l.Copy != "" {
			n++
		}
	}
	return n
}

// bringBack is how to undo a decision.
func bringBack(c *state.Conflict, dir string) string {
	cmd := fmt.Sprintf("bucketmesh conflicts restore %s%s", c.ID, inDir(dir))
	if copies(c.Losers) > 1 {
		cmd += " --version V"
	}
	return "Bring a loser back: " + cmd
}

// inDir is the flag --data for a command that a person is told to run.
func inDir(dir string) string {
	if dir == "" {
		return ""
	}
	return " --data " + visible(dir)
}

func versionRow(w io.Writer, role string, v version.Version, kept string) {
	origin := v.Origin
	if len(v.Sources) > 0 {
		origin = "" // it was written by nobody, at no replica
	}
	row(w, role, string(v.ID), origin, stamp(v), what(v), digest(v), kept)
}

func stamp(v version.Version) string {
	if v.ProviderTime == 0 {
		return ""
	}
	return when(unixNano(v.ProviderTime))
}

func what(v version.Version) string {
	if v.Kind == version.Delete {
		return "delete"
	}
	if v.Content.Size == 1 {
		return "1 byte"
	}
	return number(v.Content.Size) + " bytes"
}

// digest is the beginning of what tells a content from others, enough to compare by eye. JSON has all of it.
func digest(v version.Version) string {
	for _, d := range [][2]string{{"sha256", v.Content.SHA256}, {"md5", v.Content.MD5}, {"etag", v.Content.ETag}} {
		if d[1] != "" && v.Kind == version.Put {
			return d[0] + " " + printable(d[1][:min(len(d[1]), 12)])
		}
	}
	return ""
}
