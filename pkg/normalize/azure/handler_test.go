package azure_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	cloudevents "github.com/cloudevents/sdk-go/v2/event"
	"github.com/go-jose/go-jose/v4"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/event"
	"github.com/bucketmesh/bucketmesh/pkg/normalize/azure"
	"github.com/bucketmesh/bucketmesh/pkg/normalize/oidc/oidctest"
)

// world is a broker and a dead-letter store in memory, and the logs.
type world struct {
	mu      sync.Mutex
	events  []cloudevents.Event
	dead    []string
	fail    func(i int) error // of the broker, per event
	deadErr error
	logs    bytes.Buffer
	reader  *sdkmetric.ManualReader
}

func (w *world) Publish(ctx context.Context, events []cloudevents.Event) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, e := range events {
		if w.fail != nil {
			if err := w.fail(i); err != nil {
				return err
			}
		}
		w.events = append(w.events, e)
	}
	return ctx.Err()
}

func (w *world) Store(_ context.Context, raw []byte, contentType, reason string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.deadErr == nil {
		w.dead = append(w.dead, contentType+"|"+reason+"|"+string(raw))
	}
	return w.deadErr
}

func (w *world) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.logs.Write(p)
}

// refused are the counts of refusals of the store eu, by status and reason.
func (w *world) refused(t testing.TB) map[string]int64 {
	t.Helper()
	var got metricdata.ResourceMetrics
	if err := w.reader.Collect(context.Background(), &got); err != nil {
		t.Fatal(err)
	}
	counts := map[string]int64{}
	for _, scope := range got.ScopeMetrics {
		for _, m := range scope.Metrics {
			sum, ok := m.Data.(metricdata.Sum[int64])
			if !ok || m.Name != "bucketmesh.normalizer.refused" {
				continue
			}
			for _, p := range sum.DataPoints {
				status, _ := p.Attributes.Value("status")
				reason, _ := p.Attributes.Value("reason")
				counts[fmt.Sprintf("%d %s", status.AsInt64(), reason.AsString())] += p.Value
			}
		}
	}
	return counts
}

const secret = "s3cret-of-media"

// newHandler makes a handler whose stores take the secret, and Event Grid's tokens if there is an issuer.
func newHandler(t testing.TB, e *oidctest.Issuer, change ...func(*azure.HandlerConfig)) (*azure.Handler, *world) {
	t.Helper()
	w := &world{reader: sdkmetric.NewManualReader()}
	c := azure.HandlerConfig{
		Stores: stores(), Sink: w, DeadLetters: w, Now: func() time.Time { return now },
		Meter:  sdkmetric.NewMeterProvider(sdkmetric.WithReader(w.reader)).Meter("test"),
		Logger: slog.New(slog.NewJSONHandler(w, nil)),
	}
	for i := range c.Stores {
		c.Stores[i].Auth.Tokens = []string{"old-secret", secret}
	}
	if e != nil {
		c.Stores[0].Auth.Apps, c.Verifier = []string{"another", azure.EventGridApp}, verifier(t, e)
	}
	for _, f := range change {
		f(&c)
	}
	h, err := azure.NewHandler(c)
	if err != nil {
		t.Fatal(err)
	}
	return h, w
}

// post sends a body with headers (name, value, ...).
func post(t testing.TB, h http.Handler, path string, body []byte, headers ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(http.MethodPost, path, bytes.NewReader(body))
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code != http.StatusOK && w.Body.Len() != 0 {
		t.Errorf("a refusal has a body: %q", w.Body)
	}
	return w
}

const known = "/azure/eu?token=" + secret

func TestNotificationsInEverySchemaAndContentType(t *testing.T) {
	h, w := newHandler(t, nil)
	n := 0
	for shape, body := range shapes(created("a b")) {
		for _, contentType := range []string{
			"application/json", "application/json; charset=utf-8", "application/cloudevents+json; charset=utf-8",
			"application/cloudevents-batch+json; charset=utf-8", "",
		} {
			if got := post(t, h, known, body, "Content-Type", contentType, "Aeg-Event-Type", "Notification"); got.Code != 200 || got.Body.Len() != 0 {
				t.Errorf("%s as %s: %d %q", shape, contentType, got.Code, got.Body)
			}
			n++
		}
	}
	if len(w.events) != n || len(w.dead) != 0 {
		t.Fatal(len(w.events), w.dead)
	}
	for _, e := range w.events {
		if e.ID() != w.events[0].ID() {
			t.Error("one event has several ids")
		}
	}
	e := w.events[0]
	if e.Source() != "https://media.blob.core.windows.net/c" || e.Subject() != "a%20b" || e.Type() != event.ObjectWritten ||
		e.Extensions()[event.ExtRecordedTime] != "2026-11-20T18:00:00Z" || e.Extensions()[event.ExtProvider] != "azure" {
		t.Errorf("%v", e)
	}
}

