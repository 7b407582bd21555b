package azure_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	cloudevents "github.com/cloudevents/sdk-go/v2/event"

	"github.com/bucketmesh/bucketmesh/pkg/config"
	"github.com/bucketmesh/bucketmesh/pkg/event"
	"github.com/bucketmesh/bucketmesh/pkg/normalize"
	"github.com/bucketmesh/bucketmesh/pkg/normalize/azure"
)

const topic = "/subscriptions/s/resourceGroups/Storage/providers/Microsoft.Storage/storageAccounts/media"

// trapKeys are what people (and other clouds) call objects.
var trapKeys = []string{
	"a b", "a+b", "a%2Bb", "100%25", "a%20b", "é", "日本", "💎/emoji", "a\nb", " lead", "trail ", "trail", "//", "a//b", "/lead",
	`back\slash`, `quo"te`, "a#b", "a?b", "a&b=c", "<x>", "a/blobs/b", "blobServices/default/containers/c/blobs/k", strings.Repeat("k", 1024),
}

// ev is an event to be written in either schema.
type ev struct {
	typ, subject, topic, id, time string
	data                          map[string]any
}

func created(key string) ev {
	return ev{
		typ: "Microsoft.Storage.BlobCreated", subject: "/blobServices/default/containers/c/blobs/" + key, topic: topic,
		id: "831e1650-001e-001b-66ab-eeb76e069631", time: "2026-06-26T18:41:00.9584103Z",
		data: map[string]any{
			"api": "PutBlob", "requestId": "831e1650-001e-001b-66ab-eeb76e000000", "eTag": `"0x8D4BCC2E4835CD0"`,
			"contentType": "text/plain", "contentLength": 5, "blobType": "BlockBlob", "sequencer": "00000000000004420000000000028963",
			"url": "https://media.blob.core.windows.net/c/" + key,
		},
	}
}

func (e ev) with(change func(*ev)) ev {
	e.data = maps.Clone(e.data)
	change(&e)
	return e
}

func (e ev) set(name string, value any) ev { return e.with(func(e *ev) { e.data[name] = value }) }

func (e ev) api(name string) ev { return e.set("api", name) }

func (e ev) gridFields() map[string]any {
	return map[string]any{
		"topic": e.topic, "subject": e.subject, "eventType": e.typ, "eventTime": e.time, "id": e.id, "data": e.data,
		"dataVersion": "", "metadataVersion": "1",
	}
}

func (e ev) cloudFields() map[string]any {
	return map[string]any{
		"source": e.topic, "subject": e.subject, "type": e.typ, "time": e.time, "id": e.id, "data": e.data, "specversion": "1.0",
	}
}

