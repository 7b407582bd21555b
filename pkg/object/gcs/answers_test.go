package gcs_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
	"github.com/bucketmesh/bucketmesh/pkg/object/gcs"
	"github.com/bucketmesh/bucketmesh/pkg/object/gcs/gcsdoc"
)

// The tests in this file hold the driver to answers that Google documents. The server is a local HTTP server that gives them.

// answering is a driver that believes in all conditions, on a server that answers with h, with an empty listing where it is
// asked whether the bucket is there, and with the metadata of the object that media has.
func answering(t *testing.T, h http.HandlerFunc, change ...func(*gcs.Config)) *gcs.Bucket {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/b/bucket/o") && r.Method == http.MethodGet {
			_, _ = io.WriteString(w, `{}`)
			return
		}
		if r.Method == http.MethodGet && r.URL.Query().Get("generation") == "17" && strings.HasSuffix(r.URL.Path, "/b/bucket/o/k") {
			_, _ = io.WriteString(w, `{"name":"k","generation":"17","metageneration":"1","size":"10","contentType":"text/plain","crc32c":"KAwGng=="}`)
			return
		}
		h(w, r)
	}))
	t.Cleanup(srv.Close)
	return open(t, srv.URL, "bucket", append([]func(*gcs.Config){keeps}, change...)...)
}

// jsonError answers as the JSON API does, and as the XML API does to a GET of an object's bytes.
func jsonError(w http.ResponseWriter, r *http.Request, status int, reason, code string) {
	w.Header().Set("X-GUploader-UploadID", "REQUEST")
	if !strings.Contains(r.URL.Path, "/storage/v1/") {
		w.Header().Set("Content-Type", "application/xml; charset=UTF-8")
		w.WriteHeader(status)
		_, _ = fmt.Fprintf(w, `<?xml version='1.0' encoding='UTF-8'?><Error><Code>%s</Code><Message>said the server</Message></Error>`, code)
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, `{"error":{"code":%d,"message":"said the server","errors":[{"message":"said the server","domain":"global","reason":%q}]}}`, status, reason)
}

// TestErrorKinds: what each answer means. Every request is sent once: retries are not this package's business.
func TestErrorKinds(t *testing.T) {
	none, match := driver.Precondition{}, driver.Precondition{Match: "17"}
	create := driver.Precondition{NotExist: true}
	type call = func(context.Context, driver.Bucket, driver.Precondition) error
	for name, c := range map[string]struct {
		status       int
		reason, code string
		call         call
		cond         driver.Precondition
		want         errkind.Kind
	}{
		"GET of a missing key":          {404, "", "NoSuchKey", read, none, errkind.NotFound},
		"GET in a missing bucket":       {404, "", "NoSuchBucket", read, none, errkind.Unavailable},
		"GET, stale generation":         {412, "", "PreconditionFailed", read, none, errkind.PreconditionFailed},
		"GET, not modified":             {304, "", "", read, none, errkind.PreconditionFailed},
		"GET, behind the end":           {416, "", "InvalidRange", read, none, errkind.Invalid},
		"GET 403":                       {403, "", "AccessDenied", read, none, errkind.PermissionDenied},
		"GET 401":                       {401, "", "AuthenticationRequired", read, none, errkind.Unauthenticated},
		"GET, slow down":                {429, "", "SlowDown", read, none, errkind.Throttled},
		"GET 503":                       {503, "", "ServiceUnavailable", read, none, errkind.Unavailable},
		"metadata of a missing key":     {404, "notFound", "", stat, none, errkind.NotFound},
		"metadata 403":                  {403, "forbidden", "", stat, none, errkind.PermissionDenied},
		"metadata 401":                  {401, "authError", "", stat, none, errkind.Unauthenticated},
		"metadata, rate of a user":      {403, "userRateLimitExceeded", "", stat, none, errkind.Throttled},
		"put, stale generation":         {412, "conditionNotMet", "", put, match, errkind.PreconditionFailed},
		"put, key exists":               {412, "conditionNotMet", "", put, create, errkind.PreconditionFailed},
		"put, missing key, as 404":      {404, "notFound", "", put, match, errkind.PreconditionFailed},
		"put, bad checksum":             {400, "invalid", "", put, none, errkind.Invalid},
		"put, hot key":                  {429, "rateLimitExceeded", "", put, match, errkind.Throttled},
		"put, conflict":                 {409, "conflict", "", put, match, errkind.Conflict},
		"put, time out":                 {408, "uploadBrokenConnection", "", put, match, errkind.Unavailable},
		"put 500":                       {500, "backendError", "", put, match, errkind.Unavailable},
		"put 502":                       {502, "", "", put, match, errkind.Unavailable},
		"put 503":                       {503, "backendError", "", put, match, errkind.Unavailable},
		"put, retention policy":         {403, "retentionPolicyNotMet", "", put, match, errkind.PermissionDenied},
		"put, a redirect":               {307, "", "", put, match, errkind.Invalid},
		"delete, stale generation":      {412, "conditionNotMet", "", remove, match, errkind.PreconditionFailed},
		"delete, missing key":           {404, "notFound", "", remove, match, errkind.PreconditionFailed},
		"delete without condition, 404": {404, "notFound", "", remove, none, errkind.Unknown},
		"delete 503":                    {503, "backendError", "", remove, match, errkind.Unavailable},
		"delete, object hold":           {403, "objectUnderActiveHold", "", remove, match, errkind.PermissionDenied},
	} {
		t.Run(name, func(t *testing.T) {
			var requests atomic.Int32
			b := answering(t, func(w http.ResponseWriter, r *http.Request) {
				requests.Add(1)
				jsonError(w, r, c.status, c.reason, c.code)
			})
			err := c.call(t.Context(), b, c.cond)
			if c.want == errkind.Unknown {
				if err != nil {
					t.Errorf("got %v, want none", err)
				}
			} else if !errkind.Is(err, c.want) {
				t.Errorf("got %v (kind %s), want kind %s", err, errkind.Of(err), c.want)
			}
			if d := errkind.Delay(err); (d > 0) != (c.want == errkind.Throttled) {
				t.Errorf("the delay is %v", d)
			}
			if n := requests.Load(); n != 1 {
				t.Errorf("%d requests were sent, want one", n)
			}
			if err != nil && c.want != errkind.NotFound && !strings.Contains(err.Error(), "REQUEST") && c.code != "NoSuchBucket" {
				t.Errorf("%v does not name the request", err)
			}
		})
	}
}

