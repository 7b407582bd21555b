package cli

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/bucketmesh/bucketmesh/pkg/deadletter"
)

func (a *App) deadLetters() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "dead-letters",
		Short: "Events that were given up, and messages that could not be understood",
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.deadLettersList(), a.deadLettersShow(), a.deadLettersReplay(), a.deadLettersDrop())
	return cmd
}

func (a *App) deadLettersList() *cobra.Command {
	var at office
	var out output
	var q deadletter.Query
	cmd := &cobra.Command{
		Use:   "list " + stateUsage,
		Short: "List dead letters, oldest first",
		Args:  noArgs,
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := checkLimit(q.Limit); err != nil {
			return err
		}
		return at.with(cmd.Context(), a, func(ls letters) error {
			found, err := ls.list(cmd.Context(), q)
			if err != nil {
				return err
			}
			if found == nil {
				found = []deadletter.Letter{} // JSON: a list
			}
			return out.print(a.Out, found, func(w io.Writer) {
				row(w, "ID", "GIVEN UP", "TRIGGER", "TRIES", "WHAT", "WHY")
				for _, l := range found {
					tries := ""
					if l.Attempts > 0 { // a Knative broker does not tell
						tries = number(l.Attempts)
					}
					row(w, l.ID, when(l.Time), l.Trigger, tries, printable(subjectOf(l)), printable(short(l.Reason, 120)))
				}
			})
		})
	}
	at.flags(cmd)
	out.flag(cmd)
	cmd.Flags().IntVar(&q.Limit, "limit", 100, limitUsage)
	cmd.Flags().BoolVar(&q.Replayed, "replayed", false, "of services: those too that were replayed in the last 30 days")
	return cmd
}

func subjectOf(l deadletter.Letter) string {
	if l.Event == nil {
		return fmt.Sprintf("a message of %d bytes", max(len(l.Raw), l.CutFrom))
	}
	return strings.TrimSpace(l.Event.Type() + " " + l.Event.Subject())
}

func (a *App) deadLettersShow() *cobra.Command {
	var at office
	var out output
	cmd := &cobra.Command{
		Use:   "show " + stateUsage + " ID",
		Short: "Show one dead letter with all that is known of it",
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) != 1 {
			return usageError{errors.New("name the id of a dead letter")}
		}
		return at.with(cmd.Context(), a, func(ls letters) error {
			l, err := ls.get(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return out.print(a.Out, l, func(w io.Writer) { showLetter(w, l) })
		})
	}
	at.flags(cmd)
	out.flag(cmd)
	return cmd
}

func showLetter(w io.Writer, l deadletter.Letter) {
	line := func(name, value string) {
		if value != "" && value != "0" {
			fmt.Fprintf(w, "%s:\t%s\n", name, printable(value))
		}
	}
	line("Dead letter", l.ID)
	line("What", subjectOf(l))
	line("Given up", when(l.Time))
	line("Replayed", when(l.Replayed))
	line("Trigger", l.Trigger)
	line("Sent to", l.Destination)
	line("Why", l.Reason)
	line("Kind", l.Kind)
	line("HTTP status", number(l.Code))
	line("Tries", number(l.Attempts))
	line("Given up before", number(l.Arrivals-1))
	if l.Event == nil {
		line("Content type", l.ContentType)
		line("Message", string(l.Raw))
		return
	}
	text, err := l.Event.MarshalJSON()
	if err != nil {
		text = []byte(err.Error())
	}
	line("Source", l.Event.Source())
	line("Event id", l.Event.ID())
	line("Event", string(text))
}

// replayed is what a replay prints as JSON, and dropped what a drop does.
type (
	replayed struct {
		Replayed int `json:"replayed"`
	}
	dropped struct {
		Dropped int `json:"dropped"`
	}
)

func (a *App) deadLettersReplay() *cobra.Command {
	var at office
	var out output
	var all bool
	cmd := &cobra.Command{
		Use:   "replay (--data DIR | -f group.yaml --state DSN --broker URL) (ID... | --all)",
		Short: "Have dead letters handled again",
		Long: "With --data, gives dead letters back to the trigger that gave them up. They are handled by the process that works on the data\n" +
			"directory, or by the next one.\n\n" +
			"Those of services are sent to the broker again, as they were before it gave them up, and marked as replayed once it has them. All\n" +
			"subscribers of such an event get it once more, which changes nothing for those that had dealt with it: they know it by its source\n" +
			"and id. One that fails again becomes a dead letter again, under the same id.\n\n" +
			"Messages that could not be understood can't be replayed; --all leaves them. The exit code is 5 if a letter is not there, 3 if it\n" +
			"can't be replayed, and 1 if the broker did not take it; how many were replayed before is printed anyway.",
	}
	cmd.RunE = func(cmd *cobra.Command, ids []string) error {
		if all == (len(ids) > 0) {
			return usageError{errors.New("name the ids of dead letters, or use --all")}
		}
		return at.with(cmd.Context(), a, func(ls letters) error {
			n, err := ls.replay(cmd.Context(), ids...)
			if errors.As(err, new(usageError)) {
				return err
			}
			return errors.Join(err, out.print(a.Out, replayed{n}, func(w io.Writer) { fmt.Fprintf(w, "%d replayed\n", n) }))
		})
	}
	at.flags(cmd)
	at.replays(cmd)
	out.flag(cmd)
	cmd.Flags().BoolVar(&all, "all", false, "every dead letter that can be replayed")
	return cmd
}

func (a *App) deadLettersDrop() *cobra.Command {
	var at office
	var out output
	cmd := &cobra.Command{
		Use:   "drop " + stateUsage + " ID...",
		Short: "Remove dead letters for good",
		Long: "Removes dead letters for good, without handling them. What an event told of is found by the next comparison of all buckets\n" +
			"(`bucketmesh sync`) all the same. The books go on counting the event as dead-lettered.",
	}
	cmd.RunE = func(cmd *cobra.Command, ids []string) error {
		if len(ids) == 0 {
			return usageError{errors.New("name the ids of dead letters")}
		}
		return at.with(cmd.Context(), a, func(ls letters) error {
			n, err := ls.drop(cmd.Context(), ids...)
			return errors.Join(err, out.print(a.Out, dropped{n}, func(w io.Writer) { fmt.Fprintf(w, "%d dropped\n", n) }))
		})
	}
	at.flags(cmd)
	out.flag(cmd)
	return cmd
}
