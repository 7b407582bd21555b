package serve

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/cloudevents/sdk-go/v2/event"
	"golang.org/x/sync/errgroup"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/serve/cetrace"
)

// Sink takes events for everybody who is interested: a Knative broker over HTTP (HTTPSink) or the embedded one (package
// broker). Publish returns nil when every event is kept; else some may be, and repeating all of them is safe, because
// consumers dedupe by source and id.
type Sink interface {
	Publish(ctx context.Context, events ...event.Event) error
}

// Defaults of a SinkConfig.
const (
	DefaultTries       = 4
	DefaultTryTimeout  = 5 * time.Second
	DefaultSinkTimeout = 12 * time.Second // a provider waits 15 s for a normalizer's answer
	DefaultParallel    = 16

	sinkBackoff = 100 * time.Millisecond // before the second try
	maxAnswer   = 4 << 10                // bytes of an answer that are read
)

// SinkConfig of NewHTTPSink. The zero value of a field is its default.
type SinkConfig struct {
	URL        string        // K_SINK; required
	Overrides  string        // K_CE_OVERRIDES: {"extensions":{"name":"value"}}
	Authority  string        // K_CA_CERTS: certificates in PEM, beside the system's, that sign the sink's; for a Client of its own
	Client     *http.Client  // one of its own, without redirects
	Tries      int           // per event
	TryTimeout time.Duration // of one try
	Timeout    time.Duration // of one Publish
	Parallel   int           // events of one Publish on their way at once
}

// HTTPSink posts CloudEvents, in structured mode: whatever an attribute holds, no header has to carry it.
//
// Answers: 2xx is kept. 404, 408, 409, 5xx and no answer are tried again with back-off, 429 after Retry-After, within the
// bounds; the error is Throttled or Unavailable then. Any other answer ends Publish at once, and is Unavailable as well:
// the event was valid when it was sent, so it is the sink that is set up wrongly, and an event must not be lost for that.
// Only an event that does not validate is Invalid, and nothing was sent.
type HTTPSink struct {
	cfg        SinkConfig
	extensions map[string]string
}

var _ Sink = (*HTTPSink)(nil)

// NewHTTPSink makes a sink; it does not look whether anybody is there.
func NewHTTPSink(cfg SinkConfig) (*HTTPSink, error) {
	u, err := url.Parse(cfg.URL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, errkind.New(errkind.Invalid, "sink: K_SINK must be an http or https URL")
	}
	setDefault(&cfg.Tries, DefaultTries)
	setDefault(&cfg.TryTimeout, DefaultTryTimeout)
	setDefault(&cfg.Timeout, DefaultSinkTimeout)
	setDefault(&cfg.Parallel, DefaultParallel)
	if cfg.Tries < 1 || cfg.Parallel < 1 {
		return nil, errkind.New(errkind.Invalid, "sink: tries and parallel must be positive")
	}
	roots, err := authority(cfg.Authority)
	if err != nil {
		return nil, err
	}
	if cfg.Client == nil {
		cfg.Client = &http.Client{
			Transport: &http.Transport{
				Proxy:               http.ProxyFromEnvironment,
				ForceAttemptHTTP2:   true,
				MaxIdleConnsPerHost: cfg.Parallel * 2,
				IdleConnTimeout:     idleTimeout,
				TLSHandshakeTimeout: cfg.TryTimeout,
				TLSClientConfig:     &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
			},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
	}
	s := &HTTPSink{cfg: cfg}
	if cfg.Overrides != "" {
		var o struct {
			Extensions map[string]string `json:"extensions"`
		}
		if err := json.Unmarshal([]byte(cfg.Overrides), &o); err != nil {
			return nil, errkind.New(errkind.Invalid, "sink: K_CE_OVERRIDES: %w", err)
		}
		s.extensions = o.Extensions
	}
	return s, nil
}

// authority is the system's certificates with more; nil, which is the system's, if there are no more.
func authority(pem string) (*x509.CertPool, error) {
	if pem == "" {
		return nil, nil
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool() // an image without any
	}
	if !pool.AppendCertsFromPEM([]byte(pem)) {
		return nil, errkind.New(errkind.Invalid, "sink: K_CA_CERTS must hold certificates in PEM")
	}
	return pool, nil
}

// Publish implements Sink. The first event that fails for good ends it.
func (s *HTTPSink) Publish(ctx context.Context, events ...event.Event) error {
	posts := make([]post, len(events))
	for i, e := range events {
		e = cetrace.Inject(ctx, e)
		if len(s.extensions) > 0 {
			e = e.Clone()
			for name, value := range s.extensions {
				e.SetExtension(name, value)
			}
		}
		if err := e.Validate(); err != nil { // before anything is sent
			return errkind.New(errkind.Invalid, "publish event %q: %w", e.ID(), err)
		}
		body, err := e.MarshalJSON()
		if err != nil {
			return errkind.New(errkind.Invalid, "encode event %q: %w", e.ID(), err)
		}
		posts[i] = post{body, http.Header{"Content-Type": {event.ApplicationCloudEventsJSON}}}
		cetrace.Header(e, posts[i].header)
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(s.cfg.Parallel)
	for _, p := range posts {
		group.Go(func() error { return s.send(ctx, p) })
	}
	return group.Wait()
}

// post is an event on its way.
type post struct {
	body   []byte
	header http.Header
}

// send tries until the event is kept, or is refused for good, or time or tries are over. The error is the last answer's.
func (s *HTTPSink) send(ctx context.Context, p post) error {
	wait := backoff.NewExponentialBackOff()
	wait.InitialInterval = sinkBackoff
	var last error
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		last = s.try(ctx, p)
		switch delay := errkind.Delay(last); {
		case last == nil:
			return struct{}{}, nil
		case errors.As(last, new(*refused)):
			return struct{}{}, backoff.Permanent(last)
		case delay > 0:
			return struct{}{}, &backoff.RetryAfterError{Duration: delay}
		}
		return struct{}{}, last
	}, backoff.WithBackOff(wait), backoff.WithMaxTries(uint(s.cfg.Tries)), backoff.WithMaxElapsedTime(s.cfg.Timeout))
	if err != nil {
		return last
	}
	return nil
}

