package gcs_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	cloudevents "github.com/cloudevents/sdk-go/v2/event"
	"github.com/google/go-cmp/cmp"

	"github.com/bucketmesh/bucketmesh/pkg/event"
	"github.com/bucketmesh/bucketmesh/pkg/normalize"
	"github.com/bucketmesh/bucketmesh/pkg/normalize/gcs"
)

// The files in testdata: gcs-OBJECT_* were captured from fake-gcs-server, the push is after Google's documentation.

var now = time.Date(2026, 11, 20, 18, 0, 0, 0, time.UTC)

// anywhere resolves every bucket but "foreign" and none, so that a captured message can name its own.
func anywhere(bucket string) (normalize.Store, bool) {
	return normalize.Store{Name: "r", Source: "https://storage.googleapis.com/" + bucket, Bucket: bucket, Prefix: "p/"}, bucket != "foreign" && bucket != ""
}

// keys are the traps: all of them are names that a bucket may hold, but for the one with a newline, which only a message
// can name.
var keys = []string{
	"a b", "a+b", "a%2Bb", "100%25", "é", "日本", "e\u0301", "new\nline", " leading", "trailing ", "trailing", "x//y", "/x", "x/", "objects/x",
	"a?b=c#d", `quote"back\slash`, "<&>\u2028", "\u00a0", "😀", strings.Repeat("k", 1024), strings.Repeat("é", 512),
}

// note is a notification; empty fields are left out.
type note struct {
	name, key, generation, metageneration string
	overwrote, overwrittenBy              string
	size                                  string // as it is in JSON
	payload                               bool
}

func (n note) attributes() map[string]string {
	at := map[string]string{
		"notificationConfig": "projects/_/buckets/b/notificationConfigs/3", "eventType": n.name, "bucketId": "b", "objectId": n.key,
		"objectGeneration": n.generation, "eventTime": "2026-11-20T17:22:36.5Z", "payloadFormat": "NONE",
	}
	if n.payload {
		at["payloadFormat"] = "JSON_API_V1"
	}
	if n.overwrote != "" {
		at["overwroteGeneration"] = n.overwrote
	}
	if n.overwrittenBy != "" {
		at["overwrittenByGeneration"] = n.overwrittenBy
	}
	return at
}

func (n note) data() []byte {
	if !n.payload {
		return nil
	}
	size := n.size
	if size == "" {
		size = `"2"`
	}
	name, _ := json.Marshal(n.key)
	return fmt.Appendf(nil, `{"kind":"storage#object","name":%s,"bucket":"b","generation":"%s","metageneration":"%s","size":%s,
		"contentType":"text/plain","etag":"CNHZkbuF/ugCEAE=","md5Hash":"ZlTHNMyrj0QP8IJetEPcfw==","crc32c":"5X841Q==","storageClass":"STANDARD"}`,
		name, n.generation, n.metageneration, size)
}

func (n note) message() gcs.PubSubMessage {
	return gcs.PubSubMessage{Attributes: n.attributes(), Data: n.data(), MessageID: "1", PublishTime: "2026-11-20T17:22:37Z"}
}

// cloudEvent is the note as Eventarc tells of it.
func (n note) cloudEvent(t testing.TB) cloudevents.Event {
	t.Helper()
	e := cloudevents.New()
	e.SetID("1096434104173400")
	e.SetSource("//storage.googleapis.com/projects/_/buckets/b")
	e.SetType(map[string]string{
		finalize: "google.cloud.storage.object.v1.finalized", update: "google.cloud.storage.object.v1.metadataUpdated",
		remove: "google.cloud.storage.object.v1.deleted", archive: "google.cloud.storage.object.v1.archived",
	}[n.name])
	e.SetSubject("objects/" + strings.TrimSpace(n.key)) // the library trims; so may any header
	e.SetTime(time.Date(2026, 11, 20, 17, 22, 36, 5e8, time.UTC))
	e.SetExtension("bucket", "b")
	if err := e.SetData(cloudevents.ApplicationJSON, n.data()); err != nil {
		t.Fatal(err)
	}
	return e
}

const (
	finalize, update = "OBJECT_FINALIZE", "OBJECT_METADATA_UPDATE"
	remove, archive  = "OBJECT_DELETE", "OBJECT_ARCHIVE"
)

// one is the only change of a message.
func one(t testing.TB, m normalize.Message) normalize.Change {
	t.Helper()
	if len(m.Changes) != 1 || len(m.Poison) != 0 {
		t.Fatalf("%d changes, poison %v, ignored %v, in %s", len(m.Changes), m.Poison, m.Ignored, m.Raw)
	}
	return m.Changes[0]
}

