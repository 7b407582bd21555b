package s3_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
	"github.com/bucketmesh/bucketmesh/pkg/object/s3"
)

// The tests in this file hold the driver to answers that S3 documents and the servers at hand never give. The server is a
// local HTTP server that answers with the documented bytes.

// answering is a driver (that knows of a bucket which keeps every condition) on a server that answers with h.
func answering(t *testing.T, h http.HandlerFunc, change ...func(*s3.Config)) driver.Bucket {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	caps := native(false)
	caps.MaxPut, caps.MaxKey, caps.MaxParts = 5<<30, 1024, 10_000
	return server{name: "local", endpoint: srv.URL, key: "key", secret: "secret"}.open(t, "bucket",
		append([]func(*s3.Config){func(c *s3.Config) { c.Capabilities = &caps }}, change...)...)
}

// s3Error answers as S3 does.
func s3Error(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/xml")
	w.Header().Set("X-Amz-Request-Id", "REQUEST")
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, `<?xml version="1.0" encoding="UTF-8"?><Error><Code>%s</Code><Message>said the server</Message></Error>`, code)
}

func put(ctx context.Context, b driver.Bucket, cond driver.Precondition) error {
	_, err := b.Put(ctx, "k", strings.NewReader("x"), &driver.PutOptions{Size: 1, If: cond})
	return err
}

func complete(ctx context.Context, b driver.Bucket, cond driver.Precondition) error {
	_, err := b.(driver.Multiparter).Complete(ctx, "k", "id", []driver.Part{{Number: 1, Size: 1, ETag: "e"}}, &driver.PutOptions{Size: 1, If: cond})
	return err
}

func remove(ctx context.Context, b driver.Bucket, cond driver.Precondition) error {
	_, err := b.Delete(ctx, "k", &driver.DeleteOptions{If: cond})
	return err
}

func open(ctx context.Context, b driver.Bucket, _ driver.Precondition) error {
	r, _, err := b.Open(ctx, "k", nil)
	return errors.Join(err, closed(r))
}

func stat(ctx context.Context, b driver.Bucket, _ driver.Precondition) error {
	_, err := b.Stat(ctx, "k", "")
	return err
}

func closed(c io.Closer) error {
	if c == nil {
		return nil
	}
	return c.Close()
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
		"GET of a missing key":                     {404, "NoSuchKey", open, none, errkind.NotFound},
		"GET of a missing version":                 {404, "NoSuchVersion", open, none, errkind.NotFound},
		"GET in a missing bucket":                  {404, "NoSuchBucket", open, none, errkind.Unavailable},
		"404 of a proxy":                           {404, "whatever", open, none, errkind.Unavailable},
		"403 for a missing key without permission": {403, "AccessDenied", open, none, errkind.PermissionDenied},
		"HEAD 403":                                 {403, "", stat, none, errkind.PermissionDenied},
		"HEAD 503":                                 {503, "", stat, none, errkind.Throttled},
		"put, 503 of a proxy":                      {503, "", put, none, errkind.Unavailable},
		"HEAD 500":                                 {500, "", stat, none, errkind.Unavailable},
		"archived":                                 {403, "InvalidObjectState", open, none, errkind.Unsupported},
		"put, stale tag":                           {412, "PreconditionFailed", put, match, errkind.PreconditionFailed},
		"put, key exists":                          {412, "PreconditionFailed", put, create, errkind.PreconditionFailed},
		"put, If-Match on a missing key":           {404, "NoSuchKey", put, match, errkind.PreconditionFailed},
		"put, If-Match in a missing bucket":        {404, "NoSuchBucket", put, match, errkind.Unavailable},
		"put, somebody else is writing":            {409, "ConditionalRequestConflict", put, match, errkind.Conflict},
		"put, operation aborted":                   {409, "OperationAborted", put, none, errkind.Conflict},
		"put, bad checksum":                        {400, "BadDigest", put, none, errkind.Invalid},
		"put, connection broke":                    {400, "RequestTimeout", put, none, errkind.Unavailable},
		"put, slow down":                           {503, "SlowDown", put, none, errkind.Throttled},
		"put, service unavailable":                 {503, "ServiceUnavailable", put, none, errkind.Throttled},
		"put, internal error":                      {500, "InternalError", put, none, errkind.Unavailable},
		"put, wrong region":                        {301, "PermanentRedirect", put, none, errkind.Invalid},
		"put, expired credentials":                 {400, "ExpiredToken", put, none, errkind.PermissionDenied},
		"delete, stale tag":                        {412, "PreconditionFailed", remove, match, errkind.PreconditionFailed},
		"delete, If-Match on a missing key":        {404, "NoSuchKey", remove, match, errkind.PreconditionFailed},
		"delete, missing bucket":                   {404, "NoSuchBucket", remove, none, errkind.Unavailable},
		"delete, object lock":                      {403, "AccessDenied", remove, none, errkind.PermissionDenied},
		"complete, stale tag":                      {412, "PreconditionFailed", complete, match, errkind.PreconditionFailed},
		"complete, conflict":                       {409, "ConditionalRequestConflict", complete, match, errkind.Conflict},
		"complete, If-Match on a missing key":      {404, "NoSuchKey", complete, match, errkind.PreconditionFailed},
		"complete, no such upload":                 {404, "NoSuchUpload", complete, match, errkind.NotFound},
		"complete, 200 carrying an error":          {200, "InternalError", complete, match, errkind.Unavailable},
		"complete, 200 carrying slow down":         {200, "SlowDown", complete, none, errkind.Throttled},
		"complete, 200 carrying a lost race":       {200, "PreconditionFailed", complete, match, errkind.PreconditionFailed},
		"complete, 200 carrying a lost conflict":   {200, "ConditionalRequestConflict", complete, match, errkind.Conflict},
	} {
		t.Run(name, func(t *testing.T) {
			var requests atomic.Int32
			b := answering(t, func(w http.ResponseWriter, _ *http.Request) {
				requests.Add(1)
				s3Error(w, c.status, c.code)
			})
			err := c.call(t.Context(), b, c.cond)
			if !errkind.Is(err, c.want) {
				t.Errorf("got %v (kind %s), want kind %s", err, errkind.Of(err), c.want)
			}
			if n := requests.Load(); n != 1 {
				t.Errorf("%d requests were sent, want one", n)
			}
			if err != nil && strings.Contains(err.Error(), "secret") {
				t.Errorf("the error tells a secret: %v", err)
			}
		})
	}
}