func TestTrapEventGridHandshakeIsAnsweredWith200AndTheCodeToKnownSendersOnly(t *testing.T) {
	h, w := newHandler(t, oidctest.New(t))
	body := sample(t, "azure-eg-validation.json")
	const want = `{"validationResponse":"512d38b6-c7b8-40c8-89fe-f46f9e9622b6"}`
	for _, kind := range []string{"SubscriptionValidation", ""} { // a missing header is sniffed
		got := post(t, h, known, body, "Aeg-Event-Type", kind)
		if got.Code != 200 || got.Body.String() != want || got.Header().Get("Content-Type") != "application/json" {
			t.Errorf("%q: %d %q", kind, got.Code, got.Body)
		}
	}
	for _, path := range []string{"/azure/eu", "/azure/eu?token=x", "/azure/eu?token=", "/azure/eu2"} {
		if got := post(t, h, path, body, "Aeg-Event-Type", "SubscriptionValidation"); got.Code != 401 || got.Body.Len() != 0 {
			t.Errorf("%s: %d %q", path, got.Code, got.Body)
		}
	}
	if got := post(t, h, known, body, "Aeg-Event-Type", "Notification"); got.Code != 200 || got.Body.Len() != 0 {
		t.Errorf("a validation that is none: %d %q", got.Code, got.Body)
	}
	two := append(append([]byte("["), bytes.Trim(body, "[]\n")...), []byte(","+strings.Trim(string(body), "[]\n")+"]")...)
	if got := post(t, h, known, two, "Aeg-Event-Type", "SubscriptionValidation"); got.Code != 200 || got.Body.Len() != 0 {
		t.Errorf("two validations: %d %q", got.Code, got.Body)
	}
	end := bytes.Replace(body, []byte("SubscriptionValidationEvent"), []byte("SubscriptionDeletedEvent"), 1)
	if got := post(t, h, known, end, "Aeg-Event-Type", "SubscriptionDeletion"); got.Code != 200 || got.Body.Len() != 0 {
		t.Errorf("the end of a subscription: %d %q", got.Code, got.Body)
	}
	if len(w.events)+len(w.dead) != 0 {
		t.Error("a handshake was forwarded:", w.events, w.dead)
	}
	if logs := w.logs.String(); strings.Contains(logs, secret) || strings.Contains(logs, "1A1A1A1A") || strings.Contains(logs, "512d38b6") {
		t.Errorf("a secret is in the logs: %s", logs)
	}
}

func TestTrapHandshakesCallNobody(t *testing.T) {
	var called atomic.Int32
	caller := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { called.Add(1) }))
	defer caller.Close()
	h, w := newHandler(t, nil)
	r := httptest.NewRequest(http.MethodOptions, "/azure/eu", nil)
	r.Header.Set("WebHook-Request-Origin", "eventgrid.azure.net")
	r.Header.Set("WebHook-Request-Callback", caller.URL+"/callback")
	r.Header.Set("WebHook-Request-Rate", "120")
	answer := httptest.NewRecorder()
	h.ServeHTTP(answer, r)
	if answer.Code != 200 || answer.Header().Get("WebHook-Allowed-Origin") != "eventgrid.azure.net" ||
		answer.Header().Get("WebHook-Allowed-Rate") != "120" || answer.Body.Len() != 0 {
		t.Error(answer.Code, answer.Header(), answer.Body)
	}
	body := bytes.Replace(sample(t, "azure-eg-validation.json"), []byte("https://rp-eastus2.eventgrid.azure.net:553"), []byte(caller.URL), 1)
	if got := post(t, h, known, body, "Aeg-Event-Type", "SubscriptionValidation", "WebHook-Request-Callback", caller.URL); got.Code != 200 {
		t.Error(got.Code)
	}
	caller.Close() // waits for requests under way
	if n := called.Load(); n != 0 || len(w.events)+len(w.dead) != 0 {
		t.Errorf("%d calls, events %v, dead letters %v", n, w.events, w.dead)
	}
}

