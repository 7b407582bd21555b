package cli

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/bucketmesh/bucketmesh/pkg/ledger"
	"github.com/bucketmesh/bucketmesh/pkg/pipeline"
)

func (a *App) auditBalance() *cobra.Command {
	var at place
	var out output
	var underWay time.Duration
	cmd := &cobra.Command{
		Use:   "balance " + stateUsage,
		Short: "Account for every event: what became of all that came in",
		Long: "Compares the audit log with what sync says became of each event. It is for services, whose state is in PostgreSQL and whose\n" +
			"broker can't be asked what is under way: an event without an outcome counts as lost when it is older than --under-way. With\n" +
			"`bucketmesh up`, status shows the same, and sees at once what is lost. The exit code is 6 if events are not accounted for.",
		Args: noArgs,
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if underWay < 0 {
			return usageError{fmt.Errorf("the flag --under-way must not be negative, but is %s", underWay)}
		}
		return at.withBooks(cmd.Context(), a, func(group string, s *pipeline.State) error {
			b, err := ledger.New(s.Ledger, group, func(context.Context) (time.Time, error) {
				return time.Now().Add(-underWay), nil
			}).Balance(cmd.Context())
			if err != nil {
				return err //nolint:wrapcheck // says "draw up ledger"
			}
			if !b.Holds {
				a.code = Broken
			}
			return out.print(a.Out, b, func(w io.Writer) { books(w, b) })
		})
	}
	at.flags(cmd)
	out.flag(cmd)
	cmd.Flags().DurationVar(&underWay, "under-way", ledger.Horizon, "how long an event may be under way; 0 if nothing is")
	return cmd
}

// books are the law that no event is lost, and what breaks it.
func books(w io.Writer, b ledger.Balance) {
	row(w, "EVENTS IN", "APPLIED", "SUPERSEDED", "FILTERED", "IN CONFLICT", "DEAD LETTERS", "IN FLIGHT", "UNACCOUNTED")
	row(w, number(b.In), number(b.Applied), number(b.Superseded), number(b.Filtered), number(b.InConflict), number(b.DeadLetters),
		number(b.InFlight), number(b.Unaccounted))
	for _, f := range b.Findings() {
		fmt.Fprintf(w, "\nEVENTS DO NOT ADD UP: %s\n", f)
	}
	if len(b.Examples) == 0 {
		return
	}
	fmt.Fprintln(w)
	row(w, "EVENT", "WHAT", "AT", "KEY IN ITS BUCKET", "BUCKET")
	for _, e := range b.Examples {
		row(w, short(e.ID, 16), e.What, when(e.At), about(e.Subject), e.Source)
	}
}