// Refused reports that a sink did not take an event because of what it is (it is no event, or the answer was 400, 413 or 422), whatever
// the kind of the error: the sink's other answers are about the sender, or the sink.
func Refused(err error) bool {
	if errkind.Is(err, errkind.Invalid) {
		return true
	}
	r, ok := errors.AsType[*refused](err)
	return ok && (r.status == http.StatusBadRequest || r.status == http.StatusRequestEntityTooLarge || r.status == http.StatusUnprocessableEntity)
}

// refused is an answer that another try would not change.
type refused struct {
	error

	status int
}

func (r *refused) Unwrap() error { return r.error }

func (s *HTTPSink) try(ctx context.Context, p post) error {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.TryTimeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.cfg.URL, bytes.NewReader(p.body))
	if err != nil {
		return errkind.New(errkind.Unavailable, "make request: %w", err)
	}
	r.Header = p.header.Clone()
	answer, err := s.cfg.Client.Do(r)
	if err != nil {
		if u, ok := errors.AsType[*url.Error](err); ok { // holds the URL, which may hold a password
			err = u.Err
		}
		return errkind.New(errkind.Unavailable, "publish event: %w", err)
	}
	defer answer.Body.Close()
	// Read, so that the connection is used again; the text of an answer is not ours to repeat.
	if _, err := io.CopyN(io.Discard, answer.Body, maxAnswer); err != nil && !errors.Is(err, io.EOF) && answer.StatusCode >= 300 {
		return errkind.New(errkind.Unavailable, "read answer of sink: %w", err)
	}
	if answer.StatusCode >= 200 && answer.StatusCode < 300 {
		return nil
	}
	kind := errkind.Unavailable
	if answer.StatusCode == http.StatusTooManyRequests {
		kind = errkind.Throttled
	}
	err = errkind.New(kind, "publish event: the sink answered %d", answer.StatusCode)
	if !again(answer.StatusCode) {
		return &refused{err, answer.StatusCode}
	}
	return errkind.After(retryAfter(answer.Header.Get("Retry-After"), time.Now()), err)
}

// again reports whether a status is one on which a Knative broker itself would try again.
func again(status int) bool {
	switch status {
	case http.StatusNotFound, http.StatusRequestTimeout, http.StatusConflict, http.StatusTooManyRequests:
		return true
	}
	return status >= 500
}

// retryAfter reads the header, in seconds or as a date; 0 if there is none.
func retryAfter(text string, now time.Time) time.Duration {
	if s, err := strconv.Atoi(text); err == nil && s > 0 && s < 1<<31 {
		return time.Duration(s) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(at.Sub(now), 0)
	}
	return 0
}
