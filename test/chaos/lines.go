package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/bucketmesh/bucketmesh/test/e2e"
)

// lines of docs/algorithm.md, by the names that the engine's points have. "5c" is right before the request of line 5c,
// "5c-answered" right after its answer.
func allLines() []string {
	return []string{"1", "2", "3", "4", "4a", "4b", "4c", "5a", "5b", "5c", "5c-answered", "5d", "5e", "6"}
}

// within this time a process must have come to its line. Users write all the while.
const within = time.Minute

type linesOptions struct {
	place
	times int
	lines []string
	limit time.Duration
}

func linesCommand() *cobra.Command {
	var o linesOptions
	c := &cobra.Command{
		Use: "lines", Short: "kill -9 at every line of the algorithm, on MinIO and PostgreSQL", Args: cobra.NoArgs,
		PreRunE: func(*cobra.Command, []string) error {
			for _, line := range o.lines {
				if !slices.Contains(allLines(), line) {
					return fmt.Errorf("--line %s: there is no such line; want some of %v", line, allLines())
				}
			}
			if o.times < 1 {
				return errors.New("--times must be at least 1")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			r := &linesRun{linesOptions: o, getenv: os.Getenv, progress: os.Stderr}
			err := r.run(cmd.Context())
			return errors.Join(err, r.table.print(os.Stdout, o.output))
		},
	}
	o.flags(c)
	c.Flags().IntVar(&o.times, "times", 50, "kills at each line")
	c.Flags().StringSliceVar(&o.lines, "line", allLines(), "only these lines")
	c.Flags().DurationVar(&o.limit, "converge-within", 3*time.Minute, "time to converge after the users stop")
	return c
}

// linesRun goes through all lines as often as is wanted. Each time is an episode: new buckets and a new database, a kill at each
// line in some order, and then quiet, in which everything that users wrote is judged.
type linesRun struct {
	linesOptions
	getenv   func(string) string
	progress io.Writer
	self     string
	table    linesTable
}

func (r *linesRun) run(ctx context.Context) (err error) {
	r.table.begin(r.seed, r.lines)
	if r.self, err = os.Executable(); err != nil {
		return err
	}
	began := time.Now()
	defer func() { r.table.Seconds = time.Since(began).Seconds() }()
	for i := range r.times {
		if err := r.episode(ctx, i); err != nil {
			return fmt.Errorf("episode %d: %w", i+1, err)
		}
		fmt.Fprintf(r.progress, "%d of %d times at every line, %.0f s, lost %d\n", i+1, r.times, time.Since(began).Seconds(), r.table.Lost)
	}
	return nil
}

func (r *linesRun) episode(ctx context.Context, number int) (err error) {
	name := fmt.Sprintf("chaos-%d", number+1)
	dir := filepath.Join(r.dir, name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	getenv, err := withDatabase(ctx, r.getenv, name)
	if err != nil {
		return err
	}
	stage, err := e2e.Open(ctx, e2e.Options{
		Name: name, Seed: r.seed, State: "postgres", Limit: r.limit, Dir: dir, Program: r.self, CLI: r.bucketmesh,
	}, e2e.MinIOs, getenv)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stage.Program.Kill(), stage.Close()) }()
	rnd := rand.New(rand.NewPCG(r.seed, uint64(number)))
	u := &users{stage: stage, rand: rnd}
	lines := slices.Clone(r.lines)
	rnd.Shuffle(len(lines), func(i, j int) { lines[i], lines[j] = lines[j], lines[i] })
	for _, line := range lines {
		began := time.Now()
		if line == "5d" { // what was written and not noted down is what this line looks for
			if err := r.kill(ctx, u, "5c-answered", 1, dir); err != nil {
				return err
			}
		}
		if err := r.kill(ctx, u, line, 1+rnd.IntN(3), dir); err != nil {
			return err
		}
		r.table.killed(line, time.Since(began))
	}
	return r.quiet(ctx, stage, lines)
}

// kill starts the process with a trap at a line, has users write, and waits until it is dead. nth is the occurrence of the line.
func (r *linesRun) kill(ctx context.Context, u *users, line string, nth int, dir string) error {
	mark := filepath.Join(dir, "mark")
	if err := os.Remove(mark); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	program := u.stage.Program
	if err := program.Start(ctx, "--line", line, "--nth", strconv.Itoa(nth), "--mark", mark); err != nil {
		return err
	}
	limit, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	g, writing := errgroup.WithContext(limit)
	g.Go(func() error { return u.until(writing, program.Gone()) })
	err := g.Wait()
	if limit.Err() != nil && ctx.Err() == nil {
		return fmt.Errorf("line %s was not reached %d times within %s: a kill there proves nothing", line, nth, within)
	}
	if err != nil {
		return err
	}
	state, err := program.Died()
	if err != nil {
		return err
	}
	return diedAt(state, mark, line)
}

// quiet lets a process without a trap come to rest and judges what became of all writes of an episode.
func (r *linesRun) quiet(ctx context.Context, stage *e2e.Stage, lines []string) error {
	began := time.Now()
	if err := stage.Program.Start(ctx); err != nil {
		return err
	}
	if err := stage.Program.Ready(ctx); err != nil {
		return err
	}
	sum, err := stage.Judge(ctx, io.Discard)
	if err != nil {
		return fmt.Errorf("after kills at lines %v: %w", lines, err)
	}
	if err := stage.DeadLetters(ctx, sum); err != nil {
		return err
	}
	sum.Faults = slices.DeleteFunc(sum.Faults, ofAnotherEpisode)
	r.table.judged(sum, time.Since(began))
	if err := sum.Fault(); err != nil {
		r.table.Faults = append(r.table.Faults, append(sum.Evidence, sum.Faults...)...)
		return fmt.Errorf("after kills at lines %v: %w", lines, err)
	}
	return stage.Program.Stop(ctx)
}

// ofAnotherEpisode are dead letters about the buckets of an earlier episode: MinIO delivers what it could not deliver before, and
// tells once more what was delivered already, long after that episode was judged.
func ofAnotherEpisode(fault string) bool {
	return strings.Contains(fault, `"reason": "bucket \"chaos-`) && strings.Contains(fault, `is not a replica of this server`)
}
