// Package httpin is the HTTP part that the handlers of all providers have in common: it finds the store that a request
// is for, lets the provider's package decide who may send and what a body means, bounds what a sender can take, delivers,
// and answers so that every provider does the right thing:
//
//	200  the broker took every event of the message; what can never work is in the dead letters; a handshake is done
//	401  the sender did not prove who it is      403  it did, and may not send here
//	404  no such store      405  a method that is not taken      413  the message is too large
//	429  too many senders at once that only their message could prove: send it again
//	503  the broker, the dead letters, or what senders are verified with can't be reached: send the message again, after Retry-After
//
// A provider's package makes one Route for each of its stores. Refusals are counted by store, status and reason (package
// refuse). Tokens compares shared secrets.
//
// Errors: Invalid from New and CheckTokens. Concurrency: a Handler may be used from many goroutines; the functions of a
// Route must allow that too.
package httpin

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"math"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel/metric"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/normalize"
	"github.com/bucketmesh/bucketmesh/pkg/normalize/internal/refuse"
)

// Config is what a Handler works with.
type Config struct {
	Prefix      string // of the paths: Prefix + Route.Name
	Routes      []Route
	Sink        normalize.Sink
	DeadLetters normalize.DeadLetters
	Now         func() time.Time // our clock, for recordedtime
	MaxBody     int64            // bytes of one message; 0 is DefaultMaxBody
	// MaxStrangerBody is for senders that only their message could prove; 0 is MaxBody.
	MaxStrangerBody int64
	Timeout         time.Duration // of the work on one message; 0 is DefaultTimeout
	Meter           metric.Meter  // nil: nothing is counted
	Logger          *slog.Logger  // nil: slog.Default
}

// Defaults of a Config.
const (
	DefaultMaxBody = 1 << 20
	DefaultTimeout = 4 * time.Second // EventBridge waits 5 s, Pub/Sub 10 s, SNS 15 s, Event Grid 30 s; all send again
)

// defaultRetryAfter is when a sender is asked to come again if nobody knows better: an outage of the broker is mostly a restart, and
// senders that heed it would else wait by their own back-off.
const defaultRetryAfter = 5 * time.Second

// maxStrangers are verified at once: anybody can claim to be somebody until the signature was looked at, and must
// neither fill the memory nor keep out those who are known.
const maxStrangers = 16

// Route is a store that may send.
type Route struct {
	Name string // last element of the path
	// Admit says by the head of a request who sends, before the body is read: a known sender, or a stranger whose
	// message has to prove it (not known, no error). An error of the kinds Unauthenticated and PermissionDenied sends
	// away for good; with any other one the message comes again.
	Admit func(ctx context.Context, r *http.Request) (known bool, err error)
	// Read makes a message of a body. Errors are as those of Admit; a body that can never work is poison.
	Read func(ctx context.Context, in *Incoming) (normalize.Message, error)
	// Options answers OPTIONS with headers that it sets; errors are as those of Admit. nil: the method is refused.
	Options func(ctx context.Context, r *http.Request, answer http.Header) error
}

// Incoming is a request whose body was read.
type Incoming struct {
	Request *http.Request
	Body    []byte
	Known   bool   // as Admit said
	Reply   *Reply // set by Read: what is answered with the status 200; nil is nothing
}

// Reply is the body of an answer.
type Reply struct {
	ContentType string
	Body        []byte
}

// Handler takes notifications. Make one with New.
type Handler struct {
	config    Config
	routes    map[string]*Route
	meters    meters
	strangers chan struct{} // held by who is not known, until the message proved it
}

// New checks the configuration and makes the handler. Errors: Invalid.
func New(c Config) (*Handler, error) {
	if c.Sink == nil || c.DeadLetters == nil || c.Now == nil {
		return nil, errkind.New(errkind.Invalid, "make handler of %s: sink, dead letters and clock are required", c.Prefix)
	}
	if c.MaxBody <= 0 {
		c.MaxBody = DefaultMaxBody
	}
	if c.MaxStrangerBody <= 0 || c.MaxStrangerBody > c.MaxBody {
		c.MaxStrangerBody = c.MaxBody
	}
	if c.Timeout <= 0 {
		c.Timeout = DefaultTimeout
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	meters, err := newMeters(c.Meter)
	if err != nil {
		return nil, err
	}
	h := &Handler{config: c, routes: make(map[string]*Route, len(c.Routes)), meters: meters,
		strangers: make(chan struct{}, maxStrangers)}
	for i, r := range c.Routes {
		if h.routes[r.Name] != nil {
			return nil, errkind.New(errkind.Invalid, "store %s: the name is taken", r.Name)
		}
		h.routes[r.Name] = &c.Routes[i]
	}
	return h, nil
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), h.config.Timeout)
	defer cancel()
	var route *Route
	if name, ok := strings.CutPrefix(r.URL.Path, h.config.Prefix); ok {
		route = h.routes[name]
	}
	reply, err := h.serve(ctx, w, r, route)
	if err != nil {
		h.refuse(ctx, w, r, route, err)
		return
	}
	if reply != nil {
		w.Header().Set("Content-Type", reply.ContentType)
	}
	w.WriteHeader(http.StatusOK)
	if reply == nil {
		return
	}
	if _, err := w.Write(reply.Body); err != nil { // the sender left: it asks again
		h.config.Logger.WarnContext(ctx, "answer not written", "store", route.Name, "error", err)
	}
}

// answer is an error with the status that it is answered with.
type answer struct {
	status int
	error
}

// Unwrap makes the reason of the error be found.
func (a answer) Unwrap() error { return a.error }

func answerWith(status int, reason refuse.Reason, kind errkind.Kind, format string, args ...any) error {
	return answer{status: status, error: refuse.New(kind, reason, format, args...)}
}

