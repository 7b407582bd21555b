package azblob_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/object/azblob"
	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
)

// The tests in this file hold the driver to answers that Azure documents and Azurite never gives. The server is a local HTTP
// server that answers as the Blob service's REST API says.

const testKey = "c2VjcmV0" // "secret"

// answering is a driver (that knows of a container which keeps every condition) on a server that answers with h.
func answering(t *testing.T, h http.HandlerFunc, change ...func(*azblob.Config)) *azblob.Bucket {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	return server{srv.URL, "account", testKey}.open(t, "container", append([]func(*azblob.Config){conditions}, change...)...)
}

// azureError answers as Azure does: the code is in a header, too, and HEAD has nothing else.
func azureError(w http.ResponseWriter, status int, code string) {
	if code != "" {
		w.Header().Set("X-Ms-Error-Code", code)
	}
	w.Header().Set("X-Ms-Request-Id", "REQUEST")
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, "\ufeff<?xml version=\"1.0\" encoding=\"utf-8\"?><Error><Code>%s</Code><Message>said the server\nRequestId:REQUEST</Message></Error>", code)
}

// blobHeaders are those of every blob that is there.
func blobHeaders(w http.ResponseWriter, etag string) {
	h := w.Header()
	h.Set("ETag", `"`+etag+`"`)
	h.Set("Last-Modified", "Thu, 01 Oct 2026 10:00:00 GMT")
	if h.Get("X-Ms-Request-Id") == "" {
		h.Set("X-Ms-Request-Id", "REQUEST")
	}
	h.Set("X-Ms-Blob-Type", "BlockBlob")
}

func put(ctx context.Context, b driver.Bucket, cond driver.Precondition) error {
	_, err := b.Put(ctx, "k", strings.NewReader("x"), &driver.PutOptions{Size: 1, If: cond})
	return err
}

func putTagged(ctx context.Context, b driver.Bucket, cond driver.Precondition) error {
	_, err := b.Put(ctx, "k", strings.NewReader("x"), &driver.PutOptions{Size: 1, If: cond, Properties: driver.Properties{Tags: map[string]string{"k": "v"}}})
	return err
}

func putPart(ctx context.Context, b driver.Bucket, _ driver.Precondition) error {
	_, err := b.(driver.Multiparter).PutPart(ctx, "k", strings.Repeat("ab", 16), 1, strings.NewReader("x"), 1)
	return err
}

func complete(ctx context.Context, b driver.Bucket, cond driver.Precondition) error {
	parts := []driver.Part{{Number: 1, Size: 1, ETag: strings.Repeat("ab", 16) + "-1"}}
	_, err := b.(driver.Multiparter).Complete(ctx, "k", strings.Repeat("ab", 16), parts, &driver.PutOptions{Size: 1, If: cond})
	return err
}

func remove(ctx context.Context, b driver.Bucket, cond driver.Precondition) error {
	_, err := b.Delete(ctx, "k", &driver.DeleteOptions{If: cond})
	return err
}

func open(ctx context.Context, b driver.Bucket, cond driver.Precondition) error {
	r, _, err := b.Open(ctx, "k", &driver.ReadOptions{IfMatch: cond.Match})
	if r != nil {
		err = errors.Join(err, r.Close())
	}
	return err
}

func stat(ctx context.Context, b driver.Bucket, _ driver.Precondition) error {
	_, err := b.Stat(ctx, "k", "")
	return err
}

