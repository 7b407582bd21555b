package receive_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	cloudevents "github.com/cloudevents/sdk-go/v2/event"

	"github.com/bucketmesh/bucketmesh/pkg/config"
	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/event"
	"github.com/bucketmesh/bucketmesh/pkg/normalize/oidc/oidctest"
	"github.com/bucketmesh/bucketmesh/pkg/receive"
	"github.com/bucketmesh/bucketmesh/pkg/serve/env"
)

func gcsConfig() receive.Config {
	return receive.Config{
		Group: &config.Group{Name: "media", Replicas: []config.Replica{
			{Name: "eu", Provider: "gcs", Bucket: "b"},
			{Name: "pulled", Provider: "gcs", Bucket: "p", Notifications: config.Notifications{Pull: "projects/p/subscriptions/s"}},
			{Name: "us", Provider: "s3", Bucket: "b", Region: "us-east-1", Dialect: "aws"},
		}},
		Sink: nowhere{}, DeadLetters: nowhere{},
	}
}

func TestGCSRefusesWhatCannotWork(t *testing.T) {
	for name, c := range map[string]struct {
		push   receive.Push
		tokens []string
		says   string
	}{
		"nobody may send": {receive.Push{}, nil, "nobody may send"},
		"no audience":     {receive.Push{Accounts: []string{"a@x"}}, []string{secret}, env.PushAudience},
		"no accounts":     {receive.Push{Audience: "a"}, []string{secret}, env.PushAccounts},
		"keys over http":  {receive.Push{Audience: "a", Accounts: []string{"a@x"}, KeysURL: "http://keys.example/"}, nil, "https"},
		"an empty secret": {receive.Push{}, []string{" "}, "empty token"},
	} {
		conf := gcsConfig()
		conf.Push, conf.Tokens = c.push, c.tokens
		if _, err := receive.GCS(conf); !errkind.Is(err, errkind.Invalid) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestGCSTakesItsConfiguration(t *testing.T) {
	google := oidctest.New(t)
	google.Advance(time.Since(google.Now()))
	vars := map[string]string{
		env.PushAudience: oidctest.Audience, env.PushAccounts: "other@x, " + oidctest.Account, env.PushKeys: google.URL,
	}
	conf := gcsConfig()
	conf.Push = receive.PushOf(func(name string) string { return vars[name] })
	h, err := receive.GCS(conf)
	if err != nil {
		t.Fatal(err)
	}
	send := func(path, authorization string) int {
		r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(gcsMessage))
		r.Header.Set("Authorization", authorization)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w.Code
	}
	good := google.With(t, nil)
	for path, want := range map[string]int{
		"/gcs/eu":     200,
		"/gcs/pulled": 404, // out of its queue
		"/gcs/us":     404,
		"/s3/us":      404, // another service's
	} {
		if got := send(path, good); got != want {
			t.Errorf("%s: %d, want %d", path, got, want)
		}
	}
	if got := send("/gcs/eu", "Bearer "+secret); got != 401 {
		t.Errorf("no token: %d", got)
	}
}

func TestPaths(t *testing.T) {
	for provider, want := range map[string]string{"s3": "/s3/a", "gcs": "/gcs/a", "azblob": "/azure/a"} {
		if got := receive.Path(config.Replica{Name: "a", Provider: provider}); got != want {
			t.Errorf("%s: %s", provider, got)
		}
	}
}

// kept are the events that were published.
type kept []cloudevents.Event

func (k *kept) Publish(_ context.Context, events ...cloudevents.Event) error {
	*k = append(*k, events...)
	return nil
}

func TestUnrecognizedNamesItsProvider(t *testing.T) {
	var k kept
	u := receive.Unrecognized{Group: "media", Provider: "gcs", Sink: &k}
	for range 2 {
		if err := u.Store(t.Context(), []byte(`{"a":1}`), "application/json", "because"); err != nil {
			t.Fatal(err)
		}
	}
	if len(k) != 2 || k[0].ID() != k[1].ID() {
		t.Fatal(k)
	}
	o, err := event.ObjectOf(k[0])
	if err == nil || k[0].Type() != event.Unrecognized { // names no bucket: nothing may act on it
		t.Error(o, err)
	}
	if data := string(k[0].Data()); !strings.Contains(data, `"provider":"gcs"`) || !strings.Contains(data, "because") {
		t.Error(data)
	}
}
