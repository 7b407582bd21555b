package rank_test

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/policy/rank"
)

var head = rank.Head{Replica: "eu", Kind: "put", Size: 7, WrittenAt: time.Unix(1_000_000_000, 5), Holders: []string{"asia", "eu"}}

func compile(t testing.TB, expression string) *rank.Expression {
	t.Helper()
	e, err := rank.Compile(expression)
	if err != nil {
		t.Fatalf("%q: %v", expression, err)
	}
	return e
}

func TestOf(t *testing.T) {
	for expression, want := range map[string]string{
		"head.size":                                          "7",
		"uint(head.size)":                                    "7",
		"double(head.size) / 2.0":                            "3.5",
		"double(head.size) / 0.0":                            "+Inf",
		"head.kind == 'put'":                                 "true",
		"head.kind == 'delete'":                              "false",
		"head.replica in ['us', 'eu']":                       "true",
		"size(head.holders) * 2 > replicas":                  "true",
		"head.holders.exists(h, h == 'us')":                  "false",
		"head.holders[0] == 'asia' ? 2 : 1":                  "2",
		"int(head.writtenAt)":                                "1000000000",
		"head.writtenAt.getHours()":                          "1",
		"head.writtenAt < timestamp('2001-09-09T01:46:41Z')": "true",
		"head.replica.matches('^e[a-z]$')":                   "true",
		"int(dyn(head.size))":                                "7",
		// What has no value says why.
		"head.size / 0":                            "none (division by zero)",
		"0.0 / 0.0":                                "none (not a number)",
		"head.holders[5] == 'a'":                   "none (index out of bounds: 5)",
		"9223372036854775807 + head.size":          "none (integer overflow)",
		"uint(head.size - 8)":                      "none (unsigned integer overflow)",
		"head.replica.matches(head.replica + '(')": "none (error parsing regexp: missing closing ): `eu(`)",
	} {
		e := compile(t, expression)
		for range 3 {
			r := e.Of(head, 3)
			if got := r.String(); got != want || strings.HasPrefix(want, "none") != (r.None() != "") {
				t.Errorf("%q = %q, want %q", expression, got, want)
			}
		}
	}
}

// TestRefused: each of these would be a surprise in the first conflict, or on the next machine.
func TestRefused(t *testing.T) {
	for _, tc := range []struct{ name, expression, want string }{
		{"nothing", "", "1:1: it ends too early"},
		{"ends too early", "head.size +", "1:12: it ends too early"},
		{"no such field", "head.kind == 'put' ?\n  head.siez : 0", "2:3: this is no field of head"},
		{"no fields", "head", "1:1: this is no field of head"},
		{"no such variable", "1 + sizes", "1:5: undeclared reference to 'sizes'"},
		{"a clock", "now() > head.writtenAt", "1:4: undeclared reference to 'now'"},
		{"a text", "head.replica", "1:5: the result is of type string, and must be int, uint, double or bool"},
		{"anything", "dyn(head.size)", "1:4: the result is of type dyn, and must be int, uint, double or bool"},
		{"two types", "head.size > 1 ? 1 : 2.0", "1:15: found no matching overload for '_?_:_' applied to '(bool, int, double)'"},
		{"a literal that is no time", "head.writtenAt > timestamp('yesterday')", "1:28: invalid timestamp argument"},
		{"a literal that is no pattern", "head.replica.matches('(')", "1:22: invalid matches argument"},
		{"time zones differ between machines", "head.writtenAt.getHours('Europe/Berlin')", "1:24: time zones can't be used: each machine knows its own; times are in UTC"},
		{"also those that are hidden", "dyn(head.writtenAt).getHours('Europe/Berlin') == 1", "1:29: time zones can't be used: each machine knows its own; times are in UTC"},
		{"also seconds", "head.writtenAt.getSeconds('Europe/Berlin')", "1:26: time zones can't be used: each machine knows its own; times are in UTC"},
		{"maps have no order", "{'a': 1, 'b': 2}.map(k, k)[0] == 'a'", "1:1: maps and messages can't be used: their order is random"},
		{"nor have messages", "size(google.protobuf.Struct{}) == 0", "1:28: maps and messages can't be used: their order is random"},
		{"too much work", "head.holders.all(a, head.holders.all(b, head.holders.all(c, a == b)))", "1:17: an evaluation may take more than 10000 steps"},
		{"too deep", strings.Repeat("(", 300) + "1" + strings.Repeat(")", 300), "1:1: expression recursion limit exceeded: 250"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := rank.Check(tc.expression)
			if !errkind.Is(err, errkind.Invalid) || err.Error() != tc.want {
				t.Errorf("error is %v, want %s", err, tc.want)
			}
		})
	}
}