// TestErrorKinds: what each answer means. Every request is sent once: retries are not this package's business.
func TestErrorKinds(t *testing.T) {
	none, match := driver.Precondition{}, driver.Precondition{Match: "tag"}
	create := driver.Precondition{NotExist: true}
	for name, c := range map[string]struct {
		status int
		code   string
		call   func(context.Context, driver.Bucket, driver.Precondition) error
		cond   driver.Precondition
		want   errkind.Kind
	}{
		"GET of a missing key":                    {404, "BlobNotFound", open, none, errkind.NotFound},
		"GET in a missing container":              {404, "ContainerNotFound", open, none, errkind.Unavailable},
		"GET in a container being deleted":        {409, "ContainerBeingDeleted", open, none, errkind.Unavailable},
		"404 of a proxy":                          {404, "", open, none, errkind.Unavailable},
		"404 of something else":                   {404, "ResourceNotFound", open, none, errkind.Unavailable},
		"GET, stale tag":                          {412, "ConditionNotMet", open, match, errkind.PreconditionFailed},
		"GET, archived":                           {409, "BlobArchived", open, none, errkind.Unsupported},
		"GET, coming back from the archive":       {409, "BlobBeingRehydrated", open, none, errkind.Unsupported},
		"GET, another's encryption key":           {409, "BlobUsesCustomerSpecifiedEncryption", open, none, errkind.Unsupported},
		"GET, range":                              {416, "InvalidRange", open, none, errkind.Invalid},
		"HEAD of a missing key":                   {404, "BlobNotFound", stat, none, errkind.NotFound},
		"HEAD in a missing container":             {404, "ContainerNotFound", stat, none, errkind.Unavailable},
		"HEAD 404 of a proxy":                     {404, "", stat, none, errkind.Unavailable},
		"HEAD 403":                                {403, "AuthorizationPermissionMismatch", stat, none, errkind.PermissionDenied},
		"HEAD 403, clock":                         {403, "AuthenticationFailed", stat, none, errkind.PermissionDenied},
		"HEAD 401":                                {401, "NoAuthenticationInformation", stat, none, errkind.Unauthenticated},
		"HEAD 401, bad token":                     {401, "InvalidAuthenticationInfo", stat, none, errkind.Unauthenticated},
		"HEAD 503":                                {503, "ServerBusy", stat, none, errkind.Throttled},
		"HEAD 503 of a proxy":                     {503, "", stat, none, errkind.Unavailable},
		"put, 503 of a proxy":                     {503, "", put, match, errkind.Unavailable},
		"put, server busy":                        {503, "ServerBusy", put, match, errkind.Throttled},
		"HEAD 429":                                {429, "TooManyRequests", stat, none, errkind.Throttled},
		"HEAD 500":                                {500, "InternalError", stat, none, errkind.Unavailable},
		"put, timed out":                          {500, "OperationTimedOut", put, match, errkind.Unavailable},
		"put, stale tag":                          {412, "ConditionNotMet", put, match, errkind.PreconditionFailed},
		"put, key exists":                         {409, "BlobAlreadyExists", put, create, errkind.PreconditionFailed},
		"put, key exists, as a block list says":   {412, "TargetConditionNotMet", complete, create, errkind.PreconditionFailed},
		"put, If-Match on a missing key":          {404, "BlobNotFound", put, match, errkind.PreconditionFailed},
		"put, If-Match in a missing container":    {404, "ContainerNotFound", put, match, errkind.Unavailable},
		"put, create in a container that goes":    {409, "ContainerBeingDeleted", put, create, errkind.Unavailable},
		"put, lease":                              {412, "LeaseIdMissing", put, match, errkind.Conflict},
		"put, lease of another":                   {409, "LeaseIdMismatchWithBlobOperation", put, create, errkind.Conflict},
		"put, a 409 that nobody knows":            {409, "SomethingNew", put, create, errkind.Conflict},
		"put, immutable":                          {409, "BlobImmutableDueToPolicy", put, match, errkind.PermissionDenied},
		"put, immutable, create":                  {409, "BlobImmutableDueToPolicy", put, create, errkind.PermissionDenied},
		"put, bytes changed on the way":           {400, "Md5Mismatch", put, none, errkind.Unavailable},
		"put, metadata too large":                 {400, "MetadataTooLarge", put, none, errkind.Invalid},
		"put, metadata that isn't valid":          {400, "InvalidMetadata", put, none, errkind.Invalid},
		"put, a name that isn't valid":            {400, "InvalidResourceName", put, none, errkind.Invalid},
		"put, too large":                          {413, "RequestBodyTooLarge", put, none, errkind.Invalid},
		"put with tags, no permission":            {403, "AuthorizationPermissionMismatch", putTagged, none, errkind.PermissionDenied},
		"part, others' ids":                       {400, "InvalidBlobOrBlock", putPart, none, errkind.Conflict},
		"part, page blob":                         {409, "InvalidBlobType", putPart, none, errkind.Unsupported},
		"complete, stale tag":                     {412, "ConditionNotMet", complete, match, errkind.PreconditionFailed},
		"complete, key exists":                    {409, "BlobAlreadyExists", complete, create, errkind.PreconditionFailed},
		"complete, parts are gone":                {400, "InvalidBlockList", complete, match, errkind.Conflict},
		"complete, parts are gone, no condition":  {400, "InvalidBlockList", complete, none, errkind.Conflict},
		"complete, lease":                         {412, "LeaseIdMissing", complete, match, errkind.Conflict},
		"complete, page blob":                     {409, "InvalidBlobType", complete, match, errkind.Unsupported},
		"complete, missing container":             {404, "ContainerNotFound", complete, match, errkind.Unavailable},
		"delete, stale tag":                       {412, "ConditionNotMet", remove, match, errkind.PreconditionFailed},
		"delete, If-Match on a missing key":       {404, "BlobNotFound", remove, match, errkind.PreconditionFailed},
		"delete, missing key":                     {404, "BlobNotFound", remove, none, errkind.Unknown}, // a success
		"delete, missing container":               {404, "ContainerNotFound", remove, none, errkind.Unavailable},
		"delete, 404 of a proxy":                  {404, "", remove, none, errkind.Unavailable},
		"delete, snapshots":                       {409, "SnapshotsPresent", remove, match, errkind.Unsupported},
		"delete, legal hold":                      {409, "BlobImmutableDueToPolicy", remove, match, errkind.PermissionDenied},
		"delete, lease":                           {412, "LeaseIdMissing", remove, match, errkind.Conflict},
		"an account in a hierarchy knows no tags": {409, "FeatureNotYetSupportedForHierarchicalNamespaceAccounts", putTagged, none, errkind.Unsupported},
	} {
		t.Run(name, func(t *testing.T) {
			var requests atomic.Int32
			b := answering(t, func(w http.ResponseWriter, _ *http.Request) {
				requests.Add(1)
				azureError(w, c.status, c.code)
			})
			err := c.call(t.Context(), b, c.cond)
			if (err == nil) != (c.want == errkind.Unknown) || err != nil && !errkind.Is(err, c.want) {
				t.Errorf("got %v (kind %s), want kind %s", err, errkind.Of(err), c.want)
			}
			if n := requests.Load(); n != 1 {
				t.Errorf("%d requests were sent, want one", n)
			}
			if err != nil && (strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), testKey) || strings.Contains(err.Error(), "\n") ||
				!strings.Contains(err.Error(), "REQUEST") || !strings.Contains(err.Error(), c.code)) {
				t.Errorf("the error is %q", err)
			}
		})
	}
}

