package azure_test

import (
	"context"
	"crypto/rand"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	cloudevents "github.com/cloudevents/sdk-go/v2/event"

	"github.com/bucketmesh/bucketmesh/pkg/config"
	"github.com/bucketmesh/bucketmesh/pkg/demo/emulator"
	"github.com/bucketmesh/bucketmesh/pkg/event"
	"github.com/bucketmesh/bucketmesh/pkg/normalize/azure"
)

func env(t *testing.T, name string) string {
	t.Helper()
	v := os.Getenv(name)
	if v == "" {
		t.Fatalf("%s is not set: run the tests with hack/test.sh, which starts the servers", name)
	}
	return v
}

// TestRealServerNotifies: the blobs are written with Microsoft's client to Azurite, which has no events; the gate in front of
// it makes them, and delivers them as Event Grid documents it: the handshake first, then batches in no order, some twice.
func TestRealServerNotifies(t *testing.T) {
	name, key := env(t, "BUCKETMESH_TEST_AZURE_ACCOUNT"), env(t, "BUCKETMESH_TEST_AZURE_KEY")
	box := "normalize-" + strings.ToLower(rand.Text())
	store := azure.StoreOf(config.Replica{Name: "eu", Provider: "azblob", Account: name, Bucket: box})
	h, w := newHandler(t, nil, func(c *azure.HandlerConfig) {
		store.Auth.Tokens = []string{secret}
		c.Stores = []azure.Store{store}
	})
	hook := httptest.NewServer(h)
	defer hook.Close()
	grid := emulator.NewEventGrid(emulator.EventGridConfig{Webhook: hook.URL + known, Account: name, Seed: 7, Duplicates: 0.5, MinBackoff: time.Millisecond})
	defer grid.Close()
	if err := grid.Validate(t.Context()); err != nil {
		t.Fatal(err)
	}
	gate, err := emulator.NewAzure(env(t, "BUCKETMESH_TEST_AZURE_BLOB"), name, key, grid.Publish)
	if err != nil {
		t.Fatal(err)
	}
	endpoint, stop, err := emulator.Serve(t.Context(), "127.0.0.1:0", gate)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	}()
	cred, err := container.NewSharedKeyCredential(name, key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := container.NewClientWithSharedKeyCredential(endpoint+"/"+name+"/"+box, cred, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Create(t.Context(), nil); err != nil {
		t.Fatal(err)
	}

	written := map[string]blockblob.UploadResponse{}
	for _, key := range []string{"a b", "a+b", "a%2Bb", "100%25", "é", "日本", "dir/sub/k", "trail", strings.Repeat("k", 1000)} {
		written[key] = upload(t, c, key)
	}
	gone := upload(t, c, "gone")
	if _, err := c.NewBlobClient("gone").Delete(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	events := settled(t, grid, w)

	ids := map[string]string{} // of changes: type, key and request
	for _, e := range events {
		o, err := event.ObjectOf(e)
		if err != nil {
			t.Fatal(err)
		}
		change := e.Type() + " " + o.Key + " " + o.RequestID
		if id, ok := ids[change]; ok && id != e.ID() {
			t.Errorf("%s has two ids", change)
		}
		ids[change] = e.ID()
		if e.Source() != store.Source || o.RequestID == "" {
			t.Errorf("%v", e)
		}
		if up, ok := written[o.Key]; ok {
			if o.RequestID != *up.RequestID || o.ETag != strings.Trim(string(*up.ETag), `"`) || *o.Size != "5" || o.ContentType != "text/csv" {
				t.Errorf("%q: %+v, written with request %s, ETag %s", o.Key, o, *up.RequestID, *up.ETag)
			}
		}
	}
	want := len(written) + 2 // written and deleted once more
	if len(ids) != want || ids[event.ObjectWritten+" gone "+*gone.RequestID] == "" {
		t.Errorf("%d changes, want %d: %v", len(ids), want, ids)
	}
	if len(events) <= want {
		t.Errorf("%d events: none came twice", len(events))
	}
	// The order in which they happened is in the sequence, whatever the order in which they came.
	var sequences []string
	for _, typ := range []string{event.ObjectWritten, event.ObjectDeleted} {
		i := slices.IndexFunc(events, func(e cloudevents.Event) bool { return e.Type() == typ && e.Subject() == "gone" })
		if i < 0 {
			t.Fatalf("no %s of gone", typ)
		}
		sequence, ok := events[i].Extensions()[event.ExtSequence].(string)
		if !ok {
			t.Fatalf("no sequence: %v", events[i])
		}
		sequences = append(sequences, sequence)
	}
	if sequences[0] >= sequences[1] {
		t.Errorf("written at %s, deleted at %s", sequences[0], sequences[1])
	}
}

func upload(t *testing.T, c *container.Client, key string) blockblob.UploadResponse {
	t.Helper()
	contentType := "text/csv"
	up, err := c.NewBlockBlobClient(key).Upload(t.Context(), streaming.NopCloser(strings.NewReader("12345")), &blockblob.UploadOptions{
		HTTPHeaders: &blob.HTTPHeaders{BlobContentType: &contentType},
	})
	if err != nil {
		t.Fatalf("%q: %v", key, err)
	}
	return up
}

// settled waits until all events are delivered, those that come twice included.
func settled(t *testing.T, grid *emulator.EventGrid, w *world) []cloudevents.Event {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for grid.Stats().Waiting > 0 {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("not all events were delivered: %+v, %s", grid.Stats(), &w.logs)
		}
	}
	if s := grid.Stats(); s.Lost > 0 || s.Retried > 0 {
		t.Errorf("%+v", s)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.dead) > 0 {
		t.Errorf("dead letters: %q", w.dead)
	}
	return slices.Clone(w.events)
}
