package event_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	cloudevents "github.com/cloudevents/sdk-go/v2/event"
	"github.com/invopop/jsonschema"
	validator "github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/bucketmesh/bucketmesh/pkg/event"
)

var update = flag.Bool("update", false, "rewrite the committed schemas")

func dataOf(typ string) any {
	switch {
	case strings.HasPrefix(typ, event.Prefix+"sync."):
		return event.Sync{}
	case strings.HasPrefix(typ, event.Prefix+"conflict."):
		return event.Conflict{}
	case typ == event.ScanRequested:
		return event.Scan{}
	case typ == event.GuardTripped:
		return event.Guard{}
	}
	return event.Object{}
}

func TestSchemasAreGenerated(t *testing.T) {
	r := jsonschema.Reflector{AllowAdditionalProperties: true, DoNotReference: true, Anonymous: true}
	if err := r.AddGoComments("github.com/bucketmesh/bucketmesh/pkg/event", ".", jsonschema.WithFullComment()); err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, typ := range event.Types() {
		s := r.Reflect(dataOf(typ))
		s.ID = jsonschema.ID(event.SchemaURI(typ))
		s.Title = typ
		b, err := json.MarshalIndent(s, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		b = append(b, '\n')
		file := filepath.Join("schemas", typ+".json")
		want = append(want, file)
		if *update {
			if err := os.MkdirAll("schemas", 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, b, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, b) {
			t.Errorf("%s differs from the data type: run go generate ./pkg/event", file)
		}
		if embedded, ok := event.Schema(typ); !*update && (!ok || !bytes.Equal(embedded, b)) {
			t.Errorf("Schema(%s) is not the committed one", typ)
		}
	}
	have, err := filepath.Glob("schemas/*.json")
	if err != nil {
		t.Fatal(err)
	}
	if slices.Sort(want); !slices.Equal(have, want) {
		t.Errorf("schemas: %v, want %v", have, want)
	}
	if _, ok := event.Schema("dev.bucketmesh.nothing.v1"); ok {
		t.Error("a schema for a type that does not exist")
	}
}

// validate checks an event's data against the schema that its dataschema names.
func validate(t *testing.T, e cloudevents.Event) {
	t.Helper()
	schema, ok := event.Schema(e.Type())
	if !ok {
		t.Fatalf("no schema for %s", e.Type())
	}
	doc, err := validator.UnmarshalJSON(bytes.NewReader(schema))
	if err != nil {
		t.Fatal(err)
	}
	c := validator.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource(e.DataSchema(), doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile(e.DataSchema())
	if err != nil {
		t.Fatal(err)
	}
	inst, err := validator.UnmarshalJSON(bytes.NewReader(e.Data()))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Validate(inst); err != nil {
		t.Errorf("data of %s: %v", e.Type(), err)
	}
}

func TestEventsFollowTheirSchemas(t *testing.T) {
	at := time.Date(2026, 11, 20, 17, 7, 3, 123456789, time.UTC)
	size, replaced := "9007199254740993", true
	full := event.Object{
		Provider: "s3", Bucket: "b", Key: "k", Version: "v", Generation: "1", Metageneration: "2", PreviousGeneration: "0",
		ETag: "e", ETagKind: "opaque", Size: &size, ContentType: "text/plain", Checksums: map[string]string{"crc32c": "AAAA"},
		StorageClass: "STANDARD", Operation: "Put", Change: "tags", Replaced: &replaced, DeleteMarker: true, Lifecycle: true,
		Rename: &event.Rename{From: "a", To: "b"}, RequestID: "r", SequencerRaw: "1", EventTimeRaw: "t",
		Native: json.RawMessage(`{"a":[1,"x",null]}`),
	}
	for _, typ := range event.Types() {
		var events []cloudevents.Event
		add := func(e cloudevents.Event, err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
			events = append(events, e)
		}
		switch dataOf(typ).(type) {
		case event.Sync:
			add(event.NewSync(typ, "", event.Sync{Group: "g", Key: "k", Version: "a@1", Kind: "put", Origin: "a"}))
			add(event.NewSync(typ, "", event.Sync{Group: "g", Key: "k", Replicas: []string{"b"}, Size: "1", ETag: "e",
				Written: at, Applied: at, Reason: "r", Attempts: 3}))
		case event.Conflict:
			add(event.NewConflict(typ, "", event.Conflict{Group: "g", Key: "k", ID: "c"}, at))
			add(event.NewConflict(typ, "", event.Conflict{Group: "g", Key: "k", ID: "c", Heads: []string{"a@1", "b@1"},
				Winner: "a@1", Policy: "keep-both", Copies: []string{"x"}, Reason: "r"}, at))
		case event.Guard:
			add(event.NewGuard("", event.Guard{Group: "g", Guard: "delete-brake", Reason: "r", Tripped: at, Waiting: 51}))
		case event.Scan:
			add(event.NewScan("", event.Scan{Group: "g", What: "due"}, at))
		default:
			m := event.Meta{ID: "1", Type: typ, Source: "https://s3.example/b", Time: at}
			add(event.NewObject(m, full))
			add(event.NewObject(m, event.Object{Provider: "s3", Bucket: "b", Key: "k", Operation: "Delete"}))
		}
		for _, e := range events {
			validate(t, e)
		}
	}
}
