package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/bucketmesh/bucketmesh/pkg/reconcile/plan"
)

// knownFrom are seeds at which the simulator finds each fault. A change of the engine or of the model moves them: then
// "go run ./test/sim -mutant NAME -seeds 20000" says the first one that finds it now.
var knownFrom = map[plan.Mutant]uint64{
	plan.EagerJoin:         5,
	plan.NoLease:           11599,
	plan.NoNonce:           396,
	plan.NonceForever:      33,
	plan.NonceNotConsumed:  2584,
	plan.OverwriteFirst:    20,
	plan.ProviderClockRank: 2915,
	plan.RankUp:            2552,
	plan.StateFirst:        1,
	plan.UnconditionalDel:  55,
	plan.UnconditionalPut:  3,
	plan.UnpinnedRead:      972,
}

// pick is a number of seeds that takes about as long with and without the race detector.
func pick(plain, race int) string {
	if raced {
		return strconv.Itoa(race)
	}
	return strconv.Itoa(plain)
}

func TestNoViolation(t *testing.T) {
	var out bytes.Buffer
	if code := run([]string{"-seeds", pick(2000, 300)}, &out, io.Discard); code != 0 {
		t.Errorf("exit code %d:\n%s", code, &out)
	}
	want := regexp.MustCompile(`^seeds=` + pick(2000, 300) + ` violations=0 seeds_per_second=\d+\n$`)
	if !want.MatchString(out.String()) {
		t.Errorf("said %q", out.String())
	}
}

// trace is what happened in a run.
func trace(seed uint64, mutant plan.Mutant) (hash, violation string) {
	h := sha256.New()
	violation = newWorld(seed, mutant, func(format string, args ...any) { fmt.Fprintf(h, format+"\n", args...) }).run()
	return hex.EncodeToString(h.Sum(nil)), violation
}

// A seed that fails must fail again in the same way, on any machine: so a fault can be replayed.
func TestSameSeedSameHistory(t *testing.T) {
	seen := map[string]uint64{}
	for seed := uint64(1); seed <= 60; seed++ {
		once, _ := trace(seed, plan.None)
		again, _ := trace(seed, plan.None)
		if once != again {
			t.Errorf("seed %d has two histories", seed)
		}
		if other, ok := seen[once]; ok {
			t.Errorf("seeds %d and %d have one history", seed, other)
		}
		seen[once] = seed
	}
	seed := knownFrom[plan.EagerJoin]
	_, one := trace(seed, plan.EagerJoin)
	if _, two := trace(seed, plan.EagerJoin); one != two {
		t.Errorf("one violation, told twice: %q and %q", one, two)
	}
}

// A simulator that finds nothing in a broken synchronizer proves nothing.
func TestEveryMutantIsFound(t *testing.T) {
	mutants := slices.Sorted(maps.Keys(plan.Mutants()))
	if known := slices.Sorted(maps.Keys(knownFrom)); !slices.Equal(known, mutants) {
		t.Fatalf("there are the faults %v, and seeds for %v", mutants, known)
	}
	for _, m := range mutants {
		t.Run(string(m), func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			args := []string{
				"-mutant", string(m), "-from", strconv.FormatUint(knownFrom[m], 10), "-seeds", pick(20_000, 500),
				"-procs", strconv.Itoa(max(runtime.GOMAXPROCS(0)/2, 1)),
			}
			if code := run(args, &out, io.Discard); code != 1 {
				t.Errorf("exit code %d; look for another seed with: go run ./test/sim -mutant %s -seeds 20000\n%s", code, m, &out)
			}
			if !strings.Contains(out.String(), "replay: go run ./test/sim -from ") || !strings.Contains(out.String(), "violations=1") {
				t.Errorf("said %q", out.String())
			}
		})
	}
}

// What is told to replay does replay, and tells the whole history.
func TestReplay(t *testing.T) {
	var out bytes.Buffer
	from := strconv.FormatUint(knownFrom[plan.UnconditionalPut], 10)
	if code := run([]string{"-from", from, "-seeds", "1", "-v", "-mutant", string(plan.UnconditionalPut)}, &out, io.Discard); code != 1 {
		t.Fatalf("exit code %d:\n%s", code, &out)
	}
	for _, want := range []string{"user op 0 at ", " line 5c replica ", "VIOLATION ", "seeds=1 violations=1"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the history does not tell %q", want)
		}
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
		"help":              {[]string{"-h"}, 0, "-list-mutants"},
		"the list":          {[]string{"-list-mutants"}, 0, "eager-join"},
		"a range elsewhere": {[]string{"-from", "18000000000", "-seeds", "3"}, 0, "seeds=3 violations=0"},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			if code := run(c.args, &out, &out); code != c.code || !strings.Contains(out.String(), c.says) {
				t.Errorf("exit code %d, want %d; said %q, want %q", code, c.code, out.String(), c.says)
			}
		})
	}
}
