package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/bucketmesh/bucketmesh/pkg/control"
	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/pipeline"
	"github.com/bucketmesh/bucketmesh/pkg/policy"
	"github.com/bucketmesh/bucketmesh/pkg/reconcile"
	"github.com/bucketmesh/bucketmesh/pkg/serve/env"
	"github.com/bucketmesh/bucketmesh/pkg/version"
)

func (a *App) conflictsTry() *cobra.Command {
	var at place
	var out output
	var key string
	cmd := &cobra.Command{
		Use:   "try -f group.yaml --key KEY [--data DIR]",
		Short: "Try a policy on paper: what would become of a key, without changing anything",
		Long: "Looks at what the replicas hold of a key and tells what the policy of the document would make of it if they were in\n" +
			"conflict: who would win and why, what would be kept, and the merged content. Nothing is changed.\n\n" +
			"With a data directory it is known what replaced what, and whether the key really is in conflict; without one (or a\n" +
			"database) each content is taken for a write that had seen no other one, and merges have no base. A process that works on\n" +
			"the data directory with the same document is asked; a document that differs from its own is tried here. In JSON,\n" +
			"contents are in base64.",
		Args: noArgs,
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) (err error) {
		if key == "" {
			return usageError{errors.New("the flag --key is missing: which key is to be tried?")}
		}
		if at.data == "" && at.file == "" {
			return usageError{errors.New("which policy is to be tried? Name the document with -f, or the data directory with --data")}
		}
		g, err := at.group()
		if err != nil {
			return err
		}
		if !g.Match(key) {
			return withCode(NotFound, fmt.Errorf("the key %s takes no part in the group %s, by its filters: it is never in conflict", visible(key), g.Name))
		}
		api, done, err := at.trial(cmd.Context(), a)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, done()) }()
		p, err := api.Try(cmd.Context(), key)
		if err != nil {
			return err //nolint:wrapcheck // says what could not be read
		}
		if len(p.Heads) == 0 && len(p.Unknown) == len(g.Replicas) {
			return errkind.New(errkind.Unavailable, "try policy: no replica told what it holds: %s", p.Unknown[g.Replicas[0].Name])
		}
		return out.print(a.Out, p, func(w io.Writer) {
			if at.data == "" && at.state == "" && a.env(env.State) == "" {
				fmt.Fprintln(w, "Nothing is known of the past (no --data): what replicas hold is taken for writes of which none had seen another.")
			}
			proposalTable(w, &p)
		})
	}
	at.flags(cmd)
	cmd.Flags().Lookup("data").Usage = "data directory (default none: nothing is known of the past)"
	out.flag(cmd)
	cmd.Flags().StringVar(&key, "key", "", "the key (required)")
	return cmd
}

// trial is whom to ask what would happen: the process that works on the data directory, unless another document is to be tried.
func (p *place) trial(ctx context.Context, a *App) (control.API, func() error, error) {
	if p.data != "" {
		api, done, err := p.connect(ctx, a, pipeline.Look)
		if _, other := errors.AsType[*otherDocument](err); !other {
			return api, done, err
		}
	}
	o, err := p.optionsAnywhere(a)
	if err != nil {
		return nil, nil, err
	}
	pipe, err := pipeline.Look(ctx, o)
	if err != nil {
		return nil, nil, err //nolint:wrapcheck // says what is wrong
	}
	return pipe, pipe.Close, nil
}

func proposalTable(w io.Writer, p *reconcile.Proposal) {
	switch {
	case p.Real:
		fmt.Fprintf(w, "The key %s is in conflict. This would happen:\n\n", visible(p.Key))
	case len(p.Heads) > 1:
		fmt.Fprintf(w, "The key %s is in no conflict that is known of. If each of these were a write that had seen no other:\n\n", visible(p.Key))
	default:
		fmt.Fprintf(w, "The key %s:\n\n", visible(p.Key))
	}
	if len(p.Heads) > 0 {
		row(w, "VERSION", "AT", "WHEN", "WHAT", "DIGEST", "THEN")
		for _, s := range p.Heads {
			row(w, string(s.Version.ID), s.Replica, stamp(s.Version), what(s.Version), digest(s.Version), fate(p, s.Version))
		}
		fmt.Fprintln(w)
	}
	for _, name := range slices.Sorted(maps.Keys(p.Unknown)) {
		fmt.Fprintf(w, "Replica %s did not tell: %s\n", name, printable(p.Unknown[name]))
	}
	switch {
	case p.Policy == "":
		fmt.Fprintf(w, "%s.\n", sentence(p.Reason))
	case p.Waits:
		fmt.Fprintf(w, "The policy %s: somebody is asked first. Without an answer by the deadline, %s wins: %s.\n", p.Policy, p.Winner, printable(p.Reason))
	default:
		fmt.Fprintf(w, "The policy %s: %s.\n", p.Policy, printable(p.Reason))
	}
	if p.Merged != nil {
		fmt.Fprintf(w, "\nThe merged content, %d bytes:\n", len(p.Merged))
		contentLines(w, string(p.Merged))
	}
	fmt.Fprintln(w, "\nNothing was changed.")
}

// fate is what would become of a version.
func fate(p *reconcile.Proposal, v version.Version) string {
	switch {
	case p.Policy == "":
		return ""
	case v.ID == p.Winner && p.Waits:
		return "wins if nobody answers"
	case v.ID == p.Winner:
		return "wins"
	case slices.Contains(p.Keep, v.ID) && p.Real:
		return "is kept as " + visible(policy.CopyKey(p.Key, v.ID))
	case slices.Contains(p.Keep, v.ID):
		return "is kept"
	case v.Kind == version.Delete:
		return "leaves nothing to keep"
	}
	return "is dropped"
}

func sentence(s string) string {
	if s == "" {
		return s
	}
	return printable(strings.ToUpper(s[:1]) + s[1:])
}

// maxContentLines and maxContentWidth bound what is shown of a content.
const (
	maxContentLines = 100
	maxContentWidth = 300
)

func contentLines(w io.Writer, text string) {
	n := 0
	for l := range strings.Lines(text) {
		if n++; n > maxContentLines {
			fmt.Fprintf(w, "... and more; --output json has all of it\n")
			return
		}
		fmt.Fprintf(w, "    %s\n", short(printable(strings.TrimRight(strings.ReplaceAll(l, "\t", "    "), "\r\n")), maxContentWidth))
	}
}
