package azure

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/normalize"
	"github.com/bucketmesh/bucketmesh/pkg/normalize/internal/httpin"
	"github.com/bucketmesh/bucketmesh/pkg/normalize/internal/refuse"
)

// Origin is the reason for the refusal of a handshake by who may not subscribe.
const Origin refuse.Reason = "origin"

// Header in which Event Grid says what it posts, and the value of the first post of a subscription in its own schema.
const (
	eventType  = "Aeg-Event-Type"
	validation = "SubscriptionValidation"
)

// read makes a message of a body, and answers the handshake of Event Grid's own schema. Only an authenticated sender
// comes this far: the answer says that we want the events of this subscription.
func (r *route) read(ctx context.Context, in *httpin.Incoming) (normalize.Message, error) {
	kind := in.Request.Header.Get(eventType)
	code, validates := validationCode(in.Body)
	if validates && (kind == "" || strings.EqualFold(kind, validation)) {
		answer, err := json.Marshal(struct {
			ValidationResponse string `json:"validationResponse"`
		}{code})
		if err != nil {
			return normalize.Message{}, errkind.New(errkind.Invalid, "encode validation response: %w", err)
		}
		in.Reply = &httpin.Reply{ContentType: "application/json", Body: answer}
		r.logger.InfoContext(ctx, "event grid subscription validated", "store", r.store.Name)
		m := normalize.Message{Raw: in.Body}
		m.Ignore("subscription validation")
		return m, nil
	}
	if strings.EqualFold(kind, "SubscriptionDeletion") {
		r.logger.WarnContext(ctx, "event grid subscription deleted", "store", r.store.Name)
	}
	return Decode(in.Body, r.account), nil
}

// validationCode is the code in the event by which Event Grid asks for a validation; it is alone in its batch. The
// validationUrl next to it is never called: what asks us to call it is not yet known to be Event Grid.
func validationCode(body []byte) (string, bool) {
	if len(body) > 64<<10 { // no need to take a large batch apart twice
		return "", false
	}
	records, err := split(body)
	if err != nil || len(records) != 1 {
		return "", false
	}
	var r record
	var d struct {
		ValidationCode string `json:"validationCode"`
	}
	if json.Unmarshal(records[0], &r) != nil || r.EventType != grid+"SubscriptionValidationEvent" || json.Unmarshal(r.Data, &d) != nil {
		return "", false
	}
	return d.ValidationCode, d.ValidationCode != ""
}

// options answers the handshake of CloudEvents: whether an origin may post here. It proves nothing and lets nobody in, so
// that it needs no token; each post does. WebHook-Request-Callback, another way to answer, is never called: it is a URL of
// the caller's choice.
func (r *route) options(_ context.Context, req *http.Request, answer http.Header) error {
	origin := req.Header.Get("WebHook-Request-Origin")
	if !slices.Contains(r.origins, origin) { // no prefixes, no suffixes, no case: look-alikes are cheap
		return refuse.New(errkind.PermissionDenied, Origin, "origin %q is none of %q", origin, r.origins)
	}
	answer.Set("Allow", http.MethodPost)
	answer.Set("WebHook-Allowed-Origin", origin)
	if rate := req.Header.Get("WebHook-Request-Rate"); rate != "" {
		allowed := "*" // as much as it likes: what is too much gets a 429
		if n, err := strconv.ParseUint(rate, 10, 31); err == nil {
			allowed = strconv.FormatUint(n, 10)
		}
		answer.Set("WebHook-Allowed-Rate", allowed)
	}
	return nil
}