// TestConditionsAreSent: a request without its condition would overwrite what nobody saw.
func TestConditionsAreSent(t *testing.T) {
	var got http.Header
	b := answering(t, func(w http.ResponseWriter, r *http.Request) {
		got = r.Header.Clone()
		blobHeaders(w, "e")
		w.WriteHeader(map[string]int{http.MethodPut: 201, http.MethodDelete: 202, http.MethodGet: 206}[r.Method])
	})
	for name, c := range map[string]struct {
		call          func(context.Context, driver.Bucket, driver.Precondition) error
		cond          driver.Precondition
		header, value string
	}{
		"put match":       {put, driver.Precondition{Match: "0x8D"}, "If-Match", `"0x8D"`},
		"put create":      {put, driver.Precondition{NotExist: true}, "If-None-Match", "*"},
		"complete match":  {complete, driver.Precondition{Match: "0x8D"}, "If-Match", `"0x8D"`},
		"delete match":    {remove, driver.Precondition{Match: "0x8D"}, "If-Match", `"0x8D"`},
		"open match":      {open, driver.Precondition{Match: "0x8D"}, "If-Match", `"0x8D"`},
		"delete alone":    {remove, driver.Precondition{Match: "0x8D"}, "X-Ms-Delete-Snapshots", ""},
		"complete create": {completeOther, driver.Precondition{NotExist: true}, "If-None-Match", "*"},
	} {
		if err := c.call(t.Context(), b, c.cond); err != nil && name != "open match" { // its answer has another tag
			t.Errorf("%s: %v", name, err)
		}
		if got.Get(c.header) != c.value {
			t.Errorf("%s: %s is %q, want %q", name, c.header, got.Get(c.header), c.value)
		}
	}
}

func completeOther(ctx context.Context, b driver.Bucket, cond driver.Precondition) error {
	parts := []driver.Part{{Number: 1, Size: 1, ETag: strings.Repeat("ab", 16) + "-1"}}
	_, err := b.(driver.Multiparter).Complete(ctx, "k", strings.Repeat("cd", 16), parts, &driver.PutOptions{Size: 1, If: cond})
	return err
}

func TestRetryAfterIsKept(t *testing.T) {
	b := answering(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "7")
		azureError(w, 503, "ServerBusy")
	})
	err := put(t.Context(), b, driver.Precondition{})
	if !errkind.Is(err, errkind.Throttled) || errkind.Delay(err) != 7*time.Second {
		t.Errorf("got %v (kind %s), come back after %v", err, errkind.Of(err), errkind.Delay(err))
	}
}

