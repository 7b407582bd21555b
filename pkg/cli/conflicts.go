package cli

import (
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/spf13/cobra"

	"github.com/bucketmesh/bucketmesh/pkg/audit"
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
	cmd.AddCommand(a.conflictsList(), a.conflictsShow())
	return cmd
}

func (a *App) conflictsList() *cobra.Command {
	var at place
	var out output
	var limit int
	var open bool
	cmd := &cobra.Command{
		Use:   "list --data DIR",
		Short: "List conflicts, newest first",
		Args:  noArgs,
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
				filter = "detected"
			}
			found, err := s.Conflicts(cmd.Context(), group, filter, limit)
			if err != nil {
				return fmt.Errorf("list conflicts: %w", err)
			}
			if found == nil {
				found = []state.Conflict{} // JSON: a list
			}
			return out.print(a.Out, found, func(w io.Writer) {
				row(w, "ID", "DETECTED", "STATE", "POLICY", "WINNER AT", "LOSERS", "KEY")
				for _, c := range found {
					row(w, c.ID, when(c.Detected), c.State, c.Policy, c.Winner.Origin, number(len(c.Losers)), visible(c.Key))
				}
			})
		})
	}
	at.flags(cmd)
	out.flag(cmd)
	cmd.Flags().IntVar(&limit, "limit", 100, limitUsage)
	cmd.Flags().BoolVar(&open, "unresolved", false, "only those that are not resolved yet")
	return cmd
}

func (a *App) conflictsShow() *cobra.Command {
	var at place
	var out output
	cmd := &cobra.Command{
		Use:   "show --data DIR ID",
		Short: "Show one conflict: every write, who won and why, where the others are kept",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usageError{errors.New("name the id of one conflict, as conflicts list shows it")}
			}
			return nil
		},
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return at.withState(cmd.Context(), a, func(group string, s state.Store, _ audit.Log) error {
			c, err := s.Conflict(cmd.Context(), group, args[0])
			if err != nil {
				return fmt.Errorf("show conflict: %w", err)
			}
			return out.print(a.Out, c, func(w io.Writer) { conflictTable(w, c) })
		})
	}
	at.flags(cmd)
	out.flag(cmd)
	return cmd
}

func conflictTable(w io.Writer, c state.Conflict) {
	fmt.Fprintf(w, "Conflict %s on the key %s: %s, policy %s\n", c.ID, visible(c.Key), c.State, c.Policy)
	if c.Reason != "" {
		fmt.Fprintf(w, "%s\n", c.Reason)
	}
	fmt.Fprintln(w)
	row(w, "ROLE", "VERSION", "WRITTEN AT", "WHEN", "WHAT", "KEPT AS")
	if c.State == "resolved" {
		row(w, "winner", string(c.Winner.ID), c.Winner.Origin, stamp(c.Winner), what(c.Winner), visible(c.Key))
	}
	for _, l := range c.Losers {
		role := "loser"
		if c.State != "resolved" {
			role = "open"
		}
		row(w, role, string(l.Version.ID), l.Version.Origin, stamp(l.Version), what(l.Version), visible(l.Copy))
	}
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
	return number(v.Content.Size) + " bytes"
}
