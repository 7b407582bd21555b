package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/bucketmesh/bucketmesh/pkg/config"
	"github.com/bucketmesh/bucketmesh/pkg/control"
	"github.com/bucketmesh/bucketmesh/pkg/merge"
	"github.com/bucketmesh/bucketmesh/pkg/merge/diff"
	"github.com/bucketmesh/bucketmesh/pkg/pipeline"
	"github.com/bucketmesh/bucketmesh/pkg/reconcile"
	"github.com/bucketmesh/bucketmesh/pkg/version"
)

var colours = []string{"auto", "always", "never"}

func (a *App) conflictsDiff() *cobra.Command {
	var at place
	var out output
	var limit int64
	var colour string
	cmd := &cobra.Command{
		Use:   "diff --data DIR ID",
		Short: "Show what the versions of a conflict say, beside what was there before",
		Long: "Reads the versions of a conflict, open or decided, and the version that all of them followed (the base), and compares them:\n" +
			"JSON by field, text, CSV and NDJSON by lines. Where a merge would clash is marked. What is no text is told by size and digest.\n\n" +
			"It asks the process that works on the data directory, or reads the buckets itself. Nothing is changed.",
		Args:              oneConflict,
		ValidArgsFunction: a.conflictIDs(&at, ""),
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if !slices.Contains(colours, colour) {
			return usageError{fmt.Errorf("the flag --color must be one of %s, not %q", strings.Join(colours, ", "), colour)}
		}
		if limit <= 0 {
			return usageError{fmt.Errorf("the flag --limit must be 1 or more, not %d", limit)}
		}
		return at.withAPI(cmd.Context(), a, pipeline.Look, func(api control.API) error {
			all, err := api.Sides(cmd.Context(), args[0], limit)
			if err != nil {
				return err //nolint:wrapcheck // says what could not be read
			}
			c := compare(args[0], all, limit)
			if out.format == "json" {
				return out.print(a.Out, c, nil)
			}
			return c.write(a.Out, a.colour(colour))
		})
	}
	at.flags(cmd)
	out.flag(cmd)
	cmd.Flags().StringVar(&colour, "color", "auto", "colours: "+strings.Join(colours, ", ")+"; auto is on a terminal, unless $NO_COLOR is set")
	cmd.Flags().Int64Var(&limit, "limit", config.DefaultMaxSize, "largest content that is read, in bytes")
	_ = cmd.RegisterFlagCompletionFunc("color", cobra.FixedCompletions(colours, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// colour says whether to colour what is printed on standard output.
func (a *App) colour(mode string) bool {
	if mode != "auto" {
		return mode == "always"
	}
	return a.env("NO_COLOR") == "" && a.env("TERM") != "dumb" && a.Terminal(a.Out)
}

// comparison is what diff prints as JSON.
type comparison struct {
	ID       string       `json:"id"`
	Key      string       `json:"key"`
	State    string       `json:"state"`
	NoBase   string       `json:"noBase,omitempty"` // why there is no base
	Versions []compared   `json:"versions"`
	Unread   []unreadable `json:"unread,omitempty"`
	Diff     *diff.Diff   `json:"diff,omitempty"` // none if there is nothing to compare
}

// compared says which version a side of the diff is.
type compared struct {
	Name    string     `json:"name"` // in the diff
	Version version.ID `json:"version"`
	Replica string     `json:"replica"`
	Winner  bool       `json:"winner,omitempty"`
}

// unreadable is a version without a content to compare.
type unreadable struct {
	compared
	Why string `json:"why"`
}

func compare(id string, all reconcile.Sides, limit int64) comparison {
	c := comparison{ID: id, Key: all.Key, State: all.State, Versions: []compared{}}
	var base *diff.Content
	if all.Base.Why == "" {
		base = &diff.Content{Name: "base " + string(all.Base.Version.ID), Data: all.Base.Content}
	}
	c.NoBase = all.Base.Why
	var contents []diff.Content
	for _, s := range all.Sides {
		v := compared{Name: sideName(s), Version: s.Version.ID, Replica: s.Replica, Winner: s.Winner}
		switch {
		case s.Why != "" && s.Version.Kind == version.Put && s.Version.Content.Size > limit:
			c.Unread = append(c.Unread, unreadable{v, fmt.Sprintf("it has %d bytes, more than --limit (%d)", s.Version.Content.Size, limit)})
		case s.Why != "":
			c.Unread = append(c.Unread, unreadable{v, s.Why})
		default:
			c.Versions = append(c.Versions, v)
			contents = append(contents, diff.Content{Name: v.Name, Data: s.Content})
		}
	}
	if len(contents) > 1 || len(contents) == 1 && base != nil {
		c.Diff = diff.New(formatOf(all.Key, base, contents), base, contents...)
	}
	return c
}

func sideName(s reconcile.Side) string {
	name := s.Replica + " " + string(s.Version.ID)
	switch {
	case len(s.Version.Sources) > 0:
		name += " (merged)"
	case s.Winner:
		name += " (won)"
	}
	return name
}

// formatOf is how contents are compared: as their key says, and else as JSON if all of them are.
func formatOf(key string, base *diff.Content, sides []diff.Content) merge.Format {
	if f, ok := merge.FormatOf(key, ""); ok {
		return f
	}
	all := sides
	if base != nil {
		all = append([]diff.Content{*base}, sides...)
	}
	for _, c := range all {
		text := bytes.TrimSpace(c.Data)
		if !bytes.HasPrefix(text, []byte("{")) && !bytes.HasPrefix(text, []byte("[")) || !json.Valid(text) {
			return ""
		}
	}
	return merge.JSON
}

func (c *comparison) write(w io.Writer, colour bool) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "Conflict %s on the key %s: %s\n", c.ID, visible(c.Key), c.State)
	if c.NoBase != "" {
		fmt.Fprintf(&b, "No base: %s.\n", printable(c.NoBase))
	}
	for _, u := range c.Unread {
		fmt.Fprintf(&b, "Not compared: %s: %s.\n", printable(u.Name), printable(u.Why))
	}
	b.WriteString("\n")
	if c.Diff == nil {
		b.WriteString("There are no two contents to compare.\n")
	} else if err := c.Diff.Write(&b, colour); err != nil {
		return err //nolint:wrapcheck // says what could not be written
	}
	if _, err := w.Write(b.Bytes()); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	return nil
}
