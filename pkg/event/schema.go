package event

import (
	"embed"
	"slices"
)

// The schemas are generated from the data types; the generator is a test, so that no program carries it.
//
//go:generate go test -run TestSchemasAreGenerated -update .
//go:embed schemas/*.json
var schemas embed.FS

// SchemaURI is the dataschema of a type. The type carries the version.
func SchemaURI(typ string) string { return "https://bucketmesh.dev/schemas/" + typ + ".json" }

// Schema is the JSON Schema of the data of a type; ok is false for types that have none yet.
func Schema(typ string) (schema []byte, ok bool) {
	b, err := schemas.ReadFile("schemas/" + typ + ".json")
	return b, err == nil
}

// Types lists the types of the vocabulary that have a data schema, sorted.
func Types() []string {
	types := slices.Clone(objectTypes)
	types = append(types, syncTypes...)
	types = append(types, conflictTypes...)
	types = append(types, ScanRequested, GuardTripped)
	slices.Sort(types)
	return types
}

// Known reports whether a type is one of the vocabulary, or of the timers. Anybody may post an event of a type that looks like ours.
func Known(typ string) bool {
	switch typ {
	case TransferPart, TransferCompleted, ScanRange, Ping:
		return true
	}
	return hasSchema(typ)
}

// hasSchema is Schema without a copy of it, for every event that is made.
func hasSchema(typ string) bool {
	return slices.Contains(objectTypes, typ) || slices.Contains(syncTypes, typ) || slices.Contains(conflictTypes, typ) ||
		typ == ScanRequested || typ == GuardTripped
}

var (
	objectTypes = []string{
		ObjectWritten, ObjectDeleted, ObjectVersionDeleted, ObjectSuperseded, ObjectMetadataUpdated, ObjectRenamed,
		PrefixChanged, Unrecognized,
	}
	syncTypes     = []string{SyncPlanned, SyncApplied, SyncSuperseded, SyncFailed}
	conflictTypes = []string{ConflictDetected, ConflictResolved, ConflictPending}
)
