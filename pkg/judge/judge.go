// Package judge asks a webhook who wins a conflict (policy webhook). The question is a CloudEvent of type conflict.pending,
// posted to the URL of the rule, and to no other: redirects are not followed. The answer is a verdict:
//
//	200 {"conflict": "<id>", "winner": "<version id>", "reason": "for the record"}
//	202 or 204: not decided yet; the question comes again
//
// Both are signed with the secret of the rule, in the header Bucketmesh-Signature: t=<unix seconds>,v1=<hex>, where hex is the
// HMAC-SHA256 of "<unix seconds>.<body>". A verdict with a wrong signature, one that is more than five minutes old, or one of another
// conflict is none.
//
// Errors: Unavailable (no answer, 5xx), Throttled (429), Unauthenticated (a signature that is wrong or missing), Invalid (any
// other answer). They decide nothing: the question comes again until the deadline. Secrets and bodies are in no error.
//
// Concurrency: a Judge may be used from many goroutines.
package judge

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode"

	"github.com/bucketmesh/bucketmesh/pkg/config"
	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/event"
	"github.com/bucketmesh/bucketmesh/pkg/version"
)

// DefaultTimeout of one question, answer included.
const DefaultTimeout = 10 * time.Second

const maxVerdict = 64 << 10 // bytes of an answer that are read

// Config of a Judge.
type Config struct {
	LookupEnv func(string) (string, bool) // holds the secrets; required
	Client    *http.Client                // one of its own, without redirects
	Timeout   time.Duration               // DefaultTimeout
	Now       func() time.Time            // time.Now
	Logger    *slog.Logger                // told of questions that were not answered; discarded if nil
}

// Judge asks webhooks.
type Judge struct{ cfg Config }

// New makes a Judge. It asks nobody yet.
func New(cfg Config) *Judge {
	if cfg.Timeout <= 0 {
		cfg.Timeout = DefaultTimeout
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Client == nil {
		cfg.Client = &http.Client{
			Transport: &http.Transport{
				Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true, IdleConnTimeout: time.Minute, TLSHandshakeTimeout: cfg.Timeout,
				DialContext: (&net.Dialer{Timeout: cfg.Timeout}).DialContext,
			},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
	}
	return &Judge{cfg: cfg}
}

// verdict is the answer of a webhook.
type verdict struct {
	Conflict string `json:"conflict"`
	Winner   string `json:"winner"`
	Reason   string `json:"reason"`
}

// Ask implements reconcile.Judge. The conflict waits whatever comes of it, so an operator is told here that a webhook fails.
func (j *Judge) Ask(ctx context.Context, rule config.ConflictRule, q event.Conflict) (version.ID, string, error) {
	winner, reason, err := j.ask(ctx, rule, q)
	if err != nil {
		j.cfg.Logger.WarnContext(ctx, "webhook gave no verdict; it is asked again until the deadline", "conflict", q.ID, "key", q.Key, "deadline", q.Deadline, "error", err)
	}
	return winner, reason, err
}

func (j *Judge) ask(ctx context.Context, rule config.ConflictRule, q event.Conflict) (version.ID, string, error) {
	secret, ok := j.cfg.LookupEnv(rule.SecretVariable())
	if !ok || secret == "" {
		return "", "", errkind.New(errkind.Unauthenticated, "ask webhook: %s is not set", rule.SecretVariable())
	}
	e, err := event.NewConflict(event.ConflictPending, "", q, j.cfg.Now())
	if err != nil {
		return "", "", errkind.New(errkind.Invalid, "ask webhook: %w", err)
	}
	body, err := event.Encode(e)
	if err != nil {
		return "", "", errkind.New(errkind.Invalid, "ask webhook: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, j.cfg.Timeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, rule.URL, bytes.NewReader(body))
	if err != nil {
		return "", "", errkind.New(errkind.Invalid, "ask webhook: the URL of the rule is none")
	}
	r.Header.Set("Content-Type", "application/cloudevents+json; charset=UTF-8")
	r.Header.Set(SignatureHeader, Sign(secret, j.cfg.Now(), body))
	a, err := j.cfg.Client.Do(r)
	if err != nil {
		return "", "", errkind.New(errkind.Unavailable, "ask webhook: %w", withoutURL(err))
	}
	defer func() { _ = a.Body.Close() }()
	answer, err := io.ReadAll(io.LimitReader(a.Body, maxVerdict+1))
	if err != nil {
		return "", "", errkind.New(errkind.Unavailable, "read verdict: %w", err)
	}
	switch {
	case a.StatusCode == http.StatusAccepted || a.StatusCode == http.StatusNoContent:
		return "", "", nil
	case a.StatusCode == http.StatusTooManyRequests:
		return "", "", errkind.New(errkind.Throttled, "ask webhook: it answered %d", a.StatusCode)
	case a.StatusCode >= http.StatusInternalServerError:
		return "", "", errkind.New(errkind.Unavailable, "ask webhook: it answered %d", a.StatusCode)
	case a.StatusCode != http.StatusOK:
		return "", "", errkind.New(errkind.Invalid, "ask webhook: it answered %d; a verdict has status 200, and 202 says that there is none yet", a.StatusCode)
	case len(answer) > maxVerdict:
		return "", "", errkind.New(errkind.Invalid, "read verdict: it has more than %d bytes", maxVerdict)
	}
	if err := Verify(secret, j.cfg.Now(), a.Header.Get(SignatureHeader), answer); err != nil {
		return "", "", err
	}
	return j.read(answer, q)
}

// read is a verdict that was signed.
func (j *Judge) read(answer []byte, q event.Conflict) (version.ID, string, error) {
	var v verdict
	if err := json.Unmarshal(answer, &v); err != nil {
		return "", "", errkind.New(errkind.Invalid, "read verdict: it is no JSON of the form {\"conflict\": ..., \"winner\": ...}")
	}
	if v.Conflict != q.ID {
		return "", "", errkind.New(errkind.Invalid, "read verdict: it is about the conflict %.64q, asked was about %s", v.Conflict, q.ID)
	}
	if v.Winner == "" {
		return "", "", errkind.New(errkind.Invalid, "read verdict: it names no winner; answer 202 if there is none yet")
	}
	reason := "the webhook decided"
	if v.Reason != "" {
		reason += ": " + shorten(v.Reason)
	}
	return version.ID(v.Winner), reason, nil
}

const maxReason = 1000 // characters of a reason that are recorded

// shorten makes a reason fit for the record, in one line: a NUL is nothing that every database can hold.
func shorten(s string) string {
	r := []rune(strings.Map(func(c rune) rune {
		if unicode.IsControl(c) {
			return ' '
		}
		return c
	}, s))
	if len(r) <= maxReason {
		return string(r)
	}
	return string(r[:maxReason]) + "..."
}

// withoutURL keeps what a URL may hold out of errors.
func withoutURL(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}