// TestThrottledSaysHowLong: as the server says, or a second: what one name takes.
func TestThrottledSaysHowLong(t *testing.T) {
	for header, want := range map[string]time.Duration{"": time.Second, "7": 7 * time.Second, "soon": time.Second} {
		b := answering(t, func(w http.ResponseWriter, r *http.Request) {
			if header != "" {
				w.Header().Set("Retry-After", header)
			}
			jsonError(w, r, http.StatusTooManyRequests, "rateLimitExceeded", "SlowDown")
		})
		if err := put(t.Context(), b, driver.Precondition{Match: "17"}); errkind.Delay(err) != want || !errkind.Is(err, errkind.Throttled) {
			t.Errorf("Retry-After %q: %v (kind %s) after %v", header, err, errkind.Of(err), errkind.Delay(err))
		}
	}
}

// TestNotFoundAsksForTheBucket: a JSON 404 does not say reliably what is missing.
func TestNotFoundAsksForTheBucket(t *testing.T) {
	for status, want := range map[int]errkind.Kind{
		200: errkind.NotFound, 404: errkind.Unavailable, 403: errkind.PermissionDenied, 500: errkind.Unavailable,
	} {
		var asked atomic.Int32
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "/b/bucket/o") {
				asked.Add(1)
				w.WriteHeader(status)
				_, _ = io.WriteString(w, `{}`)
				return
			}
			jsonError(w, r, http.StatusNotFound, "notFound", "")
		}))
		t.Cleanup(srv.Close)
		b := open(t, srv.URL, "bucket", keeps, func(c *gcs.Config) { c.BucketCheckEvery = time.Hour })
		for range 3 {
			if err := stat(t.Context(), b, driver.Precondition{}); !errkind.Is(err, want) {
				t.Errorf("bucket answers %d: stat failed with %v (kind %s), want kind %s", status, err, errkind.Of(err), want)
			}
		}
		// Only a bucket that is there is remembered.
		if n := asked.Load(); (status == 200) != (n == 1) || n == 0 {
			t.Errorf("bucket answers %d: it was asked %d times", status, n)
		}
	}
}

// TestTrapProxys404IsNoAbsence: it has no error document of GCS, and the bucket answered a moment ago. Had it been believed,
// every object that was asked for would be deleted everywhere.
func TestTrapProxys404IsNoAbsence(t *testing.T) {
	for name, page := range map[string]string{"page": "<html><body>404 Not Found</body></html>", "json": `{"error":"not found"}`, "empty": ""} {
		b := answering(t, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusNotFound)
			_, _ = io.WriteString(w, page)
		})
		if _, err := b.List(t.Context(), nil); err != nil { // the bucket is there
			t.Fatal(err)
		}
		for op, call := range map[string]func(context.Context, driver.Bucket, driver.Precondition) error{
			"stat": stat, "read": read, "put": put, "delete": remove,
		} {
			for _, cond := range []driver.Precondition{{}, {Match: "17"}} {
				if err := call(t.Context(), b, cond); !errkind.Is(err, errkind.Unavailable) {
					t.Errorf("%s, %s under %+v: %v (kind %s), want unavailable", name, op, cond, err, errkind.Of(err))
				}
			}
		}
	}
}

