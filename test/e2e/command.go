package e2e

import (
	"os"

	"github.com/spf13/cobra"
)

// Command is the command line of the end-to-end run.
func Command() *cobra.Command {
	root := &cobra.Command{Use: "e2e", Short: "End-to-end proof on real servers", SilenceUsage: true, SilenceErrors: true}
	var o options
	mode := func(use, short string, ops int, f Fleet) *cobra.Command {
		c := &cobra.Command{
			Use: use, Short: short, Args: cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error {
				return run(cmd.Context(), o, f, os.Getenv, os.Stdout, os.Stderr)
			},
		}
		fs := c.Flags()
		fs.IntVar(&o.ops, "ops", ops, "operations of the workload")
		fs.Uint64Var(&o.seed, "seed", 1, "of everything that is random")
		fs.IntVar(&o.kills, "kill", 0, "how many times bucketmesh is killed with SIGKILL and started again meanwhile")
		fs.StringVar(&o.state, "state", "sqlite", "where the state is: sqlite or postgres")
		fs.IntVar(&o.keys, "keys", 400, "size of the key space")
		fs.IntVar(&o.multipart, "multipart", 36, "how many operations are uploads of 24 MiB in parts")
		fs.DurationVar(&o.over, "over", 0, "time over which the operations are spread (default: 60s, or 4s per kill if that is more)")
		fs.DurationVar(&o.limit, "converge-within", 0, "time to converge after the last write (default: 6m)")
		fs.StringVar(&o.output, "output", "text", "text or json")
		fs.StringVar(&o.dir, "dir", "", "folder for data and logs (required)")
		fs.StringVar(&o.binary, "bucketmesh", "", "the program under test (required)")
		root.AddCommand(c)
		return c
	}
	s3 := mode("s3", "Two MinIO and one versitygw as three ReadWrite replicas", 3000, S3)
	s3.Flags().BoolVar(&o.noEvents, "no-events", false, "no notification arrives during the operations; bucketmesh sync has to find them")
	mode("clouds", "MinIO, versitygw, Cloud Storage (fake-gcs-server) and Azure Blob Storage (Azurite) as four ReadWrite replicas", 4000, Clouds)
	return root
}
