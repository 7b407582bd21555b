package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/bucketmesh/bucketmesh/pkg/control"
	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/pipeline"
	"github.com/bucketmesh/bucketmesh/pkg/worker"
)

func (a *App) brake() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "brake",
		Short: "The delete brake: what it holds, and what becomes of it",
		Long: "When more keys are deleted than spec.deletes.brake lets through, every delete is held: nothing is removed from the other\n" +
			"replicas, and nothing is lost. Puts go on as ever. A person looks at what was deleted, and approves it or undoes it.",
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(
		a.brakeCommand(pipeline.BrakeStatus, "Show whether deletes are held, how many and why", "", pipeline.Inspect),
		a.brakeApprove(),
		a.brakeCommand(pipeline.BrakeUndo, "Bring the objects back whose deletes are held, and arm the brake again",
			"Writes every object whose delete is held where it was deleted, from the replicas that still have it. A key that somebody\n"+
				"wrote again meanwhile is left as it is. Then the brake is armed again. Stop whatever deletes before, or its next deletes\n"+
				"are held again. Deletes that were carried on already come back by `bucketmesh undelete`.", startQuietly),
		a.brakeCommand(pipeline.BrakePause, "Hold every delete from now on, until resume or approve", "", pipeline.Inspect),
		a.brakeCommand(pipeline.BrakeResume, "End a pause: deletes are counted and carried on again",
			"Ends a pause. The deletes that were held meanwhile are counted as if they came up now: if they are too many, the brake trips.", pipeline.Inspect),
	)
	return cmd
}

type opener func(context.Context, pipeline.Options) (*pipeline.Pipeline, error)

func (a *App) brakeCommand(do, short, long string, open opener) *cobra.Command {
	cmd, _ := a.brakeRequest(do, short, long, open)
	return cmd
}

func (a *App) brakeApprove() *cobra.Command {
	cmd, r := a.brakeRequest(pipeline.BrakeApprove, "Let the deletes go that are held, and arm the brake again",
		"Lets every delete go that came up until now. What is deleted later is counted from zero; with --for or --further it is let\n"+
			"through for a while, or so many of it.", pipeline.Inspect)
	cmd.Flags().DurationVar(&r.For, "for", 0, "also let deletes go that come up within this time, such as 1h")
	cmd.Flags().Int64Var(&r.Further, "further", 0, "also let so many further deletes go")
	return cmd
}

func (a *App) brakeRequest(do, short, long string, open opener) (*cobra.Command, *pipeline.BrakeRequest) {
	var at place
	var out output
	var show string
	r := &pipeline.BrakeRequest{Do: do}
	cmd := &cobra.Command{Use: do + " --data DIR", Short: short, Long: long, Args: noArgs}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if r.For < 0 || r.Further < 0 {
			return usageError{errors.New("the flags --for and --further can't be negative")}
		}
		if err := checkProgress(show); err != nil {
			return err
		}
		ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGTERM, syscall.SIGINT)
		defer stop()
		return at.withAPI(ctx, a, open, func(api control.API) error {
			var bar counter = silent{}
			if do == pipeline.BrakeUndo {
				bar = a.newCounter(show, "undone")
			}
			b, err := api.Brake(ctx, *r, bar.update)
			bar.end(b.Done)
			if ctx.Err() != nil {
				return withCode(Partial, errors.New("interrupted; run it again to go on"))
			}
			if err != nil {
				return err //nolint:wrapcheck // says what failed
			}
			if b.Done != nil && b.Done.Left() {
				a.code = Partial
			}
			return out.print(a.Out, b, func(w io.Writer) { brakeTable(w, b) })
		})
	}
	at.flags(cmd)
	out.flag(cmd)
	if do == pipeline.BrakeUndo {
		progressFlag(cmd, &show)
	}
	return cmd, r
}

// brakeLine says in a sentence how the brake is.
func brakeLine(w io.Writer, b pipeline.Brake) {
	switch b.State {
	case "tripped":
		fmt.Fprintf(w, "DELETES ARE HELD since %s: %s. %d wait.\n", when(b.Since), b.Reason, b.Waiting)
		fmt.Fprintln(w, "`bucketmesh brake approve` lets them go, `bucketmesh brake undo` brings the objects back.")
	case "paused":
		fmt.Fprintf(w, "DELETES ARE PAUSED since %s. %d wait. `bucketmesh brake resume` ends that.\n", when(b.Since), b.Waiting)
	default:
		fmt.Fprintf(w, "Deletes are carried on, unless they are too many. %d wait a moment.\n", b.Waiting)
	}
}

