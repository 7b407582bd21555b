// Command bench measures bucketmesh on real servers, which it starts and stops itself.
//
//	go run ./test/bench propagation [--duration 60s] [--rate 50]   PUT acknowledged -> readable at the other MinIO, beside MinIO's own replication
//	go run ./test/bench memory [--mib 1024] [--limit-mib 256]      the largest resident memory of the process while one large object passes
//
// It prints a table, or JSON with --output json, and writes nothing but its own folder below .cache. It exits with 1 if
// a write was never seen, or if the memory is over the limit. Run it from a checkout; docs/benchmarks.md has figures.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := command().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		stop()
		os.Exit(1)
	}
}

func command() *cobra.Command {
	root := &cobra.Command{Use: "bench", Short: "Benchmarks on real servers", SilenceUsage: true, SilenceErrors: true}
	var rig rigOptions
	root.PersistentFlags().IntVar(&rig.ports, "port-base", 19060, "first of six ports")
	root.PersistentFlags().StringVar(&rig.output, "output", "text", "text or json")

	var p propagationOptions
	prop := &cobra.Command{
		Use: "propagation", Short: "PUT acknowledged -> readable at the other MinIO", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return propagation(cmd.Context(), rig, p, os.Stdout, os.Stderr)
		},
	}
	prop.Flags().DurationVar(&p.duration, "duration", time.Minute, "how long to put, for each of the two")
	prop.Flags().BoolVar(&rig.durable, "durable", false, "send each notification to the durable webhook target as well")
	prop.Flags().IntVar(&p.rate, "rate", 50, "puts per second")
	prop.Flags().IntVar(&p.size, "size", 4096, "bytes of an object")
	prop.Flags().DurationVar(&p.give, "give-up", 30*time.Second, "a write that is not seen by then counts as unseen")

	var size, limit int64
	mem := &cobra.Command{
		Use: "memory", Short: "Resident memory while one large object passes", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return memory(cmd.Context(), rig, size, limit, os.Stdout, os.Stderr)
		},
	}
	mem.Flags().Int64Var(&size, "mib", 1024, "size of the object, MiB")
	mem.Flags().Int64Var(&limit, "limit-mib", 256, "the most that is allowed, MiB")
	root.AddCommand(prop, mem)
	return root
}