// serve does all but answering.
func (h *Handler) serve(ctx context.Context, w http.ResponseWriter, r *http.Request, route *Route) (*Reply, error) {
	// The end of a context does not end the read of a body. A writer that can't set a deadline is no network connection.
	conn := http.NewResponseController(w)
	if err := conn.SetReadDeadline(time.Now().Add(h.config.Timeout)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return nil, answerWith(http.StatusServiceUnavailable, refuse.Body, errkind.Unavailable, "set read deadline: %w", err)
	}
	switch {
	case route == nil:
		return nil, answerWith(http.StatusNotFound, refuse.NoStore, errkind.NotFound,
			"no replica is at the path %q: write /s3/NAME, /gcs/NAME or /azure/NAME, with the name of a replica that is there", r.URL.Path)
	case r.Method == http.MethodOptions && route.Options != nil:
		return nil, route.Options(ctx, r, w.Header())
	case r.Method != http.MethodPost:
		allow := http.MethodPost
		if route.Options != nil {
			allow += ", " + http.MethodOptions
		}
		w.Header().Set("Allow", allow)
		return nil, answerWith(http.StatusMethodNotAllowed, refuse.Method, errkind.Unsupported, "method %s", r.Method)
	}
	// Who is nobody is sent away before the message is read.
	known, err := route.Admit(ctx, r)
	if err != nil {
		return nil, err
	}
	limit, verified := h.config.MaxBody, func() {}
	if !known {
		limit = h.config.MaxStrangerBody
		select {
		case h.strangers <- struct{}{}:
			verified = sync.OnceFunc(func() { <-h.strangers })
			defer verified()
		default:
			w.Header().Set("Retry-After", "1")
			return nil, answerWith(http.StatusTooManyRequests, refuse.Crowd, errkind.Throttled,
				"%d senders without a token are being verified", maxStrangers)
		}
	}
	body, err := h.body(w, r, limit)
	if err != nil {
		return nil, err
	}
	in := &Incoming{Request: r, Body: body, Known: known}
	m, err := route.Read(ctx, in)
	verified()
	if err != nil {
		return nil, err
	}
	return in.Reply, h.deliver(ctx, r, route, m)
}

// body reads the body within the limit.
func (h *Handler) body(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	if tooLarge := new(http.MaxBytesError); errors.As(err, &tooLarge) {
		return nil, answerWith(http.StatusRequestEntityTooLarge, refuse.TooLarge, errkind.Invalid, "message of more than %d bytes", limit)
	} else if err != nil {
		return nil, answerWith(http.StatusServiceUnavailable, refuse.Body, errkind.Unavailable, "read message: %w", err)
	}
	// The deadline was for the body: past it, the server would take the connection for gone while the work goes on.
	if err := http.NewResponseController(w).SetReadDeadline(time.Time{}); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return nil, answerWith(http.StatusServiceUnavailable, refuse.Body, errkind.Unavailable, "reset read deadline: %w", err)
	}
	return body, nil
}

func (h *Handler) deliver(ctx context.Context, r *http.Request, route *Route, m normalize.Message) error {
	done, err := normalize.Deliver(ctx, h.config.Sink, h.config.DeadLetters, m, h.config.Now(), traceparent(r))
	if err != nil {
		// Whatever kind it is: the message is good, the trouble is ours.
		return answerWith(http.StatusServiceUnavailable, refuse.Delivery, errkind.Unavailable, "deliver: %w", err)
	}
	h.meters.delivered(ctx, route.Name, m, done)
	if n := len(done.Poison); n > 0 { // one line, however many there are
		h.config.Logger.WarnContext(ctx, "notification put to the dead letters",
			"store", route.Name, "poison", n, "reason", brief(done.Poison[0].Reason))
	}
	return nil
}

// refuse answers, counts and logs everything that is not 200. The answer has no body: senders don't read it, and
// strangers learn nothing.
func (h *Handler) refuse(ctx context.Context, w http.ResponseWriter, r *http.Request, route *Route, err error) {
	store := ""
	if route != nil {
		store = route.Name
	}
	status := statusOf(err)
	h.meters.refuse(ctx, store, status, refuse.Of(err))
	level := slog.LevelWarn
	if status >= http.StatusInternalServerError {
		level = slog.LevelError
	}
	h.config.Logger.Log(ctx, level, "notification refused", "store", store, "status", status, "remote", r.RemoteAddr,
		"error", brief(err.Error()))
	if status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	if status == http.StatusServiceUnavailable && w.Header().Get("Retry-After") == "" {
		delay := max(errkind.Delay(err), defaultRetryAfter)
		w.Header().Set("Retry-After", strconv.FormatInt(int64(math.Ceil(delay.Seconds())), 10))
	}
	w.WriteHeader(status)
}

// maxLogged is the bytes of a text in a log line that may quote a sender: strangers must not fill the log with few requests.
const maxLogged = 1 << 10

// brief is a text for a log line.
func brief(s string) string {
	if len(s) <= maxLogged {
		return s
	}
	return strings.ToValidUTF8(s[:maxLogged], "") + "…"
}

// statusOf: senders are sent away for good only if they are not who they must be. All else may work later.
func statusOf(err error) int {
	if a := (answer{}); errors.As(err, &a) {
		return a.status
	}
	switch kind := errkind.Of(err); kind {
	case errkind.Unauthenticated, errkind.PermissionDenied:
		return kind.HTTPStatus()
	default:
		return http.StatusServiceUnavailable
	}
}

var traceparentForm = regexp.MustCompile(`^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$`)

// traceparent is the sender's W3C trace context, if it has one.
func traceparent(r *http.Request) string {
	if t := r.Header.Get("Traceparent"); traceparentForm.MatchString(t) {
		return t
	}
	return ""
}