func TestTrapOriginsAreComparedByteByByte(t *testing.T) {
	options := func(h http.Handler, origin, rate string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodOptions, "/azure/eu", nil)
		if origin != "" {
			r.Header.Set("WebHook-Request-Origin", origin)
		}
		if rate != "" {
			r.Header.Set("WebHook-Request-Rate", rate)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w
	}
	h, w := newHandler(t, nil)
	bad := []string{
		"", "*", "eventgrid.azure.net.evil.example", "evil-eventgrid.azure.net", "EventGrid.azure.net", "eventgrid.azure.net.", "azure.net",
		"eventgrid.azure.ne", "eventgrid.azure.net:443", "https://eventgrid.azure.net", "eventgrid.azure.net, evil.example", "eventgrid.azure.us",
	}
	for _, origin := range bad {
		got := options(h, origin, "120")
		if got.Code != 403 || len(got.Header().Values("WebHook-Allowed-Origin"))+len(got.Header().Values("WebHook-Allowed-Rate")) != 0 {
			t.Errorf("%q: %d %v", origin, got.Code, got.Header())
		}
	}
	if n := w.refused(t)["403 origin"]; n != int64(len(bad)) {
		t.Errorf("%d refusals are counted of %d", n, len(bad))
	}
	for rate, want := range map[string]string{"": "", "120": "120", "*": "*", "lots": "*", "-1": "*", "1\t2": "*"} {
		if got := options(h, "eventgrid.azure.net", rate); got.Code != 200 || got.Header().Get("WebHook-Allowed-Rate") != want {
			t.Errorf("rate %q: %d %v", rate, got.Code, got.Header())
		}
	}
	h, _ = newHandler(t, nil, func(c *azure.HandlerConfig) { c.Origins = []string{"eventgrid.azure.us"} })
	if options(h, "eventgrid.azure.us", "").Code != 200 || options(h, "eventgrid.azure.net", "").Code != 403 {
		t.Error("the default origin stays allowed")
	}
}

func TestSecretsInAllTheirPlacesAndRotation(t *testing.T) {
	h, w := newHandler(t, nil)
	for name, c := range map[string]struct {
		path, header, value string
		want                int
	}{
		"token":          {known, "", "", 200},
		"code":           {"/azure/eu?code=" + secret, "", "", 200},
		"the old one":    {"/azure/eu?code=old-secret", "", "", 200},
		"a header":       {"/azure/eu", "X-Api-Key", secret, 200},
		"bearer":         {"/azure/eu", "Authorization", "Bearer " + secret, 200},
		"nothing":        {"/azure/eu", "", "", 401},
		"empty":          {"/azure/eu?token=&code=", "", "", 401},
		"a prefix":       {"/azure/eu?token=" + secret[:5], "", "", 401},
		"longer":         {"/azure/eu?token=" + secret + "x", "", "", 401},
		"another name":   {"/azure/eu?key=" + secret, "", "", 401},
		"a wrong header": {"/azure/eu", "Authorization", "Bearer x", 401},
	} {
		var headers []string
		if c.header != "" {
			headers = []string{c.header, c.value}
		}
		if got := post(t, h, c.path, grid(created("k")), headers...); got.Code != c.want {
			t.Errorf("%s: %d", name, got.Code)
		}
	}
	if strings.Contains(w.logs.String(), secret) {
		t.Errorf("a secret is in the logs: %s", &w.logs)
	}
}

