package manifests

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"

	"github.com/bucketmesh/bucketmesh/pkg/config"
)

// root is the repository.
const root = "../.."

// object is one document of a set of manifests.
type object struct {
	from    string // where it is: a file, or an overlay
	content map[string]any
	text    []byte // JSON
}

func (o object) at(path ...string) any {
	var v any = o.content
	for _, p := range path {
		m, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = m[p]
	}
	return v
}

func (o object) str(path ...string) string {
	s, _ := o.at(path...).(string)
	return s
}

// group is the API group, without a version.
func (o object) group() string {
	g, _, found := strings.Cut(o.str("apiVersion"), "/")
	if !found {
		return ""
	}
	return g
}

func (o object) is(group, kind string) bool { return o.group() == group && o.str("kind") == kind }
func (o object) name() string               { return o.str("metadata", "name") }

func (o object) String() string {
	return fmt.Sprintf("%s: %s %s", o.from, o.str("kind"), o.name())
}

var separator = regexp.MustCompile(`(?m)^---([ \t].*)?\r?$`)

// parse reads documents of YAML; a field that is there twice is an error.
func parse(from string, text []byte) ([]object, error) {
	var objects []object
	for i, part := range separator.Split(string(text), -1) {
		o := object{from: from}
		err := yaml.UnmarshalStrict([]byte(part), &o.content)
		if err != nil {
			return nil, fmt.Errorf("%s: document %d: %w", from, i+1, err)
		}
		if len(o.content) == 0 {
			continue // comments only
		}
		if o.text, err = yaml.YAMLToJSON([]byte(part)); err != nil {
			return nil, fmt.Errorf("%s: document %d: %w", from, i+1, err)
		}
		objects = append(objects, o)
	}
	return objects, nil
}

// base is config/, file by file.
func base(t *testing.T) map[string][]byte { return files(t, filepath.Join(root, "config", "*.yaml")) }

func files(t *testing.T, pattern string) map[string][]byte {
	t.Helper()
	names, err := filepath.Glob(pattern)
	if err != nil || len(names) == 0 {
		t.Fatalf("no files %s: %v", pattern, err)
	}
	texts := map[string][]byte{}
	for _, name := range names {
		if texts[filepath.Base(name)], err = os.ReadFile(name); err != nil {
			t.Fatal(err)
		}
	}
	return texts
}

func parseAll(t *testing.T, texts map[string][]byte) []object {
	t.Helper()
	var all []object
	for _, name := range sorted(texts) {
		objects, err := parse(name, texts[name])
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, objects...)
	}
	return all
}

func sorted[V any](m map[string]V) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// overlays lists the folders of deploy/ that can be built.
func overlays(t *testing.T) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(root, "deploy", "*", "kustomization.yaml"))
	if err != nil || len(found) < 5 {
		t.Fatalf("only %d overlays: %v", len(found), err)
	}
	names := make([]string, 0, len(found))
	for _, f := range found {
		names = append(names, filepath.Base(filepath.Dir(f)))
	}
	return names
}

func build(t *testing.T, folder string) []object {
	t.Helper()
	resources, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), filepath.Join(root, folder))
	if err != nil {
		t.Fatalf("build %s: %v", folder, err)
	}
	text, err := resources.AsYaml()
	if err != nil {
		t.Fatalf("build %s: %v", folder, err)
	}
	objects, err := parse(folder, text)
	if err != nil {
		t.Fatal(err)
	}
	return objects
}

// sets are all complete sets of manifests: config/ as it is, and every overlay.
func sets(t *testing.T) map[string][]object {
	t.Helper()
	all := map[string][]object{"config": parseAll(t, base(t))}
	for _, name := range overlays(t) {
		all["deploy/"+name] = build(t, filepath.Join("deploy", name))
	}
	return all
}

// pod is the pod template of a Knative Service or a Deployment.
func (o object) pod() (corev1.PodSpec, bool) {
	var pod corev1.PodSpec
	if !o.is("serving.knative.dev", "Service") && !o.is("apps", "Deployment") {
		return pod, false
	}
	text, err := yaml.Marshal(o.at("spec", "template", "spec"))
	if err != nil {
		return pod, false
	}
	return pod, yaml.Unmarshal(text, &pod) == nil // what is Knative's own is passed over
}

// Every manifest of config/ is in its base for overlays, in the same order.
func TestBaseOfOverlaysIsComplete(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "config", "Kustomization"))
	if err != nil {
		t.Fatal(err)
	}
	var k struct {
		Resources []string `json:"resources"`
	}
	if err := yaml.Unmarshal(text, &k); err != nil {
		t.Fatal(err)
	}
	if names := sorted(base(t)); !slices.Equal(k.Resources, names) {
		t.Errorf("config/Kustomization has\n%q, want\n%q", k.Resources, names)
	}
	if got, want := len(build(t, "config")), len(parseAll(t, base(t))); got != want {
		t.Errorf("kustomize makes %d objects of config/, which has %d", got, want)
	}
}

// Who begins with the example begins with a document that is right.
func TestExampleOfAGroupIsValid(t *testing.T) {
	for name, text := range files(t, filepath.Join(root, "deploy", "example", "*.yaml")) {
		if _, err := config.Load(text, config.Options{}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// replaced is a copy of texts with one change in one file.
func replaced(t *testing.T, texts map[string][]byte, file, old, with string) map[string][]byte {
	t.Helper()
	changed := maps.Clone(texts)
	if !bytes.Contains(changed[file], []byte(old)) {
		t.Fatalf("%s has no %q: the fault can't be put in", file, old)
	}
	changed[file] = bytes.Replace(changed[file], []byte(old), []byte(with), 1)
	return changed
}
