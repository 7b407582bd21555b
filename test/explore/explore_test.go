package main

import (
	"bytes"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/bucketmesh/bucketmesh/pkg/reconcile/plan"
)

// foundIn is a scope that finds each fault soon.
var foundIn = map[plan.Mutant]string{
	plan.EagerJoin:         "2x2x2-crash",
	plan.NoNonce:           "2x3x1-lossy",
	plan.NonceForever:      "2x3x1-restores",
	plan.NonceNotConsumed:  "2x3x1-restores",
	plan.OverwriteFirst:    "2x3x1-primary",
	plan.ProviderClockRank: "2x3x1-backwards",
	plan.RankUp:            "2x3x1-lossy",
	plan.StateFirst:        "2x2x2-crash",
	plan.UnconditionalDel:  "2x3x1-primary",
	plan.UnconditionalPut:  "2x2x2-crash",
	plan.UnpinnedRead:      "2x3x1-primary",

	plan.ReadOnlyWrites:  "3x2x1-readonly",
	plan.TentativeParent: "2x3x1-lossy",
	plan.UnseenConfirm:   "2x3x1-lossy",
	plan.AdoptAnyContent: "2x3x1-restores",
	plan.LineageLost:     "2x3x1-primary",
	plan.MayFollowLost:   "2x3x1-primary",
	plan.NewestHead:      "2x2x2-crash",
	plan.TimeoutFailed:   "2x3x1-lossy",
	plan.TimeoutDone:     "2x3x1-lossy",
	plan.RefusedDone:     "2x3x1-lossy",
	plan.DeniedAbsent:    "2x2x1-faults",
	plan.ErrorAbsent:     "2x2x1-faults",
	plan.KeepNothing:     "2x3x1-primary",
	plan.FirstHeadWins:   "2x3x1-lossy",
	plan.IntentUnstored:  "2x3x1-lossy",
}

// notFound are faults that the scopes don't find, and why. The simulator finds all of them.
var notFound = map[plan.Mutant]string{
	plan.NoLease:          "2x4x1-restores finds it, after two million states: too long for a test",
	plan.JoinedLineage:    "no scope is large enough: it takes equal contents, a join, and an edit under a policy that does not rank by time",
	plan.RowGoneEarly:     "no scope is large enough",
	plan.NoRecovery:       "what line 5d keeps is known by its content here, which is somewhere else, too",
	plan.MetaBlind:        "objects have no metadata here",
	plan.NoMetageneration: "objects have no metadata here",
	plan.DotsRestart:      "dots are numbered anew here",
	plan.OneNonce:         "nonces are numbered here",
	plan.OneLook:          "a look is one step here, and so is looking twice",
	plan.TentativeSettles: "who comes back to a key is not modelled: a state is brought to rest by looking",
	plan.CleanUnknown:     "who comes back to a key is not modelled",
	plan.EventLost:        "events are not modelled",
	plan.EchoForever:      "which notifications cost nothing is not modelled",
	plan.HintBelieved:     "notifications are not modelled, but for where a look begins",
	plan.HintForgotten:    "notifications are not modelled",
	plan.NoVerify:         "copies are made in one step",
	plan.OneCopy:          "copies are known by their content",
	plan.UploadLeft:       "uploads are not modelled",
	plan.Revocable:        "conditions hold here",
}

func find(t *testing.T, name string) scope {
	t.Helper()
	for _, sc := range scopes() {
		if sc.name == name {
			return sc
		}
	}
	t.Fatalf("there is no scope %s", name)
	return scope{}
}

// small is a scope that takes a moment.
func small(t *testing.T) scope {
	t.Helper()
	sc := find(t, "2x2x2-crash")
	sc.name, sc.workers, sc.losses = "2x2x1", 1, 1
	return sc
}

func TestNoViolation(t *testing.T) {
	sc := small(t)
	r := explore(&sc, plan.None, 2)
	if r.found != nil {
		var story bytes.Buffer
		tell(&story, &sc, plan.None, r.found)
		t.Fatalf("%s\n%s", r.found.violation, &story)
	}
	if r.cut || r.states < 10_000 || r.rests < 200 || r.residual.r2 == 0 {
		t.Errorf("visited less than there is: %+v", r)
	}
}

