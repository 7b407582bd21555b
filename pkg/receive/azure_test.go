package receive_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/config"
	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/normalize/azure"
	"github.com/bucketmesh/bucketmesh/pkg/normalize/oidc/oidctest"
	"github.com/bucketmesh/bucketmesh/pkg/receive"
	"github.com/bucketmesh/bucketmesh/pkg/serve/env"
)

func azureConfig() receive.Config {
	return receive.Config{
		Group: &config.Group{Name: "media", Replicas: []config.Replica{
			{Name: "asia", Provider: "azblob", Account: "media", Bucket: "b"},
			{Name: "pulled", Provider: "azblob", Account: "media", Bucket: "p",
				Notifications: config.Notifications{Pull: "https://media.queue.core.windows.net/q"}},
		}},
		Sink: nowhere{}, DeadLetters: nowhere{},
	}
}

func TestAzureRefusesWhatCannotWork(t *testing.T) {
	for name, c := range map[string]struct {
		entra   receive.Entra
		tokens  []string
		origins []string
		says    string
	}{
		"nobody may send":    {receive.Entra{}, nil, nil, "nobody may send"},
		"no audience":        {receive.Entra{Tenant: entraTenant}, []string{secret}, nil, env.EntraAudience},
		"no tenant":          {receive.Entra{Audience: entraAudience}, []string{secret}, nil, env.EntraTenant},
		"apps only":          {receive.Entra{Apps: []string{"x"}}, []string{secret}, nil, env.EntraTenant},
		"a domain":           {receive.Entra{Tenant: "contoso.onmicrosoft.com", Audience: entraAudience}, nil, nil, env.EntraTenant},
		"every tenant":       {receive.Entra{Tenant: "common", Audience: entraAudience}, nil, nil, env.EntraTenant},
		"keys over http":     {receive.Entra{Tenant: entraTenant, Audience: entraAudience, KeysURL: "http://keys.example/"}, nil, nil, "https"},
		"all origins":        {receive.Entra{}, []string{secret}, []string{"*"}, "origins"},
		"a secret of spaces": {receive.Entra{}, []string{" "}, nil, "empty token"},
	} {
		conf := azureConfig()
		conf.Entra, conf.Tokens, conf.Origins = c.entra, c.tokens, c.origins
		if _, err := receive.Azure(conf); !errkind.Is(err, errkind.Invalid) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAzureTakesItsConfiguration(t *testing.T) {
	entra := oidctest.New(t)
	entra.Advance(time.Since(entra.Now()))
	c := clouds{}
	vars := map[string]string{
		env.EntraTenant: strings.ToUpper(entraTenant), env.EntraAudience: entraAudience, env.EntraKeys: entra.URL,
		env.EntraApps: "11111111-2222-4333-8444-555555555555, 99999999-2222-4333-8444-555555555555",
	}
	conf := azureConfig()
	conf.Entra, conf.Origins = receive.EntraOf(func(name string) string { return vars[name] }), []string{"eventgrid.azure.us"}
	h, err := receive.Azure(conf)
	if err != nil {
		t.Fatal(err)
	}
	c.handler = h
	for name, s := range map[string]struct {
		path, app, origin string
		want              int
	}{
		"an application":         {"/azure/asia", "11111111-2222-4333-8444-555555555555", "", 200},
		"another":                {"/azure/asia", "99999999-2222-4333-8444-555555555555", "", 200},
		"Event Grid, not listed": {"/azure/asia", "4962773b-9cdb-44cf-a8bf-237846a00ab7", "", 403},
		"a replica with a queue": {"/azure/pulled", "11111111-2222-4333-8444-555555555555", "", 404},
		"an origin":              {"/azure/asia", "", "eventgrid.azure.us", 200},
		"the default origin":     {"/azure/asia", "", "eventgrid.azure.net", 403},
	} {
		var got int
		if s.origin != "" {
			got = c.send(http.MethodOptions, s.path, "", "WebHook-Request-Origin", s.origin)
		} else {
			got = c.send(http.MethodPost, s.path, azureMessage, "Authorization", c.eventGrid(t, entra, map[string]any{"appid": s.app}))
		}
		if got != s.want {
			t.Errorf("%s: %d", name, got)
		}
	}
}

// A subscription in Event Grid's own schema begins with a question, whose answer is the first that it takes from us.
func TestAzureHandshakeThroughAllOfTheHandler(t *testing.T) {
	conf := azureConfig()
	conf.Tokens = []string{secret}
	h, err := receive.All(conf)
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	path := receive.Path(conf.Group.Replicas[0]) + "?code=" + secret
	h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, path, strings.NewReader(azureValidation)))
	if w.Code != http.StatusOK || w.Body.String() != `{"validationResponse":"code"}` {
		t.Errorf("%d %q", w.Code, w.Body)
	}
}

// Trap: what Event Grid is told is too large never comes again, so nothing around the handler may bound it more tightly.
func TestTrapTheLargestBatchOfEventGridIsTaken(t *testing.T) {
	for size, want := range map[int]int{1<<20 + 1: http.StatusOK, azure.DefaultMaxBody: http.StatusOK, azure.DefaultMaxBody + 1: http.StatusRequestEntityTooLarge} {
		conf, got := azureConfig(), &taken{}
		conf.Sink, conf.DeadLetters, conf.Tokens = got, got, []string{secret}
		for what, makes := range map[string]func(receive.Config) (http.Handler, error){"azure": receive.Azure, "all": receive.All} {
			h, err := makes(conf)
			if err != nil {
				t.Fatal(err)
			}
			w := httptest.NewRecorder()
			body := azureMessage + strings.Repeat(" ", size-len(azureMessage))
			h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/azure/asia?token="+secret, strings.NewReader(body)))
			if n := len(got.take()); w.Code != want || (n == 1) != (want == http.StatusOK) {
				t.Errorf("%s: %d bytes: %d, %d events", what, size, w.Code, n)
			}
		}
	}
}

// Trap: Entra's tokens of a day begin five minutes earlier, its long ones have up to 28 hours, and a 401 is the end of an event.
func TestTrapEntrasLongestTokensAreGoodUntilTheyExpire(t *testing.T) {
	entra := oidctest.New(t)
	entra.Advance(time.Since(entra.Now()))
	conf := azureConfig()
	conf.Entra = receive.Entra{Tenant: entraTenant, Audience: entraAudience, KeysURL: entra.URL}
	h, err := receive.Azure(conf)
	if err != nil {
		t.Fatal(err)
	}
	c := clouds{handler: h}
	for age, want := range map[time.Duration]int{24*time.Hour + 4*time.Minute: 200, 28*time.Hour - time.Minute: 200, 29 * time.Hour: 401} {
		issued := time.Now().Add(-age)
		token := c.eventGrid(t, entra, map[string]any{
			"iat": issued.Unix(), "nbf": issued.Unix(), "exp": time.Now().Add(time.Minute).Unix(),
		})
		if got := c.send(http.MethodPost, "/azure/asia", azureMessage, "Authorization", token); got != want {
			t.Errorf("a token of %s: %d", age, got)
		}
	}
}
