package config

import (
	"bytes"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/invopop/jsonschema"
	validator6 "github.com/santhosh-tekuri/jsonschema/v6"
	"sigs.k8s.io/yaml"
)

const schemaFile = "schema/syncgroup.v1alpha1.json"

// onlyLoad are the cases of testdata/refused that the schema can't see, because they are about the text of the file, or
// about fields that depend on each other, or inside of a URL or a pattern.
var onlyLoad = []string{
	"conflicts-deadline-too-long", "conflicts-deadline-too-short", "conflicts-deadline-without-use",
	"conflicts-discard-fallback", "conflicts-discard-keep-both", "conflicts-discard-primary",
	"conflicts-expression-missing", "conflicts-expression-syntax", "conflicts-expression-time-zone", "conflicts-expression-too-costly",
	"conflicts-expression-type", "conflicts-expression-unknown-field", "conflicts-expression-without-cel",
	"conflicts-fallback-primary-without-order", "conflicts-fallback-without-use", "conflicts-format-without-merge",
	"conflicts-max-size-too-large", "conflicts-max-size-too-small", "conflicts-max-size-without-merge", "conflicts-order-not-of-the-fallback",
	"conflicts-quorum-two-replicas", "conflicts-secret-missing", "conflicts-secret-without-webhook", "conflicts-url-http",
	"conflicts-url-missing", "conflicts-url-not-a-url", "conflicts-url-secret", "conflicts-url-userinfo", "conflicts-url-without-webhook",
	"conflicts-match-invalid", "conflicts-order-missing",
	"conflicts-order-unknown-replica", "conflicts-order-without-primary", "conflicts-same-pattern", "conflicts-unreachable",
	"document-two", "duplicate-field-nested", "duplicate-field-replica", "duplicate-field-spec", "duplicate-field-top",
	"deletes-brake-within-too-short", "deletes-hold-too-long", "deletes-quarantine-too-long",
	"filter-conflicts-excluded", "filter-pattern-invalid", "filter-pattern-slash", "filter-reserved-included",
	"metadata-label-twice",
	"replica-accept-loss-window-read-only", "replica-name-twice", "replica-none-readwrite",
	"scan-every-too-long", "scan-every-too-short",
	"transfer-bandwidth-too-large", "transfer-bandwidth-too-small",
	"transfer-part-size-too-large", "transfer-part-size-too-small", "transfer-part-size-zero",
	"yaml-anchor",
}

// onlyLoadPrefixes are families of such cases.
var onlyLoadPrefixes = []string{"notifications-", "overlap-", "url-"}

// alsoSchema are the exceptions of those.
var alsoSchema = []string{
	"notifications-not-an-object", "notifications-too-long", "notifications-unknown-field",
	"url-fragment", "url-no-bucket", "url-no-scheme", "url-opaque", "url-scheme-unknown", "url-secret-userinfo", "url-too-long",
}

