package s3

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"go.opentelemetry.io/otel/metric"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/normalize"
	"github.com/bucketmesh/bucketmesh/pkg/normalize/internal/httpin"
	"github.com/bucketmesh/bucketmesh/pkg/normalize/internal/refuse"
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
	MaxBody     int64            // bytes of one message; 0 is httpin.DefaultMaxBody (SNS and EventBridge send 256 KiB at most)
	Timeout     time.Duration    // of the work on one message; 0 is httpin.DefaultTimeout
	Meter       metric.Meter     // nil: nothing is counted
	Logger      *slog.Logger     // nil: slog.Default
}

// Handler takes notifications over HTTP. It answers as package httpin says; what SNS sends without a token has to prove
// itself by its signature.
type Handler struct {
	http.Handler

	config HandlerConfig
}

// maxStrangerBody is for senders without a token: SNS takes 256 KiB; in its envelope every quote of it is two bytes, and
// the rest is small.
const maxStrangerBody = 528 << 10

// route is a store with what is prepared for it.
type route struct {
	Store
	tokens   httpin.Tokens
	siblings map[string]Store // buckets of the same server, by name
}

// NewHandler checks the configuration and makes the handler. Errors: Invalid.
func NewHandler(c HandlerConfig) (*Handler, error) {
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	h := &Handler{config: c}
	in := httpin.Config{
		Prefix: PathPrefix, Sink: c.Sink, DeadLetters: c.DeadLetters, Now: c.Now, MaxBody: c.MaxBody,
		MaxStrangerBody: maxStrangerBody, Timeout: c.Timeout, Meter: c.Meter, Logger: c.Logger,
	}
	for _, s := range c.Stores {
		if err := s.validate(); err != nil {
			return nil, err
		}
		if len(s.Auth.Topics) > 0 && c.Verifier == nil {
			return nil, errkind.New(errkind.Invalid, "store %s: topics need a verifier", s.Name)
		}
		r := &route{Store: s, tokens: httpin.NewTokens(s.Auth.Tokens), siblings: siblings(s, c.Stores)}
		in.Routes = append(in.Routes, httpin.Route{
			Name:  s.Name,
			Admit: r.admit,
			Read: func(ctx context.Context, in *httpin.Incoming) (normalize.Message, error) {
				return h.read(ctx, r, in.Known, in.Body)
			},
		})
	}
	var err error
	if h.Handler, err = httpin.New(in); err != nil {
		return nil, fmt.Errorf("make s3 handler: %w", err)
	}
	return h, nil
}

// siblings is normalize.Siblings with the dialects.
func siblings(of Store, all []Store) map[string]Store {
	bases, dialects := make([]normalize.Store, 0, len(all)), make(map[string]Dialect, len(all))
	for _, s := range all {
		bases = append(bases, s.Store)
		dialects[s.Name] = s.Dialect
	}
	m := make(map[string]Store)
	for bucket, s := range normalize.Siblings(of.Store, bases) {
		m[bucket] = Store{Store: s, Dialect: dialects[s.Name]}
	}
	return m
}

// admit: only SNS proves itself with the message.
func (r *route) admit(_ context.Context, req *http.Request) (known bool, err error) {
	known = r.Auth.Open || r.tokens.Allow(req)
	if !known && len(r.Auth.Topics) == 0 {
		return false, refuse.Nobody()
	}
	return known, nil
}

// read makes a message of a body: it unwraps and verifies what SNS sends, and confirms subscriptions.
func (h *Handler) read(ctx context.Context, route *route, known bool, body []byte) (normalize.Message, error) {
	resolve := func(bucket string) (Store, bool) { s, ok := route.siblings[bucket]; return s, ok }
	p, shape := parse(body)
	if shape != ShapeSNS {
		if !known {
			return normalize.Message{}, refuse.Nobody()
		}
		return decode(&p, shape, body, resolve), nil
	}
	// A token does not stand in for the signature: it proves who posted, not which topic it is from.
	if len(route.Auth.Topics) == 0 {
		return normalize.Message{}, refuse.New(errkind.PermissionDenied, Topic, "sns topic %q: none is allowed here", p.TopicArn)
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