func brakeTable(w io.Writer, b pipeline.Brake) {
	if b.Done != nil {
		doneLine(w, *b.Done, "There was nothing to do: no delete is held.")
	}
	brakeLine(w, b)
	fmt.Fprintln(w)
	row(w, "STATE", "HELD", "COUNTED", "WITHIN", "AT MOST", "KEYS", "APPROVED UNTIL", "APPROVED FURTHER")
	most := "any number"
	if b.Limit >= 0 {
		most = number(b.Limit)
	}
	row(w, b.State, number(b.Waiting), number(b.Counted), b.Within, most, number(b.Keys), when(b.Until), number(b.Further))
	if len(b.Some) == 0 {
		return
	}
	fmt.Fprintln(w)
	row(w, "DELETED", "TOMBSTONE", "KEY")
	for _, d := range b.Some {
		row(w, when(d.Noted), string(d.Version), visible(d.Key))
	}
	if more := b.Waiting - int64(len(b.Some)); more > 0 {
		fmt.Fprintf(w, "and %d more\n", more)
	}
}

// doneLine says what became of how many keys, and why some are left over.
func doneLine(w io.Writer, d worker.Done, nothing string) {
	if len(d.By) == 0 {
		fmt.Fprintln(w, nothing)
	}
	for _, what := range slices.Sorted(maps.Keys(d.By)) {
		fmt.Fprintf(w, "%d %s\n", d.By[what], what)
	}
	for _, key := range slices.Sorted(maps.Keys(d.Failed)) {
		fmt.Fprintf(w, "left over: %s: %s\n", visible(key), short(d.Failed[key], 200))
	}
	fmt.Fprintln(w)
}

func (a *App) undelete() *cobra.Command {
	var at place
	var out output
	var show string
	var sel worker.Select
	var since time.Duration
	var all bool
	cmd := &cobra.Command{
		Use:   "undelete --data DIR (--key KEY | --prefix PREFIX | --since 2h | --all)",
		Short: "Bring objects back that a delete took away from the other replicas",
		Long: "Brings objects back whose delete was carried on, within spec.deletes.quarantine: from the versions of a bucket, or from\n" +
			".bucketmesh/quarantine/. An object is written where users write, only if nothing is there, and travels from there like any\n" +
			"change. Of a key that was deleted several times it is the last one. WHAT says what became of it: restored; exists\n" +
			"(something is there now, which stays); lost (it is no more where it was kept).",
		Args: noArgs,
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		chosen := 0
		for _, is := range []bool{sel.Key != "", sel.Prefix != "", all} {
			if is {
				chosen++
			}
		}
		if since < 0 || chosen > 1 || chosen == 0 && since == 0 {
			return usageError{errors.New("say what: --key, --prefix or --all; --since narrows it down, and may stand alone")}
		}
		if since > 0 {
			sel.Since = time.Now().Add(-since)
		}
		if err := checkProgress(show); err != nil {
			return err
		}
		ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGTERM, syscall.SIGINT)
		defer stop()
		return at.withAPI(ctx, a, startQuietly, func(api control.API) error {
			bar := a.newCounter(show, "looked at")
			r, err := api.Undelete(ctx, sel, bar.update)
			bar.end(&r.Done)
			if ctx.Err() != nil {
				return withCode(Partial, errors.New("interrupted; run it again to go on"))
			}
			if err != nil {
				return err //nolint:wrapcheck // says what failed
			}
			if sel.Key != "" && r.Keys == 0 {
				return errkind.New(errkind.NotFound, "undelete: no delete of the key %q is kept: it was never deleted by bucketmesh, or longer ago than "+
					"spec.deletes.quarantine; `bucketmesh undelete --all --dry-run%s` shows what is kept", sel.Key, inDir(at.data))
			}
			if r.Left() {
				a.code = Partial
			}
			return out.print(a.Out, r, func(w io.Writer) {
				if sel.Dry {
					fmt.Fprintln(w, "Nothing was done; this is what would be.")
				}
				doneLine(w, r.Done, "There was nothing to do: nothing of it is kept as deleted.")
				if len(r.Objects) == 0 {
					return
				}
				row(w, "WHAT", "BYTES", "REMOVED", "KEPT AT", "WRITTEN AT", "KEY")
				for _, u := range r.Objects {
					row(w, u.What, number(u.Size), when(u.Removed), u.From, u.At, visible(u.Key))
				}
				if more := r.Keys - int64(len(r.Objects)); more > 0 {
					fmt.Fprintf(w, "and %d more\n", more)
				}
			})
		})
	}
	at.flags(cmd)
	out.flag(cmd)
	cmd.Flags().StringVar(&sel.Key, "key", "", "this key")
	cmd.Flags().StringVar(&sel.Prefix, "prefix", "", "keys that begin with this")
	cmd.Flags().DurationVar(&since, "since", 0, "only what was removed since, such as 2h")
	cmd.Flags().BoolVar(&all, "all", false, "everything that is kept")
	cmd.Flags().BoolVar(&sel.Dry, "dry-run", false, "say only what would be done")
	progressFlag(cmd, &show)
	return cmd
}
