package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"

	"github.com/spf13/cobra"

	"github.com/bucketmesh/bucketmesh/pkg/control"
	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/reconcile"
	"github.com/bucketmesh/bucketmesh/pkg/state"
	"github.com/bucketmesh/bucketmesh/pkg/version"
)

func (a *App) conflictsResolve() *cobra.Command {
	var at place
	var out output
	var take, id, merged, by string
	cmd := &cobra.Command{
		Use:   "resolve --data DIR ID (--take REPLICA | --version V | --merged FILE)",
		Short: "Decide an open conflict: a side wins, or a content that you made of all of them",
		Long: "Decides an open conflict: the version that a replica holds wins (--take), the version of that name (--version, as show\n" +
			"prints it), or a content of your own (--merged; - is standard input). All other contents are kept first, and the copies\n" +
			"are verified; then the decision goes to all replicas. If a version changed since the conflict was recorded, nothing is\n" +
			"decided: you have not seen it.\n\n" +
			"If a process works on the data directory, it does the work; otherwise this one does.",
		Args:              oneConflict,
		ValidArgsFunction: a.conflictIDs(&at, state.ConflictOpen),
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		named := 0
		for _, name := range []string{"take", "version", "merged"} {
			if f := cmd.Flags().Lookup(name); f.Changed && f.Value.String() != "" {
				named++
			}
		}
		if named != 1 {
			return usageError{errors.New("say who wins with one of --take REPLICA, --version V and --merged FILE; conflicts diff shows what they hold")}
		}
		choice := reconcile.Choice{Replica: take, Winner: version.ID(id), By: by}
		var err error
		if choice.By == "" {
			if choice.By, err = whoever(); err != nil {
				return err
			}
		}
		if merged != "" {
			if choice.Merged, err = a.content(merged); err != nil {
				return err
			}
		}
		return at.withAPI(cmd.Context(), a, startQuietly, func(api control.API) error {
			c, err := api.Choose(cmd.Context(), args[0], choice)
			if err != nil {
				return atThisMoment(err)
			}
			return out.print(a.Out, c, func(w io.Writer) { decidedTable(w, &c, at.data) })
		})
	}
	at.flags(cmd)
	out.flag(cmd)
	cmd.Flags().StringVar(&take, "take", "", "the version that this replica holds wins")
	cmd.Flags().StringVar(&id, "version", "", "the version of this name wins")
	cmd.Flags().StringVar(&merged, "merged", "", "the content of this file wins, - is standard input")
	cmd.Flags().StringVar(&by, "by", "", "who decides, for the record (default the user of the operating system)")
	_ = cmd.MarkFlagFilename("merged")
	return cmd
}

// whoever is the user of the operating system.
func whoever() (string, error) {
	u, err := user.Current()
	if err != nil || u.Username == "" {
		return "", usageError{errors.New("the operating system does not say who you are: name yourself with --by, for the record")}
	}
	return u.Username, nil
}

// maxMerged is how large a content may be that a person brings: it goes over the control socket in one piece.
const maxMerged = 16 << 20

// content reads the file that is to be the content of an object.
func (a *App) content(path string) ([]byte, error) {
	in, name := a.In, "standard input"
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, withCode(NotFound, fmt.Errorf("read merged content: %w", err))
		}
		defer func() { _ = f.Close() }() // it was read
		in, name = f, path
	}
	b, err := io.ReadAll(io.LimitReader(in, maxMerged+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read merged content: %w", err)
	case len(b) > maxMerged:
		return nil, withCode(Misconfigured, fmt.Errorf("read merged content: %s is larger than %d bytes: decide for a side with --take, then write the object to any replica with your own tool", name, maxMerged))
	case len(b) == 0:
		return nil, withCode(Misconfigured, fmt.Errorf("read merged content: %s is empty, nothing was decided; if the object is to be empty, decide for a side with --take, then write it to any replica with your own tool", name))
	}
	return b, nil
}

// atThisMoment says what to do about a write that came between.
func atThisMoment(err error) error {
	if errkind.Is(err, errkind.PreconditionFailed) {
		return fmt.Errorf("%w: somebody wrote the key at this very moment, and was not overwritten; look again with `bucketmesh conflicts list`, and run this again if it still is what you want", err)
	}
	return err
}

func decidedTable(w io.Writer, c *state.Conflict, dir string) {
	who := string(c.Winner.ID)
	if len(c.Winner.Sources) > 0 {
		who += ", the content that you brought,"
	}
	fmt.Fprintf(w, "Conflict %s on the key %s: %s wins (%s). It goes to all replicas.\n\n", c.ID, visible(c.Key), who, printable(c.Reason))
	row(w, "LOST", "WRITTEN AT", "WHEN", "WHAT", "DIGEST", "KEPT AS")
	for _, l := range c.Losers {
		row(w, string(l.Version.ID), l.Version.Origin, stamp(l.Version), what(l.Version), digest(l.Version), visible(l.Copy))
	}
	if copies(c.Losers) > 0 {
		fmt.Fprintf(w, "\n%s\n", bringBack(c, dir))
	}
}

func (a *App) conflictsRestore() *cobra.Command {
	var at place
	var out output
	var lost string
	cmd := &cobra.Command{
		Use:   "restore --data DIR ID [--version V]",
		Short: "Bring a loser of a conflict back",
		Long: "Writes a version that lost a conflict to its key again, as a user would. What the key holds is kept first, and the copy is\n" +
			"verified. Who writes the key meanwhile is not overwritten.\n\n" +
			"If a process works on the data directory, it does the work; otherwise this one does.",
		Args:              oneConflict,
		ValidArgsFunction: a.conflictIDs(&at, state.ConflictResolved),
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return at.withAPI(cmd.Context(), a, startQuietly, func(api control.API) error {
			r, err := api.Restore(cmd.Context(), args[0], version.ID(lost))
			if err != nil {
				return atThisMoment(err)
			}
			return out.print(a.Out, r, func(w io.Writer) { restoredText(w, r, at.data) })
		})
	}
	at.flags(cmd)
	out.flag(cmd)
	cmd.Flags().StringVar(&lost, "version", "", "which version, as show prints it (default the only one that was kept)")
	return cmd
}

func restoredText(w io.Writer, r reconcile.Restored, dir string) {
	fmt.Fprintf(w, "The version %s is back on the key %s", r.Version, visible(r.Key))
	if r.Pending {
		fmt.Fprintf(w, " at %s. The other replicas get it next: bucketmesh status%s shows what is left and why.\n", r.Replica, inDir(dir))
	} else {
		fmt.Fprintln(w, " at all replicas.")
	}
	if r.Was == nil {
		fmt.Fprintf(w, "There was nothing at %s before.\n", r.Replica)
		return
	}
	v := version.Version{Kind: version.Put, Content: *r.Was}
	fmt.Fprintf(w, "What was there before (%s, %s) is kept as %s\n", what(v), digest(v), visible(r.Copy))
}