func TestTrapBearerTokens(t *testing.T) {
	e, other := oidctest.New(t), oidctest.New(t)
	h, w := newHandler(t, e)
	unsigned := "Bearer " + base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","kid":"one"}`)) + "." +
		base64.RawURLEncoding.EncodeToString(marshal(claims(nil))) + "."
	public := x509.MarshalPKCS1PublicKey(&e.Key(oidctest.KeyID).PublicKey)
	with := func(change map[string]any) string { return bearer(t, e, change) }
	for name, c := range map[string]struct {
		token  string
		status int
		reason string // "" is let in
	}{
		"version 1":            {with(nil), 200, ""},
		"version 2":            {with(map[string]any{"iss": "https://login.microsoftonline.com/" + tenant + "/v2.0", "appid": nil, "azp": azure.EventGridApp}), 200, ""},
		"wrong audience":       {with(map[string]any{"aud": "api://somebody-else"}), 401, "token audience"},
		"no audience":          {with(map[string]any{"aud": nil}), 401, "token audience"},
		"another tenant":       {with(map[string]any{"iss": "https://sts.windows.net/11111111-0000-4000-8000-2d7cd011db47/"}), 401, "token issuer"},
		"look-alike issuer":    {with(map[string]any{"iss": "https://sts.windows.net.evil.example/" + tenant + "/"}), 401, "token issuer"},
		"issuer without slash": {with(map[string]any{"iss": "https://sts.windows.net/" + tenant}), 401, "token issuer"},
		"expired":              {with(map[string]any{"exp": now.Add(-10 * time.Minute).Unix()}), 401, "token expired"},
		"not yet":              {with(map[string]any{"nbf": now.Add(10 * time.Minute).Unix()}), 401, "token not yet valid"},
		"never expires":        {with(map[string]any{"exp": nil}), 401, "malformed token"},
		"replayed days later":  {with(map[string]any{"iat": now.Add(-72 * time.Hour).Unix(), "exp": now.Add(time.Hour).Unix()}), 401, "token too old"},
		"another application":  {with(map[string]any{"appid": "11111111-2222-4333-8444-555555555555"}), 403, "principal"},
		"no application":       {with(map[string]any{"appid": nil}), 403, "principal"},
		"forged":               {other.Sign(t, oidctest.KeyID, claims(nil)), 401, "token signature"},
		"unknown key":          {oidctest.Sign(t, jose.RS256, other.Key(oidctest.KeyID), "two", claims(nil)), 401, "token key unknown"},
		"HS256 with the key":   {oidctest.Sign(t, jose.HS256, public, oidctest.KeyID, claims(nil)), 401, "token algorithm"},
		"PS256":                {oidctest.Sign(t, jose.PS256, e.Key(oidctest.KeyID), oidctest.KeyID, claims(nil)), 401, "token algorithm"},
		"unsigned":             {unsigned, 401, "token algorithm"},
		"none":                 {"", 401, "no token"},
		"garbage":              {"Bearer a.b.c", 401, "malformed token"},
	} {
		before := w.refused(t)
		events := len(w.events)
		got := post(t, h, "/azure/eu", grid(created("k")), "Authorization", c.token)
		if got.Code != c.status {
			t.Errorf("%s: %d", name, got.Code)
			continue
		}
		if (c.status == 200) != (len(w.events) == events+1) {
			t.Errorf("%s: %d events", name, len(w.events)-events)
		}
		if key := fmt.Sprintf("%d %s", c.status, c.reason); c.reason != "" && w.refused(t)[key] != before[key]+1 {
			t.Errorf("%s: not counted as %q: %v", name, key, w.refused(t))
		}
		if c.token != "" && strings.Contains(w.logs.String(), strings.TrimPrefix(c.token, "Bearer ")) {
			t.Errorf("%s: the token is in the logs", name)
		}
	}
	if got := post(t, h, "/azure/eu?token="+secret, grid(created("k")), "Authorization", "Bearer x"); got.Code != 200 {
		t.Errorf("any one of the ways is enough: %d", got.Code)
	}
	if got := post(t, h, "/azure/eu2", grid(created("k")), "Authorization", bearer(t, e, nil)); got.Code != 401 {
		t.Errorf("a store that takes no tokens: %d", got.Code)
	}
}

func TestTrapKeyServerDownIs503(t *testing.T) {
	e := oidctest.New(t)
	e.AnswerWith(oidctest.Down)
	h, w := newHandler(t, e)
	if got := post(t, h, "/azure/eu", grid(created("k")), "Authorization", bearer(t, e, nil)); got.Code != 503 || len(w.events) != 0 {
		t.Error(got.Code)
	}
	if w.refused(t)["503 keys not available"] != 1 {
		t.Error(w.refused(t))
	}
	e.AnswerWith(nil)
	h, _ = newHandler(t, e)
	if got := post(t, h, "/azure/eu", grid(created("k")), "Authorization", bearer(t, e, nil)); got.Code != 200 {
		t.Error(got.Code)
	}
}

func TestSendersThatShowNothingAreRefusedBeforeTheirMessageIsRead(t *testing.T) {
	h, _ := newHandler(t, oidctest.New(t))
	rec := httptest.NewRecorder()
	if h.ServeHTTP(rec, httptest.NewRequest(http.MethodPost, "/azure/eu", readNever{t})); rec.Code != 401 || rec.Header().Get("WWW-Authenticate") == "" {
		t.Error(rec.Code, rec.Header())
	}
}

type readNever struct{ t *testing.T }

func (r readNever) Read([]byte) (int, error) {
	r.t.Error("the body was read")
	return 0, errors.New("no")
}