// TestHeadNotFoundAsksForTheBucket: a HEAD's 404 has no body; only the bucket can say what is missing.
func TestHeadNotFoundAsksForTheBucket(t *testing.T) {
	for status, want := range map[int]errkind.Kind{
		200: errkind.NotFound, 404: errkind.Unavailable, 403: errkind.PermissionDenied, 500: errkind.Unavailable,
	} {
		var asked atomic.Int32
		b := answering(t, func(w http.ResponseWriter, r *http.Request) {
			if strings.TrimSuffix(r.URL.Path, "/") == "/bucket" {
				asked.Add(1)
				w.WriteHeader(status)
				return
			}
			w.WriteHeader(http.StatusNotFound)
		}, func(c *s3.Config) { c.BucketCheckEvery = time.Hour })
		for range 3 {
			if _, err := b.Stat(t.Context(), "k", ""); !errkind.Is(err, want) {
				t.Errorf("bucket answers %d: stat failed with %v (kind %s), want kind %s", status, err, errkind.Of(err), want)
			}
		}
		// Only a bucket that is there is remembered.
		if n := asked.Load(); (status == 200) != (n == 1) || n == 0 {
			t.Errorf("bucket answers %d: it was asked %d times", status, n)
		}
	}
}

func TestSuccessWithoutETagIsUnknown(t *testing.T) {
	b := answering(t, func(http.ResponseWriter, *http.Request) {})
	if err := put(t.Context(), b, driver.Precondition{}); !errkind.Is(err, errkind.Unavailable) {
		t.Errorf("got %v, want unavailable", err)
	}
}

func TestNobodyListens(t *testing.T) {
	srv := httptest.NewServer(http.NotFoundHandler())
	srv.Close()
	b := server{endpoint: srv.URL, key: "key", secret: "secret"}.open(t, "bucket")
	if err := put(t.Context(), b, driver.Precondition{}); !errkind.Is(err, errkind.Unavailable) {
		t.Errorf("got %v, want unavailable", err)
	}
}