func marshal(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

// shapes are one batch in all the ways in which it can come.
func shapes(events ...ev) map[string][]byte {
	var grid, cloud []any
	for _, e := range events {
		grid, cloud = append(grid, e.gridFields()), append(cloud, e.cloudFields())
	}
	m := map[string][]byte{"Event Grid array": marshal(grid), "CloudEvents array": marshal(cloud)}
	if len(events) == 1 {
		m["Event Grid object"], m["CloudEvents object"] = marshal(grid[0]), marshal(cloud[0])
	}
	return m
}

// grid is a batch in Event Grid's schema.
func grid(events ...ev) []byte { return shapes(events...)["Event Grid array"] }

func stores() []azure.Store {
	of := func(name, container, prefix string) azure.Store {
		return azure.StoreOf(config.Replica{Name: name, Provider: "azblob", Account: "media", Bucket: container, Prefix: prefix})
	}
	foreign := azure.StoreOf(config.Replica{Name: "foreign", Provider: "azblob", Account: "other", Bucket: "f"})
	emulated := azure.StoreOf(config.Replica{Name: "emulated", Provider: "azblob", Account: "media", Bucket: "e", Endpoint: "http://127.0.0.1:10000"})
	return []azure.Store{of("eu", "c", "p/"), of("eu2", "c", "q/"), of("logs", "d", ""), foreign, emulated}
}

func account() azure.Account { all := stores(); return azure.AccountOf(all[0], all) }

func decode(body []byte) normalize.Message { return azure.Decode(body, account()) }

// one decodes a message of one change.
func one(t *testing.T, body []byte) normalize.Change {
	t.Helper()
	m := decode(body)
	if len(m.Changes) != 1 || len(m.Poison) != 0 || len(m.Ignored) != 0 {
		t.Fatalf("%d changes, poison %v, ignored %v", len(m.Changes), m.Poison, m.Ignored)
	}
	return m.Changes[0]
}

func toEvent(t testing.TB, c normalize.Change) cloudevents.Event {
	t.Helper()
	e, err := c.Event(time.Unix(1, 0), "")
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func sample(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.ReplaceAll(b, []byte("my-storage-account"), []byte("media"))
}

func TestDocumentedSamples(t *testing.T) {
	all := stores()
	all[0].Bucket, all[2].Bucket = "test-container", "my-file-system"
	at := azure.AccountOf(all[0], all)
	m := azure.Decode(sample(t, "azure-eg-blobcreated.json"), at)
	if len(m.Changes) != 1 {
		t.Fatal(m)
	}
	c := m.Changes[0]
	if c.Type != event.ObjectWritten || c.Object.Key != "new-file.txt" || c.Object.ETag != "0x8D4BCC2E4835CD0" || *c.Object.Size != "524288" ||
		c.Object.ContentType != "text/plain" || c.Object.RequestID != "831e1650-001e-001b-66ab-eeb76e000000" ||
		c.Sequence != "0000000000000000"+"00000000000004420000000000028963" || c.Object.Operation != "PutBlockList" ||
		c.Object.ETagKind != "opaque" || c.Object.Bucket != "test-container" ||
		!c.Time.Equal(time.Date(2017, 6, 26, 18, 41, 0, 958410300, time.UTC)) || c.EventID != "831e1650-001e-001b-66ab-eeb76e069631" {
		t.Errorf("%+v", c)
	}
	m = azure.Decode(sample(t, "azure-ce-adls-blobrenamed.json"), at)
	if len(m.Changes) != 1 {
		t.Fatal(m)
	}
	if c := m.Changes[0]; c.Type != event.ObjectRenamed || c.Object.Key != "my-renamed-file.txt" ||
		*c.Object.Rename != (event.Rename{From: "my-original-file.txt", To: "my-renamed-file.txt"}) || c.Object.Size != nil {
		t.Errorf("%+v", c)
	}
	m = azure.Decode(sample(t, "azure-eg-validation.json"), at)
	if len(m.Changes)+len(m.Poison) != 0 || m.Ignored["event about the subscription"] != 1 {
		t.Error(m)
	}
}

func TestTypesAndOperations(t *testing.T) {
	for _, c := range []struct {
		typ, api, want, change, ignored string
	}{
		{"BlobCreated", "PutBlob", event.ObjectWritten, "", ""},
		{"BlobCreated", "PutBlockList", event.ObjectWritten, "", ""},
		{"BlobCreated", "CopyBlob", event.ObjectWritten, "", ""},
		{"BlobCreated", "FlushWithClose", event.ObjectWritten, "", ""},
		{"BlobCreated", "SftpCommit", event.ObjectWritten, "", ""},
		{"BlobCreated", "SomethingNew", event.ObjectWritten, "", ""},
		{"BlobCreated", "", event.ObjectWritten, "", ""},
		{"BlobCreated", "CreateFile", "", "", "empty placeholder"},
		{"BlobCreated", "SftpCreate", "", "", "empty placeholder"},
		{"BlobDeleted", "DeleteBlob", event.ObjectDeleted, "", ""},
		{"BlobDeleted", "DeleteFile", event.ObjectDeleted, "", ""},
		{"BlobDeleted", "SftpRemove", event.ObjectDeleted, "", ""},
		{"BlobTierChanged", "SetBlobTier", event.ObjectMetadataUpdated, "tier", ""},
		{"BlobPropertiesUpdated", "SetBlobMetadata", event.ObjectMetadataUpdated, "metadata", ""},
		{"DirectoryCreated", "CreateDirectory", event.PrefixChanged, "", ""},
		{"DirectoryDeleted", "DeleteDirectory", event.PrefixChanged, "", ""},
		{"AsyncOperationInitiated", "SetBlobTier", "", "", "operation that only begins"},
		{"BlobInventoryPolicyCompleted", "", "", "", "policy run"},
		{"LifecyclePolicyCompleted", "", "", "", "policy run"},
		{"StorageTaskCompleted", "", "", "", "policy run"},
		{"BlobPainted", "PaintBlob", event.Unrecognized, "", ""},
	} {
		for shape, body := range shapes(created("k").api(c.api).with(func(e *ev) { e.typ = "Microsoft.Storage." + c.typ })) {
			if c.ignored != "" {
				if m := decode(body); len(m.Changes)+len(m.Poison) != 0 || m.Ignored[c.ignored] != 1 {
					t.Errorf("%s of %s, %s: %+v", c.typ, c.api, shape, m)
				}
				continue
			}
			if got := one(t, body); got.Type != c.want || got.Object.Change != c.change {
				t.Errorf("%s of %s, %s: %s %s", c.typ, c.api, shape, got.Type, got.Object.Change)
			}
		}
	}
}

// The documented examples of policies have a subject and a topic of their own.
func TestPolicyRunsAreIgnoredWhateverTheirTopic(t *testing.T) {
	e := ev{typ: "Microsoft.Storage.BlobInventoryPolicyCompleted", subject: "BlobDataManagement/BlobInventory", id: "x",
		topic: "/subscriptions/s/resourceGroups/g/providers/Microsoft.EventGrid/topics/T", data: map[string]any{"accountName": "media"}}
	if m := decode(grid(e)); m.Ignored["policy run"] != 1 || len(m.Poison) != 0 {
		t.Error(m)
	}
}

func TestTrapKeysRoundTripInEverySchema(t *testing.T) {
	ids := map[string]string{}
	for _, key := range trapKeys {
		for shape, body := range shapes(created(key)) {
			c := one(t, body)
			e := toEvent(t, c)
			if c.Object.Key != key {
				t.Errorf("%q became %q (%s)", key, c.Object.Key, shape)
			}
			if back, err := event.DecodeSubject(e.Subject()); err != nil || back != key {
				t.Errorf("%q: subject %q, %v", key, e.Subject(), err)
			}
			if of, ok := ids[e.ID()]; ok && of != key {
				t.Errorf("%q has the id of %q", key, of)
			}
			ids[e.ID()] = key
		}
		if m := azure.DecodeQueueMessage([]byte(base64.StdEncoding.EncodeToString(grid(created(key)))), account()); m.Changes[0].Object.Key != key {
			t.Errorf("%q through a queue: %q", key, m.Changes[0].Object.Key)
		}
	}
	if len(ids) != len(trapKeys) {
		t.Errorf("%d ids of %d keys", len(ids), len(trapKeys))
	}
}

func TestTrapKeyIsTheSubjectNotTheURL(t *testing.T) {
	c := one(t, grid(created("a%20b").set("url", "https://media.blob.core.windows.net/other/a b")))
	if c.Object.Key != "a%20b" || c.Object.Bucket != "c" {
		t.Error(c.Object)
	}
	c = one(t, grid(created("k").with(func(e *ev) { e.subject = strings.TrimPrefix(e.subject, "/") })))
	if c.Object.Key != "k" {
		t.Error("a subject without a slash in front:", c.Object.Key)
	}
}

// Event Grid was seen to replace what is outside of the basic plane in subjects.
func TestTrapCharactersThatTheSubjectLost(t *testing.T) {
	for url, want := range map[string]string{
		"https://media.blob.core.windows.net/c/d/log_%F0%9F%92%8E.txt": "d/log_💎.txt",
		"https://media.blob.core.windows.net/c/d/log_💎.txt":            "d/log_💎.txt",
		"https://media.blob.core.windows.net/c/d/log_\uFFFD.txt":       "",
		"https://media.blob.core.windows.net/c/e/other.txt":            "",
		"https://media.blob.core.windows.net/c/d/log_.txt":             "",
		"": "",
	} {
		c := one(t, grid(created("d/log_\uFFFD\uFFFD.txt").set("url", url)))
		switch {
		case want != "" && (c.Object.Key != want || c.Type != event.ObjectWritten):
			t.Errorf("%q: %s %q", url, c.Type, c.Object.Key)
		case want == "" && (c.Object.Key != "d/" || c.Type != event.PrefixChanged):
			t.Errorf("%q: %s %q", url, c.Type, c.Object.Key)
		}
	}
	if c := one(t, grid(created("\uFFFD").set("url", ""))); c.Object.Key != "" || c.Type != event.PrefixChanged {
		t.Error(c)
	}
}

func TestTrapCreateFileIsNoWriteOf0Bytes(t *testing.T) {
	m := decode(grid(created("k").api("CreateFile").set("contentLength", 0), created("k").api("FlushWithClose").set("contentLength", 7)))
	if len(m.Changes) != 1 || *m.Changes[0].Object.Size != "7" || m.Ignored["empty placeholder"] != 1 {
		t.Errorf("%+v", m)
	}
}

func TestTrapETagsQuotedOrNotAndNoneOfDeletes(t *testing.T) {
	for _, etag := range []string{`"0x8D4BCC2E4835CD0"`, "0x8D4BCC2E4835CD0"} {
		if c := one(t, grid(created("k").set("eTag", etag))); c.Object.ETag != "0x8D4BCC2E4835CD0" {
			t.Error(etag, c.Object.ETag)
		}
	}
	deleted := created("k").api("DeleteBlob").with(func(e *ev) {
		e.typ = "Microsoft.Storage.BlobDeleted"
		delete(e.data, "eTag")
		delete(e.data, "contentLength")
	})
	if c := one(t, grid(deleted)); c.Object.ETag != "" || c.Object.ETagKind != "" || c.Object.Size != nil {
		t.Error(c.Object)
	}
}

func TestTrapSequencersOf32And48CharactersAndMixedCase(t *testing.T) {
	sequence := func(raw string) string { return one(t, grid(created("k").set("sequencer", raw))).Sequence }
	short, long := sequence("00000000000004420000000000028963"), sequence("000000000000000000000000000089A4000000000018d6ea")
	if len(short) != 48 || len(long) != 48 || short >= long || strings.ToLower(long) != long {
		t.Errorf("%s is not before %s", short, long)
	}
	if sequence("00000000000004420000000000028A63") != sequence("00000000000004420000000000028a63") {
		t.Error("case makes two of one")
	}
	for _, raw := range []string{"", "xyz", strings.Repeat("0", 49)} {
		c := one(t, grid(created("k").set("sequencer", raw)))
		if _, has := toEvent(t, c).Extensions()[event.ExtSequence]; has || c.Object.SequencerRaw != raw {
			t.Errorf("%q: a sequence that is none", raw)
		}
	}
}

func TestTrapSizesBeyondFloats(t *testing.T) {
	body := bytes.Replace(grid(created("k").set("contentLength", 1)), []byte(`"contentLength":1`), []byte(`"contentLength":9007199254740993`), 1)
	if c := one(t, body); *c.Object.Size != "9007199254740993" {
		t.Error(*c.Object.Size)
	}
	for value, want := range map[string]string{`0`: "0", `"12"`: "12", `null`: "", `-1`: "", `1.5`: ""} {
		body := bytes.Replace(grid(created("k").set("contentLength", 1)), []byte(`"contentLength":1`), []byte(`"contentLength":`+value), 1)
		c := one(t, body)
		if want == "" && c.Object.Size != nil || want != "" && *c.Object.Size != want {
			t.Error(value, c.Object.Size)
		}
	}
}

func TestTrapSameEventHasOneIDInEverySchemaAndChannel(t *testing.T) {
	ids := map[string]bool{}
	for _, body := range shapes(created("k")) {
		ids[toEvent(t, one(t, body)).ID()] = true
		m := azure.DecodeQueueMessage([]byte(base64.StdEncoding.EncodeToString(body)), account())
		ids[toEvent(t, m.Changes[0]).ID()] = true
	}
	if len(ids) != 1 {
		t.Errorf("%d ids", len(ids))
	}
	id := slices.Collect(maps.Keys(ids))[0]
	for what, e := range map[string]ev{
		"another event":     created("k").with(func(e *ev) { e.id = "831e1650-001e-001b-66ab-eeb76e069632" }),
		"another key":       created("k "),
		"another container": created("k").with(func(e *ev) { e.subject = strings.Replace(e.subject, "/c/", "/d/", 1) }),
		"another sequencer": created("k").set("sequencer", "00000000000004420000000000028964"),
		"another operation": created("k").api("PutBlockList"),
	} {
		if toEvent(t, one(t, grid(e))).ID() == id {
			t.Errorf("%s has the same id", what)
		}
	}
	if toEvent(t, one(t, grid(created("k").set("storageDiagnostics", map[string]any{"batchId": "another"})))).ID() != id {
		t.Error("what says nothing of the change is part of the id")
	}
}

func TestRenames(t *testing.T) {
	const at = "https://media.dfs.core.windows.net/"
	renamed := func(from, to, subject string) ev {
		return created(subject).api("RenameFile").set("sourceUrl", at+from).set("destinationUrl", at+to).with(func(e *ev) {
			e.typ = "Microsoft.Storage.BlobRenamed"
			for _, name := range []string{"url", "eTag", "contentLength", "contentType", "blobType"} {
				delete(e.data, name)
			}
		})
	}
	for _, c := range []struct{ from, to, subject, want string }{
		{"c/old.txt", "c/new.txt", "new.txt", "old.txt"},
		{"c/a%20b", "c/new%20name", "new name", "a b"},     // URLs are escaped
		{"c/a%20b", "c/new", "new", "a b"},                 // nothing tells: they are, by their nature
		{"c/a%20b", "c/new%20name", "new%20name", "a%20b"}, // the new name shows that they are not
		{"c/100%", "c/new", "new", "100%"},
		{"c/a#b?c", "c/new", "new", "a#b?c"},
		{"c//x//", "c/new", "new", "/x//"},
	} {
		for shape, body := range shapes(renamed(c.from, c.to, c.subject)) {
			got := one(t, body)
			if got.Type != event.ObjectRenamed || *got.Object.Rename != (event.Rename{From: c.want, To: c.subject}) || got.Object.Key != c.subject {
				t.Errorf("%s, %s: %+v", c.from, shape, got.Object.Rename)
			}
		}
	}
	m := decode(grid(renamed("d/old", "c/new", "new")))
	if len(m.Changes) != 2 || m.Changes[0].Type != event.ObjectDeleted || m.Changes[0].Object.Bucket != "d" || m.Changes[0].Object.Key != "old" ||
		m.Changes[1].Type != event.ObjectWritten || m.Changes[1].Object.Bucket != "c" || m.Changes[1].Object.Key != "new" {
		t.Errorf("between containers: %+v", m)
	}
	m = decode(grid(renamed("unknown/old", "c/new", "new")))
	if len(m.Changes) != 1 || m.Changes[0].Type != event.ObjectWritten || m.Ignored["another container"] != 1 {
		t.Errorf("from a container that is not ours: %+v", m)
	}
	// Trap: who moves an object to where we keep our own takes it away from its key, and that must not be passed over.
	m = decode(grid(renamed("c/old", "c/.bucketmesh/x", ".bucketmesh/x")))
	if len(m.Changes) != 1 || m.Changes[0].Type != event.ObjectDeleted || m.Changes[0].Object.Key != "old" || m.Ignored["reserved key"] != 1 {
		t.Errorf("to a reserved key: %+v", m)
	}
	m = decode(grid(renamed("c/.bucketmesh/x", "c/new", "new")))
	if len(m.Changes) != 1 || m.Changes[0].Type != event.ObjectWritten || m.Changes[0].Object.Key != "new" || m.Changes[0].Object.Rename != nil {
		t.Errorf("from a reserved key: %+v", m)
	}
	for _, bad := range []string{"c", "c/", "/old", "c/" + strings.Repeat("k", 1025), "c/a%00"} {
		if m := decode(grid(renamed(bad, "c/new", "new"))); len(m.Changes) != 0 || len(m.Poison) != 1 {
			t.Errorf("%q: %+v", bad, m)
		}
	}
}

func TestDirectoriesChangePrefixes(t *testing.T) {
	for api, typ := range map[string]string{"CreateDirectory": "DirectoryCreated", "SftpRemoveDir": "DirectoryDeleted"} {
		c := one(t, grid(created("dir/sub").api(api).with(func(e *ev) { e.typ = "Microsoft.Storage." + typ })))
		if c.Type != event.PrefixChanged || c.Object.Key != "dir/sub/" || c.Object.Rename != nil || c.Object.Size != nil {
			t.Errorf("%s: %+v", typ, c)
		}
	}
	c := one(t, grid(created("new").api("RenameDirectory").set("sourceUrl", "https://media.dfs.core.windows.net/c/old").
		set("destinationUrl", "https://media.dfs.core.windows.net/c/new").with(func(e *ev) { e.typ = "Microsoft.Storage.DirectoryRenamed" })))
	if c.Type != event.PrefixChanged || *c.Object.Rename != (event.Rename{From: "old/", To: "new/"}) {
		t.Errorf("%+v", c)
	}
}

func TestForeignAccountsAndContainersAreNeverTakenForOurs(t *testing.T) {
	topics := func(topic string) []byte { return grid(created("k").with(func(e *ev) { e.topic = topic })) }
	for _, foreign := range []string{
		strings.Replace(topic, "media", "other", 1), strings.Replace(topic, "media", "mediaother", 1), strings.Replace(topic, "media", "other/media", 1),
		"", "media", "/storageAccounts/media", topic + "/x", strings.Replace(topic, "Microsoft.Storage", "Evil.Storage", 1),
	} {
		if m := decode(topics(foreign)); len(m.Changes) != 0 || len(m.Poison) != 1 {
			t.Errorf("%q: %+v", foreign, m)
		}
	}
	if m := decode(topics(strings.ToUpper(topic))); len(m.Changes) != 1 {
		t.Errorf("resource ids have no case: %+v", m)
	}
	for _, container := range []string{"f", "e", "C", "cc", "c%"} { // of another account, of an emulator, nobody's
		m := decode(grid(created("k").with(func(e *ev) { e.subject = "/blobServices/default/containers/" + container + "/blobs/k" })))
		if len(m.Changes)+len(m.Poison) != 0 || m.Ignored["another container"] != 1 {
			t.Errorf("%q: %+v", container, m)
		}
	}
	if c := one(t, grid(created("k").with(func(e *ev) { e.subject = "/blobServices/default/containers/d/blobs/k" }))); c.Source != "https://media.blob.core.windows.net/d" {
		t.Errorf("a sibling container: %s", c.Source)
	}
}

func TestReservedKeysOfAllReplicasInTheContainer(t *testing.T) {
	for _, key := range []string{".bucketmesh/x", "p/.bucketmesh/x", "q/.bucketmesh/x"} {
		if m := decode(grid(created(key))); m.Ignored["reserved key"] != 1 || len(m.Changes) != 0 {
			t.Error(key, m)
		}
	}
}

func TestBadRecordsArePoisonAndTheirNeighboursAreDelivered(t *testing.T) {
	for why, bad := range map[string]any{
		"a number":           7,
		"null":               nil,
		"empty":              map[string]any{},
		"specversion":        map[string]any{"specversion": "0.3", "type": "Microsoft.Storage.BlobCreated"},
		"no data":            ev{typ: "Microsoft.Storage.BlobCreated", topic: topic, id: "x", subject: "/blobServices/default/containers/c/blobs/k"}.with(func(e *ev) { e.data = nil }).noData(),
		"data of text":       created("k").swap("data", "text"),
		"no id":              created("k").with(func(e *ev) { e.id = "" }).gridFields(),
		"another service":    created("k").with(func(e *ev) { e.typ = "Microsoft.KeyVault.SecretNewVersionCreated" }).gridFields(),
		"no key":             created("").gridFields(),
		"subject of nothing": created("k").with(func(e *ev) { e.subject = "k" }).gridFields(),
		"subject of a queue": created("k").with(func(e *ev) { e.subject = "/queueServices/default/containers/c/blobs/k" }).gridFields(),
		"key too long":       created(strings.Repeat("💎", 513)).gridFields(),
		"NUL":                created("a\x00b").gridFields(),
	} {
		m := decode(marshal([]any{created("first").gridFields(), bad, created("last").cloudFields()}))
		if len(m.Changes) != 2 || len(m.Poison) != 1 || m.Poison[0].Record != 2 || m.Changes[1].Record != 3 || m.Changes[1].Object.Key != "last" {
			t.Errorf("%s: %d changes, %+v", why, len(m.Changes), m.Poison)
		}
	}
}

func (e ev) noData() map[string]any { m := e.gridFields(); delete(m, "data"); return m }

func (e ev) swap(name string, value any) map[string]any {
	m := e.gridFields()
	m[name] = value
	return m
}

func TestMessagesThatAreNone(t *testing.T) {
	for _, body := range []string{"", "hello", "[", "{", `[{"a":1}`, "\xff\xfe", `"text"`, "null", "[[]]"} {
		if m := decode([]byte(body)); len(m.Changes) != 0 || len(m.Poison) != 1 {
			t.Errorf("%q: %+v", body, m)
		}
	}
	if m := decode([]byte("[]")); len(m.Changes)+len(m.Poison) != 0 {
		t.Errorf("an empty batch: %+v", m)
	}
}

func TestBatchesAreBounded(t *testing.T) {
	batch := func(n int) []byte { return []byte("[" + strings.Repeat("1,", n-1) + "1]") }
	if m := decode(batch(azure.MaxEvents)); len(m.Poison) != azure.MaxEvents {
		t.Errorf("%d poisons", len(m.Poison))
	}
	if m := decode(batch(azure.MaxEvents + 1)); len(m.Poison) != 1 || m.Poison[0].Record != 0 {
		t.Errorf("%d poisons", len(m.Poison))
	}
}

func TestTrapEventsOver64KiBLoseOnlyTheirNativeRecord(t *testing.T) {
	c := one(t, grid(created("k").set("identity", strings.Repeat("x", 100<<10))))
	e := toEvent(t, c)
	o, err := event.ObjectOf(e)
	if err != nil || o.Key != "k" || o.NativeNote == "" || len(e.Data()) >= event.MaxSize {
		t.Errorf("%v, %d bytes", err, len(e.Data()))
	}
}

func TestTrapQueueMessagesPlainOrBase64(t *testing.T) {
	for shape, body := range shapes(created("k")) {
		coded := base64.StdEncoding.EncodeToString(body)
		for _, text := range []string{string(body), coded, coded + "\n", " " + string(body), coded[:76] + "\r\n" + coded[76:]} {
			if m := azure.DecodeQueueMessage([]byte(text), account()); len(m.Changes) != 1 || len(m.Poison) != 0 {
				t.Errorf("%s, %.20q: %+v", shape, text, m)
			}
		}
	}
	for _, text := range []string{"", "hello", "aGVsbG8=", "e30="} {
		if m := azure.DecodeQueueMessage([]byte(text), account()); len(m.Changes) != 0 || len(m.Poison) != 1 {
			t.Errorf("%q: %+v", text, m)
		}
	}
}

func ExampleDecode() {
	store := azure.StoreOf(config.Replica{Name: "eu", Provider: "azblob", Account: "media", Bucket: "c"})
	m := azure.Decode([]byte(`{"topic": "`+topic+`", "subject": "/blobServices/default/containers/c/blobs/a b.txt",
		"eventType": "Microsoft.Storage.BlobDeleted", "id": "1", "data": {"api": "DeleteBlob"}}`), azure.AccountOf(store, []azure.Store{store}))
	fmt.Println(m.Changes[0].Type, m.Changes[0].Object.Key)
	// Output: dev.bucketmesh.object.deleted.v1 a b.txt
}
