package azure

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
)

// fail gives an error its kind and takes secrets out of its text; permission is what a refused caller needs. The error that
// caused it is not kept: its text may quote the URL of the webhook.
func (c *Container) fail(doing, permission string, err error) error {
	if err == nil {
		return nil
	}
	kind, text := kindOf(err), c.redact(textOf(err))
	switch {
	case strings.Contains(text, "MissingSubscriptionRegistration"):
		return errkind.New(errkind.Invalid, "%s: %s; run: az provider register --namespace Microsoft.EventGrid", doing, text)
	case strings.Contains(strings.ToLower(text), "validation handshake") || strings.Contains(text, "URL validation"):
		return errkind.New(errkind.Invalid, "%s: %s; the webhook must be up, reachable from the internet, and take the token that is installed", doing, text)
	case kind == errkind.PermissionDenied:
		return errkind.New(kind, "%s: %s; the credentials need %s", doing, text, permission)
	}
	return errkind.New(kind, "%s: %s", doing, text)
}

// textOf is what Azure says: its code and message instead of a page of headers.
func textOf(err error) string {
	e, ok := errors.AsType[*azcore.ResponseError](err)
	if !ok || e.RawResponse == nil {
		return err.Error()
	}
	var body struct {
		Error struct {
			Code    string `json:"code"`
			Message string `json:"message"`
		} `json:"error"`
	}
	if payload, err := runtime.Payload(e.RawResponse); err == nil && json.Unmarshal(payload, &body) == nil && body.Error.Message != "" {
		return body.Error.Code + ": " + body.Error.Message
	}
	return http.StatusText(e.StatusCode) + " " + e.ErrorCode
}

// redact takes the secrets out of a text.
func (c *Container) redact(s string) string {
	for _, t := range c.cfg.Tokens {
		for _, form := range []string{url.QueryEscape(t), url.PathEscape(t), t} {
			s = strings.ReplaceAll(s, form, "***")
		}
	}
	return s
}

// noCredential is what the SDK's errors are that say there is no token, and that trying again is useless.
type noCredential interface {
	error
	NonRetriable()
}

func kindOf(err error) errkind.Kind {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return errkind.Of(err)
	}
	if kind := errkind.Of(err); kind != errkind.Unknown {
		return kind
	}
	e, ok := errors.AsType[*azcore.ResponseError](err)
	if !ok {
		if errors.As(err, new(noCredential)) {
			return errkind.Unauthenticated
		}
		return errkind.Unavailable
	}
	switch st := e.StatusCode; {
	case st == http.StatusNotFound:
		return errkind.NotFound
	case st == http.StatusUnauthorized:
		return errkind.Unauthenticated
	case st == http.StatusForbidden:
		return errkind.PermissionDenied
	case st == http.StatusConflict:
		return errkind.Conflict
	case st == http.StatusTooManyRequests:
		return errkind.Throttled
	case st >= 300 && st < 500:
		return errkind.Invalid
	case st == http.StatusOK: // an operation that failed: Azure answers 200 and says so
		return errkind.Invalid
	}
	return errkind.Unavailable
}