// TestServerSaysNothing: every operation ends by itself, and the outcome is unknown.
func TestServerSaysNothing(t *testing.T) {
	done := make(chan struct{})
	b := answering(t, func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-done:
		}
	}, func(c *s3.Config) { c.RequestTimeout, c.CompleteTimeout = 20*time.Millisecond, 20*time.Millisecond })
	t.Cleanup(func() { close(done) }) // before the server's Close, which waits for its handlers
	for name, call := range map[string]func(context.Context, driver.Bucket, driver.Precondition) error{
		"stat": stat, "open": open, "put": put, "delete": remove, "complete": complete,
	} {
		if err := call(t.Context(), b, driver.Precondition{}); !errkind.Is(err, errkind.Unavailable) {
			t.Errorf("%s: got %v (kind %s), want unavailable", name, err, errkind.Of(err))
		}
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

// TestEarlyEndOfBody: a torn connection never looks like the end of the object.
func TestEarlyEndOfBody(t *testing.T) {
	b := answering(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("ETag", `"e"`)
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
		w.Header().Set("ETag", `"e"`)
		w.Header().Set("Content-Length", "10")
		_, _ = io.WriteString(w, "01234")
		w.(http.Flusher).Flush()
		<-r.Context().Done() // until the driver hangs up
	}, func(c *s3.Config) { c.IdleTimeout = 20 * time.Millisecond })
	if data, err := bodyOf(t, b); data != "01234" || !errkind.Is(err, errkind.Unavailable) {
		t.Errorf("read %q and %v (kind %s), want unavailable", data, err, errkind.Of(err))
	}
}

// TestBodyIsVerified: the server vouches for a checksum, and the bytes don't have it.
func TestBodyIsVerified(t *testing.T) {
	sum := crc32.Checksum([]byte("original"), crc32.MakeTable(crc32.Castagnoli))
	for content, good := range map[string]bool{"original": true, "0riginal": false} {
		b := answering(t, func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("X-Amz-Checksum-Mode") != "ENABLED" {
				t.Error("the checksum was not asked for")
			}
			w.Header().Set("ETag", `"e"`)
			w.Header().Set("X-Amz-Checksum-Crc32c", base64.StdEncoding.EncodeToString([]byte{byte(sum >> 24), byte(sum >> 16), byte(sum >> 8), byte(sum)}))
			_, _ = io.WriteString(w, content)
		})
		_, err := bodyOf(t, b)
		if good && err != nil || !good && !errkind.Is(err, errkind.Unavailable) {
			t.Errorf("%q: %v (kind %s)", content, err, errkind.Of(err))
		}
	}
}

// TestServerIgnoresIfMatchOnGet: the driver compares what came.
func TestServerIgnoresIfMatchOnGet(t *testing.T) {
	b := answering(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("ETag", `"newer"`)
		_, _ = io.WriteString(w, "newer")
	})
	_, _, err := b.Open(t.Context(), "k", &driver.ReadOptions{IfMatch: "older"})
	if !errkind.Is(err, errkind.PreconditionFailed) {
		t.Errorf("got %v, want precondition failed", err)
	}
}

// TestMD5OnlyWhereItIsOne: an ETag that looks like an MD5 and isn't.
func TestMD5OnlyWhereItIsOne(t *testing.T) {
	const sum = "0123456789abcdef0123456789abcdef"
	for name, c := range map[string]struct {
		etag   string
		header [2]string
		want   string
	}{
		"plain":     {sum, [2]string{"X-None", ""}, sum},
		"SSE-S3":    {sum, [2]string{"X-Amz-Server-Side-Encryption", "AES256"}, sum},
		"SSE-KMS":   {sum, [2]string{"X-Amz-Server-Side-Encryption", "aws:kms"}, ""},
		"DSSE-KMS":  {sum, [2]string{"X-Amz-Server-Side-Encryption", "aws:kms:dsse"}, ""},
		"SSE-C":     {sum, [2]string{"X-Amz-Server-Side-Encryption-Customer-Algorithm", "AES256"}, ""},
		"multipart": {sum + "-3", [2]string{"X-None", ""}, ""},
		"not hex":   {strings.Repeat("z", 32), [2]string{"X-None", ""}, ""},
	} {
		b := answering(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("ETag", `"`+c.etag+`"`)
			w.Header().Set(c.header[0], c.header[1])
			w.Header().Set("X-Amz-Version-Id", "null")
			w.Header().Set("Content-Encoding", "aws-chunked,gzip")
		})
		a, err := b.Stat(t.Context(), "k", "")
		if err != nil || a.MD5 != c.want || a.ETag != c.etag || a.Tag != c.etag || a.VersionID != "" || a.ContentEncoding != "gzip" {
			t.Errorf("%s: %+v, %v; want MD5 %q", name, a, err, c.want)
		}
	}
}