func TestSchemaIsCurrent(t *testing.T) {
	got, err := json.MarshalIndent(reflectSchema(t), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	got = append(got, '\n')
	if *Update {
		if err := os.WriteFile(schemaFile, got, 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(string(Schema()), string(got)); diff != "" {
		t.Errorf("%s is not what the types say (-committed +types); run hack/generate.sh:\n%s", schemaFile, diff)
	}
}

func TestSchemaDescribesEveryField(t *testing.T) {
	for _, f := range schemaFields(t) {
		if f.schema.Description == "" || !strings.HasSuffix(f.schema.Description, ".") {
			t.Errorf("%s: description is %q", f.path, f.schema.Description)
		}
	}
}

// TestSchemaAgreesWithLoad: what is refused by the schema is refused by Load, and the other way round but for onlyLoad.
func TestSchemaAgreesWithLoad(t *testing.T) {
	compiled := compileSchema(t)
	found, err := filepath.Glob("testdata/refused/*/group.yaml")
	if err != nil || len(found) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, file := range found {
		name := filepath.Base(filepath.Dir(file))
		t.Run(name, func(t *testing.T) {
			family := slices.ContainsFunc(onlyLoadPrefixes, func(p string) bool { return strings.HasPrefix(name, p) })
			passes := slices.Contains(onlyLoad, name) || (family && !slices.Contains(alsoSchema, name))
			err := validateFile(t, compiled, file)
			if passes && err != nil {
				t.Errorf("the schema refuses what only Load should: %v", err)
			}
			if !passes && err == nil {
				t.Error("the schema accepts it")
			}
		})
	}
}

func TestSchemaAcceptsWhatLoadAccepts(t *testing.T) {
	compiled := compileSchema(t)
	for _, pattern := range []string{"testdata/providers/*/group.yaml", "testdata/accepted/*.yaml", "testdata/accepted/*.json", "../../docs/examples/*.yaml"} {
		found, err := filepath.Glob(pattern)
		if err != nil || len(found) == 0 {
			t.Fatalf("no files %s: %v", pattern, err)
		}
		for _, file := range found {
			t.Run(filepath.Base(file), func(t *testing.T) {
				g, err := LoadFile(file, Options{})
				if err != nil {
					t.Fatal(err)
				}
				if err := validateFile(t, compiled, file); err != nil {
					t.Errorf("the schema refuses it: %v", err)
				}
				written, err := Marshal(g)
				if err != nil {
					t.Fatal(err)
				}
				if err := validate(compiled, written); err != nil {
					t.Errorf("the schema refuses what Marshal made of it: %v\n%s", err, written)
				}
			})
		}
	}
}

// TestDefaultsAreThoseOfTheSchema: a document that leaves out everything gets what the schema promises.
func TestDefaultsAreThoseOfTheSchema(t *testing.T) {
	g, err := LoadFile("testdata/accepted/smallest.yaml", Options{})
	if err != nil {
		t.Fatal(err)
	}
	written, err := Marshal(g)
	if err != nil {
		t.Fatal(err)
	}
	var doc any
	if err := yaml.Unmarshal(written, &doc); err != nil {
		t.Fatal(err)
	}
	checked := 0
	for _, f := range schemaFields(t) {
		if f.schema.Default == nil || strings.Contains(f.path, "conflicts[]") {
			continue // a rule that is not there has no defaults
		}
		checked++
		at := doc
		for name := range strings.SplitSeq(f.path, ".") {
			name, isList := strings.CutSuffix(name, "[]")
			fields, ok := at.(map[string]any)
			if !ok {
				t.Fatalf("%s: not an object at %s", f.path, name)
			}
			at = fields[name]
			if list, ok := at.([]any); ok && isList {
				at = list[0]
			}
		}
		want, _ := json.Marshal(f.schema.Default)
		got, _ := json.Marshal(at)
		if !bytes.Equal(want, got) && !bytes.Equal(want, []byte(`"`+string(got)+`"`)) && string(want) != strings.Trim(string(got), `"`) {
			t.Errorf("%s: the schema says %s, a loaded document has %s", f.path, want, got)
		}
	}
	if checked < 9 {
		t.Errorf("only %d defaults were found", checked)
	}
}

// TestBoundsAreInTheDescriptions: the schema can't express the bounds of sizes and durations, so the text has to.
func TestBoundsAreInTheDescriptions(t *testing.T) {
	want := map[string][]string{
		"spec.transfer.partSize":    {formatSize(minPartSize), formatSize(maxPartSize)},
		"spec.transfer.bandwidth":   {formatSize(minBandwidth), formatSize(maxBandwidth)},
		"spec.conflicts[].maxSize":  {formatSize(minMaxSize), formatSize(maxMaxSize)},
		"spec.conflicts[].deadline": {formatDuration(minDeadline), formatDuration(maxDeadline), "72h", "1m"},
		"spec.scan.every":           {formatDuration(minEvery), formatDuration(maxEvery)},
	}
	for _, f := range schemaFields(t) {
		for _, bound := range want[f.path] {
			if !strings.Contains(f.schema.Description, bound) {
				t.Errorf("%s: %q does not name the bound %s", f.path, f.schema.Description, bound)
			}
		}
		delete(want, f.path)
	}
	if len(want) > 0 {
		t.Errorf("not in the schema: %v", want)
	}
}

// reflectSchema makes the schema out of the types and comments of document.go.
func reflectSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	comments := fieldComments(t)
	r := jsonschema.Reflector{
		Anonymous:      true,
		DoNotReference: true,
		LookupComment: func(typ reflect.Type, field string) string {
			if typ.Kind() != reflect.Struct || field == "" {
				return ""
			}
			f, _ := typ.FieldByName(field)
			return comments[typ.Name()+"."+f.Name]
		},
		Mapper: func(typ reflect.Type) *jsonschema.Schema {
			switch typ {
			case reflect.TypeFor[size]():
				return &jsonschema.Schema{OneOf: []*jsonschema.Schema{
					{Type: "string", Pattern: sizePattern}, {Type: "integer", Minimum: "0"},
				}}
			case reflect.TypeFor[duration]():
				return &jsonschema.Schema{Type: "string", Pattern: durationPattern}
			}
			return nil
		},
	}
	s := r.Reflect(document{})
	s.ID = "https://bucketmesh.dev/schemas/syncgroup.v1alpha1.json"
	s.Title = "SyncGroup"
	s.Description = "Object-storage buckets that are kept the same."
	return s
}

// fieldComments are the comments of the fields in document.go, by type and field.
func fieldComments(t *testing.T) map[string]string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "document.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.TypeSpec)
		if !ok {
			return true
		}
		if fields, ok := spec.Type.(*ast.StructType); ok {
			for _, f := range fields.Fields.List {
				out[spec.Name.Name+"."+f.Names[0].Name] = strings.TrimSpace(f.Doc.Text())
			}
		}
		return false
	})
	return out
}

