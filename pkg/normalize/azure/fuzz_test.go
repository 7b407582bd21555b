package azure_test

import (
	"encoding/base64"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/bucketmesh/bucketmesh/pkg/event"
	"github.com/bucketmesh/bucketmesh/pkg/normalize"
	"github.com/bucketmesh/bucketmesh/pkg/normalize/azure"
)

// checkMessage holds what is true of every message, whatever was sent: nothing is taken for ours that is not, every record is
// accounted for, and changes become events or are refused with a reason.
func checkMessage(t *testing.T, m normalize.Message) {
	t.Helper()
	for _, c := range m.Changes {
		o := c.Object
		if c.Source != "https://media.blob.core.windows.net/c" && c.Source != "https://media.blob.core.windows.net/d" {
			t.Fatalf("source %q", c.Source)
		}
		if !strings.HasSuffix(c.Source, "/"+o.Bucket) || c.EventID == "" || o.KeyBase64 != "" || !utf8.ValidString(o.Key) || strings.ContainsRune(o.Key, 0) {
			t.Fatalf("%+v", c)
		}
		if c.Record == 0 || o.Key == "" && c.Type != event.PrefixChanged || o.Rename != nil && o.Rename.To != o.Key {
			t.Fatalf("%+v", c)
		}
		e, err := c.Event(c.Time, "")
		if err != nil {
			continue // a dead letter
		}
		if key, err := event.DecodeSubject(e.Subject()); err != nil || key != o.Key || e.ID() != toEvent(t, c).ID() {
			t.Fatalf("subject %q of %q: %v", e.Subject(), o.Key, err)
		}
	}
	for _, p := range m.Poison {
		if p.Reason == "" {
			t.Fatal("poison without a reason")
		}
	}
}

func seeds(f *testing.F) {
	for _, name := range []string{"azure-eg-blobcreated.json", "azure-ce-adls-blobrenamed.json", "azure-eg-validation.json"} {
		f.Add(sample(f, name))
	}
	for _, key := range trapKeys {
		for _, body := range shapes(created(key), created("d/\uFFFD").api("CreateFile")) {
			f.Add(body)
		}
	}
	f.Add([]byte("[[[]]]"))
}

func FuzzDecode(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, body []byte) { checkMessage(t, decode(body)) })
}

// FuzzDecodeQueueMessage: base64 around a message changes nothing.
func FuzzDecodeQueueMessage(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, body []byte) {
		checkMessage(t, azure.DecodeQueueMessage(body, account()))
		coded := azure.DecodeQueueMessage([]byte(base64.StdEncoding.EncodeToString(body)), account())
		plain := decode(body)
		if len(coded.Changes) != len(plain.Changes) || len(coded.Poison) != len(plain.Poison) {
			t.Fatalf("%d changes and %d poisons, in base64 %d and %d", len(plain.Changes), len(plain.Poison), len(coded.Changes), len(coded.Poison))
		}
	})
}

// FuzzNames: whatever a name and the URLs are, an event of a rename never names another new key than its subject does.
func FuzzNames(f *testing.F) {
	f.Add("new", "https://a/c/old", "https://a/c/new")
	f.Add("a%20b", "https://a/c/x%20y", "https://a/c/a%2520b")
	f.Add("\uFFFD\uFFFD", "https://a/c/%F0%9F%92%8E", "https://a/c/%F0%9F%92%8E")
	f.Fuzz(func(t *testing.T, name, from, to string) {
		if name == "" || !utf8.ValidString(name) || strings.Contains(name, "\uFFFD") {
			return
		}
		m := decode(grid(created(name).set("sourceUrl", from).set("destinationUrl", to).with(func(e *ev) { e.typ = "Microsoft.Storage.BlobRenamed" })))
		checkMessage(t, m)
		for _, c := range m.Changes {
			if c.Type == event.ObjectRenamed && c.Object.Rename.To != name || c.Type == event.ObjectWritten && c.Object.Key != name {
				t.Fatalf("%q became %+v", name, c.Object)
			}
		}
	})
}
