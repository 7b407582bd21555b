package walls

import (
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"
)

var (
	link    = regexp.MustCompile(`\]\(<?([^)\s>]+)>?(?:\s+"[^"]*")?\)`)
	fence   = regexp.MustCompile("(?ms)^[ \t]*```.*?^[ \t]*```")
	code    = regexp.MustCompile("`[^`\n]*`")
	heading = regexp.MustCompile(`(?m)^#{1,6}\s+(.+?)\s*#*\s*$`)
)

// registries are hosts that serve packages. Which one is used is the reader's (or a mirror's) choice: the documents and
// the scripts name packages and versions.
var registries = []string{
	"proxy." + "golang.org", "sum." + "golang.org", "registry." + "npmjs.org", "registry." + "yarnpkg.com", "pypi." + "org",
	"files." + "pythonhosted.org", "static." + "crates.io", "rubygems." + "org", "repo1." + "maven.org", "repo." + "maven.apache.org",
}

// tracked lists the files of the repository, also those that were not added yet.
func tracked(t *testing.T, patterns ...string) []string {
	t.Helper()
	args := append([]string{"ls-files", "-z", "--cached", "--others", "--exclude-standard", "--"}, patterns...)
	var files []string
	for name := range strings.SplitSeq(run(t, "git", args...), "\x00") {
		if name == "" {
			continue
		}
		if _, err := os.Stat(filepath.Join(root(t), name)); err == nil { // else removed, and not committed yet
			files = append(files, name)
		}
	}
	if len(files) == 0 {
		t.Fatalf("there are no files %v", patterns)
	}
	return files
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root(t), name))
	if err != nil {
		t.Fatalf("read document: %v", err)
	}
	return string(text)
}

func TestLinksOfDocumentsResolve(t *testing.T) {
	for _, name := range tracked(t, "*.md") {
		text := code.ReplaceAllString(fence.ReplaceAllString(read(t, name), ""), "")
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			u, err := url.Parse(m[1])
			if err != nil {
				t.Errorf("%s: link %q: %v", name, m[1], err)
				continue
			}
			if u.Scheme != "" || u.Host != "" {
				continue // outside of the repository
			}
			target := name
			if u.Path != "" {
				target = filepath.Join(filepath.Dir(name), u.Path)
			}
			if _, err := os.Stat(filepath.Join(root(t), target)); err != nil || strings.HasPrefix(target, "..") {
				t.Errorf("%s: link %q leads to %s, which is not there", name, m[1], target)
				continue
			}
			if u.Fragment != "" && strings.HasSuffix(target, ".md") && !anchors(read(t, target))[u.Fragment] {
				t.Errorf("%s: link %q: %s has no such heading", name, m[1], target)
			}
		}
	}
}

// anchors are the names of a document's headings, as they are used in links.
func anchors(text string) map[string]bool {
	names := map[string]bool{}
	for _, m := range heading.FindAllStringSubmatch(fence.ReplaceAllString(text, ""), -1) {
		var b strings.Builder
		for _, r := range strings.ToLower(m[1]) {
			switch {
			case unicode.IsLetter(r), unicode.IsDigit(r), r == '-', r == '_':
				b.WriteRune(r)
			case r == ' ':
				b.WriteByte('-')
			}
		}
		names[b.String()] = true
	}
	return names
}

func TestDocumentsNameNoPackageRegistry(t *testing.T) {
	for _, name := range tracked(t, "*.md", "*.sh", ".ci/run", "*.yaml", "*.yml") {
		text := read(t, name)
		for _, host := range registries {
			if strings.Contains(text, host) {
				t.Errorf("%s names %s: name the package and its version instead", name, host)
			}
		}
	}
}
