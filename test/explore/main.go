// Command explore visits every state that small scopes of the synchronizer can come to, and checks the invariants I1 to I6 of
// docs/algorithm.md in each. What a row becomes at each line is asked of package plan, the one that production runs; between
// the lines everything interleaves that can: workers that stop anywhere, users, crashes, leases that end, requests and answers
// that get lost, replicas that don't answer or refuse writes.
//
//	go run ./test/explore                      # ends with: states=N violations=0
//	go run ./test/explore -short               # the scopes for every commit, in less than a minute
//	go run ./test/explore -list                # the scopes
//	go run ./test/explore -scope 2x3x2         # one of them
//	go run ./test/explore -mutant eager-join   # must find the fault: tells the shortest way to it and exits with 1
//
// Exit codes: 0 no violation, 1 a violation was found, 2 wrong usage.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/reconcile/plan"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// run is the command with its arguments. It returns the exit code.
func run(args []string, out, errs io.Writer) int {
	flags := flag.NewFlagSet("explore", flag.ContinueOnError)
	flags.SetOutput(errs)
	var (
		only   = flags.String("scope", "", "explore this scope alone (see -list)")
		short  = flags.Bool("short", false, "explore the scopes for every commit")
		list   = flags.Bool("list", false, "list the scopes")
		mutant = flags.String("mutant", "", "seed this fault: a mutant of package plan")
		most   = flags.Int("most", 0, "stop a scope after the level that reaches this many states")
		procs  = flags.Int("procs", runtime.GOMAXPROCS(0), "goroutines")
	)
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	}
	chosen := slices.DeleteFunc(scopes(), func(sc scope) bool {
		return *only != "" && sc.name != *only || *short && !sc.short
	})
	if _, ok := plan.Mutants()[plan.Mutant(*mutant)]; *mutant != "" && !ok || flags.NArg() > 0 || len(chosen) == 0 || *procs < 1 {
		fmt.Fprintf(errs, "explore: unknown mutant %q, unknown scope %q or a stray argument; see -h and -list\n", *mutant, *only)
		return 2
	}
	if *list {
		for _, sc := range chosen {
			fmt.Fprintf(out, "%-22s %s\n", sc.name, sc.say())
		}
		return 0
	}
	for i := range chosen {
		if *most > 0 {
			chosen[i].most = *most
		}
	}
	return all(out, chosen, plan.Mutant(*mutant), *procs)
}

// all explores scopes one after the other, up to the first with a violation.
func all(out io.Writer, chosen []scope, mutant plan.Mutant, procs int) int {
	begin := time.Now()
	fmt.Fprintf(out, "%-22s %10s %11s %9s %6s %6s %6s %10s %8s %6s\n", "scope", "states", "transitions", "at rest", "R2", "R6", "depth", "violations", "seconds", "MiB")
	var sum result
	for i := range chosen {
		sc := &chosen[i]
		r := explore(sc, mutant, procs)
		sum.states, sum.violations = sum.states+r.states, sum.violations+r.violations
		note := ""
		if r.cut {
			note = "  cut by a bound"
		}
		fmt.Fprintf(out, "%-22s %10d %11d %9d %6d %6d %6d %10d %8.1f %6d%s\n", sc.name, r.states, r.transitions, r.rests,
			r.residual.r2, r.residual.r6, r.depth, r.violations, r.seconds, r.memory>>20, note)
		if r.found != nil {
			fmt.Fprintf(out, "\n%s: %s\n", sc.name, strings.TrimSpace(sc.say()))
			tell(out, sc, mutant, r.found)
			break
		}
		debug.FreeOSMemory() // of one scope at a time
	}
	fmt.Fprintf(out, "states_per_second=%.0f\n", float64(sum.states)/max(time.Since(begin).Seconds(), 1e-9))
	fmt.Fprintf(out, "states=%d violations=%d\n", sum.states, sum.violations)
	if sum.violations > 0 {
		return 1
	}
	return 0
}
