package walls

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const module = "github.com/bucketmesh/bucketmesh"

// pkg is what go list says of a package of the module. Rel is its folder, relative to the root.
type pkg struct {
	Rel                                   string `json:"-"`
	ImportPath, Dir, Doc, Name            string
	GoFiles, CgoFiles, IgnoredGoFiles     []string
	TestGoFiles, XTestGoFiles             []string
	Imports, Deps                         []string
	TestImports, XTestImports, EmbedFiles []string
}

func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatalf("find root: %v", err)
	}
	return dir
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = root(t)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v", name, strings.Join(args, " "), err)
	}
	return string(out)
}

// packages lists all packages of the module.
func packages(t *testing.T) []pkg {
	t.Helper()
	dec := json.NewDecoder(strings.NewReader(run(t, "go", "list", "-json", "./...")))
	var all []pkg
	for {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("decode go list: %v", err)
		}
		p.Rel = strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/")
		all = append(all, p)
	}
	if len(all) < 10 {
		t.Fatalf("go list found %d packages: this test looks at the wrong folder", len(all))
	}
	return all
}

// parsed is a Go file with its place.
type parsed struct {
	path string // relative to the root
	test bool
	file *ast.File
	fset *token.FileSet
	text string
}

// goFiles parses the files of p, those with build constraints that do not hold here included.
func goFiles(t *testing.T, p pkg) []parsed {
	t.Helper()
	var all []parsed
	for _, names := range [][]string{p.GoFiles, p.CgoFiles, p.IgnoredGoFiles, p.TestGoFiles, p.XTestGoFiles} {
		for _, name := range names {
			text, err := os.ReadFile(filepath.Join(p.Dir, name))
			if err != nil {
				t.Fatalf("read source: %v", err)
			}
			fset := token.NewFileSet()
			file, err := parser.ParseFile(fset, name, text, parser.ParseComments|parser.SkipObjectResolution)
			if err != nil {
				t.Fatalf("parse %s: %v", name, err)
			}
			all = append(all, parsed{
				path: filepath.ToSlash(filepath.Join(p.Rel, name)), test: strings.HasSuffix(name, "_test.go"),
				file: file, fset: fset, text: string(text),
			})
		}
	}
	return all
}

// under reports whether path is folder or below it; "" is everything.
func under(path, folder string) bool {
	return folder == "" || path == folder || strings.HasPrefix(path, folder+"/")
}

func underAny(path string, folders []string) bool {
	for _, f := range folders {
		if under(path, f) {
			return true
		}
	}
	return false
}