// The totals follow from the scope, not from who visits what first.
func TestTotalsAreTheSameOnAnyNumberOfGoroutines(t *testing.T) {
	sc := small(t)
	one, four := explore(&sc, plan.None, 1), explore(&sc, plan.None, 4)
	one.seconds, four.seconds, one.memory, four.memory = 0, 0, 0, 0
	if one != four {
		t.Errorf("one goroutine: %+v\nfour: %+v", one, four)
	}
}

// An explorer that finds nothing in a broken synchronizer proves nothing.
func TestMutantsAreFound(t *testing.T) {
	known := slices.Sorted(maps.Keys(foundIn))
	known = append(known, slices.Sorted(maps.Keys(notFound))...)
	slices.Sort(known)
	if all := slices.Sorted(maps.Keys(plan.Mutants())); !slices.Equal(known, all) {
		t.Fatalf("there are the faults %v, and scopes for %v", all, known)
	}
	for m, name := range foundIn {
		t.Run(string(m), func(t *testing.T) {
			t.Parallel()
			sc := find(t, name)
			if sc.restores { // large, and found without
				sc.losses = 0
			}
			if r := explore(&sc, m, 1); r.found == nil {
				t.Errorf("scope %s does not find it: %+v", name, r)
			}
		})
	}
}

// A violation comes with the shortest way to it, which does lead there.
func TestStory(t *testing.T) {
	var out bytes.Buffer
	if code := run([]string{"-scope", "2x2x2-crash", "-mutant", string(plan.UnconditionalPut)}, &out, io.Discard); code != 1 {
		t.Fatalf("exit code %d:\n%s", code, &out)
	}
	want := regexp.MustCompile(`(?s)   1 .* a user puts content 1 at .* writes \(5c\).* VIOLATION I6 overwrite: .*\nstates=\d+ violations=[1-9]\d*\n$`)
	if !want.MatchString(out.String()) {
		t.Errorf("told\n%s", &out)
	}
}

// What is written of a state is all of it, and says the same again.
func TestStatesAreReadAsTheyWereWritten(t *testing.T) {
	for _, name := range []string{"2x3x1-restores", "2x3x1-versions", "2x2x2-crash", "3x2x1-readonly", "2x2x1-faults"} {
		sc := find(t, name)
		p := &part{search: &search{scope: &sc, seen: &visited{}, rested: &visited{}}, machine: newMachine(&sc, plan.None)}
		first := initial(&sc)
		p.push(&first)
		for range 14 {
			for _, chunk := range p.take() {
				for _, written := range split(chunk) {
					s := decode(written, &sc)
					again := codec{}
					again.world(&s, &sc)
					if !bytes.Equal(again.buf, written) {
						t.Fatalf("%s: read %x, wrote %x", name, written, again.buf)
					}
					if r, _, ok := p.machine.compact(new(p.machine.expand(&s.row, 0))); !ok || !s.row.missing && r != normal(s.row) {
						t.Fatalf("%s: a row changes on its way to the planner and back:\n%+v\n%+v", name, s.row, r)
					}
					p.successors(written)
				}
			}
		}
	}
}

// normal is a row without what the planner does not know.
func normal(r row) row {
	for i := range r.intents[:r.ni] {
		if it := &r.intents[i]; it.lease == leaseNever {
			it.lease = leaseEnded
		}
	}
	return r
}

func TestArguments(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		code int
		says string
	}{
		"unknown mutant": {[]string{"-mutant", "no-such-fault"}, 2, "no-such-fault"},
		"unknown scope":  {[]string{"-scope", "9x9x9"}, 2, "9x9x9"},
		"unknown flag":   {[]string{"-no-such-flag"}, 2, "no-such-flag"},
		"stray argument": {[]string{"100"}, 2, "stray"},
		"help":           {[]string{"-h"}, 0, "-scope"},
		"the list":       {[]string{"-list"}, 0, "3x2x2"},
		"the short list": {[]string{"-list", "-short"}, 0, "2x2x2-crash"},
		"cut":            {[]string{"-scope", "2x4x1", "-most", "5000"}, 0, "cut by a bound"},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			if code := run(c.args, &out, &out); code != c.code || !strings.Contains(out.String(), c.says) {
				t.Errorf("exit code %d, want %d; said %q, want %q", code, c.code, out.String(), c.says)
			}
		})
	}
}