// TestRanksAreTotallyOrdered, whatever the expression has a value for.
func TestRanksAreTotallyOrdered(t *testing.T) {
	var expressions []*rank.Expression
	for _, text := range []string{
		"head.size - 2", "uint(head.size)", "1.0 / double(head.size - 2)", "double(head.size) * 0.0 / double(head.size)", "head.size > 1", "6 / head.size",
		"head.size == 3 ? -0.0 : 0.0",
	} {
		expressions = append(expressions, compile(t, text))
	}
	rapid.Check(t, func(t *rapid.T) {
		e := rapid.SampledFrom(expressions).Draw(t, "expression")
		gen := rapid.Custom(func(t *rapid.T) rank.Rank {
			return e.Of(rank.Head{Size: rapid.Int64Range(0, 4).Draw(t, "size")}, 3)
		})
		a, b, c := gen.Draw(t, "a"), gen.Draw(t, "b"), gen.Draw(t, "c")
		switch {
		case a.Compare(b) != -b.Compare(a), a.Compare(a) != 0:
			t.Fatalf("%v and %v: not antisymmetric", a, b)
		case a.Compare(b) <= 0 && b.Compare(c) <= 0 && a.Compare(c) > 0:
			t.Fatalf("%v, %v and %v: not transitive", a, b, c)
		case a.None() != "" && b.None() == "" && a.Compare(b) >= 0:
			t.Fatalf("%v is not lower than %v", a, b)
		}
	})
}

func TestCompare(t *testing.T) {
	small, large := rank.Head{Size: 1}, rank.Head{Size: 2}
	for expression, want := range map[string]int{
		"head.size": -1, "-head.size": 1, "uint(head.size)": -1, "double(head.size)": -1, "head.size > 1": -1, "head.size > 2": 0,
		"1 / (head.size - 1)": -1, "1 / (head.size - 2)": 1, "1 / 0": 0,
	} {
		e := compile(t, expression)
		if got := e.Of(small, 3).Compare(e.Of(large, 3)); got != want {
			t.Errorf("%q: %d, want %d", expression, got, want)
		}
	}
}

// FuzzCompile: no text makes it panic; what it refuses, it refuses in one line with a place; what it takes, it evaluates to
// the same rank again.
func FuzzCompile(f *testing.F) {
	for _, s := range []string{"head.size", "", "head.", "[1,2].map(x, x*2)[0]", "'\r\n'", "\xff", "1/0", "head.holders.map(h, h + h).size()"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		e, err := rank.Compile(text)
		if err != nil {
			line, rest, _ := strings.Cut(err.Error(), ":")
			if line == "" || rest == "" || strings.Trim(line, "0123456789") != "" || strings.Contains(rest, "\n") {
				t.Fatalf("error %q", err)
			}
			return
		}
		if a, b := e.Of(head, 3), e.Of(head, 3); a.String() != b.String() || a.Compare(b) != 0 || a.String() == "" {
			t.Fatalf("%q: %v and %v", text, a, b)
		}
	})
}

func BenchmarkCompile(b *testing.B) {
	for b.Loop() {
		compile(b, "head.kind == 'put' && head.holders.exists(h, h == 'eu') ? head.size : 0")
	}
}
