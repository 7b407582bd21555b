package serve

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
)

// Defaults of Limits.
const (
	DefaultMaxBody     = 1 << 20 // what a Kafka broker's ingress takes
	DefaultConcurrency = 64
	DefaultTimeout     = 5 * time.Minute // a Knative revision's own default
	defaultRetryAfter  = time.Second
)

// Handler handles one event. nil means that it is dealt with for good, be it as a duplicate; the kind of an error says
// whether it should come again (see Answer). What a handler has to tell goes out through a Sink or an outbox, not as the
// reply.
type Handler interface {
	Handle(ctx context.Context, e event.Event) error
}

// HandlerFunc is a function as a Handler.
type HandlerFunc func(ctx context.Context, e event.Event) error

// Handle implements Handler.
func (f HandlerFunc) Handle(ctx context.Context, e event.Event) error { return f(ctx, e) }

// Limits bound what senders can take. The zero value of a field is its default.
type Limits struct {
	MaxBody     int64         // bytes of a request's body; more is answered with 413
	Concurrency int           // requests at once; more are answered with 429
	Timeout     time.Duration // of the handling of one request
}

// Handler is h within the limits. A body that is too large fails h's read with an error that Answer turns into 413.
func (l Limits) Handler(h http.Handler) http.Handler {
	setDefault(&l.MaxBody, DefaultMaxBody)
	setDefault(&l.Concurrency, DefaultConcurrency)
	setDefault(&l.Timeout, DefaultTimeout)
	free := make(chan struct{}, l.Concurrency)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case free <- struct{}{}:
			defer func() { <-free }()
		default:
			Answer(w, errkind.New(errkind.Throttled, "all %d handlers are busy", l.Concurrency))
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), l.Timeout)
		defer cancel()
		r = r.WithContext(ctx)
		r.Body = http.MaxBytesReader(w, r.Body, l.MaxBody)
		h.ServeHTTP(w, r)
	})
}

// Answer writes the answer to a request that ended with err: 202 with an empty body for nil, else the status of the
// error's kind with its text. 429 says when to come back, 503 too if the error knows (errkind.After).
func Answer(w http.ResponseWriter, err error) {
	if err == nil {
		w.WriteHeader(http.StatusAccepted)
		return
	}
	status := errkind.Of(err).HTTPStatus()
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		status = http.StatusRequestEntityTooLarge
	}
	delay := errkind.Delay(err)
	if status == http.StatusTooManyRequests && delay == 0 {
		delay = defaultRetryAfter
	}
	if delay > 0 && (status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable) {
		w.Header().Set("Retry-After", strconv.FormatInt(int64(math.Ceil(delay.Seconds())), 10))
	}
	http.Error(w, err.Error(), status)
}

// Options of Events and Observe.
type Options struct {
	Limits                 // Events only
	Logger    *slog.Logger // discarded if nil
	Telemetry *Telemetry   // none if nil
}

// Events is h, observed, as an http.Handler that takes CloudEvents 1.0, one per POST, in binary or structured mode.
func Events(h Handler, o Options) (http.Handler, error) {
	observed, err := Observe(h, o)
	if err != nil {
		return nil, err
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o.Limits.Handler(&events{handler: observed, log: o.Logger}), nil
}

type events struct {
	handler Handler
	log     *slog.Logger
}

func (s *events) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, "events are posted", http.StatusMethodNotAllowed)
		return
	}
	e, err := read(r)
	if err != nil {
		s.log.WarnContext(r.Context(), "request is no event", "error", err)
		Answer(w, err)
		return
	}
	Answer(w, s.handler.Handle(r.Context(), e))
}

// read reads the body before it is looked at, so that a failed read is not taken for a wrong event.
func read(r *http.Request) (event.Event, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return event.Event{}, errkind.New(errkind.Invalid, "read event: %w", err)
		}
		return event.Event{}, errkind.New(errkind.Unavailable, "read event: %w", err)
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	e, err := cehttp.NewEventFromHTTPRequest(r)
	if err == nil {
		err = e.Validate()
	}
	if err != nil {
		return event.Event{}, errkind.New(errkind.Invalid, "read event: %w", err)
	}
	return *e, nil
}