// TestConditionSurvivesChunkedUpload: over TLS the SDK sends bodies in chunks with the checksum at the end.
func TestConditionSurvivesChunkedUpload(t *testing.T) {
	var got http.Header
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r.Header.Clone()
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("ETag", `"e"`)
	}))
	t.Cleanup(srv.Close)
	caps := native(false)
	b := server{endpoint: srv.URL, key: "key", secret: "secret"}.open(t, "bucket", func(c *s3.Config) {
		c.Capabilities, c.Transport = &caps, srv.Client().Transport
	})
	for _, c := range []struct {
		cond         driver.Precondition
		header, want string
	}{
		{driver.Precondition{Match: "tag"}, "If-Match", `"tag"`}, {driver.Precondition{NotExist: true}, "If-None-Match", "*"},
	} {
		body := bytes.Repeat([]byte("x"), 200<<10)
		if _, err := b.Put(t.Context(), "k", bytes.NewReader(body), &driver.PutOptions{Size: int64(len(body)), If: c.cond}); err != nil {
			t.Fatalf("put: %v", err)
		}
		if got.Get(c.header) != c.want || got.Get("X-Amz-Trailer") == "" {
			t.Errorf("%s is %q, trailer %q; want %q and a trailer", c.header, got.Get(c.header), got.Get("X-Amz-Trailer"), c.want)
		}
	}
}

// TestUnprobedBucketRefusesConditions: without a probe nothing is promised, and no request leaves.
func TestUnprobedBucketRefusesConditions(t *testing.T) {
	b := answering(t, func(http.ResponseWriter, *http.Request) { t.Error("a request was sent") }, func(c *s3.Config) { c.Capabilities = nil })
	for name, call := range map[string]func(context.Context, driver.Bucket, driver.Precondition) error{"put": put, "delete": remove, "complete": complete} {
		if err := call(t.Context(), b, driver.Precondition{Match: "tag"}); !errkind.Is(err, errkind.Unsupported) {
			t.Errorf("%s: got %v, want unsupported", name, err)
		}
	}
}

// TestOpenRefuses configurations that can't work.
func TestOpenRefuses(t *testing.T) {
	for name, cfg := range map[string]s3.Config{
		"no name":          {Region: "r", AccessKeyID: "a", SecretAccessKey: "s"},
		"no region":        {Bucket: "b", AccessKeyID: "a", SecretAccessKey: "s"},
		"half a key":       {Bucket: "b", Region: "r", AccessKeyID: "a"},
		"endpoint":         {Bucket: "b", Endpoint: "127.0.0.1:9000", AccessKeyID: "a", SecretAccessKey: "s"},
		"unknown checksum": {Bucket: "b", Region: "r", AccessKeyID: "a", SecretAccessKey: "s", Checksum: "SUM"},
	} {
		if _, err := s3.Open(t.Context(), cfg); !errkind.Is(err, errkind.Invalid) {
			t.Errorf("%s: got %v, want invalid", name, err)
		}
	}
}

// S3 keeps the website redirect, and other servers drop it: both are read as what was written. A redirect that a user changed
// since is the user's.
func TestWebsiteRedirect(t *testing.T) {
	for name, c := range map[string]struct{ header, want string }{
		"kept": {"/index.html", "/index.html"}, "dropped": {"", "/index.html"}, "changed": {"/other.html", "/other.html"},
	} {
		b := answering(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Etag", `"e"`)
			if r.Method == http.MethodPut {
				if got := r.Header.Get("X-Amz-Website-Redirect-Location"); got != "/index.html" {
					t.Errorf("%s: sent %q", name, got)
				}
				return
			}
			w.Header().Set("X-Amz-Meta-Bucketmesh-X-S3-Website-Redirect", "/index.html")
			if c.header != "" {
				w.Header().Set("X-Amz-Website-Redirect-Location", c.header)
			}
		})
		opts := &driver.PutOptions{Properties: driver.Properties{Extra: map[string]string{"s3-website-redirect": "/index.html"}}}
		if _, err := b.Put(t.Context(), "k", strings.NewReader(""), opts); err != nil {
			t.Fatal(err)
		}
		a, err := b.Stat(t.Context(), "k", "")
		if err != nil {
			t.Fatal(err)
		}
		if a.Extra["s3-website-redirect"] != c.want || len(a.Metadata) != 0 {
			t.Errorf("%s: %v and %v", name, a.Extra, a.Metadata)
		}
	}
}
