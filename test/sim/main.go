// Command sim runs the real planner and engine over modelled clouds, users, notifications and crashes, one seeded
// history after the other, each twice, and checks the invariants of docs/algorithm.md after every step.
//
//	go run ./test/sim -seeds 100000            # ends with: seeds=N violations=0 seeds_per_second=R
//	go run ./test/sim -from 4711 -seeds 1 -v   # replays one seed and tells what happened
//	go run ./test/sim -mutants                 # seeds every fault, and prints the table of what finds it
//	go run ./test/sim -list-mutants            # the faults that can be seeded
//	go run ./test/sim -mutant eager-join       # must find the fault: exits 1
//	go run ./test/sim -replay TAPE             # plays a history that was shrunk; TAPE is what was printed, or a file with it
//
// A history that violates an invariant is shrunk to a small one that violates the same one, and told.
//
// Exit codes: 0 no violation, 1 a violation was found (or, with -mutants, a fault was not), 2 wrong usage.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/pprof"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/reconcile/plan"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// search is what to run.
type search struct {
	from, seeds uint64
	mutant      plan.Mutant
	procs       int
	once        bool // do not run each seed a second time
}

// run is the command with its arguments. It returns the exit code.
func run(args []string, out, errs io.Writer) int {
	flags := flag.NewFlagSet("sim", flag.ContinueOnError)
	flags.SetOutput(errs)
	var (
		seeds   = flags.Uint64("seeds", 20_000, "how many histories to run (with -mutants: at most, for each fault)")
		from    = flags.Uint64("from", 1, "first seed")
		mutant  = flags.String("mutant", "", "seed this fault (see -list-mutants)")
		mutants = flags.Bool("mutants", false, "seed every fault in turn, and print the table of what finds it")
		list    = flags.Bool("list-mutants", false, "list the faults that can be seeded")
		verbose = flags.Bool("v", false, "tell what happens")
		shrink  = flags.Bool("shrink", true, "shrink a history that violates an invariant, and tell it")
		replay  = flags.String("replay", "", "play this tape, or the one in this file, and tell what happens")
		once    = flags.Bool("once", false, "run each seed once, without comparing it with a second run: to measure the speed of one")
		procs   = flags.Int("procs", runtime.GOMAXPROCS(0), "histories to run at once")
		profile = flags.String("cpuprofile", "", "write a profile to this file")
	)
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	}
	if *list {
		for _, m := range faults() {
			fmt.Fprintf(out, "%-28s %s\n", m.name, m.does)
		}
		return 0
	}
	if *mutant != "" && !known(*mutant) || flags.NArg() > 0 || *seeds == 0 || *procs < 1 {
		fmt.Fprintf(errs, "sim: unknown mutant %q, a stray argument or an empty range; see -h and -list-mutants\n", *mutant)
		return 2
	}
	if *profile != "" {
		f, err := os.Create(*profile)
		if err == nil {
			err = pprof.StartCPUProfile(f)
		}
		if err != nil {
			fmt.Fprintf(errs, "sim: write profile: %v\n", err)
			return 2
		}
		defer func() { pprof.StopCPUProfile(); _ = f.Close() }()
	}
	s := search{from: *from, seeds: *seeds, mutant: plan.Mutant(*mutant), procs: *procs, once: *once}
	switch {
	case *replay != "":
		return play(out, errs, *replay, s.mutant)
	case *mutants:
		return table(out, s)
	case *verbose:
		s.procs, *shrink = 1, false
		return s.report(out, *shrink, func(format string, args ...any) { fmt.Fprintf(out, format+"\n", args...) })
	}
	return s.report(out, *shrink, nil)
}

// found is the result of a search.
type found struct {
	seed      uint64 // the lowest that fails
	violation string // "": none
	ran       uint64
	took      time.Duration
}

// report explores and says what was found.
func (s search) report(out io.Writer, shrink bool, log func(string, ...any)) int {
	f := s.explore(log)
	violations, code := 0, 0
	if f.violation != "" {
		violations, code = 1, 1
		fmt.Fprintf(out, "seed %d: %s\nreplay: go run ./test/sim -from %d -seeds 1 -v%s\n", f.seed, f.violation, f.seed, s.flag())
		if shrink && invariant(f.violation) != determinism {
			s.tell(out, f)
		}
	}
	rate := float64(f.ran) / max(f.took.Seconds(), 1e-9)
	fmt.Fprintf(out, "seeds=%d violations=%d seeds_per_second=%.0f\n", f.ran, violations, rate)
	return code
}

// flag is what a command needs beside a seed or a tape.
func (s search) flag() string {
	if s.mutant == plan.None {
		return ""
	}
	return " -mutant " + string(s.mutant)
}

// determinism is the rule that a seed has one history.
const determinism = "D determinism"

// try runs a seed, twice, and says what it violates.
func (s search) try(seed uint64, log func(string, ...any)) string {
	first := newWorld(newChooser(seed), s.mutant, log).run()
	if !s.once {
		if again := newWorld(newChooser(seed), s.mutant, nil).run(); again != first {
			return fmt.Sprintf("%s: seed %d has two histories, %x and %x, with %q and %q", determinism, seed,
				first.digest, again.digest, first.violation, again.violation)
		}
	}
	return first.violation
}

// explore runs seeds until one fails, and finds the lowest failing one.
func (s search) explore(log func(string, ...any)) found {
	start := time.Now()
	var next, ran atomic.Uint64
	var mu sync.Mutex
	var f found
	var all sync.WaitGroup
	for range s.procs {
		all.Go(func() {
			for {
				seed := s.from + next.Add(1) - 1
				mu.Lock()
				stop := seed >= s.from+s.seeds || f.violation != "" && seed > f.seed
				mu.Unlock()
				if stop {
					return
				}
				violation := s.try(seed, log)
				ran.Add(1)
				if violation == "" {
					continue
				}
				mu.Lock()
				if f.violation == "" || seed < f.seed {
					f.seed, f.violation = seed, violation
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
	f.ran, f.took = ran.Load(), time.Since(start)
	return f
}