func TestTrapBrokerFailuresAreAlways503(t *testing.T) {
	for name, err := range map[string]error{
		"500": errors.New("500"), "503": errkind.New(errkind.Unavailable, "503"), "408": context.DeadlineExceeded,
		"409": errkind.New(errkind.Conflict, "409"), "429": errkind.New(errkind.Throttled, "429"),
		"400": errkind.New(errkind.Invalid, "400"), "401": errkind.New(errkind.Unauthenticated, "401"),
		"403": errkind.New(errkind.PermissionDenied, "403"), "gone": context.Canceled,
	} {
		h, w := newHandler(t, nil)
		w.fail = func(int) error { return err }
		if got := post(t, h, known, grid(created("k"))); got.Code != 503 || w.refused(t)["503 delivery"] != 1 {
			t.Errorf("%s: %d", name, got.Code)
		}
	}
}

func TestTrapBrokerThatNeverAnswersIs503(t *testing.T) {
	h, _ := newHandler(t, nil, func(c *azure.HandlerConfig) { c.Timeout, c.Sink = time.Millisecond, deaf{} })
	if got := post(t, h, known, grid(created("k"))); got.Code != 503 {
		t.Error(got.Code)
	}
	if azure.DefaultTimeout >= 30*time.Second {
		t.Error("Event Grid gives up before we do")
	}
}

// deaf is a broker that does not answer.
type deaf struct{}

func (deaf) Publish(ctx context.Context, _ []cloudevents.Event) error { <-ctx.Done(); return ctx.Err() }

func TestTrapRecordTwoOfThreeFailsAndTheRetryRepeatsRecordOneWithTheSameID(t *testing.T) {
	h, w := newHandler(t, nil)
	body := grid(created("1"), created("2"), created("3"))
	w.fail = func(i int) error {
		if i == 1 {
			return errors.New("down")
		}
		return nil
	}
	if got := post(t, h, known, body); got.Code != 503 || len(w.events) != 1 {
		t.Fatal(got.Code, w.events)
	}
	w.fail = nil
	if got := post(t, h, known, body); got.Code != 200 || len(w.events) != 4 {
		t.Fatal(got.Code, w.events)
	}
	if w.events[0].ID() != w.events[1].ID() {
		t.Error("record 1 came again with another id")
	}
}

func TestPoisonIsAckedAndTheGoodEventsAreDelivered(t *testing.T) {
	h, w := newHandler(t, nil)
	foreign := created("2").with(func(e *ev) { e.topic = strings.Replace(topic, "media", "other", 1) })
	if got := post(t, h, known, grid(created("1"), foreign, created("3"))); got.Code != 200 || len(w.events) != 2 || len(w.dead) != 1 {
		t.Fatal(got.Code, w.events, w.dead)
	}
	for _, junk := range []string{"", "not json", `{"hello":"world"}`} {
		w.dead = nil
		if got := post(t, h, known, []byte(junk)); got.Code != 200 || len(w.dead) != 1 {
			t.Errorf("%q: %d %v", junk, got.Code, w.dead)
		}
	}
	w.deadErr = errors.New("disk full")
	if got := post(t, h, known, []byte("not json")); got.Code != 503 {
		t.Errorf("a dead letter that was not stored: %d", got.Code)
	}
}

func TestLargestBatches(t *testing.T) {
	small := created("k").with(func(e *ev) { e.data = map[string]any{"api": "PutBlob"} })
	batch := make([]ev, azure.MaxEvents)
	for i := range batch {
		batch[i] = small.with(func(e *ev) {
			e.id, e.topic = fmt.Sprint(i), "/providers/Microsoft.Storage/storageAccounts/media"
		})
	}
	body := grid(batch...)
	if len(body) > 2<<20 {
		t.Fatalf("%d bytes", len(body))
	}
	h, w := newHandler(t, nil, func(c *azure.HandlerConfig) { c.MaxBody = 2 << 20 })
	if got := post(t, h, known, body); got.Code != 200 || len(w.events) != azure.MaxEvents {
		t.Errorf("%d, %d events, %v", got.Code, len(w.events), w.dead)
	}
	ids := map[string]bool{}
	for _, e := range w.events {
		ids[e.ID()] = true
	}
	if len(ids) != azure.MaxEvents {
		t.Errorf("%d ids", len(ids))
	}
	h, w = newHandler(t, nil)
	pad := func(n int) []byte { return append(grid(created("k")), bytes.Repeat([]byte(" "), n)...) }
	if got := post(t, h, known, pad(1<<20)); got.Code != 200 || len(w.events) != 1 {
		t.Errorf("1 MiB and an event: %d", got.Code)
	}
	if got := post(t, h, known, pad(azure.DefaultMaxBody)); got.Code != 413 || w.refused(t)["413 too large"] != 1 {
		t.Errorf("too large: %d", got.Code)
	}
}

