package emulator

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
)

// events that a gate told of.
type events struct {
	mu  sync.Mutex
	all []Event
}

func (e *events) add(one Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.all = append(e.all, one)
}

func (e *events) take() []Event {
	e.mu.Lock()
	defer e.mu.Unlock()
	all := e.all
	e.all = nil
	return all
}

// azureContainer is a new container behind a gate, used with Microsoft's own client.
func azureContainer(t *testing.T) (*container.Client, *events) {
	t.Helper()
	account, key := need(t, "BUCKETMESH_TEST_AZURE_ACCOUNT"), need(t, "BUCKETMESH_TEST_AZURE_KEY")
	told := &events{}
	a, err := NewAzure(need(t, "BUCKETMESH_TEST_AZURE_BLOB"), account, key, told.add)
	if err != nil {
		t.Fatal(err)
	}
	endpoint, stop, err := Serve(t.Context(), "127.0.0.1:0", a)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	id, err := newID()
	if err != nil {
		t.Fatal(err)
	}
	cred, err := container.NewSharedKeyCredential(account, key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := container.NewClientWithSharedKeyCredential(endpoint+"/"+account+"/gate-"+id, cred, &container.ClientOptions{
		ClientOptions: azcore.ClientOptions{Retry: policy.RetryOptions{MaxRetries: -1}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Create(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	return c, told
}

func azureStatus(err error) int {
	if err == nil {
		return http.StatusOK
	}
	if e := new(azcore.ResponseError); errors.As(err, &e) {
		return e.StatusCode
	}
	return 0
}

func match(etag *azcore.ETag) *blob.AccessConditions {
	return &blob.AccessConditions{ModifiedAccessConditions: &blob.ModifiedAccessConditions{IfMatch: etag}}
}

// writes are all that Microsoft's client does to a blob, under the condition that it is as it was.
func writes(c *container.Client) map[string]func(ctx context.Context, name string, etag *azcore.ETag) (*azcore.ETag, error) {
	return map[string]func(context.Context, string, *azcore.ETag) (*azcore.ETag, error){
		"PutBlob": func(ctx context.Context, name string, etag *azcore.ETag) (*azcore.ETag, error) {
			r, err := c.NewBlockBlobClient(name).Upload(ctx, streaming.NopCloser(strings.NewReader("put")), &blockblob.UploadOptions{
				HTTPHeaders: &blob.HTTPHeaders{BlobContentType: new("text/csv")}, AccessConditions: match(etag),
			})
			return r.ETag, err
		},
		"PutBlockList": func(ctx context.Context, name string, etag *azcore.ETag) (*azcore.ETag, error) {
			b := c.NewBlockBlobClient(name)
			id := base64.StdEncoding.EncodeToString([]byte("0001"))
			if _, err := b.StageBlock(ctx, id, streaming.NopCloser(bytes.NewReader(make([]byte, 1000))), nil); err != nil {
				return nil, err
			}
			r, err := b.CommitBlockList(ctx, []string{id}, &blockblob.CommitBlockListOptions{
				HTTPHeaders: &blob.HTTPHeaders{BlobContentType: new("text/csv")}, AccessConditions: match(etag),
			})
			return r.ETag, err
		},
		"CopyBlob": func(ctx context.Context, name string, etag *azcore.ETag) (*azcore.ETag, error) {
			r, err := c.NewBlockBlobClient(name).StartCopyFromURL(ctx, c.NewBlobClient("source").URL(), &blob.StartCopyFromURLOptions{AccessConditions: match(etag)})
			return r.ETag, err
		},
		"DeleteBlob": func(ctx context.Context, name string, etag *azcore.ETag) (*azcore.ETag, error) {
			_, err := c.NewBlobClient(name).Delete(ctx, &blob.DeleteOptions{AccessConditions: match(etag)})
			return nil, err
		},
		"": func(ctx context.Context, name string, etag *azcore.ETag) (*azcore.ETag, error) {
			r, err := c.NewBlobClient(name).SetMetadata(ctx, map[string]*string{"note": new("edited")}, &blob.SetMetadataOptions{AccessConditions: match(etag)})
			return r.ETag, err
		},
	}
}

func putBlob(t *testing.T, c *container.Client, name string) *azcore.ETag {
	t.Helper()
	r, err := c.NewBlockBlobClient(name).Upload(t.Context(), streaming.NopCloser(strings.NewReader("first")), nil)
	if err != nil {
		t.Fatal(err)
	}
	return r.ETag
}

func TestEachWriteHasItsEvent(t *testing.T) {
	c, told := azureContainer(t)
	name := "über/a b+c%25 #?&=/" + strings.Repeat("d", 20)
	putBlob(t, c, "source")
	id := c.URL()[strings.LastIndex(c.URL(), "/")+1:]
	for api, do := range writes(c) {
		first := putBlob(t, c, name)
		told.take()
		if _, err := do(t.Context(), name, to.Ptr(azcore.ETag(`"0x8D0000000000000"`))); azureStatus(err) != http.StatusPreconditionFailed {
			t.Errorf("%s with another ETag: %v, want 412", api, err)
		}
		if got := told.take(); len(got) > 0 {
			t.Errorf("%s that was refused: %+v", api, got)
		}
		etag, err := do(t.Context(), name, first)
		if err != nil {
			t.Errorf("%s: %v", api, err)
			continue
		}
		got := told.take()
		if api == "" {
			if len(got) > 0 {
				t.Errorf("an edit of metadata has no event: %+v", got)
			}
			continue
		}
		if len(got) != 1 {
			t.Fatalf("%s: %d events", api, len(got))
		}
		e := got[0]
		want := Event{EventType: "Microsoft.Storage.BlobCreated", Data: EventData{API: api, ContentType: "text/csv", BlobType: "BlockBlob"}}
		length := map[string]int64{"PutBlob": 3, "PutBlockList": 1000, "CopyBlob": 5}[api]
		switch api {
		case "DeleteBlob":
			want.EventType, want.Data.ContentType = "Microsoft.Storage.BlobDeleted", "application/octet-stream"
		case "CopyBlob":
			want.Data.ContentType = "application/octet-stream"
			fallthrough
		default:
			want.Data.ETag = strings.Trim(string(*etag), `"`)
			if e.Data.ContentLength == nil || *e.Data.ContentLength != length {
				t.Errorf("%s: length %v, want %d", api, e.Data.ContentLength, length)
			}
		}
		if e.EventType != want.EventType || e.Data.API != api || e.Data.ETag != want.Data.ETag || e.Data.ContentType != want.Data.ContentType ||
			e.Data.RequestID == "" || e.ID == "" ||
			e.Subject != "/blobServices/default/containers/"+id+"/blobs/"+name {
			t.Errorf("%s: %+v", api, e)
		}
		if e.Data.URL != "https://bucketmesh.blob.core.windows.net/"+id+"/%C3%BCber/a%20b+c%2525%20%23%3F&=/"+strings.Repeat("d", 20) {
			t.Errorf("%s: url %s", api, e.Data.URL)
		}
	}
}

func TestOneOf32WritersOfABlobWins(t *testing.T) {
	c, told := azureContainer(t)
	putBlob(t, c, "source")
	for api, do := range writes(c) {
		if api == "PutBlockList" {
			continue // staging by all destroys the blocks of whoever comes second: below
		}
		for round := range 10 {
			name := fmt.Sprintf("race %s/%d", api, round)
			first := putBlob(t, c, name)
			told.take()
			var won, refused atomic.Int32
			together(32, func() {
				switch _, err := do(t.Context(), name, first); azureStatus(err) {
				case http.StatusOK:
					won.Add(1)
				case http.StatusPreconditionFailed, http.StatusNotFound:
					refused.Add(1)
				default:
					t.Error(err)
				}
			})
			if won.Load() != 1 || refused.Load() != 31 {
				t.Fatalf("%q: %d of 32 writers won, %d were refused", api, won.Load(), refused.Load())
			}
			if n := len(told.take()); n != 1 && api != "" || n > 1 {
				t.Errorf("%q: %d events", api, n)
			}
		}
	}
}

func TestSequencersAreInTheOrderOfWrites(t *testing.T) {
	c, told := azureContainer(t)
	together(16, func() {
		if _, err := c.NewBlockBlobClient("k").Upload(t.Context(), streaming.NopCloser(strings.NewReader("x")), nil); err != nil {
			t.Error(err)
		}
	})
	last := slices.MaxFunc(told.take(), func(a, b Event) int { return strings.Compare(a.Data.Sequencer, b.Data.Sequencer) })
	p, err := c.NewBlobClient("k").GetProperties(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Trim(string(*p.ETag), `"`); got != last.Data.ETag {
		t.Errorf("the blob has %s, the last event says %s", got, last.Data.ETag)
	}
}
