// Command tla explores a specification that test/tla can read, from the root of the repository:
//
//	go run ./test/tla/cmd/tla -limit 1000000 docs/spec/Bucketmesh.tla MaxOps=3 Workers={w1}
//
// The constants are those of the file NAME.cfg beside NAME.tla, but for those that are given. The last line says how many states there
// are, and what does not hold.
package main

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/bucketmesh/bucketmesh/test/tla"
)

func main() {
	limit := flag.Int("limit", 0, "stop after so many states; 0: when all were seen")
	reach := flag.String("reach", "Quiet", "a state predicate that can be reached from every state; empty: none")
	by := flag.String("by", "Work", "the part of Next that has to lead there")
	flag.Parse()
	if err := run(*limit, *reach, *by, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(limit int, reach, by string, args []string) error {
	if len(args) == 0 {
		return fmt.Errorf("want the file of a specification")
	}
	text, err := os.ReadFile(args[0])
	if err != nil {
		return fmt.Errorf("read specification: %w", err)
	}
	m, err := tla.Parse(string(text))
	if err != nil {
		return fmt.Errorf("parse %s: %w", args[0], err)
	}
	cfg, err := os.ReadFile(strings.TrimSuffix(args[0], ".tla") + ".cfg")
	if err != nil {
		return fmt.Errorf("read constants: %w", err)
	}
	q, err := tla.ParseConfig(string(cfg))
	if err != nil {
		return fmt.Errorf("parse constants: %w", err)
	}
	for _, a := range args[1:] {
		name, value, _ := strings.Cut(a, "=")
		if err := q.Set(name, value); err != nil {
			return fmt.Errorf("set constant: %w", err)
		}
	}
	q.Limit, q.Reach, q.By = limit, reach, by
	start := time.Now()
	a, err := m.Explore(q)
	if err != nil {
		return fmt.Errorf("explore %s: %w", args[0], err)
	}
	for i, step := range a.Trace {
		fmt.Printf("%3d  %s\n", i+1, step)
	}
	fmt.Printf("states=%d steps=%d depth=%d complete=%v violated=%q in %v\n", a.States, a.Edges, a.Depth, a.Complete, a.Violated,
		time.Since(start).Round(time.Millisecond))
	if a.Violated != "" {
		return fmt.Errorf("%s does not hold", a.Violated)
	}
	return nil
}
