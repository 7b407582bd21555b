// Package bury is the service dead-letters: the dead-letter sink of all triggers. It keeps what a broker gave up on, with the
// reason, for a person to look at and to replay. It is apart from the other subscribers so that a service that only keeps
// letters carries no engine.
//
// The path of a sink's address is the name of its trigger: /sync, /audit. At / the broker has to tell which subscriber failed,
// which it does not if there was no answer. Messages that no normalizer could understand come as unrecognized events, by a
// trigger of their own, and are kept as raw messages, like those of one process.
//
// Errors: nil means that the letter is kept. Unavailable brings the event back.
//
// Concurrency: a Handler may be used from many goroutines.
package bury

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"regexp"
	"time"

	cloudevents "github.com/cloudevents/sdk-go/v2/event"

	"github.com/bucketmesh/bucketmesh/pkg/deadletter"
	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/event"
	"github.com/bucketmesh/bucketmesh/pkg/serve"
)

// maxBody is what any broker may have taken, and the attributes that it added.
const maxBody = 4 << 20

// Handler keeps letters. All fields are required.
type Handler struct {
	Group  string
	Store  deadletter.Store
	Now    func() time.Time
	Logger *slog.Logger
}

// trigger is the key of the trigger's name in a context.
type trigger struct{}

var triggerName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$`)

// HTTP is the handler at the paths of all triggers.
func (h *Handler) HTTP(o serve.Options) (http.Handler, error) {
	o.MaxBody = maxBody
	events, err := serve.Events(h, o)
	if err != nil {
		return nil, fmt.Errorf("make handler: %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle("/{$}", events)
	mux.HandleFunc("/{trigger}", func(w http.ResponseWriter, r *http.Request) {
		name := r.PathValue("trigger")
		if !triggerName.MatchString(name) {
			http.Error(w, "the path must be the name of a trigger", http.StatusBadRequest)
			return
		}
		events.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), trigger{}, name)))
	})
	return mux, nil
}

// Handle implements subscriber.Handler.
func (h *Handler) Handle(ctx context.Context, e cloudevents.Event) error {
	name, _ := ctx.Value(trigger{}).(string) // "" at /
	l := deadletter.FromKnative(name, e, h.Now())
	if e.Type() == event.Unrecognized && name == "" && !deadletter.Failed(e) {
		l = raw(e, h.Now())
	}
	if err := h.Store.Put(ctx, h.Group, l); err != nil {
		return err //nolint:wrapcheck // says "keep dead letter"
	}
	h.Logger.ErrorContext(ctx, "dead letter", "trigger", l.Trigger, "id", e.ID(), "type", e.Type(), "subject", e.Subject(), "code", l.Code,
		"reason", l.Reason, "mend", "bucketmesh dead-letters list, show and replay")
	return nil
}

// raw is the letter of a message that no normalizer could understand. An event holds what is not JSON as a string.
func raw(e cloudevents.Event, now time.Time) deadletter.Letter {
	l := deadletter.Letter{Time: now, Reason: "no normalizer could understand it", Kind: errkind.Invalid.String()}
	var o event.Object
	if err := json.Unmarshal(e.Data(), &o); err != nil || len(o.Native) == 0 { // somebody else's event of this type
		l.Raw, l.ContentType = e.Data(), e.DataContentType()
		return l
	}
	l.Raw, l.ContentType = o.Native, o.ContentType
	var text string
	if json.Unmarshal(o.Native, &text) == nil {
		l.Raw = []byte(text)
	}
	if reason := deadletter.Reason(o.NativeNote); reason != "" {
		l.Reason = reason
	}
	return l
}
