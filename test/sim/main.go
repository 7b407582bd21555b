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
	"flag"
	"fmt"
	"maps"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/reconcile"
)

func main() {
	var (
		seeds   = flag.Uint64("seeds", 20_000, "how many histories to run")
		from    = flag.Uint64("from", 1, "first seed")
		mutant  = flag.String("mutant", "", "seed this fault (see -list-mutants)")
		list    = flag.Bool("list-mutants", false, "list the faults that can be seeded")
		verbose = flag.Bool("v", false, "tell what happens")
		procs   = flag.Int("procs", runtime.GOMAXPROCS(0), "histories to run at once")
	)
	flag.Parse()
	mutants := reconcile.Mutants()
	if *list {
		for _, m := range slices.Sorted(maps.Keys(mutants)) {
			fmt.Printf("%-28s %s\n", m, mutants[m])
		}
		return
	}
	if _, ok := mutants[reconcile.Mutant(*mutant)]; *mutant != "" && !ok || flag.NArg() > 0 || *seeds == 0 || *procs < 1 {
		fmt.Fprintf(os.Stderr, "sim: unknown mutant %q, a stray argument or an empty range; see -h and -list-mutants\n", *mutant)
		os.Exit(2)
	}
	os.Exit(explore(*from, *seeds, reconcile.Mutant(*mutant), *procs, *verbose))
}

// explore runs seeds until one fails, and reports the lowest failing one.
func explore(from, seeds uint64, mutant reconcile.Mutant, procs int, verbose bool) int {
	var log func(string, ...any)
	if verbose {
		procs = 1
		log = func(format string, args ...any) { fmt.Printf(format+"\n", args...) }
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
		if mutant != reconcile.None {
			replay += " -mutant " + string(mutant)
		}
		fmt.Printf("seed %d: %s\nreplay: %s\n", failed, why, replay)
	}
	fmt.Printf("seeds=%d violations=%d seeds_per_second=%.0f\n", ran.Load(), violations, rate)
	return code
}
