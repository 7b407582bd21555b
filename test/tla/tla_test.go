package tla_test

import (
	"strings"
	"testing"

	"github.com/bucketmesh/bucketmesh/test/tla"
)

// module is a specification whose only state is what x holds.
func module(defs, x string) string {
	return "---- MODULE M ----\nCONSTANTS C\nVARIABLES x\n" + defs + "\nInit == x = " + x + "\nNext == UNCHANGED x\n====\n"
}

func explore(t *testing.T, text string, q tla.Question) (tla.Answer, error) {
	t.Helper()
	m, err := tla.Parse(text)
	if err != nil {
		return tla.Answer{}, err
	}
	if q.Constants == nil {
		q.Constants = map[string]any{"C": 7}
	}
	return m.Explore(q)
}

func TestTerms(t *testing.T) {
	for term, want := range map[string]string{
		`1 + 2 * 3`:                               `7`,
		`C - 2 - 1`:                               `4`,
		`{3, 1, 2, 1}`:                            `1..3`,
		`{1, 2} \cup {2, 3} \cup {4}`:             `1..4`,
		`{y \in 1..4 : y > 2}`:                    `{3, 4}`,
		`{y * 2 : y \in 1..2}`:                    `{2, 4}`,
		`UNION {{1}, {2, 3}}`:                     `1..3`,
		`(1..5 \ {2}) \cap {2, 3}`:                `{3}`,
		`[y \in 1..2 |-> y + 1]`:                  `<<2, 3>>`,
		`[a |-> 1, b |-> [c |-> 2]].b.c`:          `2`,
		`[[a |-> 1, b |-> 5] EXCEPT !.a = @ + 1]`: `[b |-> 5, a |-> 2]`,
		`[<<<<1>>>> EXCEPT ![1][1] = 9]`:          `<<<<9>>>>`,
		`DOMAIN <<5, 6>>`:                         `{1, 2}`,
		`Append(<<1>>, 2)`:                        `<<1, 2>>`,
		`Len(<<5, 6>>) + Cardinality({5, 5})`:     `3`,
		`CHOOSE y \in 1..9 : y * y = 49`:          `7`,
		`IF 1 \in {1} THEN 2 ELSE 3`:              `2`,
		`CASE 1 = 2 -> 3 [] 1 = 1 -> 4`:           `4`,
		`LET a == 2  f(y) == y + a IN f(3)`:       `5`,
		`Twice(Inc, 5)`:                           `7`,
		`\A y \in {} : FALSE`:                     `TRUE`,
		`\E y, z \in 1..2 : y < z`:                `TRUE`,
		`~TRUE \/ 1 # 2`:                          `TRUE`,
		`FALSE => FALSE`:                          `TRUE`,
		`{1} \subseteq {1, 2} /\ 3 \notin {1}`:    `TRUE`,
	} {
		defs := "Inc(y) == y + 1\nTwice(f(_), y) == f(f(y))\nSame == (" + term + ") = (" + want + ")"
		a, err := explore(t, module(defs, "0"), tla.Question{Invariants: []string{"Same"}})
		if err != nil || a.Violated != "" || a.States != 1 {
			t.Errorf("%s is not %s: %+v, %v", term, want, a, err)
		}
	}
}

func TestListsFollowTheirColumns(t *testing.T) {
	defs := `
P == \/ /\ FALSE
        /\ TRUE
     \/ /\ TRUE
        /\ \/ FALSE
           \/ TRUE
     \/ FALSE
Q == /\ TRUE => \/ FALSE
                \/ FALSE
     /\ TRUE
Holds == P /\ ~Q`
	if a, err := explore(t, module(defs, "0"), tla.Question{Invariants: []string{"Holds"}}); err != nil || a.Violated != "" {
		t.Error(a, err)
	}
}

const counter = `---- MODULE M ----
VARIABLES x, y
Init == x = 0 /\ y = {}
Up == x < 3 /\ x' = x + 1 /\ UNCHANGED y
Mark == \E n \in 1..2 : y' = y \cup {n} /\ x' = x
Trap == x = 1 /\ x' = 9 /\ UNCHANGED y
Next == Up \/ Mark \/ Trap
Small == x < 3
Home == x = 3
Grows == [][x' >= x]_x
====`

func TestExploreSeesEveryState(t *testing.T) {
	a, err := explore(t, counter, tla.Question{Steps: []string{"Grows"}})
	if err != nil || !a.Complete || a.States != 5*4 || a.Violated != "" {
		t.Errorf("%+v, %v", a, err)
	}
	a, err = explore(t, counter, tla.Question{Limit: 5})
	if err != nil || a.Complete || a.States < 5 {
		t.Errorf("with a limit: %+v, %v", a, err)
	}
}

func TestExploreTellsTheShortestWay(t *testing.T) {
	a, err := explore(t, counter, tla.Question{Invariants: []string{"Small"}})
	if err != nil || a.Violated != "Small" || len(a.Trace) != 2 || !strings.Contains(a.Trace[1], "Trap") {
		t.Errorf("%+v, %v", a, err)
	}
	a, err = explore(t, counter, tla.Question{Reach: "Home", By: "Up"})
	if err != nil || a.Violated != "Home is out of reach" {
		t.Errorf("%+v, %v", a, err)
	}
}

func TestWhatHasNoMeaningIsRefused(t *testing.T) {
	for name, text := range map[string]string{
		"an unknown name":              module("P == nowhere", "0"),
		"a field that is not there":    module("P == [a |-> 1].b = 1", "0"),
		"kinds that can't be compared": module(`P == 1 = "1"`, "0"),
		"a number as a condition":      module("P == 1 /\\ TRUE", "0"),
		"a number as a set":            module(`P == 1 \in 2`, "0"),
		"nothing to choose":            module(`P == (CHOOSE y \in {} : TRUE) = 1`, "0"),
		"an ambiguous text":            module(`P == {1} \ {1} \cup {1} = {1}`, "0"),
		"a list of both":               module(`P == TRUE /\ TRUE \/ TRUE`, "0"),
		"no case":                      module(`P == CASE FALSE -> TRUE`, "0"),
		"a name that is defined twice": module("P == TRUE\nP == FALSE", "0"),
		"an unknown sign":              module("P == TRUE $ FALSE", "0"),
		"a text that ends":             "---- MODULE M ----\nP == (1",
		"a step that forgets":          strings.Replace(module("P == TRUE", "0"), "UNCHANGED x", "TRUE", 1),
	} {
		if a, err := explore(t, text, tla.Question{Invariants: []string{"P"}}); err == nil {
			t.Errorf("%s: %+v", name, a)
		}
	}
	if _, err := explore(t, module("P == TRUE", "0"), tla.Question{Constants: map[string]any{"D": 1}}); err == nil {
		t.Error("a constant without a value")
	}
}

func TestConfig(t *testing.T) {
	q, err := tla.ParseConfig("SPECIFICATION S\nCONSTANTS\n  N = 2 \\* two\n  W = {\"a\", \"b\"}\n  Y = TRUE\nINVARIANTS A B\nPROPERTIES P\n")
	if err != nil || q.Constants["N"] != 2 || q.Constants["Y"] != true || len(q.Constants["W"].([]string)) != 2 ||
		len(q.Invariants) != 2 || len(q.Steps) != 1 {
		t.Errorf("%+v, %v", q, err)
	}
	for _, text := range []string{"CONSTANTS N", "CONSTANTS N = x"} {
		if _, err := tla.ParseConfig(text); err == nil {
			t.Errorf("%q was taken", text)
		}
	}
}