func decode(t testing.TB, m gcs.PubSubMessage) normalize.Change {
	t.Helper()
	return one(t, gcs.Decode(anywhere, m))
}

func toEvent(t testing.TB, c normalize.Change) cloudevents.Event {
	t.Helper()
	e, err := c.Event(now, "")
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// sample reads a file: what was captured names its fields as Go does.
func sample(t testing.TB, name string) gcs.PubSubMessage {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	var captured struct {
		Attributes map[string]string
		Data       json.RawMessage
		Message    *gcs.PubSubMessage
	}
	if err := json.Unmarshal(b, &captured); err != nil {
		t.Fatal(err)
	}
	if captured.Message != nil {
		return *captured.Message
	}
	return gcs.PubSubMessage{Attributes: captured.Attributes, Data: captured.Data}
}

func TestSamples(t *testing.T) {
	for name, want := range map[string]event.Object{
		"gcs-OBJECT_FINALIZE.json": {
			Provider: "gcs", Bucket: "b855908236", Key: "a/obj 1+é%.txt", Generation: "1795195356865208", Size: new("2"),
			ContentType: "text/plain", Checksums: map[string]string{"md5": "ZlTHNMyrj0QP8IJetEPcfw==", "crc32c": "5X841Q=="},
			StorageClass: "STANDARD", Operation: "FINALIZE", Replaced: new(false), EventTimeRaw: "2026-11-20T17:22:36Z",
		},
		"gcs-OBJECT_DELETE.json": {
			Provider: "gcs", Bucket: "b855908236", Key: "a/obj 1+é%.txt", Generation: "1795195356865208", ContentType: "text/plain",
			StorageClass: "STANDARD", Operation: "DELETE", EventTimeRaw: "2026-11-20T17:22:36Z",
		},
		"gcs-push-wrapped-finalize.json": {
			Provider: "gcs", Bucket: "sample-bucket", Key: "folder/Test.cs", Generation: "1587627537231057", Metageneration: "1",
			PreviousGeneration: "1587627000000000", ETag: "CNHZkbuF/ugCEAE=", ETagKind: "opaque", Size: new("352"),
			Checksums: map[string]string{"md5": "kF8MuJ5+CTJxyvhHS1xzRg==", "crc32c": "rTVTeQ=="},
			Operation: "FINALIZE", Replaced: new(true), EventTimeRaw: "2020-04-23T07:38:57.23Z",
		},
	} {
		c := decode(t, sample(t, name))
		if len(c.Object.Native) == 0 {
			t.Errorf("%s: the record is not kept", name)
		}
		c.Object.Native = nil
		if diff := cmp.Diff(want, c.Object); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		if got, err := time.Parse(time.RFC3339Nano, want.EventTimeRaw); err != nil || !c.Time.Equal(got) {
			t.Errorf("%s: time %v", name, c.Time)
		}
	}
}

func TestTypes(t *testing.T) {
	for name, c := range map[string]struct {
		note       note
		want, arc  string // by Pub/Sub, and by Eventarc, which does not tell what replaced what
		replaced   *bool
		previous   string
		changeKind string
	}{
		"created":                     {note{name: finalize}, event.ObjectWritten, event.ObjectWritten, new(false), "", ""},
		"replaced":                    {note{name: finalize, overwrote: "3"}, event.ObjectWritten, event.ObjectWritten, new(true), "3", ""},
		"metadata":                    {note{name: update}, event.ObjectMetadataUpdated, event.ObjectMetadataUpdated, nil, "", "metadata"},
		"deleted":                     {note{name: remove}, event.ObjectVersionDeleted, event.ObjectVersionDeleted, nil, "", ""},
		"replaced without versions":   {note{name: remove, overwrittenBy: "9"}, event.ObjectSuperseded, event.ObjectVersionDeleted, nil, "", ""},
		"deleted in versioned bucket": {note{name: archive}, event.ObjectDeleted, event.ObjectVersionDeleted, nil, "", ""},
		"replaced in versioned one":   {note{name: archive, overwrittenBy: "9"}, event.ObjectSuperseded, event.ObjectVersionDeleted, nil, "", ""},
	} {
		n := c.note
		n.key, n.generation, n.metageneration, n.payload = "k", "7", "1", true
		got := decode(t, n.message())
		o := got.Object
		if got.Type != c.want || o.PreviousGeneration != c.previous || o.Change != c.changeKind || cmp.Diff(o.Replaced, c.replaced) != "" || o.Generation != "7" {
			t.Errorf("%s: %s %+v", name, got.Type, o)
		}
		arc := one(t, gcs.DecodeCloudEvent(anywhere, n.cloudEvent(t)))
		if arc.Type != c.arc || arc.Object.Replaced != nil || arc.Object.Generation != "7" || !arc.Time.Equal(got.Time) {
			t.Errorf("%s: Eventarc: %s %+v", name, arc.Type, arc.Object)
		}
		if same := toEvent(t, arc).ID() == toEvent(t, got).ID(); same != (c.want == c.arc) {
			t.Errorf("%s: the ids of Pub/Sub and Eventarc: equal is %v", name, same)
		}
	}
	unknown := note{name: "OBJECT_PAINTED", key: "k", generation: "7"}
	if got := decode(t, unknown.message()); got.Type != event.Unrecognized {
		t.Error(got.Type)
	}
	for reason, n := range map[string]note{
		"upload that is not finished": {name: "OBJECT_INITIALIZE", key: "k", generation: "7"},
		"reserved key":                {name: finalize, key: "p/.bucketmesh/probe", generation: "7"},
	} {
		if m := gcs.Decode(anywhere, n.message()); m.Ignored[reason] != 1 || len(m.Changes)+len(m.Poison) != 0 {
			t.Errorf("%s: %+v", reason, m)
		}
	}
}

func TestTrapKeysRoundTripThroughBothDecoders(t *testing.T) {
	ids := map[string]string{}
	for _, key := range keys {
		n := note{name: finalize, key: key, generation: "7", metageneration: "1", payload: true}
		for channel, c := range map[string]normalize.Change{
			"pub/sub": decode(t, n.message()), "eventarc": one(t, gcs.DecodeCloudEvent(anywhere, n.cloudEvent(t))),
		} {
			e := toEvent(t, c)
			b, err := event.Encode(e)
			if err != nil {
				t.Fatal(err)
			}
			back, err := event.Decode(b)
			if err != nil {
				t.Fatal(err)
			}
			o, err := event.ObjectOf(back)
			if subject, err2 := event.DecodeSubject(back.Subject()); err != nil || err2 != nil || o.Key != key || subject != key {
				t.Errorf("%s: %q became %q, %q, %v, %v", channel, key, o.Key, subject, err, err2)
			}
			if other, ok := ids[e.ID()]; ok && other != key {
				t.Errorf("%q and %q have one id", key, other)
			}
			ids[e.ID()] = key
		}
	}
	if len(ids) != len(keys) {
		t.Errorf("%d ids of %d keys", len(ids), len(keys))
	}
}

func TestTrapOneChangeHasOneIDInAllOfItsMessages(t *testing.T) {
	for _, name := range []string{finalize, remove, archive, update} {
		n := note{name: name, key: "k", generation: "7", metageneration: "3", payload: true}
		want := toEvent(t, decode(t, n.message())).ID()
		again := n.message()
		again.MessageID, again.PublishTime = "2", "2026-11-21T00:00:00Z"
		again.Attributes["notificationConfig"] = "projects/_/buckets/b/notificationConfigs/4"
		again.Attributes["tenant"] = "a custom attribute"
		if got := toEvent(t, decode(t, again)).ID(); got != want {
			t.Errorf("%s: another message has another id", name)
		}
		numbers := n.message()
		numbers.Data = []byte(`{"name":"k","bucket":"b","generation":7,"metageneration":3,"size":2}`)
		if got := toEvent(t, decode(t, numbers)).ID(); got != want {
			t.Errorf("%s: numbers instead of strings have another id", name)
		}
		if n.payload = false; name == update {
			continue // only its payload tells an update from the next one
		}
		if got := toEvent(t, decode(t, n.message())).ID(); got != want {
			t.Errorf("%s: a configuration without payload has another id", name)
		}
	}
}

func TestTrapDifferentChangesHaveDifferentIDs(t *testing.T) {
	ids := map[string]note{}
	var all []note
	for _, name := range []string{finalize, remove, archive, update, "OBJECT_PAINTED"} {
		for _, generation := range []string{"7", "8", "77"} {
			all = append(all, note{name: name, key: "k", generation: generation, metageneration: "3", payload: true})
		}
	}
	all = append(all, note{name: update, key: "k", generation: "7", metageneration: "4", payload: true},
		note{name: finalize, key: "k ", generation: "7", payload: true, metageneration: "1"})
	for _, n := range all {
		id := toEvent(t, decode(t, n.message())).ID()
		if other, ok := ids[id]; ok {
			t.Errorf("%+v and %+v have one id", n, other)
		}
		ids[id] = n
	}
	first, second := note{name: update, key: "k", generation: "7"}.message(), note{name: update, key: "k", generation: "7"}.message()
	second.Attributes["eventTime"] = "2026-11-20T17:22:36.6Z"
	if toEvent(t, decode(t, first)).ID() == toEvent(t, decode(t, second)).ID() {
		t.Error("two updates without payload became one")
	}
	// As fake-gcs-server tells of two updates in one second.
	for m, x := range map[*gcs.PubSubMessage]string{&first: "1", &second: "2"} {
		m.Attributes["eventTime"], m.Attributes["payloadFormat"] = "2026-11-20T17:22:36Z", "JSON_API_V1"
		m.Data = []byte(`{"name":"k","metadata":{"x":"` + x + `"}}`)
	}
	if toEvent(t, decode(t, first)).ID() == toEvent(t, decode(t, second)).ID() {
		t.Error("two updates without metageneration became one")
	}
}

func TestTrapPayloadNone(t *testing.T) {
	c := decode(t, note{name: finalize, key: "k", generation: "7", overwrote: "5"}.message())
	o := c.Object
	if o.Key != "k" || o.Generation != "7" || o.PreviousGeneration != "5" || o.Size != nil || o.ETag != "" || o.Checksums != nil || c.Type != event.ObjectWritten {
		t.Errorf("%+v", o)
	}
}

func TestTrapNumbersAreExact(t *testing.T) {
	const generation, size = "9007199254740993", "9223372036854775807" // 2^53 + 1, 2^63 - 1
	for _, quoted := range []string{"", `"`} {
		n := note{name: finalize, key: "k", generation: generation, metageneration: generation, size: quoted + size + quoted, payload: true}
		m := n.message()
		m.Data = []byte(strings.ReplaceAll(string(m.Data), `"`+generation+`"`, quoted+generation+quoted))
		o := decode(t, m).Object
		if o.Generation != generation || o.Metageneration != generation || *o.Size != size {
			t.Errorf("%+v", o)
		}
	}
	if o := decode(t, note{name: finalize, key: "k", generation: "7", metageneration: "1", size: `"0"`, payload: true}.message()).Object; *o.Size != "0" {
		t.Error(*o.Size)
	}
}

func TestTrapDeleteOfTheOldGenerationAfterTheNewOneNamesTheOldOne(t *testing.T) {
	written := decode(t, note{name: finalize, key: "k", generation: "9", overwrote: "7"}.message())
	late := decode(t, note{name: remove, key: "k", generation: "7", overwrittenBy: "9"}.message())
	purged := decode(t, note{name: remove, key: "k", generation: "5"}.message())
	if written.Object.Generation != "9" || late.Type != event.ObjectSuperseded || late.Object.Generation != "7" {
		t.Error("the object would not survive", late)
	}
	if purged.Type != event.ObjectVersionDeleted || purged.Object.Generation != "5" {
		t.Error("the live one would not survive the purge of another", purged)
	}
}

func TestTrapGenerationThatGoesDownIsTiedByWhatItOverwrote(t *testing.T) {
	c := decode(t, note{name: finalize, key: "k", generation: "3", overwrote: "9"}.message())
	if c.Type != event.ObjectWritten || c.Object.Generation != "3" || c.Object.PreviousGeneration != "9" || !*c.Object.Replaced {
		t.Errorf("%+v", c.Object)
	}
}

func TestTrapEventsOfMoreThan64KiB(t *testing.T) {
	n := note{name: finalize, key: "k", generation: "7", metageneration: "1", payload: true}
	m := n.message()
	m.Data = []byte(strings.TrimSuffix(string(m.Data), "}") + `,"metadata":{"x":"` + strings.Repeat("é", event.MaxSize) + `"}}`)
	for name, c := range map[string]normalize.Change{"pub/sub": decode(t, m), "eventarc": one(t, gcs.DecodeCloudEvent(anywhere, func() cloudevents.Event {
		e := n.cloudEvent(t)
		if err := e.SetData(cloudevents.ApplicationJSON, m.Data); err != nil {
			t.Fatal(err)
		}
		return e
	}()))} {
		b, err := event.Encode(toEvent(t, c))
		if err != nil || len(b) >= event.MaxSize {
			t.Errorf("%s: %d bytes, %v", name, len(b), err)
		}
	}
}

func TestSequencesAreInTheOrderOfTheNumbers(t *testing.T) {
	var before string
	for _, n := range []note{
		{name: finalize, generation: "9", metageneration: "1"}, {name: update, generation: "9", metageneration: "2"},
		{name: update, generation: "9", metageneration: "10"}, {name: remove, generation: "9", metageneration: "10"},
		{name: finalize, generation: "10", metageneration: "1"}, {name: archive, generation: "1795195356865208", metageneration: "1"},
	} {
		n.key, n.payload = "k", true
		got := decode(t, n.message()).Sequence
		if got <= before {
			t.Errorf("%+v: %s is not after %s", n, got, before)
		}
		before = got
	}
}

func TestPoison(t *testing.T) {
	good := note{name: finalize, key: "k", generation: "7", metageneration: "1", payload: true}
	for reason, change := range map[string]func(m *gcs.PubSubMessage){
		"no attribute eventType":        func(m *gcs.PubSubMessage) { delete(m.Attributes, "eventType") },
		"not a replica of this server":  func(m *gcs.PubSubMessage) { m.Attributes["bucketId"], m.Data = "foreign", nil },
		`bucket "" is not a replica`:    func(m *gcs.PubSubMessage) { m.Attributes["bucketId"], m.Data = "", nil },
		"names no object":               func(m *gcs.PubSubMessage) { m.Attributes["objectId"], m.Data = "", nil },
		"names no generation":           func(m *gcs.PubSubMessage) { m.Attributes["objectGeneration"], m.Data = "", nil },
		`generation "7x" is not`:        func(m *gcs.PubSubMessage) { m.Attributes["objectGeneration"], m.Data = "7x", nil },
		`generation "-7" is not`:        func(m *gcs.PubSubMessage) { m.Attributes["objectGeneration"], m.Data = "-7", nil },
		`size "1e3" is not`:             func(m *gcs.PubSubMessage) { m.Data = []byte(`{"size":1e3}`) },
		"decode payload":                func(m *gcs.PubSubMessage) { m.Data = []byte("{") },
		`payloadFormat "XML"`:           func(m *gcs.PubSubMessage) { m.Attributes["payloadFormat"] = "XML" },
		"objectId is \"other\"":         func(m *gcs.PubSubMessage) { m.Attributes["objectId"] = "other" },
		"bucketId is \"other\"":         func(m *gcs.PubSubMessage) { m.Attributes["bucketId"] = "other" },
		"objectGeneration is \"8\"":     func(m *gcs.PubSubMessage) { m.Attributes["objectGeneration"] = "8" },
		"names a key of 1025 bytes":     func(m *gcs.PubSubMessage) { m.Attributes["objectId"], m.Data = strings.Repeat("k", 1025), nil },
		"names a key with a NUL":        func(m *gcs.PubSubMessage) { m.Attributes["objectId"], m.Data = "a\x00b", nil },
		"names a key that is not UTF-8": func(m *gcs.PubSubMessage) { m.Attributes["objectId"], m.Data = "a\xffb", nil },
	} {
		m := good.message()
		m.Attributes = maps.Clone(m.Attributes)
		change(&m)
		got := gcs.Decode(anywhere, m)
		if len(got.Changes) != 0 || len(got.Poison) != 1 || !strings.Contains(got.Poison[0].Reason, reason) || len(got.Poison[0].Raw) == 0 {
			t.Errorf("%s: %v %v", reason, got.Changes, got.Poison)
		}
	}
	for reason, change := range map[string]func(e *cloudevents.Event){
		"type \"a.b.c\"":        func(e *cloudevents.Event) { e.SetType("a.b.c") },
		"messagePublished":      func(e *cloudevents.Event) { e.SetType("google.cloud.pubsub.topic.v1.messagePublished") },
		"decode data":           func(e *cloudevents.Event) { _ = e.SetData(cloudevents.ApplicationJSON, []byte(`7`)) },
		"may have been changed": func(e *cloudevents.Event) { _ = e.SetData(cloudevents.ApplicationJSON, []byte(`{"bucket":"b"}`)) },
		"not UTF-8":             func(e *cloudevents.Event) { _ = e.SetData(cloudevents.ApplicationJSON, []byte("{\"name\":\"\xff\"}")) },
		"names no object": func(e *cloudevents.Event) {
			e.SetSubject("")
			_ = e.SetData(cloudevents.ApplicationJSON, []byte(`{"bucket":"b"}`))
		},
		"not a replica of this server": func(e *cloudevents.Event) {
			_ = e.SetData(cloudevents.ApplicationJSON, []byte(`{"bucket":"foreign","name":"x"}`))
		},
	} {
		e := good.cloudEvent(t)
		change(&e)
		got := gcs.DecodeCloudEvent(anywhere, e)
		if len(got.Changes) != 0 || len(got.Poison) != 1 || !strings.Contains(got.Poison[0].Reason, reason) {
			t.Errorf("%s: %v %v", reason, got.Changes, got.Poison)
		}
	}
}
