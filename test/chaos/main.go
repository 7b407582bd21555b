// Command chaos is three proofs on real servers that nothing is lost (docs/testing.md):
//
//	chaos lines      the process dies at every line of the algorithm
//	chaos hammer     two users hammer one key in two regions
//	chaos registers  histories of concurrent conditional requests at each provider are linearizable
//
// It is started by hack/chaos.sh, which starts the servers. "chaos up" is the process under test: "bucketmesh up" with a trap
// at a line of the algorithm, at which it kills itself.
//
// Exit codes: 0 proved; 1 something was lost, differs, is not linearizable, or a line was never reached; 2 wrong usage.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	started := false // what fails before is wrong usage
	root := &cobra.Command{
		Use: "chaos", Short: "Proofs on real servers that nothing is lost", SilenceUsage: true, SilenceErrors: true,
	}
	root.AddCommand(linesCommand(), hammerCommand(), registersCommand(), upCommand())
	for _, c := range root.Commands() {
		begin := c.RunE
		c.RunE = func(cmd *cobra.Command, args []string) error {
			started = true
			return begin(cmd, args)
		}
	}
	err := root.ExecuteContext(ctx)
	switch {
	case err == nil:
		return 0
	case !started:
		fmt.Fprintln(os.Stderr, "chaos:", err)
		return 2
	}
	fmt.Fprintln(os.Stderr, "FAIL:", err)
	return 1
}

// place is where a run has its programs and its files.
type place struct {
	dir, bucketmesh, output string
	seed                    uint64
}

func (p *place) flags(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.StringVar(&p.dir, "dir", "", "folder for data and logs (required)")
	fs.StringVar(&p.bucketmesh, "bucketmesh", "", "the program bucketmesh (required)")
	fs.StringVar(&p.output, "output", "text", "text or json")
	fs.Uint64Var(&p.seed, "seed", 1, "of everything that is random")
	_ = cmd.MarkFlagRequired("dir")
	_ = cmd.MarkFlagRequired("bucketmesh")
}
