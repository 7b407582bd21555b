package cli

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/bucketmesh/bucketmesh/pkg/control"
	"github.com/bucketmesh/bucketmesh/pkg/deadletter"
	"github.com/bucketmesh/bucketmesh/pkg/pipeline"
)

func (a *App) deadLetters() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "dead-letters",
		Short: "Events that were given up, and messages that could not be understood",
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.deadLettersList(), a.deadLettersReplay())
	return cmd
}

func (a *App) deadLettersList() *cobra.Command {
	var at place
	var out output
	var limit int
	cmd := &cobra.Command{
		Use:   "list --data DIR",
		Short: "List dead letters, oldest first",
		Args:  noArgs,
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := checkLimit(limit); err != nil {
			return err
		}
		return at.withAPI(cmd.Context(), a, pipeline.Inspect, func(api control.API) error {
			letters, err := api.DeadLetters(cmd.Context(), limit)
			if err != nil {
				return err //nolint:wrapcheck // says what could not be read
			}
			if letters == nil {
				letters = []deadletter.Letter{} // JSON: a list
			}
			return out.print(a.Out, letters, func(w io.Writer) {
				row(w, "ID", "GIVEN UP", "TRIGGER", "TRIES", "WHAT", "WHY")
				for _, l := range letters {
					row(w, l.ID, when(l.Time), l.Trigger, number(l.Attempts), subjectOf(l), short(l.Reason, 120))
				}
			})
		})
	}
	at.flags(cmd)
	out.flag(cmd)
	cmd.Flags().IntVar(&limit, "limit", 100, limitUsage)
	return cmd
}

func subjectOf(l deadletter.Letter) string {
	if l.Event == nil {
		return fmt.Sprintf("a message of %d bytes", max(len(l.Raw), l.CutFrom))
	}
	return l.Event.Type() + " " + l.Event.Subject()
}

func (a *App) deadLettersReplay() *cobra.Command {
	var at place
	var all bool
	cmd := &cobra.Command{
		Use:   "replay --data DIR (ID... | --all)",
		Short: "Give dead letters back to the trigger that gave them up",
		Long: "Gives dead letters back to the trigger that gave them up. They are handled by the process that works on the data directory,\n" +
			"or by the next one. Messages that could not be understood can't be replayed; --all leaves them.",
	}
	cmd.RunE = func(cmd *cobra.Command, ids []string) error {
		if all == (len(ids) > 0) {
			return usageError{errors.New("name the ids of dead letters, or use --all")}
		}
		return at.withAPI(cmd.Context(), a, pipeline.Inspect, func(api control.API) error {
			n, err := api.Replay(cmd.Context(), ids...)
			fmt.Fprintf(a.Out, "%d replayed\n", n)
			return err //nolint:wrapcheck // says which
		})
	}
	at.flags(cmd)
	cmd.Flags().BoolVar(&all, "all", false, "every dead letter that can be replayed")
	return cmd
}
