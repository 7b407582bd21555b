package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/bucketmesh/bucketmesh/test/e2e"
)

type hammerOptions struct {
	place
	seconds int
	pause   time.Duration
	limit   time.Duration
}

func hammerCommand() *cobra.Command {
	var o hammerOptions
	c := &cobra.Command{
		Use: "hammer", Short: "Two users hammer one key in two regions", Args: cobra.NoArgs,
		PreRunE: func(*cobra.Command, []string) error {
			if o.seconds < 1 || o.pause < 0 {
				return errors.New("--seconds must be at least 1, --pause not negative")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			res, err := hammer(cmd.Context(), o, os.Getenv, os.Stderr)
			if res == nil {
				return err
			}
			return errors.Join(err, res.print(os.Stdout, o.output))
		},
	}
	o.flags(c)
	c.Flags().IntVar(&o.seconds, "seconds", 60, "how long they write")
	c.Flags().DurationVar(&o.pause, "pause", 400*time.Millisecond, "the longest pause between two bursts of writes of a user; 0 is none")
	c.Flags().DurationVar(&o.limit, "converge-within", 5*time.Minute, "time to converge after that")
	return c
}

// hammerResult is what became of all writes of one key.
type hammerResult struct {
	e2e.Summary

	Conflicts int     `json:"conflicts"` // that bucketmesh recorded, those that were overtaken among them
	Wrote     float64 `json:"wroteSeconds"`
}

// hammer has one user at each of two replicas write one key, as fast as the server takes it, while bucketmesh runs. Then all
// replicas must become equal, and everything that was acknowledged is judged.
func hammer(ctx context.Context, o hammerOptions, getenv func(string) string, progress io.Writer) (res *hammerResult, err error) {
	stage, err := e2e.Open(ctx, e2e.Options{Name: "hammer", Seed: o.seed, Limit: o.limit, Dir: o.dir, Program: o.bucketmesh}, e2e.MinIOs, getenv)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, stage.Program.Kill(), stage.Close()) }()
	if err := errors.Join(stage.Program.Start(ctx), stage.Program.Ready(ctx)); err != nil {
		return nil, err
	}
	began := time.Now()
	g, writing := errgroup.WithContext(ctx)
	for replica := range stage.Replicas() {
		g.Go(func() error {
			return hammerAt(writing, stage, replica, o, began.Add(time.Duration(o.seconds)*time.Second))
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	wrote := time.Since(began).Seconds()
	fmt.Fprintln(progress, "waiting until it is quiet")
	if err := stage.Program.Quiet(ctx, o.limit, progress); err != nil {
		return nil, err
	}
	fmt.Fprintln(progress, "waiting until the replicas are equal")
	sum, err := stage.Judge(ctx, progress)
	if err != nil {
		return nil, err
	}
	conflicts, err := stage.Inspect(ctx, sum)
	if err != nil {
		return nil, err
	}
	sum.Seconds = time.Since(began).Seconds()
	return &hammerResult{*sum, conflicts, wrote}, errors.Join(sum.Fault(), stage.Program.Stop(ctx))
}

// hammerAt is one user: puts without a condition, each of another content, and now and then a delete or an edit of the metadata.
// A key that two users write without a pause changes faster than it can be copied, and bucketmesh leaves it alone until they
// stop. So there are pauses, in which its writes meet those of the users.
func hammerAt(ctx context.Context, stage *e2e.Stage, replica int, o hammerOptions, until time.Time) error {
	rnd := rand.New(rand.NewPCG(o.seed, uint64(replica)))
	for n := 1; time.Now().Before(until); n++ {
		op := e2e.Operation{
			Number: n*stage.Replicas() + replica, Replica: replica, Key: "the-key", Kind: e2e.OpPut, Size: 64 + rnd.IntN(2<<10),
			ContentType: "text/plain", Note: fmt.Sprintf("n %x", rnd.Uint32()),
		}
		switch r := rnd.IntN(100); {
		case r < 5:
			op.Kind = e2e.OpDelete
		case r < 15:
			op.Kind = e2e.OpEdit
		}
		if err := stage.Do(ctx, op); err != nil {
			return fmt.Errorf("operation %d: %w", op.Number, err)
		}
		if o.pause > 0 && rnd.IntN(8) == 0 {
			if err := rest(ctx, time.Duration(rnd.Int64N(int64(o.pause)))); err != nil {
				return err
			}
		}
	}
	return nil
}

// rest waits for a time, or for the end of the context.
func rest(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (r *hammerResult) print(out io.Writer, format string) error {
	if format == "json" {
		enc := json.NewEncoder(out)
		enc.SetIndent("", "  ")
		return enc.Encode(r)
	}
	for _, e := range append(r.Evidence, r.Faults...) {
		fmt.Fprintln(out, e)
	}
	total := 0
	for _, n := range r.Acknowledged {
		total += n
	}
	fmt.Fprintf(out, "acknowledged %d in %.0f s %v; refused by a condition %d, unknown %d\n", total, r.Wrote, r.Acknowledged, r.Refused, r.Unknown)
	fmt.Fprintf(out, "contents: current %d, overwritten by a user who followed %d, kept as conflict copy %d, LOST %d\n", r.Current, r.Overwritten, r.Kept, r.Lost)
	for _, q := range r.Requests {
		fmt.Fprintf(out, "requests of bucketmesh to %s: %v\n", q.Replica, q.Counts)
	}
	fmt.Fprintf(out, "seed=%d conflicts=%d copies=%d lost=%d faults=%d converged_after=%.1f seconds=%.0f\n",
		r.Seed, r.Conflicts, r.Copies, r.Lost, len(r.Faults), r.ConvergedAfter, r.Seconds)
	return nil
}
