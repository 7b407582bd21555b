package azqueue_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	azure "github.com/Azure/azure-sdk-for-go/sdk/storage/azqueue/v2"

	"github.com/bucketmesh/bucketmesh/pkg/config"
	"github.com/bucketmesh/bucketmesh/pkg/pull/pulltest"
)

func env(t *testing.T, name string) string {
	t.Helper()
	v := os.Getenv(name)
	if v == "" {
		t.Fatalf("%s is not set: run the tests with hack/test.sh, which starts the servers", name)
	}
	return v
}

// shapes are the ways in which Event Grid puts an event into a queue.
var shapes = map[string]func(t *testing.T, event string) string{
	"raw":    func(_ *testing.T, event string) string { return event },
	"base64": func(_ *testing.T, event string) string { return base64.StdEncoding.EncodeToString([]byte(event)) },
	"array":  func(_ *testing.T, event string) string { return "[" + event + "]" },
}

// gridEvent is in Event Grid's own schema, which names the blob in the subject, as it is.
func gridEvent(t *testing.T, key string) string {
	t.Helper()
	b, err := json.Marshal(map[string]any{
		"topic":     "/subscriptions/s/resourceGroups/g/providers/Microsoft.Storage/storageAccounts/acct",
		"subject":   "/blobServices/default/containers/box/blobs/" + key,
		"eventType": "Microsoft.Storage.BlobCreated", "eventTime": "2026-11-20T18:00:00.0000000Z",
		"id": fmt.Sprintf("id-of-%x", key), "dataVersion": "", "metadataVersion": "1",
		"data": map[string]any{
			"api": "PutBlob", "requestId": "r", "eTag": "0x8D4BCC2E4835CD0", "contentType": "text/plain", "contentLength": 5, "blobType": "BlockBlob",
			"url": "https://acct.blob.core.windows.net/box/" + url.PathEscape(key), "sequencer": "00000000000004420000000000028963",
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// cloudEvent is the same in the schema of CloudEvents.
func cloudEvent(t *testing.T, key string) string {
	t.Helper()
	b, err := json.Marshal(map[string]any{
		"specversion": "1.0", "source": "/subscriptions/s/resourceGroups/g/providers/Microsoft.Storage/storageAccounts/acct",
		"subject": "/blobServices/default/containers/box/blobs/" + key,
		"type":    "Microsoft.Storage.BlobCreated", "time": "2026-11-20T18:00:00.0000000Z", "id": fmt.Sprintf("id-of-%x", key),
		"data": map[string]any{
			"api": "PutBlob", "requestId": "r", "eTag": "0x8D4BCC2E4835CD0", "contentType": "text/plain", "contentLength": 5, "blobType": "BlockBlob",
			"url": "https://acct.blob.core.windows.net/box/" + url.PathEscape(key), "sequencer": "00000000000004420000000000028963",
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func replica(pull string) config.Replica {
	r := config.Replica{Name: "r", Provider: "azblob", Account: "acct", Bucket: "box", Credentials: "Q"}
	r.Notifications.Pull = pull
	return r
}

func target(t *testing.T, event func(*testing.T, string) string, shape func(*testing.T, string) string) pulltest.Target {
	t.Helper()
	at, err := url.Parse(env(t, "BUCKETMESH_TEST_AZURE_QUEUE"))
	if err != nil {
		t.Fatal(err)
	}
	account, key := env(t, "BUCKETMESH_TEST_AZURE_ACCOUNT"), env(t, "BUCKETMESH_TEST_AZURE_KEY")
	name := fmt.Sprintf("q%d", time.Now().UnixNano())
	credential, err := azure.NewSharedKeyCredential(account, key)
	if err != nil {
		t.Fatal(err)
	}
	direct, err := azure.NewQueueClientWithSharedKeyCredential(at.String()+"/"+account+"/"+name, credential, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := direct.Create(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	proxy := pulltest.NewProxy(t, at.Host)
	through := "http://" + proxy.Addr + "/" + account + "/" + name
	of := func(pull string) config.Replica {
		r := replica(pull)
		r.Account = account
		return r
	}
	fit := func(text string) string { // the account of the server, in the events
		return strings.ReplaceAll(text, "storageAccounts/acct", "storageAccounts/"+account)
	}
	return pulltest.Target{
		Replica: of(through), Env: map[string]string{"BUCKETMESH_Q_ACCOUNT_KEY": key}, Proxy: proxy,
		Send: func(t *testing.T, m pulltest.Message) {
			if _, err := direct.EnqueueMessage(t.Context(), string(m.Body), nil); err != nil {
				t.Fatal(err)
			}
		},
		Empty: func(t *testing.T) bool {
			out, err := direct.GetProperties(t.Context(), nil)
			if err != nil || out.ApproximateMessagesCount == nil {
				t.Fatal(err)
			}
			return *out.ApproximateMessagesCount == 0
		},
		Written: func(key string) pulltest.Message { return pulltest.Message{Body: []byte(shape(t, fit(event(t, key))))} },
		Poison:  pulltest.Message{Body: []byte(shape(t, `{"what":"is this"}`))},
		Missing: of(through + "-missing"),
		Forbidden: func() (config.Replica, map[string]string) {
			return of(through), map[string]string{"BUCKETMESH_Q_ACCOUNT_KEY": base64.StdEncoding.EncodeToString([]byte("wrong"))}
		},
	}
}

func TestConformance(t *testing.T) {
	pulltest.Run(t, func(t *testing.T) pulltest.Target { return target(t, gridEvent, shapes["base64"]) })
}

func TestTrapKeysRoundTripThroughEveryShape(t *testing.T) {
	for name, shape := range shapes {
		t.Run("grid "+name, func(t *testing.T) { pulltest.KeysRoundTrip(t, target(t, gridEvent, shape)) })
		t.Run("cloudevents "+name, func(t *testing.T) { pulltest.KeysRoundTrip(t, target(t, cloudEvent, shape)) })
	}
}
