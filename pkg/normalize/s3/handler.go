package s3

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel/metric"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/normalize"
)

// PathPrefix is where stores post to: PathPrefix + Store.Name.
const PathPrefix = "/s3/"

// HandlerConfig is what a Handler works with.
type HandlerConfig struct {
	Stores      []Store
	Sink        normalize.Sink
	DeadLetters normalize.DeadLetters
	Verifier    *Verifier        // required if a store has topics
	Now         func() time.Time // our clock, for recordedtime
	MaxBody     int64            // bytes of one message; 0 is 1 MiB (SNS and EventBridge send 256 KiB at most)
	// Timeout bounds the work on one message; 0 is 4 s: EventBridge waits 5 s, SNS 15 s, and both send again what was
	// not answered.
	Timeout time.Duration
	Meter   metric.Meter // nil: nothing is counted
	Logger  *slog.Logger // nil: slog.Default
}

// Handler takes notifications over HTTP.
//
//	200  the broker took every event of the message; what can never work is in the dead letters; a confirmation is done
//	401  the sender did not prove who it is      403  it did, and may not send here
//	404  no such store      405  not a POST      413  the message is too large
//	429  too many senders at once that only their message could prove: send it again
//	503  the broker, the dead letters, or SNS's certificates can't be reached: send the message again
type Handler struct {
	config    HandlerConfig
	stores    map[string]*route
	meters    meters
	strangers chan struct{} // held by who shows no token, until SNS's signature is verified
}

// What senders without a token may take: anybody can claim to be SNS until its signature was looked at, and must neither
// fill the memory nor keep out those who are known.
const (
	maxStrangers    = 16
	maxStrangerBody = 528 << 10 // SNS takes 256 KiB; in its envelope every quote of it is two bytes, and the rest is small
)

// route is a store with what is prepared for it.
type route struct {
	Store
	tokens   tokens
	siblings map[string]Store // buckets of the same server, by name
}

// NewHandler checks the configuration and makes the handler. Errors: Invalid.
func NewHandler(c HandlerConfig) (*Handler, error) {
	if c.Sink == nil || c.DeadLetters == nil || c.Now == nil {
		return nil, errkind.New(errkind.Invalid, "make s3 handler: sink, dead letters and clock are required")
	}
	if c.MaxBody <= 0 {
		c.MaxBody = 1 << 20
	}
	if c.Timeout <= 0 {
		c.Timeout = 4 * time.Second
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	meters, err := newMeters(c.Meter)
	if err != nil {
		return nil, err
	}
	h := &Handler{config: c, stores: make(map[string]*route, len(c.Stores)), meters: meters,
		strangers: make(chan struct{}, maxStrangers)}
	for _, s := range c.Stores {
		if err := s.validate(); err != nil {
			return nil, err
		}
		if len(s.Auth.Topics) > 0 && c.Verifier == nil {
			return nil, errkind.New(errkind.Invalid, "store %s: topics need a verifier", s.Name)
		}
		if h.stores[s.Name] != nil {
			return nil, errkind.New(errkind.Invalid, "store %s: the name is taken", s.Name)
		}
		h.stores[s.Name] = &route{Store: s, tokens: newTokens(s.Auth.Tokens), siblings: siblings(s, c.Stores)}
	}
	return h, nil
}

// siblings are the buckets that a server may tell of on the path of one of its stores. A bucket with several replicas
// (prefixes of it) is one source, so any of its stores will do.
func siblings(of Store, all []Store) map[string]Store {
	m := map[string]Store{of.Bucket: of}
	for _, s := range all {
		if s.Server != of.Server || s.Server == "" {
			continue
		}
		known, ok := m[s.Bucket]
		if !ok {
			known = s
		}
		known.prefixes = append(known.prefixes, s.Prefix)
		m[s.Bucket] = known
	}
	return m
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), h.config.Timeout)
	defer cancel()
	// The end of a context does not end the read of a body. A writer that can't set a deadline is no network connection.
	conn := http.NewResponseController(w)
	if err := conn.SetReadDeadline(time.Now().Add(h.config.Timeout)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		h.refuse(ctx, w, r, nil, http.StatusServiceUnavailable, errkind.New(errkind.Unavailable, "set read deadline: %w", err))
		return
	}
	route := h.stores[strings.TrimPrefix(r.URL.Path, PathPrefix)]
	switch {
	case route == nil || !strings.HasPrefix(r.URL.Path, PathPrefix):
		h.refuse(ctx, w, r, nil, http.StatusNotFound, errkind.New(errkind.NotFound, "no such store"))
		return
	case r.Method != http.MethodPost:
		w.Header().Set("Allow", http.MethodPost)
		h.refuse(ctx, w, r, route, http.StatusMethodNotAllowed, errkind.New(errkind.Unsupported, "method %s", r.Method))
		return
	}
	// Who is nobody is sent away before its message is read. Only SNS proves itself with the message.
	known := route.Auth.Open || route.tokens.allow(r)
	if !known && len(route.Auth.Topics) == 0 {
		h.refuse(ctx, w, r, route, http.StatusUnauthorized, errNobody)
		return
	}
	limit, verified := h.config.MaxBody, func() {}
	if !known {
		limit = min(limit, maxStrangerBody)
		select {
		case h.strangers <- struct{}{}:
			verified = sync.OnceFunc(func() { <-h.strangers })
			defer verified()
		default:
			w.Header().Set("Retry-After", "1")
			h.refuse(ctx, w, r, route, http.StatusTooManyRequests,
				errkind.New(errkind.Throttled, "%d senders without a token are being verified", maxStrangers))
			return
		}
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	if tooLarge := new(http.MaxBytesError); errors.As(err, &tooLarge) {
		h.refuse(ctx, w, r, route, http.StatusRequestEntityTooLarge,
			errkind.New(errkind.Invalid, "message of more than %d bytes", limit))
		return
	} else if err != nil {
		h.refuse(ctx, w, r, route, http.StatusServiceUnavailable, errkind.New(errkind.Unavailable, "read message: %w", err))
		return
	}
	// The deadline was for the body: past it, the server would take the connection for gone while the work goes on.
	if err := conn.SetReadDeadline(time.Time{}); err != nil && !errors.Is(err, http.ErrNotSupported) {
		h.refuse(ctx, w, r, route, http.StatusServiceUnavailable, errkind.New(errkind.Unavailable, "reset read deadline: %w", err))
		return
	}
	m, err := h.read(ctx, route, known, body)
	verified()
	switch errkind.Of(err) {
	case errkind.Unauthenticated, errkind.PermissionDenied:
		h.refuse(ctx, w, r, route, errkind.Of(err).HTTPStatus(), err)
		return
	default:
		if err != nil {
			h.refuse(ctx, w, r, route, http.StatusServiceUnavailable, err)
			return
		}
	}
	done, err := normalize.Deliver(ctx, h.config.Sink, h.config.DeadLetters, m, h.config.Now(), traceparent(r))
	if err != nil {
		// Whatever kind it is: the message is good, the trouble is ours.
		h.refuse(ctx, w, r, route, http.StatusServiceUnavailable, err)
		return
	}
	h.meters.delivered(ctx, route.Name, m, done)
	if n := len(done.Poison); n > 0 { // one line, however many there are
		h.config.Logger.WarnContext(ctx, "notification put to the dead letters", "store", route.Name, "poison", n, "reason", done.Poison[0].Reason)
	}
	w.WriteHeader(http.StatusOK)
}