func TestSuccessWithoutETagIsUnknown(t *testing.T) {
	b := answering(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut {
			w.WriteHeader(http.StatusCreated)
		}
	})
	kind(t, put(t.Context(), b, driver.Precondition{}), errkind.Unavailable, "put")
	kind(t, complete(t.Context(), b, driver.Precondition{}), errkind.Unavailable, "complete")
	kind(t, open(t.Context(), b, driver.Precondition{}), errkind.Unavailable, "open")
	kind(t, stat(t.Context(), b, driver.Precondition{}), errkind.Unavailable, "stat")
}

func TestNobodyListens(t *testing.T) {
	srv := httptest.NewServer(http.NotFoundHandler())
	srv.Close()
	b := server{srv.URL, "account", testKey}.open(t, "container", conditions)
	kind(t, put(t.Context(), b, driver.Precondition{}), errkind.Unavailable, "put")
}

// TestServerSaysNothing: every operation ends by itself, and the outcome is unknown.
func TestServerSaysNothing(t *testing.T) {
	done := make(chan struct{})
	b := answering(t, func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-done:
		}
	}, func(c *azblob.Config) { c.RequestTimeout, c.CompleteTimeout = 20*time.Millisecond, 20*time.Millisecond })
	t.Cleanup(func() { close(done) }) // before the server's Close, which waits for its handlers
	for name, call := range map[string]func(context.Context, driver.Bucket, driver.Precondition) error{
		"stat": stat, "open": open, "put": put, "delete": remove, "part": putPart, "complete": complete,
	} {
		kind(t, call(t.Context(), b, driver.Precondition{}), errkind.Unavailable, name)
	}
}

func bodyOf(t *testing.T, b driver.Bucket) (string, error) {
	t.Helper()
	r, _, err := b.Open(t.Context(), "k", nil)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	data, err := io.ReadAll(r)
	return string(data), errors.Join(err, r.Close())
}

// TestEarlyEndOfBody: a torn connection never looks like the end of the object.
func TestEarlyEndOfBody(t *testing.T) {
	b := answering(t, func(w http.ResponseWriter, _ *http.Request) {
		blobHeaders(w, "e")
		w.Header().Set("Content-Length", "10")
		_, _ = io.WriteString(w, "01234")
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	})
	data, err := bodyOf(t, b)
	if data != "01234" || !errkind.Is(err, errkind.Unavailable) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("read %q and %v (kind %s), want unavailable", data, err, errkind.Of(err))
	}
}

// TestSilentBody: the headers came, the bytes stop coming.
func TestSilentBody(t *testing.T) {
	b := answering(t, func(w http.ResponseWriter, r *http.Request) {
		blobHeaders(w, "e")
		w.Header().Set("Content-Length", "10")
		_, _ = io.WriteString(w, "01234")
		w.(http.Flusher).Flush()
		<-r.Context().Done() // until the driver hangs up
	}, func(c *azblob.Config) { c.IdleTimeout = 20 * time.Millisecond })
	if data, err := bodyOf(t, b); data != "01234" || !errkind.Is(err, errkind.Unavailable) {
		t.Errorf("read %q and %v (kind %s), want unavailable", data, err, errkind.Of(err))
	}
}

// TestServerIgnoresWhatWasAskedFor: the driver compares what came.
func TestServerIgnoresWhatWasAskedFor(t *testing.T) {
	b := answering(t, func(w http.ResponseWriter, _ *http.Request) {
		blobHeaders(w, "newer")
		_, _ = io.WriteString(w, "0123456789")
	})
	_, _, err := b.Open(t.Context(), "k", &driver.ReadOptions{IfMatch: "older"})
	kind(t, err, errkind.PreconditionFailed, "a pinned read of a server that ignores the pin")
	_, _, err = b.Open(t.Context(), "k", &driver.ReadOptions{Offset: 2, Length: 3})
	kind(t, err, errkind.Unavailable, "a range of a server that ignores ranges")
}