// TestTrapForeignJSONIsNoObject: a proxy's or a portal's 200 is not an empty object that a user wrote.
func TestTrapForeignJSONIsNoObject(t *testing.T) {
	for _, answer := range []string{`{}`, `{"status":"ok"}`, `<html></html>`, ``, `{"name":"k","generation":"17","size":"3"`} {
		b := answering(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, answer) })
		for op, call := range map[string]func(context.Context, driver.Bucket, driver.Precondition) error{"stat": stat, "read": read, "put": put} {
			if err := call(t.Context(), b, driver.Precondition{}); !errkind.Is(err, errkind.Unavailable) {
				t.Errorf("%s is answered %q: %v (kind %s), want unavailable", op, answer, err, errkind.Of(err))
			}
		}
	}
}

// TestServerSaysNothing, or nobody is there: the outcome is unknown, and every operation ends by itself.
func TestServerSaysNothing(t *testing.T) {
	done := make(chan struct{})
	silent := answering(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		select {
		case <-r.Context().Done():
		case <-done:
		}
	}, func(c *gcs.Config) { c.RequestTimeout, c.CompleteTimeout = 50*time.Millisecond, 50*time.Millisecond })
	t.Cleanup(func() { close(done) }) // before the server's Close, which waits for its handlers
	for where, b := range map[string]driver.Bucket{"silent": silent, "nobody": open(t, "http://127.0.0.1:1", "bucket", keeps)} {
		for name, call := range map[string]func(context.Context, driver.Bucket, driver.Precondition) error{
			"stat": stat, "open": read, "put": put, "delete": remove,
		} {
			if err := call(t.Context(), b, driver.Precondition{}); !errkind.Is(err, errkind.Unavailable) {
				t.Errorf("%s, %s: got %v (kind %s), want unavailable", where, name, err, errkind.Of(err))
			}
		}
	}
}

// media are the headers of a GET of "0123456789".
func media(h http.Header) {
	for k, v := range map[string]string{
		"X-Goog-Generation": "17", "X-Goog-Metageneration": "1", "X-Goog-Hash": "crc32c=KAwGng==", "Content-Length": "10",
		"Content-Type": "text/plain", "X-Goog-Stored-Content-Length": "10", "X-Goog-Stored-Content-Encoding": "identity",
	} {
		h.Set(k, v)
	}
}

// bodyOf reads a body that something is wrong with.
func bodyOf(t *testing.T, b driver.Bucket) (string, error) {
	t.Helper()
	r, _, err := b.Open(t.Context(), "k", nil)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	data, err := io.ReadAll(r)
	return string(data), errors.Join(err, r.Close())
}

// What GCS alone has is the real thing there, and text for all others. The emulator has no contexts.
func TestCustomTimeAndContexts(t *testing.T) {
	s := document(t, gcsdoc.Lies{})
	b := open(t, s.url, s.bucket(false), keeps)
	want := map[string]string{"gcs-contexts": "stage=draft+%231&team=a", "gcs-custom-time": "2031-02-03T04:05:06.789Z"}
	mustPut(t, b, "k", "x", driver.PutOptions{Properties: driver.Properties{Extra: want}})
	id, err := b.Begin(t.Context(), "large", &driver.PutOptions{Properties: driver.Properties{Extra: want}})
	if err != nil {
		t.Fatal(err)
	}
	part, err := b.PutPart(t.Context(), "large", id, 1, strings.NewReader("x"), 1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Complete(t.Context(), "large", id, []driver.Part{part}, &driver.PutOptions{Size: 1, Properties: driver.Properties{Extra: want}}); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"k", "large"} {
		a, err := b.Stat(t.Context(), key, "")
		if err != nil {
			t.Fatal(err)
		}
		r, o, err := b.Open(t.Context(), key, nil)
		if err != nil {
			t.Fatal(err)
		}
		_ = r.Close()
		if !maps.Equal(a.Extra, want) || !maps.Equal(o.Extra, want) {
			t.Errorf("%s: stat %v, open %v, want %v", key, a.Extra, o.Extra, want)
		}
	}
	for name, bad := range map[string]string{"gcs-custom-time": "yesterday", "gcs-contexts": "%"} {
		opts := &driver.PutOptions{Properties: driver.Properties{Extra: map[string]string{name: bad}}}
		if _, err := b.Put(t.Context(), "bad", strings.NewReader(""), opts); !errkind.Is(err, errkind.Invalid) {
			t.Errorf("%s %q: %v", name, bad, err)
		}
	}
}

