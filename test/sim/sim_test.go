package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/bucketmesh/bucketmesh/pkg/reconcile/plan"
)

// pick is a number of seeds that takes about as long with and without the race detector.
func pick(plain, race int) string {
	if raced {
		return strconv.Itoa(race)
	}
	return strconv.Itoa(plain)
}

func TestNoViolation(t *testing.T) {
	var out bytes.Buffer
	if code := run([]string{"-seeds", pick(2000, 200)}, &out, io.Discard); code != 0 {
		t.Errorf("exit code %d:\n%s", code, &out)
	}
	want := regexp.MustCompile(`^seeds=` + pick(2000, 200) + ` violations=0 seeds_per_second=\d+\n$`)
	if !want.MatchString(out.String()) {
		t.Errorf("said %q", out.String())
	}
}

// Seeds that found a fault of the engine, which has been mended since.
func TestSeedsThatFailedOnce(t *testing.T) {
	for _, seed := range []uint64{34_994, 46_715, 113_474, 115_356, 123_163, 137_357, 173_481, 352_133, 470_568, 474_177, 829_316} {
		var out strings.Builder
		if code := run([]string{"-from", strconv.FormatUint(seed, 10), "-seeds", "1", "-shrink=false"}, &out, &out); code != 0 {
			t.Errorf("seed %d ends with %d:\n%s", seed, code, out.String())
		}
	}
}

// trace is what happened in a run.
func trace(seed uint64, mutant plan.Mutant) (hash string, o outcome) {
	h := sha256.New()
	o = newWorld(newChooser(seed), mutant, func(format string, args ...any) { fmt.Fprintf(h, format+"\n", args...) }).run()
	return hex.EncodeToString(h.Sum(nil)), o
}

// A seed that fails must fail again in the same way, on any machine: so a fault can be replayed. The digest that every search compares
// tells histories apart as well as all that is told of them.
func TestSameSeedSameHistory(t *testing.T) {
	told, digests := map[string]uint64{}, map[uint64]uint64{}
	for seed := uint64(1); seed <= 60; seed++ {
		once, o := trace(seed, plan.None)
		again, p := trace(seed, plan.None)
		if once != again || o != p {
			t.Errorf("seed %d has two histories", seed)
		}
		if other, ok := told[once]; ok {
			t.Errorf("seeds %d and %d have one history", seed, other)
		}
		if other, ok := digests[o.digest]; ok {
			t.Errorf("seeds %d and %d have one digest", seed, other)
		}
		told[once], digests[o.digest] = seed, seed
	}
}

// A run that is not the same twice is a violation of its own.
func TestTwoHistoriesAreAViolation(t *testing.T) {
	s := search{from: 1, seeds: 20, mutant: Undetermined, procs: 1}
	f := s.explore(nil)
	if invariant(f.violation) != determinism || !strings.Contains(f.violation, "seed "+strconv.FormatUint(f.seed, 10)) {
		t.Errorf("found %q", f.violation)
	}
}

// first is where a fault is found at the latest; the table (-mutants) has the faults that take longer.
const first = 150

// A simulator that finds nothing in a broken synchronizer proves nothing. Each fault that shows soon is found here, its history
// shrinks, and the small one still violates the same invariant; .ci/run looks for all of them.
func TestFaultsAreFoundAndShrink(t *testing.T) {
	seen := 0
	for _, m := range faults() {
		t.Run(string(m.name), func(t *testing.T) {
			s := search{from: 1, seeds: first, mutant: m.name, procs: 1, once: true}
			if raced {
				s.seeds = 20
			}
			f := s.explore(nil)
			if f.violation == "" {
				return
			}
			seen++
			c := recording(f.seed)
			if o := newWorld(c, m.name, nil).run(); o.violation != f.violation {
				t.Fatalf("recorded, it violates %q instead of %q", o.violation, f.violation)
			}
			small := shrink(f.seed, m.name, invariant(f.violation), 1500)
			replayed, err := parseTape(small.String())
			if err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			if got := story(&out, replayed, m.name); invariant(got) != invariant(f.violation) {
				t.Errorf("shrunk, it violates %q instead of %q", got, f.violation)
			}
			if before, after := len(c.tape.parts), len(small.parts); after > before/2 {
				t.Errorf("%d acts shrank to %d", before, after)
			}
			if before, after := numbers(c.tape), numbers(small); after > before/4 {
				t.Errorf("%d decisions that are not dull shrank to %d", before, after)
			}
			if !strings.Contains(out.String(), "VIOLATION "+invariant(f.violation)) && strings.Count(out.String(), "\n") < longest {
				t.Errorf("the story does not tell the violation:\n%s", &out)
			}
		})
	}
	if want := 25; seen < want && !raced {
		t.Errorf("%d faults were found within %d seeds, want %d", seen, first, want)
	}
}

