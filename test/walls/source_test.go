package walls

import (
	"go/ast"
	"go/token"
	"strings"
	"testing"
)

// maxLines is the longest file: what a reader can keep in mind.
const maxLines = 600

// longFiles may have more than maxLines lines.
var longFiles = map[string]string{}

// variables are the package-level variables that could change, with the reason why they may be there. Tables that nobody writes to, sentinel
// errors, compiled patterns and embedded files need no entry.
var variables = map[string]string{
	"pkg/reconcile/plan.genesis": "a sentinel that is compared by its address; nobody writes to it",
}

func TestPackagesExplainThemselves(t *testing.T) {
	for _, p := range packages(t) {
		if len(p.GoFiles) == 0 {
			continue // tests only
		}
		want := "Package " + p.Name + " "
		if p.Name == "main" {
			want = "Command " + p.Rel[strings.LastIndex(p.Rel, "/")+1:] + " "
		}
		if !strings.HasPrefix(p.Doc, want) {
			t.Errorf("%s has no package comment that begins with %q", p.Rel, want)
		}
	}
}

func TestNoInitFunctions(t *testing.T) {
	for _, p := range packages(t) {
		for _, f := range goFiles(t, p) {
			for _, d := range f.file.Decls {
				if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
					t.Errorf("%s has an init function: hand dependencies in", f.path)
				}
			}
		}
	}
}

func TestFilesStayReadable(t *testing.T) {
	for _, p := range packages(t) {
		for _, f := range goFiles(t, p) {
			lines := strings.Count(f.text, "\n")
			if _, ok := longFiles[f.path]; lines > maxLines && !ok && !ast.IsGenerated(f.file) {
				t.Errorf("%s has %d lines, more than %d: split it, or give a reason in longFiles", f.path, lines, maxLines)
			}
		}
	}
}

func TestNoChangingPackageVariables(t *testing.T) {
	used := map[string]bool{}
	for _, p := range packages(t) {
		files := goFiles(t, p)
		written := map[string]bool{}
		for _, f := range files {
			collectWrites(f.file, written)
		}
		for _, f := range files {
			if f.test {
				continue
			}
			for name, constant := range packageVars(f.file) {
				full := p.Rel + "." + name
				if _, ok := variables[full]; ok {
					used[full] = true
					continue
				}
				if !constant || written[name] {
					t.Errorf("%s: package variable %s: hand it in, make it a table that nobody writes to, or give a reason in variables", f.path, name)
				}
			}
		}
	}
	for name := range variables {
		if !used[name] {
			t.Errorf("variables has an entry for %s, which is not there any more", name)
		}
	}
}

// packageVars are the variables of a file, and whether each is made once and for all: an unexported table, a sentinel
// error, a compiled pattern, an embedded file.
func packageVars(f *ast.File) map[string]bool {
	vars := map[string]bool{}
	for _, d := range f.Decls {
		gen, ok := d.(*ast.GenDecl)
		if !ok || gen.Tok != token.VAR {
			continue
		}
		for _, s := range gen.Specs {
			spec, ok := s.(*ast.ValueSpec)
			if !ok {
				continue
			}
			embedded := strings.Contains(comment(gen.Doc)+comment(spec.Doc), "//go:embed ")
			for i, name := range spec.Names {
				if name.Name == "_" {
					continue // a check at compile time
				}
				vars[name.Name] = embedded || i < len(spec.Values) && fixed(name.Name, spec.Values[i])
			}
		}
	}
	return vars
}

func comment(g *ast.CommentGroup) string {
	var b strings.Builder
	if g != nil {
		for _, c := range g.List {
			b.WriteString(c.Text + "\n")
		}
	}
	return b.String()
}

// fixed reports whether a variable with this first value needs no reason.
func fixed(name string, value ast.Expr) bool {
	switch v := value.(type) {
	case *ast.CompositeLit:
		return !ast.IsExported(name)
	case *ast.CallExpr:
		fun, ok := v.Fun.(*ast.SelectorExpr)
		if !ok {
			return false
		}
		from, ok := fun.X.(*ast.Ident)
		if !ok {
			return false
		}
		switch from.Name + "." + fun.Sel.Name {
		case "errors.New", "fmt.Errorf", "errkind.New", "regexp.MustCompile", "template.Must", "strings.NewReplacer",
			"time.Date", "time.Unix":
			return true
		}
	}
	return false
}

// collectWrites adds the names of what a file assigns to (wholly, by index or by field), deletes from or takes the
// address of. Names are not resolved: a local variable that has the name of a package's table hides it anyway.
func collectWrites(f *ast.File, names map[string]bool) {
	add := func(e ast.Expr) {
		for {
			switch x := e.(type) {
			case *ast.IndexExpr:
				e = x.X
			case *ast.SelectorExpr:
				e = x.X
			case *ast.ParenExpr:
				e = x.X
			case *ast.Ident:
				names[x.Name] = true
				return
			default:
				return
			}
		}
	}
	ast.Inspect(f, func(n ast.Node) bool {
		switch x := n.(type) {
		case *ast.AssignStmt:
			if x.Tok == token.DEFINE {
				return true
			}
			for _, l := range x.Lhs {
				add(l)
			}
		case *ast.IncDecStmt:
			add(x.X)
		case *ast.UnaryExpr:
			if x.Op == token.AND {
				add(x.X)
			}
		case *ast.CallExpr:
			if fun, ok := x.Fun.(*ast.Ident); ok && (fun.Name == "delete" || fun.Name == "clear") && len(x.Args) > 0 {
				add(x.Args[0])
			}
		}
		return true
	})
}
