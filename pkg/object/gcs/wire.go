package gcs

import (
	"bytes"
	"context"
	"encoding/xml"
	"io"
	"net/http"
	"sync"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
)

// maxErrorBody bounds what is read of an error's body, in bytes.
const maxErrorBody = 64 << 10

// exchange is one call's request as the transport saw it: the SDK keeps most of an answer's headers to itself.
type exchange struct {
	operation string // the name that S3 has for it
	once      bool

	mu     sync.Mutex
	sent   int
	status int
	header http.Header
	code   string // of an error in XML
}

type exchangeKey struct{}

// begin gives a call's context an exchange. once: the SDK must not send it a second time, whatever happens (it reopens a
// body that broke off, and an answer that got lost must not be asked for by repeating a write).
func begin(ctx context.Context, operation string, once bool) (context.Context, *exchange) {
	x := &exchange{operation: operation, once: once, header: http.Header{}}
	return context.WithValue(ctx, exchangeKey{}, x), x
}

func (x *exchange) send() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.sent++; x.once && x.sent > 1 {
		return errkind.New(errkind.Unavailable, "the request broke off; it is not sent again")
	}
	x.status, x.header, x.code = 0, http.Header{}, ""
	return nil
}

func (x *exchange) answered(resp *http.Response, code string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.status, x.header, x.code = resp.StatusCode, resp.Header.Clone(), code
}

// answer is what came back last.
func (x *exchange) answer() (status int, header http.Header, code string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.status, x.header, x.code
}

// requestID is the id by which Google's support finds a request.
func (x *exchange) requestID() string {
	_, h, _ := x.answer()
	return h.Get("X-Guploader-Uploadid")
}

// wire tells of requests right before they are sent, and keeps answers' headers.
type wire struct {
	base   http.RoundTripper
	report func(string)
}

// RoundTrip implements http.RoundTripper.
func (t *wire) RoundTrip(req *http.Request) (*http.Response, error) {
	x, ok := req.Context().Value(exchangeKey{}).(*exchange)
	if !ok {
		x = &exchange{operation: "other"}
	}
	if err := x.send(); err != nil {
		if req.Body != nil {
			_ = req.Body.Close()
		}
		return nil, err
	}
	if t.report != nil {
		t.report(x.operation)
	}
	resp, err := t.base.RoundTrip(req)
	if err != nil {
		return nil, err //nolint:wrapcheck // of whoever asked
	}
	code := ""
	if resp.StatusCode >= http.StatusBadRequest {
		if code, err = keepError(resp); err != nil {
			return nil, err
		}
	}
	x.answered(resp, code)
	return resp, nil
}

// keepError reads an error's body, so that it is bounded and can be read again, and looks for the XML API's error code.
func keepError(resp *http.Response) (string, error) {
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody))
	_ = resp.Body.Close()
	if err != nil {
		return "", errkind.New(errkind.Unavailable, "read the answer %d: %w", resp.StatusCode, err)
	}
	resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	var e struct {
		Code string
	}
	_ = xml.Unmarshal(body, &e) // it may be JSON, or a proxy's page
	return e.Code, nil
}