// numbers is how many decisions of a tape are not dull.
func numbers(t *tape) (n int) {
	for _, p := range append(append([][]uint32{}, t.parts...), t.rest) {
		for _, v := range p {
			if v > 0 {
				n++
			}
		}
	}
	return n
}

// The table says for each fault what finds it, and fails if one survives, or if the unmutated code trips a check.
func TestTable(t *testing.T) {
	var out bytes.Buffer
	code := run([]string{"-mutants", "-seeds", "3"}, &out, io.Discard)
	if code != 1 || !strings.Contains(out.String(), "without any fault: seeds=3 violations=0") {
		t.Errorf("exit code %d:\n%s", code, &out)
	}
	row := regexp.MustCompile(`(?m)^\| newest-head \| .* \| I\d [a-z ]+ \| \d+ \|$`)
	if !row.MatchString(out.String()) || !strings.Contains(out.String(), "**nothing**") {
		t.Errorf("said:\n%s", &out)
	}
	if n := len(faults()); n < 30 {
		t.Errorf("there are %d faults, want 30 at least", n)
	}
}

// What is told to replay does replay, and tells the whole history: as a seed, and as a tape in the argument or in a file.
func TestReplay(t *testing.T) {
	mutant := string(plan.UnconditionalPut)
	var found bytes.Buffer
	if code := run([]string{"-mutant", mutant}, &found, io.Discard); code != 1 {
		t.Fatalf("exit code %d:\n%s", code, &found)
	}
	commands := regexp.MustCompile(`go run ./test/sim ([^\n]*)`).FindAllStringSubmatch(found.String(), -1)
	if len(commands) != 2 {
		t.Fatalf("it says %d commands:\n%s", len(commands), &found)
	}
	tape := strings.Fields(commands[1][1])
	file := filepath.Join(t.TempDir(), "tape")
	if err := os.WriteFile(file, []byte(tape[len(tape)-1]+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, args := range map[string][]string{
		"seed": strings.Fields(commands[0][1]), "tape": tape, "file": {"-mutant", mutant, "-replay", file},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			if code := run(args, &out, &out); code != 1 {
				t.Fatalf("exit code %d:\n%s", code, &out)
			}
			for _, want := range []string{"user op 0 at ", " line 5c replica ", "VIOLATION I"} {
				if !strings.Contains(out.String(), want) {
					t.Errorf("the history does not tell %q", want)
				}
			}
		})
	}
}

func TestArguments(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		code int
		says string
	}{
		"unknown mutant":    {[]string{"-mutant", "no-such-fault"}, 2, "no-such-fault"},
		"unknown flag":      {[]string{"-no-such-flag"}, 2, "no-such-flag"},
		"stray argument":    {[]string{"100"}, 2, "stray"},
		"no seeds":          {[]string{"-seeds", "0"}, 2, "empty range"},
		"no workers":        {[]string{"-procs", "0"}, 2, "see -h"},
		"no tape":           {[]string{"-replay", "1.?"}, 2, "neither a file nor a tape"},
		"a dull tape":       {[]string{"-replay", "/"}, 0, "no violation"},
		"help":              {[]string{"-h"}, 0, "-list-mutants"},
		"the list":          {[]string{"-list-mutants"}, 0, "eager-join"},
		"a range elsewhere": {[]string{"-from", "18000000000", "-seeds", "3", "-once"}, 0, "seeds=3 violations=0"},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			if code := run(c.args, &out, &out); code != c.code || !strings.Contains(out.String(), c.says) {
				t.Errorf("exit code %d, want %d; said %q, want %q", code, c.code, out.String(), c.says)
			}
		})
	}
}
