package tla_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/bucketmesh/bucketmesh/test/tla"
)

const spec = "../../docs/spec/Bucketmesh"

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func question(t *testing.T, changes string) tla.Question {
	t.Helper()
	q, err := tla.ParseConfig(read(t, spec+".cfg"))
	if err != nil {
		t.Fatal(err)
	}
	for c := range strings.FieldsSeq(changes) {
		name, value, _ := strings.Cut(c, "=")
		if err := q.Set(name, value); err != nil {
			t.Fatal(err)
		}
	}
	q.Reach, q.By = "Quiet", "Work"
	return q
}

// The specification holds, in scopes that are explored to the end. Larger ones: docs/spec/README.md.
func TestSpecificationHolds(t *testing.T) {
	m, err := tla.Parse(read(t, spec+".tla"))
	if err != nil {
		t.Fatal(err)
	}
	for name, changes := range map[string]string{
		"as it is":        "",
		"restores":        "Restores=TRUE",
		"merges":          "Merging=TRUE",
		"three replicas":  "N=3 MaxCrashes=0",
		"more operations": "MaxOps=3 MaxCrashes=0",
	} {
		t.Run(name, func(t *testing.T) {
			a, err := m.Explore(question(t, changes))
			if err != nil {
				t.Fatal(err)
			}
			if !a.Complete || a.States < 1000 {
				t.Errorf("%d states, %d steps, %s does not hold:\n%s", a.States, a.Edges, a.Violated, strings.Join(a.Trace, "\n"))
			}
			t.Logf("%d states, %d steps", a.States, a.Edges)
		})
	}
}

// Faults in the specification are found: it can fail, and each of its precautions is there for a reason.
func TestSpecificationFindsFaults(t *testing.T) {
	text := read(t, spec+".tla")
	whole, err := tla.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	for name, fault := range map[string]struct{ old, new, scope string }{
		"R1 eager join":              {`THEN [rw[r] EXCEPT !.tent = {v}] ELSE`, `THEN [rw[r] EXCEPT !.ver = v] ELSE`, "MaxOps=3 MaxCrashes=0 Restores=TRUE"},
		"R1 tentative parent":        {`LET parent == row[r].ver `, `LET parent == Eff(row[r]) `, "MaxOps=3 MaxCrashes=0 Restores=TRUE"},
		"R4 the provider's clock":    {`Max({Clock(o), parent.rank + 1} \cup {i.ver.rank + 1 : i \in At(r)})`, `Clock(o)`, ""},
		"R4 not above intents":       {` \cup {i.ver.rank + 1 : i \in At(r)})`, `)`, ""},
		"no nonce":                   {`ELSE IF Ours(r, seen[r]) # {} THEN "ours"`, `ELSE IF FALSE THEN "ours"`, ""},
		"unconditional write":        {`IF bucket[o.rep].tag = o.expect`, `IF TRUE`, ""},
		"unpinned read":              {`IF bucket[me.src].tag = me.pin`, `IF TRUE`, ""},
		"overwrite before preserve":  {`losers == {v \in heads :`, `losers == {v \in {} :`, ""},
		"no compare-and-set":         {`ELSE [worker[v] EXCEPT !.fresh = FALSE]]`, `ELSE worker[v]]`, "Workers={w1,w2}"},
		"the row keeps the old tag":  {`[ver |-> me.ver, tent |-> {}, tag |-> The(at(r)).tag]`, `[ver |-> me.ver, tent |-> {}, tag |-> row[r].tag]`, ""},
		"an intent that nobody ends": {`{i \in At(r) : i.nonce \notin over}`, `At(r)`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			if strings.Count(text, fault.old) != 1 {
				t.Fatalf("%q is there %d times", fault.old, strings.Count(text, fault.old))
			}
			m, err := tla.Parse(strings.Replace(text, fault.old, fault.new, 1))
			if err != nil {
				t.Fatal(err)
			}
			q := question(t, fault.scope)
			q.Limit = 300_000
			a, err := m.Explore(q)
			if err != nil {
				t.Fatal(err)
			}
			if a.Violated == "" {
				t.Errorf("nobody notices, in %d states (all: %v)", a.States, a.Complete)
			}
			t.Logf("%s, after %d states", a.Violated, a.States)
			q.Limit = a.States + 1
			if a, err = whole.Explore(q); err != nil || a.Violated != "" {
				t.Errorf("the same is found without the fault: %s, %v", a.Violated, err)
			}
		})
	}
}

// What the specification says of the code is there, and no function of the code that a row goes through is left out.
func TestSpecificationNamesTheCode(t *testing.T) {
	const folder = "../../pkg/reconcile/plan"
	named := map[string]bool{}
	for _, m := range regexp.MustCompile(`plan\.(\w+)`).FindAllStringSubmatch(read(t, spec+".tla"), -1) {
		named[m[1]] = true
	}
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	functions, rows := map[string]bool{}, 0
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".go") || strings.HasSuffix(e.Name(), "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), folder+"/"+e.Name(), nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || fn.Recv != nil || !fn.Name.IsExported() {
				continue
			}
			functions[fn.Name.Name] = true
			if !takesRow(fn) {
				continue
			}
			if rows++; !named[fn.Name.Name] {
				t.Errorf("plan.%s takes a row, and the specification does not say what it is there", fn.Name.Name)
			}
		}
	}
	if rows == 0 {
		t.Error("no function takes a row")
	}
	for name := range named {
		if !functions[name] {
			t.Errorf("the specification speaks of plan.%s, which is not there", name)
		}
	}
}

func takesRow(fn *ast.FuncDecl) bool {
	found := false
	ast.Inspect(fn.Type.Params, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok {
			x, ok := s.X.(*ast.Ident)
			found = found || ok && x.Name == "state" && s.Sel.Name == "Row"
		}
		return true
	})
	return found
}
