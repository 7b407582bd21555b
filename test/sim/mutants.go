package main

import (
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/bucketmesh/bucketmesh/pkg/reconcile/plan"
)

// The faults of the drivers, which the modelled buckets have. Those of planner and engine are with them.
const (
	MarkerUnchecked     plan.Mutant = "marker-unchecked"
	CompleteUnchecked   plan.Mutant = "complete-unchecked"
	CompareAndSetBroken plan.Mutant = "compare-and-set-broken"

	// Undetermined is a fault of the simulator: a clock that does not follow from the seed. It is for a test, and not in the list.
	Undetermined plan.Mutant = "undetermined"
)

// fault is one that can be seeded.
type fault struct {
	name plan.Mutant
	does string
}

// faults are all of them, by name.
func faults() []fault {
	all := plan.Mutants()
	maps.Copy(all, map[plan.Mutant]string{
		MarkerUnchecked:     "a driver writes without a condition and does not look what its version covers",
		CompleteUnchecked:   "a driver does not send the condition when it completes an upload",
		CompareAndSetBroken: "a commit goes over one that came after the row was read",
	})
	var list []fault
	for _, name := range slices.Sorted(maps.Keys(all)) {
		list = append(list, fault{name, all[name]})
	}
	return list
}

func known(name string) bool {
	return slices.ContainsFunc(faults(), func(f fault) bool { return string(f.name) == name })
}

// table seeds every fault and says what finds it. The unmutated code comes first, over all seeds: a check that it trips proves
// nothing about a fault.
func table(out io.Writer, s search) int {
	s.mutant = plan.None
	base := s.explore(nil)
	if base.violation != "" {
		fmt.Fprintf(out, "without any fault, seed %d: %s\n", base.seed, base.violation)
		return 1
	}
	fmt.Fprintf(out, "without any fault: seeds=%d violations=0\n\n| fault | what it does | found by | after seeds |\n|---|---|---|---|\n", base.ran)
	survivors := 0
	s.once = true
	for _, m := range faults() {
		s.mutant = m.name
		f := s.explore(nil)
		if f.violation == "" {
			survivors++
			fmt.Fprintf(out, "| %s | %s | **nothing** | %d |\n", m.name, m.does, f.ran)
			continue
		}
		fmt.Fprintf(out, "| %s | %s | %s | %d |\n", m.name, m.does, invariant(f.violation), f.seed-s.from+1)
	}
	fmt.Fprintf(out, "\nfaults=%d found=%d\n", len(faults()), len(faults())-survivors)
	if survivors > 0 {
		return 1
	}
	return 0
}
