package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/bucketmesh/bucketmesh/pkg/control"
	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/pipeline"
	"github.com/bucketmesh/bucketmesh/pkg/scan"
)

func (a *App) sync() *cobra.Command {
	var at place
	var out output
	var show string
	cmd := &cobra.Command{
		Use:   "sync --data DIR [-f group.yaml]",
		Short: "Compare all replicas now and bring together what differs",
		Long: "Lists all replicas, compares them with the state and brings together what differs: what was there before the first start,\n" +
			"and what no notification told of. A listing never proves a delete. A key that the state knows at a replica and that the\n" +
			"bucket itself, asked twice, does not have any more was deleted by a user: that is carried on to the other replicas.\n\n" +
			"The table counts keys: EQUAL as the state says; VERIFIED had to be looked at (the state did not know them yet, or a\n" +
			"listing does not tell enough) and were equal; DIFFERENT were not. Replicas that did not answer are named: the numbers\n" +
			"are about the others.\n\n" +
			"If a process works on the data directory, it does the work; otherwise this one does. An interrupted run goes on where\n" +
			"it was. The exit code is 4 if keys are left over: status names them and says why.",
		Args: noArgs,
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := checkProgress(show); err != nil {
			return err
		}
		ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGTERM, syscall.SIGINT)
		defer stop()
		context.AfterFunc(ctx, stop)
		return at.withAPI(ctx, a, startQuietly, func(api control.API) error {
			bar := a.newProgress(show)
			result, err := api.Backfill(ctx, bar.update)
			bar.end(result)
			if ctx.Err() != nil {
				return withCode(Partial, errors.New("interrupted; run it again to go on where it was"))
			}
			if errkind.Is(err, errkind.Conflict) {
				return fmt.Errorf("%w: the process that works on the group is at it; status shows when it is done", err)
			}
			if err != nil {
				return err //nolint:wrapcheck // says what failed
			}
			if !result.Complete() {
				a.code = Partial
			}
			return out.print(a.Out, result, func(w io.Writer) { summary(w, result) })
		})
	}
	at.flags(cmd)
	out.flag(cmd)
	progressFlag(cmd, &show)
	return cmd
}

// startQuietly starts a pipeline that takes no notifications.
func startQuietly(ctx context.Context, o pipeline.Options) (*pipeline.Pipeline, error) {
	o.Listen = ""
	return pipeline.Start(ctx, o) //nolint:wrapcheck // says what is wrong
}

func summary(w io.Writer, p scan.Progress) {
	if p.Resumed != "" {
		fmt.Fprintf(w, "Went on after the key %s, where an earlier run was interrupted.\n", visible(p.Resumed))
	}
	row(w, "KEYS", "EQUAL", "VERIFIED", "DIFFERENT", "BROUGHT TOGETHER", "IN CONFLICT, RESOLVED", "LEFT OVER")
	row(w, number(p.Keys), number(p.Equal), number(p.Verified), number(p.Differ), number(p.Settled), number(p.Clashes), number(p.Pending))
	if len(p.Skipped) > 0 {
		fmt.Fprintf(w, "%d equal at the replicas that answered (%s).\n", p.Equal+p.Verified, strings.Join(p.Answered, ", "))
	}
	for _, name := range slices.Sorted(maps.Keys(p.Skipped)) {
		fmt.Fprintf(w, "Replica %s was not compared: %s\n", name, p.Skipped[name])
	}
	if p.Pending > 0 {
		fmt.Fprintln(w, "What is left over is tried again by itself; status says why it is left.")
	}
}

// progressModes are the values of --progress.
var progressModes = []string{"auto", "bar", "plain", "none"}

const plainEvery = 2 * time.Second