func compileSchema(t *testing.T) *validator6.Schema {
	t.Helper()
	doc, err := validator6.UnmarshalJSON(bytes.NewReader(Schema()))
	if err != nil {
		t.Fatal(err)
	}
	c := validator6.NewCompiler()
	if err := c.AddResource(schemaFile, doc); err != nil {
		t.Fatal(err)
	}
	compiled, err := c.Compile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	return compiled
}

func validateFile(t *testing.T, s *validator6.Schema, file string) error {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return validate(s, data)
}

func validate(s *validator6.Schema, document []byte) error {
	data := document
	if !json.Valid(document) { // what is JSON already must not pass through a YAML reader, which is narrower
		var err error
		if data, err = yaml.YAMLToJSON(document); err != nil {
			return err
		}
	}
	value, err := validator6.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		return err
	}
	return s.Validate(value)
}

type schemaField struct {
	path     string
	schema   *jsonschema.Schema
	required bool
}

// schemaFields are all fields of the committed schema, in the order of the document; items of lists end with [].
func schemaFields(t *testing.T) []schemaField {
	t.Helper()
	var root jsonschema.Schema
	if err := json.Unmarshal(Schema(), &root); err != nil {
		t.Fatal(err)
	}
	var out []schemaField
	var walk func(path string, s *jsonschema.Schema)
	walk = func(path string, s *jsonschema.Schema) {
		if s.Items != nil {
			walk(path+"[]", s.Items)
			return
		}
		if s.Properties == nil {
			return
		}
		for p := s.Properties.Oldest(); p != nil; p = p.Next() {
			at := strings.TrimPrefix(path+"."+p.Key, ".")
			out = append(out, schemaField{path: at, schema: p.Value, required: slices.Contains(s.Required, p.Key)})
			walk(at, p.Value)
		}
	}
	walk("", &root)
	return out
}
