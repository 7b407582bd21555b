// Command sim runs the real planner and engine over modelled buckets, users, notifications and crashes, one seeded
// history after the other, and checks the invariants I1 to I6 of docs/algorithm.md after every step.
//
//	go run ./test/sim -seeds 100000            # ends with: seeds=N violations=0 seeds_per_second=R
//	go run ./test/sim -from 4711 -seeds 1 -v   # replays one seed and tells what happened
//	go run ./test/sim -list-mutants            # the faults that can be seeded
//	go run ./test/sim -mutant eager-join       # must find the fault: exits 1
//
// Exit codes: 0 no violation, 1 a violation was found, 2 wrong usage.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/reconcile/plan"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// run is the command with its arguments. It returns the exit code.
func run(args []string, out, errs io.Writer) int {
	flags := flag.NewFlagSet("sim", flag.ContinueOnError)
	flags.SetOutput(errs)
	var (
		seeds   = flags.Uint64("seeds", 20_000, "how many histories to run")
		from    = flags.Uint64("from", 1, "first seed")
		mutant  = flags.String("mutant", "", "seed this fault (see -list-mutants)")
		list    = flags.Bool("list-mutants", false, "list the faults that can be seeded")
		verbose = flags.Bool("v", false, "tell what happens")
		procs   = flags.Int("procs", runtime.GOMAXPROCS(0), "histories to run at once")
	)
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	}
	mutants := plan.Mutants()
	if *list {
		for _, m := range slices.Sorted(maps.Keys(mutants)) {
			fmt.Fprintf(out, "%-28s %s\n", m, mutants[m])
		}
		return 0
	}
	if _, ok := mutants[plan.Mutant(*mutant)]; *mutant != "" && !ok || flags.NArg() > 0 || *seeds == 0 || *procs < 1 {
		fmt.Fprintf(errs, "sim: unknown mutant %q, a stray argument or an empty range; see -h and -list-mutants\n", *mutant)
		return 2
	}
	return explore(out, *from, *seeds, plan.Mutant(*mutant), *procs, *verbose)
}

// explore runs seeds until one fails, and reports the lowest failing one.
func explore(out io.Writer, from, seeds uint64, mutant plan.Mutant, procs int, verbose bool) int {
	var log func(string, ...any)
	if verbose {
		procs = 1
		log = func(format string, args ...any) { fmt.Fprintf(out, format+"\n", args...) }
	}
	start := time.Now()
	var next, ran atomic.Uint64
	var mu sync.Mutex
	failed, why := uint64(0), ""
	var all sync.WaitGroup
	for range procs {
		all.Go(func() {
			for {
				seed := from + next.Add(1) - 1
				mu.Lock()
				stop := seed >= from+seeds || why != "" && seed > failed
				mu.Unlock()
				if stop {
					return
				}
				violation := newWorld(seed, mutant, log).run()
				ran.Add(1)
				if violation == "" {
					continue
				}
				mu.Lock()
				if why == "" || seed < failed {
					failed, why = seed, violation
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
	rate := float64(ran.Load()) / max(time.Since(start).Seconds(), 1e-9)
	violations, code := 0, 0
	if why != "" {
		violations, code = 1, 1
		replay := fmt.Sprintf("go run ./test/sim -from %d -seeds 1 -v", failed)
		if mutant != plan.None {
			replay += " -mutant " + string(mutant)
		}
		fmt.Fprintf(out, "seed %d: %s\nreplay: %s\n", failed, why, replay)
	}
	fmt.Fprintf(out, "seeds=%d violations=%d seeds_per_second=%.0f\n", ran.Load(), violations, rate)
	return code
}