func TestMethodsAndPaths(t *testing.T) {
	h, _ := newHandler(t, nil)
	for _, method := range []string{http.MethodGet, http.MethodPut, http.MethodDelete} {
		w := httptest.NewRecorder()
		if h.ServeHTTP(w, httptest.NewRequest(method, known, nil)); w.Code != 405 || w.Header().Get("Allow") != "POST, OPTIONS" {
			t.Error(method, w.Code, w.Header())
		}
	}
	for _, path := range []string{"/azure/", "/azure/nobody", "/eu", "/azure/eu/more", "/s3/eu"} {
		if got := post(t, h, path+"?token="+secret, nil); got.Code != 404 {
			t.Error(path, got.Code)
		}
	}
}

func TestSiblingContainersAndOpenStores(t *testing.T) {
	h, w := newHandler(t, nil, func(c *azure.HandlerConfig) { c.Stores[2].Auth = azure.Auth{Open: true} })
	at := func(container string) ev {
		return created("k").with(func(e *ev) { e.subject = "/blobServices/default/containers/" + container + "/blobs/k" })
	}
	if got := post(t, h, "/azure/logs", grid(at("c"), at("d"), at("nobody"))); got.Code != 200 || len(w.events) != 2 || len(w.dead) != 0 {
		t.Error(got.Code, w.events, w.dead)
	}
	if got := post(t, h, "/azure/eu", grid(at("c"))); got.Code != 401 {
		t.Errorf("open is open for one store only: %d", got.Code)
	}
}

func TestHandlerRefusesConfigurationsThatCannotWork(t *testing.T) {
	for name, change := range map[string]func(*azure.HandlerConfig){
		"nobody may send":   func(c *azure.HandlerConfig) { c.Stores[0].Auth = azure.Auth{} },
		"an empty secret":   func(c *azure.HandlerConfig) { c.Stores[0].Auth.Tokens = []string{" "} },
		"an empty app":      func(c *azure.HandlerConfig) { c.Stores[0].Auth.Apps = []string{""} },
		"apps unverified":   func(c *azure.HandlerConfig) { c.Stores[0].Auth.Apps = []string{azure.EventGridApp} },
		"a name taken":      func(c *azure.HandlerConfig) { c.Stores[0].Name = "eu2" },
		"no name":           func(c *azure.HandlerConfig) { c.Stores[0].Name = "" },
		"a name with slash": func(c *azure.HandlerConfig) { c.Stores[0].Name = "a/b" },
		"no container":      func(c *azure.HandlerConfig) { c.Stores[0].Bucket = "" },
		"no account":        func(c *azure.HandlerConfig) { c.Stores[0].Account = "" },
		"every origin":      func(c *azure.HandlerConfig) { c.Origins = []string{"*"} },
		"an empty origin":   func(c *azure.HandlerConfig) { c.Origins = []string{""} },
		"no sink":           func(c *azure.HandlerConfig) { c.Sink = nil },
		"no dead letters":   func(c *azure.HandlerConfig) { c.DeadLetters = nil },
		"no clock":          func(c *azure.HandlerConfig) { c.Now = nil },
	} {
		w := &world{}
		c := azure.HandlerConfig{Stores: stores(), Sink: w, DeadLetters: w, Now: time.Now}
		for i := range c.Stores {
			c.Stores[i].Auth.Tokens = []string{secret}
		}
		change(&c)
		if _, err := azure.NewHandler(c); !errkind.Is(err, errkind.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A message that somebody recorded and sends again within the life of its token can't be told from Event Grid's own repeat.
func TestReplaysAreHarmless(t *testing.T) {
	e := oidctest.New(t)
	h, w := newHandler(t, e)
	for range 3 {
		if got := post(t, h, "/azure/eu", grid(created("k")), "Authorization", bearer(t, e, nil)); got.Code != 200 {
			t.Fatal(got.Code)
		}
	}
	for _, again := range w.events {
		if again.ID() != w.events[0].ID() || !bytes.Equal(again.Data(), w.events[0].Data()) {
			t.Error("a repeated message is another event")
		}
	}
}
