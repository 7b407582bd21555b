package config

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/invopop/jsonschema"
)

const (
	referenceFile  = "../../docs/configuration.md"
	referenceBegin = "<!-- reference:begin -->\n"
	referenceEnd   = "<!-- reference:end -->\n"
)

// TestReferenceIsCurrent keeps the table of docs/configuration.md the same as the schema.
func TestReferenceIsCurrent(t *testing.T) {
	data, err := os.ReadFile(referenceFile)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(data), referenceBegin)
	committed, after, ok2 := strings.Cut(rest, referenceEnd)
	if !ok || !ok2 {
		t.Fatalf("%s has no table between %q and %q", referenceFile, referenceBegin, referenceEnd)
	}
	var b strings.Builder
	b.WriteString("| field | type | default | bounds | meaning |\n|---|---|---|---|---|\n")
	for _, f := range schemaFields(t) {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", f.path, typeOf(f.schema), defaultOf(t, f), boundsOf(f.schema), strings.ReplaceAll(f.schema.Description, "|", `\|`))
	}
	if *Update {
		if err := os.WriteFile(referenceFile, []byte(before+referenceBegin+b.String()+referenceEnd+after), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(committed, b.String()); diff != "" {
		t.Errorf("%s is not what the schema says (-committed +schema); run hack/generate.sh:\n%s", referenceFile, diff)
	}
}

// TestReferenceNamesEveryParameter keeps the hand-written tables of docs/configuration.md complete.
func TestReferenceNamesEveryParameter(t *testing.T) {
	data, err := os.ReadFile(referenceFile)
	if err != nil {
		t.Fatal(err)
	}
	want := append([]string{}, dialects...)
	want = append(want, policies...)
	for scheme, names := range parameters {
		want = append(want, names...)
		if !strings.Contains(string(data), "Parameters of `"+scheme+"://`") {
			t.Errorf("%s has no table of the parameters of %s://", referenceFile, scheme)
		}
	}
	for _, name := range want {
		if !strings.Contains(string(data), "`"+name+"`") {
			t.Errorf("%s does not name %s", referenceFile, name)
		}
	}
	for scheme := range providerOf {
		if !strings.Contains(string(data), "`"+scheme+"://") {
			t.Errorf("%s does not name %s://", referenceFile, scheme)
		}
	}
}

func typeOf(s *jsonschema.Schema) string {
	switch {
	case s.OneOf != nil:
		return "size"
	case s.Pattern == durationPattern:
		return "duration"
	case s.Items != nil && s.Items.Type == "string":
		return "list of texts"
	case s.Items != nil:
		return "list"
	case s.AdditionalProperties != nil && s.Properties == nil:
		return "texts by name"
	}
	return map[string]string{"string": "text", "integer": "number", "boolean": "true or false", "object": "object"}[s.Type]
}

func defaultOf(t *testing.T, f schemaField) string {
	t.Helper()
	switch {
	case f.required:
		return "required"
	case f.schema.Default == nil:
		return ""
	}
	out, err := json.Marshal(f.schema.Default)
	if err != nil {
		t.Fatal(err)
	}
	return "`" + strings.Trim(string(out), `"`) + "`"
}

func boundsOf(s *jsonschema.Schema) string {
	var out []string
	if len(s.Enum) > 0 {
		var values []string
		for _, v := range s.Enum {
			values = append(values, fmt.Sprintf("`%v`", v))
		}
		out = append(out, strings.Join(values, ", "))
	}
	between := func(low, high *uint64, what string) {
		switch {
		case low != nil && high != nil:
			out = append(out, fmt.Sprintf("%d to %d %s", *low, *high, what))
		case high != nil:
			out = append(out, fmt.Sprintf("up to %d %s", *high, what))
		}
	}
	between(s.MinItems, s.MaxItems, "items")
	between(s.MinLength, s.MaxLength, "characters")
	if s.Items != nil {
		between(s.Items.MinLength, s.Items.MaxLength, "characters each")
	}
	if s.Minimum != "" {
		out = append(out, fmt.Sprintf("%s to %s", s.Minimum, s.Maximum))
	}
	return strings.Join(out, "; ")
}
