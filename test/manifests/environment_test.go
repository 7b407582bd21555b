package manifests

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// constants reads the text constants of a file of Go, by name. A constant may be Prefix + "...".
func constants(t *testing.T, path string) map[string]string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, path), nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	var value func(ast.Expr) (string, bool)
	value = func(e ast.Expr) (string, bool) {
		switch e := e.(type) {
		case *ast.BasicLit:
			s, err := strconv.Unquote(e.Value)
			return s, err == nil
		case *ast.Ident:
			s, ok := found[e.Name]
			return s, ok
		case *ast.BinaryExpr:
			a, okA := value(e.X)
			b, okB := value(e.Y)
			return a + b, okA && okB && e.Op == token.ADD
		}
		return "", false
	}
	for _, d := range file.Decls {
		gen, ok := d.(*ast.GenDecl)
		if !ok || gen.Tok != token.CONST {
			continue
		}
		for _, spec := range gen.Specs {
			v, ok := spec.(*ast.ValueSpec)
			if !ok || len(v.Values) != len(v.Names) {
				continue
			}
			for i, name := range v.Names {
				if s, ok := value(v.Values[i]); ok {
					found[name.Name] = s
				}
			}
		}
	}
	if len(found) < 5 {
		t.Fatalf("%s has only the constants %v", path, found)
	}
	return found
}

// reads lists the variables that a call in a program's main.go stands for, by the names of pkg/serve/env.
var reads = map[string][]string{
	"env.Group":         {"Config"},
	"env.Sink":          {"Broker"},
	"env.DSN":           {"State"},
	"worker.Service":    {"Config", "Broker", "State"},
	"receive.PushOf":    {"PushAudience", "PushAccounts", "PushKeys"},
	"receive.EntraOf":   {"EntraTenant", "EntraAudience", "EntraApps", "EntraKeys"},
	"env.List":          {},
	"env.Duration":      {},
	"env.Required":      {},
	"env.StateWait":     {}, // a length of time
	"env.Getenv":        {},
	"worker.AllOpeners": {},
}

// readBy lists the variables that a program reads: those of pkg/serve/env that its main.go names or has others read.
func readBy(t *testing.T, program string, names map[string]string) map[string]bool {
	t.Helper()
	path := filepath.Join(root, "services", program, "main.go")
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	ast.Inspect(file, func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		of, ok := sel.X.(*ast.Ident)
		if !ok {
			return true
		}
		if of.Name == "env" && names[sel.Sel.Name] != "" {
			found[names[sel.Sel.Name]] = true
			return true
		}
		variables, known := reads[of.Name+"."+sel.Sel.Name]
		if of.Name == "env" && !known {
			t.Errorf("%s calls env.%s: say in this test which variables that reads", path, sel.Sel.Name)
		}
		for _, v := range variables {
			found[names[v]] = true
		}
		return true
	})
	if len(found) == 0 {
		t.Errorf("%s reads no variable: this test does not see how", path)
	}
	return found
}

// sinks lists the subjects of the SinkBindings that have the broker as their sink.
func (s set) sinks() map[string]bool {
	found := map[string]bool{}
	for _, o := range s.of("sources.knative.dev", "SinkBinding") {
		if o.str("spec", "sink", "ref", "kind") == "Broker" && o.str("spec", "sink", "ref", "name") == "bucketmesh" {
			found[o.str("spec", "subject", "apiVersion")+" "+o.str("spec", "subject", "kind")+" "+o.str("spec", "subject", "name")] = true
		}
	}
	return found
}

// toldWhereTheBrokerIs looks that nobody has the broker's address written down, and that who publishes has a SinkBinding. Who
// publishes is who the policies let to the broker.
func toldWhereTheBrokerIs(s set) []string {
	var problems []string
	bound := s.sinks()
	for _, o := range s {
		pod, ok := o.pod()
		if !ok {
			continue
		}
		for _, c := range pod.Containers {
			for _, e := range c.Env {
				if e.Name == "K_SINK" {
					problems = append(problems, fmt.Sprintf("%s: sets K_SINK itself", o))
				}
			}
		}
		silent := o.name() == "audit" || o.name() == "dead-letters"
		if !silent && !bound[o.str("apiVersion")+" "+o.str("kind")+" "+o.name()] {
			problems = append(problems, fmt.Sprintf("%s: has no SinkBinding", o))
		}
	}
	return problems
}

// Every variable that a program reads is set where it runs, so that it only has to be given a value.
func TestVariablesThatAreReadAreSet(t *testing.T) {
	names := constants(t, "pkg/serve/env/env.go")
	for name, objects := range sets(t) {
		bound := set(objects).sinks()
		for _, o := range objects {
			program, ok := o.program()
			if !ok {
				continue
			}
			given := map[string]bool{}
			pod, _ := o.pod()
			for _, e := range pod.Containers[0].Env {
				given[e.Name] = true
			}
			if bound[o.str("apiVersion")+" "+o.str("kind")+" "+o.name()] {
				given[names["Broker"]], given[names["Overrides"]] = true, true
			}
			read := readBy(t, program, names)
			for _, v := range sorted(read) {
				if !given[v] {
					t.Errorf("%s: %s reads $%s, which nothing sets", name, o, v)
				}
			}
			for _, e := range pod.Containers[0].Env {
				if !read[e.Name] {
					t.Errorf("%s: %s sets $%s, which the program does not read", name, o, e.Name)
				}
			}
		}
	}
}

// Every variable is explained to who deploys.
func TestVariablesAreDocumented(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "docs", "DEPLOY.md"))
	if err != nil {
		t.Fatal(err)
	}
	names := constants(t, "pkg/serve/env/env.go")
	for _, name := range sorted(names) {
		if !strings.Contains(string(text), "`"+names[name]+"`") {
			t.Errorf("docs/DEPLOY.md does not tell of `%s`", names[name])
		}
	}
	for _, name := range []string{"LOG_LEVEL", "METRICS_ADDR", "OTEL_EXPORTER_OTLP_ENDPOINT"} {
		if !strings.Contains(string(text), "`"+name+"`") {
			t.Errorf("docs/DEPLOY.md does not tell of `%s`", name)
		}
	}
}
