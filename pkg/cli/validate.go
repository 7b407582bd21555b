package cli

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/bucketmesh/bucketmesh/pkg/config"
	"github.com/bucketmesh/bucketmesh/pkg/pipeline"
)

// validation is what validate prints as JSON.
type validation struct {
	File     string           `json:"file"`
	Valid    bool             `json:"valid"`
	Group    string           `json:"group,omitempty"`
	Replicas []string         `json:"replicas,omitempty"`
	Mistakes []config.Mistake `json:"mistakes,omitempty"`
}

func (a *App) validate() *cobra.Command {
	var file string
	var document bool
	var out output
	cmd := &cobra.Command{
		Use:   "validate -f group.yaml",
		Short: "Check a SyncGroup document, without asking any bucket",
		Long: "Checks a SyncGroup document and that the credentials it names are in the environment. Every mistake is shown with the\n" +
			"path of the field, the value and the mend. No bucket is asked: what buckets promise is found out by up.",
		Args: noArgs,
	}
	cmd.RunE = func(*cobra.Command, []string) error {
		if file == "" {
			return usageError{errors.New("the flag --file is missing: which document?")}
		}
		g, err := config.LoadFile(file, pipeline.Openers().Document())
		if err == nil && !document {
			err = config.CheckEnvironment(g, a.LookupEnv)
		}
		v := validation{File: file, Valid: err == nil}
		if err != nil && !errors.As(err, new(config.Mistakes)) {
			return err //nolint:wrapcheck // the file itself can't be read
		}
		var mistakes config.Mistakes
		errors.As(err, &mistakes)
		v.Mistakes = mistakes
		if g != nil {
			v.Group = g.Name
			for _, r := range g.Replicas {
				v.Replicas = append(v.Replicas, r.Name)
			}
		}
		if !v.Valid {
			a.code = Misconfigured
		}
		return out.print(a.Out, v, func(w io.Writer) { v.table(w) })
	}
	cmd.Flags().StringVarP(&file, "file", "f", "", "the SyncGroup document (required)")
	cmd.Flags().BoolVar(&document, "document-only", false, "do not check that credentials are in the environment")
	_ = cmd.MarkFlagFilename("file", "yaml", "yml", "json")
	out.flag(cmd)
	return cmd
}

func (v *validation) table(w io.Writer) {
	if v.Valid {
		fmt.Fprintf(w, "%s: valid: group %s with the replicas %s\n", v.File, v.Group, strings.Join(v.Replicas, ", "))
		return
	}
	noun := "mistakes"
	if len(v.Mistakes) == 1 {
		noun = "mistake"
	}
	fmt.Fprintf(w, "%s: %d %s\n", v.File, len(v.Mistakes), noun)
	for _, m := range v.Mistakes {
		fmt.Fprintf(w, "  %s\n", m)
	}
}