// TestEarlyEndOfBody: a torn connection never looks like the end of the object, and the SDK does not ask for the rest behind
// our back: what it would get can be another object's.
func TestEarlyEndOfBody(t *testing.T) {
	var requests atomic.Int32
	b := answering(t, func(w http.ResponseWriter, _ *http.Request) {
		requests.Add(1)
		media(w.Header())
		_, _ = io.WriteString(w, "01234")
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	})
	data, err := bodyOf(t, b)
	if data != "01234" || !errkind.Is(err, errkind.Unavailable) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("read %q and %v (kind %s), want unavailable", data, err, errkind.Of(err))
	}
	if n := requests.Load(); n != 1 {
		t.Errorf("%d requests were sent, want one", n)
	}
}

// TestSilentBody: the headers came, the bytes stop coming.
func TestSilentBody(t *testing.T) {
	b := answering(t, func(w http.ResponseWriter, r *http.Request) {
		media(w.Header())
		_, _ = io.WriteString(w, "01234")
		w.(http.Flusher).Flush()
		<-r.Context().Done() // until the driver hangs up
	}, func(c *gcs.Config) { c.IdleTimeout = 20 * time.Millisecond })
	if data, err := bodyOf(t, b); data != "01234" || !errkind.Is(err, errkind.Unavailable) {
		t.Errorf("read %q and %v (kind %s), want unavailable", data, err, errkind.Of(err))
	}
}

// TestBodyIsVerified: the server vouches for a checksum, and the bytes don't have it.
func TestBodyIsVerified(t *testing.T) {
	for content, good := range map[string]bool{"0123456789": true, "012345678X": false} {
		b := answering(t, func(w http.ResponseWriter, _ *http.Request) {
			media(w.Header())
			_, _ = io.WriteString(w, content)
		})
		_, err := bodyOf(t, b)
		if good && err != nil || !good && !errkind.Is(err, errkind.Unavailable) {
			t.Errorf("%q: %v (kind %s)", content, err, errkind.Of(err))
		}
	}
}

// TestAnswersThatDontFit: what was asked for is not what came.
func TestAnswersThatDontFit(t *testing.T) {
	for name, c := range map[string]struct {
		header, value string
		opts          driver.ReadOptions
		want          errkind.Kind
	}{
		"another generation":    {"X-Goog-Generation", "18", driver.ReadOptions{IfMatch: "17"}, errkind.PreconditionFailed},
		"another version":       {"X-Goog-Generation", "18", driver.ReadOptions{VersionID: "17"}, errkind.NotFound},
		"no generation":         {"X-Goog-Generation", "", driver.ReadOptions{}, errkind.Unavailable},
		"another stored length": {"X-Goog-Stored-Content-Length", "4", driver.ReadOptions{}, errkind.Unavailable},
		"stored compressed":     {"X-Goog-Stored-Content-Encoding", "gzip", driver.ReadOptions{}, errkind.Unavailable},
		"the range is ignored":  {"X-Other", "x", driver.ReadOptions{Length: 4}, errkind.Unavailable},
		"the offset is ignored": {"X-Other", "x", driver.ReadOptions{Offset: 4}, errkind.Unavailable},
		"a tag of another kind": {"X-Other", "x", driver.ReadOptions{IfMatch: "0x8D"}, errkind.PreconditionFailed},
		"a version of another":  {"X-Other", "x", driver.ReadOptions{VersionID: "v1"}, errkind.NotFound},
	} {
		b := answering(t, func(w http.ResponseWriter, _ *http.Request) {
			media(w.Header())
			w.Header().Set(c.header, c.value)
			_, _ = io.WriteString(w, "0123456789")
		})
		if _, _, err := b.Open(t.Context(), "k", &c.opts); !errkind.Is(err, c.want) {
			t.Errorf("%s: %v (kind %s), want %s", name, err, errkind.Of(err), c.want)
		}
	}
}

// TestUnprobedEmulatorRefusesConditions: without a probe nothing is promised, and no request leaves.
func TestUnprobedEmulatorRefusesConditions(t *testing.T) {
	b := answering(t, func(http.ResponseWriter, *http.Request) { t.Error("a request was sent") }, func(c *gcs.Config) { c.Capabilities = nil })
	match := driver.Precondition{Match: "17"}
	_, cerr := b.Complete(t.Context(), "k", "id", []driver.Part{{Number: 1}}, &driver.PutOptions{If: match})
	store, in := b.Location()
	_, rerr := b.Copy(t.Context(), driver.Source{Store: store, Bucket: in, Key: "s", Tag: "17"}, "k", &driver.PutOptions{If: match})
	for op, err := range map[string]error{
		"put": put(t.Context(), b, match), "delete": remove(t.Context(), b, match), "complete": cerr, "copy": rerr,
	} {
		if !errkind.Is(err, errkind.Unsupported) {
			t.Errorf("%s: %v (kind %s), want unsupported", op, err, errkind.Of(err))
		}
	}
}
