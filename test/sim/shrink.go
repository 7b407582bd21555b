package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/bucketmesh/bucketmesh/pkg/reconcile/plan"
)

// invariant is the name of what a violation violates.
func invariant(violation string) string {
	name, _, _ := strings.Cut(violation, ":")
	return name
}

// shrinker reduces a tape while the run goes on violating the same invariant.
type shrinker struct {
	mutant plan.Mutant
	want   string
	best   *tape
	left   int // tries
}

// shrink makes a history small: fewer acts, and duller decisions in those that stay.
func shrink(seed uint64, mutant plan.Mutant, want string, tries int) *tape {
	c := recording(seed)
	newWorld(c, mutant, nil).run()
	s := &shrinker{mutant: mutant, want: want, best: &tape{parts: c.tape.parts, rest: c.tape.rest}, left: tries}
	for {
		before := s.best.String()
		s.acts()
		s.numbers()
		if s.left <= 0 || s.best.String() == before {
			return s.best
		}
	}
}

// keep takes a tape if its run violates the same invariant.
func (s *shrinker) keep(t *tape) bool {
	if s.left <= 0 {
		return false
	}
	s.left--
	if invariant(newWorld(replaying(t), s.mutant, nil).run().violation) != s.want {
		return false
	}
	s.best = t
	return true
}

// acts leaves out acts, many at once as long as that works.
func (s *shrinker) acts() {
	for n := len(s.best.parts) - 1; n > 0; n /= 2 {
		for at := len(s.best.parts) - n; at >= 1; at -= n {
			parts := slices.Concat(s.best.parts[:at], s.best.parts[min(at+n, len(s.best.parts)):])
			s.keep(&tape{parts: parts, rest: s.best.rest})
		}
	}
}

// numbers makes decisions dull: whole parts first, then one by one.
func (s *shrinker) numbers() {
	s.keep(&tape{parts: s.best.parts})
	for i := range len(s.best.parts) {
		if len(s.best.parts[i]) > 0 && s.keep(s.with(i, nil)) {
			continue
		}
		for j, v := range slices.Backward(s.best.parts[i]) {
			for _, less := range []uint32{0, v / 2, v - 1} {
				if less < v && s.keep(s.set(i, j, less)) {
					break
				}
			}
		}
	}
	for j := len(s.best.rest) - 1; j >= 0; j-- {
		if v := s.best.rest[j]; v > 0 {
			rest := slices.Clone(s.best.rest)
			rest[j] = 0
			s.keep(&tape{parts: s.best.parts, rest: rest})
		}
	}
}

func (s *shrinker) with(part int, p []uint32) *tape {
	parts := slices.Clone(s.best.parts)
	parts[part] = p
	return &tape{parts: parts, rest: s.best.rest}
}

func (s *shrinker) set(part, at int, v uint32) *tape {
	p := slices.Clone(s.best.parts[part])
	p[at] = v
	return s.with(part, p)
}

// tries bounds how long a history is shrunk.
const tries = 6000

// tell shrinks what was found, and tells the story.
func (s search) tell(out io.Writer, f found) {
	t := shrink(f.seed, s.mutant, invariant(f.violation), tries)
	fmt.Fprintf(out, "shrunk to %d acts: go run ./test/sim%s -replay %s\n", len(t.parts)-1, s.flag(), t)
	story(out, t, s.mutant)
}

// longest is how many lines of a story are told: one that does not end repeats itself.
const longest = 150

// story plays a tape and tells what happens.
func story(out io.Writer, t *tape, mutant plan.Mutant) string {
	lines := 0
	said := func(format string, args ...any) {
		if lines++; lines <= longest {
			fmt.Fprintf(out, "  "+format+"\n", args...)
		}
	}
	o := newWorld(replaying(t), mutant, said).run()
	if lines > longest {
		fmt.Fprintf(out, "  and so on, %d lines more\n", lines-longest)
	}
	return o.violation
}

// play is -replay.
func play(out, errs io.Writer, arg string, mutant plan.Mutant) int {
	if text, err := os.ReadFile(arg); err == nil {
		arg = string(text)
	}
	t, err := parseTape(arg)
	if err != nil {
		fmt.Fprintf(errs, "sim: %q is neither a file nor a tape: %v\n", arg, err)
		return 2
	}
	if story(out, t, mutant) == "" {
		fmt.Fprintln(out, "no violation")
		return 0
	}
	return 1
}
