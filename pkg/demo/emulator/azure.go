package emulator

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
)

// Azure is the gate in front of Azurite's blob service. After each successful Put Blob, Put Block List, Copy Blob and Delete
// Blob it hands an event to notify; nothing for metadata, tags, properties and blocks, for which Event Grid has no events.
// One such request is under way at a blob at a time, so that sequencers are in the order in which the blob changed.
//
// Requests pass as they are, with their signatures. Batches are refused with 501: their deletes would go unnoticed.
type Azure struct {
	upstream *url.URL
	proxy    *httputil.ReverseProxy
	locks    objectLocks
	key      *blob.SharedKeyCredential
	account  string
	notify   func(Event)
	sequence atomic.Uint64
}

// NewAzure makes a gate in front of the blob service at http://HOST:PORT, whose URLs begin with the account. The key is for
// looking at what a block list or a copy made. notify is called before the client gets its answer, and must be quick.
func NewAzure(upstream, account, key string, notify func(Event)) (*Azure, error) {
	to, proxy, err := newProxy(upstream)
	if err != nil {
		return nil, err
	}
	cred, err := blob.NewSharedKeyCredential(account, key)
	if err != nil {
		return nil, fmt.Errorf("account key: %w", err)
	}
	a := &Azure{upstream: to, proxy: proxy, key: cred, account: account, notify: notify}
	a.sequence.Store(uint64(time.Now().UnixNano())) // #nosec G115 -- a gate that is started again goes on above
	return a, nil
}

// azureBlob is what a path names.
type azureBlob struct{ account, container, name string }

// ServeHTTP carries out one request.
func (a *Azure) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b, ok := blobOf(r.URL.EscapedPath())
	if r.URL.Query().Get("comp") == "batch" {
		http.Error(w, "the gate in front of the emulator does not know batches", http.StatusNotImplemented)
		return
	}
	api := apiOf(r)
	if !ok || !changesBlob(r) {
		a.proxy.ServeHTTP(w, r)
		return
	}
	if _, err := readBody(w, r); err != nil {
		http.Error(w, err.Error(), http.StatusRequestEntityTooLarge)
		return
	}
	defer a.locks.lock([]string{b.account + "/" + b.container + "/" + b.name}, nil)()
	a.proxy.ServeHTTP(w, withAnswer(r, func(resp *http.Response) error {
		if api == "" || resp.StatusCode >= 300 {
			return nil
		}
		e, err := a.event(r, resp, b, api)
		if err == nil {
			a.notify(e)
		}
		return err
	}))
}

// blobOf reads /ACCOUNT/CONTAINER/BLOB.
func blobOf(path string) (azureBlob, bool) {
	parts := strings.SplitN(strings.TrimPrefix(path, "/"), "/", 3)
	if len(parts) < 3 || parts[2] == "" {
		return azureBlob{}, false
	}
	names, err := unescape(parts...)
	if err != nil {
		return azureBlob{}, false
	}
	return azureBlob{names[0], names[1], names[2]}, true
}

// changesBlob says whether a request changes a blob, metadata and all, rather than blocks or nothing.
func changesBlob(r *http.Request) bool {
	return r.Method == http.MethodDelete || r.Method == http.MethodPut && r.URL.Query().Get("comp") != "block"
}

// apiOf is the operation as events name it, "" for those without an event.
func apiOf(r *http.Request) string {
	q := r.URL.Query()
	comp := q.Get("comp")
	switch {
	case r.Method == http.MethodDelete && comp == "" && q.Get("snapshot") == "" && q.Get("versionid") == "":
		return "DeleteBlob"
	case r.Method != http.MethodPut:
		return ""
	case comp == "blocklist":
		return "PutBlockList"
	case comp != "":
		return ""
	case r.Header.Get("X-Ms-Blob-Type") != "": // from a URL, too
		return "PutBlob"
	case r.Header.Get("X-Ms-Copy-Source") != "":
		return "CopyBlob"
	}
	return ""
}

// event is what Event Grid would say of an answered request.
func (a *Azure) event(r *http.Request, resp *http.Response, b azureBlob, api string) (Event, error) {
	d := EventData{
		API: api, ClientRequestID: r.Header.Get("X-Ms-Client-Request-Id"), RequestID: resp.Header.Get("X-Ms-Request-Id"),
		BlobType: "BlockBlob", Sequencer: fmt.Sprintf("%032X", a.sequence.Add(1)),
		URL: "https://" + b.account + ".blob.core.windows.net/" + b.container + "/" + strings.ReplaceAll(url.PathEscape(b.name), "%2F", "/"),
	}
	typ := "Microsoft.Storage.BlobCreated"
	switch api {
	case "DeleteBlob":
		typ, d.ContentType = "Microsoft.Storage.BlobDeleted", "application/octet-stream"
	case "PutBlob":
		d.ETag, d.ContentType = strings.Trim(resp.Header.Get("ETag"), `"`), r.Header.Get("X-Ms-Blob-Content-Type")
		if d.ContentType == "" {
			d.ContentType = r.Header.Get("Content-Type")
		}
		n := r.ContentLength
		d.ContentLength = &n
	default:
		if err := a.look(r.Context(), b, &d); err != nil {
			return Event{}, err
		}
	}
	return newEvent(typ, "/blobServices/default/containers/"+b.container+"/blobs/"+b.name, a.account, d)
}

// look reads what the request does not tell. Nobody else can have changed it: the lock is held.
func (a *Azure) look(ctx context.Context, b azureBlob, d *EventData) error {
	c, err := blob.NewClientWithSharedKeyCredential(blobURL(a.upstream.String(), b), a.key, &blob.ClientOptions{ClientOptions: azcore.ClientOptions{
		Retry: policy.RetryOptions{MaxRetries: -1}, Transport: &http.Client{Transport: a.proxy.Transport},
	}})
	if err != nil {
		return fmt.Errorf("look at blob: %w", err)
	}
	p, err := c.GetProperties(ctx, nil)
	if err != nil {
		return fmt.Errorf("look at blob: %w", err)
	}
	if p.ETag != nil {
		d.ETag = strings.Trim(string(*p.ETag), `"`)
	}
	if p.ContentType != nil {
		d.ContentType = *p.ContentType
	}
	d.ContentLength = p.ContentLength
	return nil
}

func blobURL(endpoint string, b azureBlob) string {
	return endpoint + "/" + strings.Join([]string{b.account, b.container, url.PathEscape(b.name)}, "/")
}

// quoted is an ETag as events have it: some have quotes around it, some do not.
func quoted(etag string, yes bool) string {
	if yes && etag != "" {
		return strconv.Quote(etag)
	}
	return etag
}