var errNobody = errkind.New(errkind.Unauthenticated, "the sender shows no valid token")

// read makes a message of a body: it unwraps and verifies what SNS sends, and confirms subscriptions.
func (h *Handler) read(ctx context.Context, route *route, known bool, body []byte) (normalize.Message, error) {
	resolve := func(bucket string) (Store, bool) { s, ok := route.siblings[bucket]; return s, ok }
	p, shape := parse(body)
	if shape != ShapeSNS {
		if !known {
			return normalize.Message{}, errNobody
		}
		return decode(&p, shape, body, resolve), nil
	}
	// A token does not stand in for the signature: it proves who posted, not which topic it is from.
	if len(route.Auth.Topics) == 0 {
		return normalize.Message{}, errkind.New(errkind.PermissionDenied, "sns topic %q: none is allowed here", p.TopicArn)
	}
	if err := h.config.Verifier.Verify(ctx, &p.Envelope, route.Auth.Topics); err != nil {
		return normalize.Message{}, err
	}
	var m normalize.Message
	switch p.Type {
	case snsSubscribe:
		if err := h.config.Verifier.Confirm(ctx, &p.Envelope); err != nil {
			return m, err
		}
		h.config.Logger.InfoContext(ctx, "sns subscription confirmed", "store", route.Name, "topic", p.TopicArn)
		m.Ignore("sns confirmation")
		return m, nil
	case snsUnsubscribe: // not answered by subscribing again: whoever unsubscribed meant it
		h.config.Logger.WarnContext(ctx, "sns subscription ended", "store", route.Name, "topic", p.TopicArn)
		m.Ignore("sns confirmation")
		return m, nil
	}
	return Decode([]byte(p.Message), resolve), nil
}

// refuse answers, counts and logs everything that is not 200. The answer has no body: senders don't read it, and
// strangers learn nothing.
func (h *Handler) refuse(ctx context.Context, w http.ResponseWriter, r *http.Request, route *route, status int, err error) {
	store := ""
	if route != nil {
		store = route.Name
	}
	h.meters.refuse(ctx, store, status)
	level := slog.LevelWarn
	if status >= http.StatusInternalServerError {
		level = slog.LevelError
	}
	h.config.Logger.Log(ctx, level, "notification refused", "store", store, "status", status, "remote", r.RemoteAddr, "error", err)
	if status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	w.WriteHeader(status)
}

var traceparentForm = regexp.MustCompile(`^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$`)

// traceparent is the sender's W3C trace context, if it has one.
func traceparent(r *http.Request) string {
	if t := r.Header.Get("Traceparent"); traceparentForm.MatchString(t) {
		return t
	}
	return ""
}
