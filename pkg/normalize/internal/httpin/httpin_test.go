package httpin_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	cloudevents "github.com/cloudevents/sdk-go/v2/event"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/normalize"
	"github.com/bucketmesh/bucketmesh/pkg/normalize/internal/httpin"
	"github.com/bucketmesh/bucketmesh/pkg/normalize/internal/refuse"
)

// What the handlers of the providers show of this package is tested there: limits, deadlines, deliveries, metrics.

type nowhere struct{}

func (nowhere) Publish(context.Context, []cloudevents.Event) error  { return nil }
func (nowhere) Store(context.Context, []byte, string, string) error { return nil }

func admit(known bool, err error) func(context.Context, *http.Request) (bool, error) {
	return func(context.Context, *http.Request) (bool, error) { return known, err }
}

func handler(t *testing.T, routes ...httpin.Route) http.Handler {
	t.Helper()
	h, err := httpin.New(httpin.Config{
		Prefix: "/x/", Routes: routes, Sink: nowhere{}, DeadLetters: nowhere{}, Now: time.Now, MaxBody: 100, MaxStrangerBody: 10,
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func do(h http.Handler, method, path string, body io.Reader) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(method, path, body))
	return w
}

func read(_ context.Context, in *httpin.Incoming) (normalize.Message, error) {
	if string(in.Body) == "hello" {
		in.Reply = &httpin.Reply{ContentType: "text/plain", Body: []byte("welcome")}
	}
	return normalize.Message{}, nil
}

func TestErrorsOfARouteAreAnsweredForGoodOnlyIfTheSenderIsNotWhoItMustBe(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		want int
	}{
		"unauthenticated":   {refuse.Nobody(), 401},
		"permission denied": {errkind.New(errkind.PermissionDenied, "x"), 403},
		"unavailable":       {errkind.New(errkind.Unavailable, "x"), 503},
		"invalid":           {errkind.New(errkind.Invalid, "x"), 503},
		"not found":         {errkind.New(errkind.NotFound, "x"), 503},
		"unknown":           {errors.New("x"), 503},
		"canceled":          {context.Canceled, 503},
		"throttled broker":  {errkind.After(7*time.Second, errkind.New(errkind.Throttled, "x")), 503},
	} {
		fails := func(context.Context, *httpin.Incoming) (normalize.Message, error) { return normalize.Message{}, c.err }
		options := func(context.Context, *http.Request, http.Header) error { return c.err }
		h := handler(t, httpin.Route{Name: "head", Admit: admit(false, c.err), Read: read},
			httpin.Route{Name: "body", Admit: admit(true, nil), Read: fails, Options: options})
		for _, r := range [][2]string{{"POST", "/x/head"}, {"POST", "/x/body"}, {"OPTIONS", "/x/body"}} {
			w := do(h, r[0], r[1], strings.NewReader("{}"))
			if w.Code != c.want || w.Body.Len() > 0 {
				t.Errorf("%s: %s: %d %s", name, r, w.Code, w.Body)
			}
			if after := w.Header().Get("Retry-After"); (w.Code == 503) != (after != "") || name == "throttled broker" && after != "7" {
				t.Errorf("%s: %s: %d, Retry-After %q", name, r, w.Code, after)
			}
		}
	}
}

func TestRepliesAndOptions(t *testing.T) {
	h := handler(t, httpin.Route{Name: "a", Admit: admit(true, nil), Read: read, Options: func(_ context.Context, _ *http.Request, answer http.Header) error {
		answer.Set("X-Allowed", "yes")
		return nil
	}}, httpin.Route{Name: "b", Admit: admit(true, nil), Read: read})
	if w := do(h, http.MethodPost, "/x/a", strings.NewReader("hello")); w.Code != 200 || w.Body.String() != "welcome" || w.Header().Get("Content-Type") != "text/plain" {
		t.Error(w.Code, w.Body)
	}
	if w := do(h, http.MethodPost, "/x/a", strings.NewReader("{}")); w.Code != 200 || w.Body.Len() > 0 {
		t.Error(w.Code, w.Body)
	}
	if w := do(h, http.MethodOptions, "/x/a", nil); w.Code != 200 || w.Header().Get("X-Allowed") != "yes" {
		t.Error(w.Code, w.Header())
	}
	for path, allow := range map[string]string{"/x/a": "POST, OPTIONS", "/x/b": "POST"} {
		if w := do(h, http.MethodGet, path, nil); w.Code != 405 || w.Header().Get("Allow") != allow {
			t.Error(path, w.Code, w.Header())
		}
	}
	if w := do(h, http.MethodOptions, "/x/b", nil); w.Code != 405 {
		t.Error(w.Code)
	}
}

func TestStrangersMaySendLess(t *testing.T) {
	for known, want := range map[bool]int{true: 200, false: 413} {
		h := handler(t, httpin.Route{Name: "a", Admit: admit(known, nil), Read: read})
		if w := do(h, http.MethodPost, "/x/a", strings.NewReader(strings.Repeat(" ", 50))); w.Code != want {
			t.Error(known, w.Code)
		}
	}
}

func TestConfigurationsThatCannotWork(t *testing.T) {
	good := httpin.Config{Prefix: "/x/", Sink: nowhere{}, DeadLetters: nowhere{}, Now: time.Now}
	for name, change := range map[string]func(*httpin.Config){
		"no sink":        func(c *httpin.Config) { c.Sink = nil },
		"no dead letter": func(c *httpin.Config) { c.DeadLetters = nil },
		"no clock":       func(c *httpin.Config) { c.Now = nil },
		"one name twice": func(c *httpin.Config) { c.Routes = []httpin.Route{{Name: "a"}, {Name: "a"}} },
	} {
		c := good
		change(&c)
		if _, err := httpin.New(c); !errkind.Is(err, errkind.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := httpin.CheckTokens("a", []string{"x", "\t"}); !errkind.Is(err, errkind.Invalid) {
		t.Error(err)
	}
}

func TestReasons(t *testing.T) {
	if got := refuse.Of(errors.Join(errors.New("x"), refuse.Nobody())); got != refuse.NoToken {
		t.Error(got)
	}
	if got := refuse.Of(errors.New("x")); got != refuse.Other {
		t.Error(got)
	}
}

// Trap: refusals quote what a stranger wrote, such as the topic of a message of half a megabyte.
func TestTrapStrangersDoNotFillTheLog(t *testing.T) {
	var log strings.Builder
	fails := refuse.New(errkind.PermissionDenied, refuse.Other, "topic %q is not allowed", strings.Repeat("\ue000", 100_000))
	h, err := httpin.New(httpin.Config{
		Prefix: "/x/", Routes: []httpin.Route{{Name: "a", Admit: admit(false, fails), Read: read}}, Sink: nowhere{}, DeadLetters: nowhere{},
		Now: time.Now, Logger: slog.New(slog.NewJSONHandler(&log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	do(h, http.MethodPost, "/x/a", http.NoBody)
	do(h, strings.Repeat("M", 1<<20), "/x/a", http.NoBody)
	if n := log.Len(); n == 0 || n > 8<<10 || !strings.Contains(log.String(), "topic") {
		t.Errorf("%d bytes: %.300s", n, log.String())
	}
}