// TestTrapForbiddenTagsAreNotNoTags: an object whose tags can't be read is not read, or they would be lost at the others.
func TestTrapForbiddenTagsAreNotNoTags(t *testing.T) {
	for _, c := range []struct {
		status int
		code   string
		want   errkind.Kind
	}{
		{403, "AuthorizationPermissionMismatch", errkind.PermissionDenied}, {403, "AuthorizationFailure", errkind.PermissionDenied},
		{403, "LeaseIdMissing", errkind.Conflict}, {404, "BlobNotFound", errkind.Conflict}, {404, "ContainerNotFound", errkind.Unavailable}, {500, "InternalError", errkind.Unavailable},
	} {
		b := answering(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Query().Get("comp") == "tags" {
				azureError(w, c.status, c.code)
				return
			}
			blobHeaders(w, "e")
			w.Header().Set("X-Ms-Tag-Count", "2")
		})
		for name, call := range map[string]func(context.Context, driver.Bucket, driver.Precondition) error{"stat": stat, "open": open} {
			err := call(t.Context(), b, driver.Precondition{})
			kind(t, err, c.want, name+" of a blob with tags, answered "+c.code)
			if c.want == errkind.PermissionDenied && (err == nil || !strings.Contains(err.Error(), "blobs/tags/read")) {
				t.Errorf("%s: the error doesn't name the permission: %v", name, err)
			}
		}
	}
	b := answering(t, func(w http.ResponseWriter, _ *http.Request) { azureError(w, 403, "AuthorizationPermissionMismatch") })
	if err := putTagged(t.Context(), b, driver.Precondition{}); err == nil || !strings.Contains(err.Error(), "blobs/tags/write") {
		t.Errorf("the error doesn't name the permission: %v", err)
	}
}

// TestBlobsWithoutTagsCostOneRequest.
func TestBlobsWithoutTagsCostOneRequest(t *testing.T) {
	var told []string
	b := answering(t, func(w http.ResponseWriter, _ *http.Request) { blobHeaders(w, "e") },
		func(c *azblob.Config) { c.OnRequest = func(op string) { told = append(told, op) } })
	if err := errors.Join(stat(t.Context(), b, driver.Precondition{}), open(t.Context(), b, driver.Precondition{})); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(told, " "); got != "HeadObject GetObject" {
		t.Errorf("requests: %s", got)
	}
}

// TestAccountInAHierarchy: it has no versions, and lists its directories.
func TestAccountInAHierarchy(t *testing.T) {
	b := answering(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("include") != "" {
			azureError(w, 409, "FeatureNotYetSupportedForHierarchicalNamespaceAccounts")
			return
		}
		_, _ = io.WriteString(w, `<EnumerationResults><Blobs>`+
			`<Blob><Name>dir</Name><Properties><Etag>0x1</Etag><ResourceType>directory</ResourceType></Properties></Blob>`+
			`<Blob><Name>dir/k</Name><Properties><Etag>0x2</Etag><ResourceType>file</ResourceType></Properties></Blob>`+
			`</Blobs><NextMarker/></EnumerationResults>`)
	})
	if page, err := b.List(t.Context(), nil); err != nil || len(page.Objects) != 1 || page.Objects[0].Key != "dir/k" {
		t.Errorf("listed %+v, %v", page, err)
	}
	if vs, err := b.Versions(t.Context(), "dir"); err != nil || len(vs) != 1 || vs[0].Tag != "0x1" || !vs[0].IsLatest {
		t.Errorf("versions %+v, %v", vs, err)
	}
}

func TestConfigurationThatCantWork(t *testing.T) {
	good := azblob.Config{Account: "account", Container: "container", Endpoint: "http://127.0.0.1:1", AccountKey: testKey}
	for name, change := range map[string]func(*azblob.Config){
		"no account":        func(c *azblob.Config) { c.Account = "" },
		"account in a URL":  func(c *azblob.Config) { c.Account = "a.example/x" },
		"no container":      func(c *azblob.Config) { c.Container = "" },
		"container path":    func(c *azblob.Config) { c.Container = "a/b" },
		"two dashes":        func(c *azblob.Config) { c.Container = "a--b" },
		"endpoint":          func(c *azblob.Config) { c.Endpoint = "127.0.0.1:1" },
		"endpoint with SAS": func(c *azblob.Config) { c.Endpoint = "http://127.0.0.1:1/?sig=secret" },
		"no key":            func(c *azblob.Config) { c.AccountKey = "" },
		"key":               func(c *azblob.Config) { c.AccountKey = "not base64: secret" },
	} {
		c := good
		change(&c)
		_, err := azblob.Open(t.Context(), c)
		kind(t, err, errkind.Invalid, name)
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: the error tells a secret: %v", name, err)
		}
	}
	if b, err := azblob.Open(t.Context(), good); err != nil {
		t.Errorf("open: %v", err)
	} else if err := put(t.Context(), b, driver.Precondition{NotExist: true}); !errkind.Is(err, errkind.Unsupported) {
		t.Errorf("an unprobed container takes a condition: %v", err)
	}
}
