package config

import (
	_ "embed"
	"slices"
)

// Two runs: the reference is made from the schema that is embedded in the test program.
//go:generate go test . -count=1 -run ^TestSchemaIsCurrent$ -update
//go:generate go test . -count=1 -run ^TestReferenceIsCurrent$ -update

//go:embed schema/syncgroup.v1alpha1.json
var schema []byte

// Schema is the JSON Schema (2020-12) of the document, for editors and for checks in places that can't run Load. It
// knows fields, types and bounds; combinations, URLs and patterns are only checked by Load.
func Schema() []byte { return slices.Clone(schema) }
