package emulator

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"time"
)

// maxBody is the largest body of a write, bytes. Bodies are read before anything is locked: a slow client would hold up all
// others at its object.
const maxBody = 256 << 20

// answerKey is where a request carries what is to be done with its answer.
type answerKey struct{}

// newProxy passes requests on to an emulator as they are: their signatures are of the path, the query and the headers. A
// function of the request's context (see withAnswer) sees each answer before the client does.
func newProxy(upstream string) (*url.URL, *httputil.ReverseProxy, error) {
	to, err := url.Parse(upstream)
	if err != nil || to.Host == "" || to.Scheme != "http" || to.Path != "" {
		return nil, nil, fmt.Errorf("upstream %q: want http://HOST:PORT", upstream)
	}
	return to, &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host, r.Out.Host = to.Scheme, to.Host, ""
			r.Out.URL.RawQuery = r.In.URL.RawQuery // also what Go can't parse
		},
		Transport: &http.Transport{
			MaxIdleConnsPerHost: 64, IdleConnTimeout: time.Minute, DisableCompression: true,
			DialContext: (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
		},
		ModifyResponse: func(resp *http.Response) error {
			if f, ok := resp.Request.Context().Value(answerKey{}).(func(*http.Response) error); ok {
				return f(resp)
			}
			return nil
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			http.Error(w, "the emulator did not answer: "+err.Error(), http.StatusBadGateway)
		},
	}, nil
}

// withAnswer is the request with a function that sees its answer first.
func withAnswer(r *http.Request, f func(*http.Response) error) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), answerKey{}, f))
}

// readBody reads the whole body of a request, which can be read again after that.
func readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	if r.Body == nil || r.Body == http.NoBody {
		return nil, nil
	}
	b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		return nil, fmt.Errorf("read body: %w", err)
	}
	r.Body, r.ContentLength, r.TransferEncoding = io.NopCloser(bytes.NewReader(b)), int64(len(b)), nil
	return b, nil
}

// replaceBody gives an answer another body.
func replaceBody(resp *http.Response, b []byte) {
	resp.Body, resp.ContentLength, resp.TransferEncoding = io.NopCloser(bytes.NewReader(b)), int64(len(b)), nil
	resp.Header.Set("Content-Length", fmt.Sprint(len(b)))
}

// Serve serves a gate at an address of the loopback interface ("127.0.0.1:0": any free port) until stop is called.
func Serve(ctx context.Context, address string, gate http.Handler) (endpoint string, stop func() error, err error) {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", address)
	if err != nil {
		return "", nil, fmt.Errorf("listen: %w", err)
	}
	srv := &http.Server{Handler: gate, ReadHeaderTimeout: 10 * time.Second}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }()
	return "http://" + ln.Addr().String(), func() error {
		err := srv.Close()
		if s := <-served; !errors.Is(s, http.ErrServerClosed) {
			err = errors.Join(err, s)
		}
		return err
	}, nil
}
