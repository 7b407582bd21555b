package gcs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/cloudevents/sdk-go/v2/binding"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"
	"go.opentelemetry.io/otel/metric"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/normalize"
	"github.com/bucketmesh/bucketmesh/pkg/normalize/internal/httpin"
	"github.com/bucketmesh/bucketmesh/pkg/normalize/internal/refuse"
	"github.com/bucketmesh/bucketmesh/pkg/normalize/oidc"
)

// PathPrefix is where stores post to: PathPrefix + Store.Name.
const PathPrefix = "/gcs/"

// HandlerConfig is what a Handler works with.
type HandlerConfig struct {
	Stores      []Store
	Sink        normalize.Sink
	DeadLetters normalize.DeadLetters
	Verifier    *oidc.Verifier   // of bearer tokens; required if a store has accounts
	Now         func() time.Time // our clock, for recordedtime
	MaxBody     int64            // bytes of one message; 0 is httpin.DefaultMaxBody
	Timeout     time.Duration    // of the work on one message; 0 is httpin.DefaultTimeout
	Meter       metric.Meter     // nil: nothing is counted
	Logger      *slog.Logger     // nil: slog.Default
}

// NewHandler checks the configuration and makes the handler, which answers as package httpin says. All senders prove
// themselves by the head of their request, so that nothing of a stranger is read. Errors: Invalid.
func NewHandler(c HandlerConfig) (http.Handler, error) {
	in := httpin.Config{
		Prefix: PathPrefix, Sink: c.Sink, DeadLetters: c.DeadLetters, Now: c.Now, MaxBody: c.MaxBody, Timeout: c.Timeout,
		Meter: c.Meter, Logger: c.Logger,
	}
	for _, s := range c.Stores {
		if err := s.validate(); err != nil {
			return nil, err
		}
		if len(s.Auth.Accounts) > 0 && c.Verifier == nil {
			return nil, errkind.New(errkind.Invalid, "store %s: accounts need a verifier", s.Name)
		}
		senders := &senders{auth: s.Auth, tokens: httpin.NewTokens(s.Auth.Tokens), verifier: c.Verifier}
		resolve := ResolveIn(s, c.Stores)
		in.Routes = append(in.Routes, httpin.Route{
			Name:  s.Name,
			Admit: senders.admit,
			Read: func(ctx context.Context, in *httpin.Incoming) (normalize.Message, error) {
				return decodeRequest(ctx, resolve, in.Request.Header, in.Body), nil
			},
		})
	}
	h, err := httpin.New(in)
	if err != nil {
		return nil, fmt.Errorf("make gcs handler: %w", err)
	}
	return h, nil
}

// senders are those that may send for a store.
type senders struct {
	auth     Auth
	tokens   httpin.Tokens
	verifier *oidc.Verifier
}

func (s *senders) admit(ctx context.Context, r *http.Request) (known bool, err error) {
	switch {
	case s.auth.Open || s.tokens.Allow(r):
		return true, nil
	case len(s.auth.Accounts) == 0:
		return false, refuse.Nobody()
	}
	claims, err := s.verifier.Verify(ctx, r.Header.Get("Authorization"))
	if err != nil {
		return false, err //nolint:wrapcheck // says "verify token"
	}
	if err := claims.RequireAccount(s.auth.Accounts); err != nil {
		return false, err //nolint:wrapcheck // says "verify token"
	}
	return true, nil
}

// decodeRequest tells what a request is: a CloudEvent by its headers, an unwrapped push by the attribute in its headers,
// and all else by the body.
func decodeRequest(ctx context.Context, resolve Resolve, header http.Header, body []byte) normalize.Message {
	if !utf8.Valid(body) {
		return poisoned(normalize.Message{Raw: body}, errNotUTF8)
	}
	if header.Get("Ce-Type") != "" || strings.HasPrefix(header.Get("Content-Type"), "application/cloudevents") {
		e, err := binding.ToEvent(ctx, cehttp.NewMessage(header, io.NopCloser(bytes.NewReader(body))))
		if err != nil {
			return poisoned(normalize.Message{Raw: body}, fmt.Errorf("decode CloudEvent: %w", err))
		}
		return DecodeCloudEvent(resolve, *e)
	}
	if header.Get(attrEventType) != "" {
		return decodeUnwrapped(resolve, header, body)
	}
	if m, ok := decodeWrapped(resolve, body); ok {
		return m
	}
	m := normalize.Message{Raw: body}
	if _, ok := nameIn(body); ok {
		return poisoned(m, errors.New("an object, but not what became of it: an unwrapped push without metadata can never be understood; "+
			"set the push subscription to write metadata (--push-no-wrapper-write-metadata), or to wrapped payloads"))
	}
	return poisoned(m, errors.New("neither a push of Pub/Sub nor a CloudEvent"))
}

// decodeUnwrapped reads an unwrapped push whose attributes are headers. The name of the object is taken from the payload:
// a header can't hold every name, and loses the spaces at both ends.
func decodeUnwrapped(resolve Resolve, header http.Header, body []byte) normalize.Message {
	msg := PubSubMessage{
		Data: body, MessageID: header.Get("X-Goog-Pubsub-Message-Id"), PublishTime: header.Get("X-Goog-Pubsub-Publish-Time"),
		Attributes: make(map[string]string),
	}
	for _, name := range []string{
		attrEventType, attrBucket, attrGeneration, attrOverwrote, attrOverwrittenBy, attrPayload, attrEventTime,
	} {
		if v := header.Get(name); v != "" {
			msg.Attributes[name] = v
		}
	}
	name, ok := nameIn(body)
	if !ok {
		return poisoned(normalize.Message{Raw: encode(msg)}, errors.New("an unwrapped push without an object for its payload: "+
			"the name in its headers may have been changed on its way; set the notification's payload format to "+payloadJSON+
			", or the push subscription to wrapped payloads"))
	}
	msg.Attributes[attrObject] = name
	return Decode(resolve, msg)
}
