package gcs_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/binding"
	cloudevents "github.com/cloudevents/sdk-go/v2/event"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/bucketmesh/bucketmesh/pkg/config"
	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/event"
	"github.com/bucketmesh/bucketmesh/pkg/normalize/gcs"
	"github.com/bucketmesh/bucketmesh/pkg/normalize/oidc"
	"github.com/bucketmesh/bucketmesh/pkg/normalize/oidc/oidctest"
)

// world is a broker and a dead-letter store in memory, and the logs.
type world struct {
	mu      sync.Mutex
	events  []cloudevents.Event
	dead    []string
	fail    error // of the broker
	deadErr error
	logs    bytes.Buffer
	reader  *sdkmetric.ManualReader
}

func (w *world) Publish(ctx context.Context, events []cloudevents.Event) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.fail != nil {
		return w.fail
	}
	w.events = append(w.events, events...)
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

// take is what came since the last time.
func (w *world) take() (events []cloudevents.Event, dead []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	events, dead, w.events, w.dead = w.events, w.dead, nil, nil
	return events, dead
}

const token = "s3cret-token-of-media"

func stores() []gcs.Store {
	store := func(name, bucket, prefix string, auth gcs.Auth) gcs.Store {
		s := gcs.StoreOf(config.Replica{Name: name, Provider: "gcs", Bucket: bucket, Prefix: prefix})
		s.Auth = auth
		return s
	}
	return []gcs.Store{
		store("us", "b", "p/", gcs.Auth{Accounts: []string{"old@project.iam.gserviceaccount.com", oidctest.Account}}),
		store("us2", "b", "q/", gcs.Auth{Tokens: []string{"old-token", token}}),
		store("eu", "b2", "", gcs.Auth{Open: true}),
	}
}

func newHandler(t testing.TB, i *oidctest.Issuer, change ...func(*gcs.HandlerConfig)) (http.Handler, *world) {
	t.Helper()
	w := &world{reader: sdkmetric.NewManualReader()}
	v, err := oidc.New(oidc.Config{Issuers: oidc.GoogleIssuers(), Audiences: []string{oidctest.Audience}, KeysURL: i.URL, Now: i.Now})
	if err != nil {
		t.Fatal(err)
	}
	c := gcs.HandlerConfig{
		Stores: stores(), Sink: w, DeadLetters: w, Verifier: v, Now: i.Now,
		Meter:  sdkmetric.NewMeterProvider(sdkmetric.WithReader(w.reader)).Meter("test"),
		Logger: slog.New(slog.NewJSONHandler(w, nil)),
	}
	for _, f := range change {
		f(&c)
	}
	h, err := gcs.NewHandler(c)
	if err != nil {
		t.Fatal(err)
	}
	return h, w
}

// push is a request; it is made new for every time that it is sent.
type push struct {
	path    string
	body    []byte
	headers http.Header
}

func (p push) with(name, value string) push {
	p.headers = p.headers.Clone()
	if p.headers == nil {
		p.headers = http.Header{}
	}
	p.headers.Set(name, value)
	return p
}

func (p push) post(t testing.TB, h http.Handler) int {
	t.Helper()
	r := httptest.NewRequest(http.MethodPost, p.path, bytes.NewReader(p.body))
	maps.Copy(r.Header, p.headers)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Body.Len() != 0 {
		t.Errorf("the answer has a body: %q", w.Body)
	}
	return w.Code
}

// wrapped is a push as Pub/Sub makes it: some names are there twice.
func (n note) wrapped() push {
	m := n.message()
	body, _ := json.Marshal(map[string]any{
		"message": map[string]any{
			"attributes": m.Attributes, "data": base64.StdEncoding.EncodeToString(m.Data), "messageId": m.MessageID, "message_id": m.MessageID,
			"publishTime": m.PublishTime, "publish_time": m.PublishTime,
		},
		"subscription": "projects/p/subscriptions/s", "deliveryAttempt": 5,
	})
	return push{path: "/gcs/eu", body: body}.with("Content-Type", "application/json")
}

// unwrapped is a push with the metadata in headers, which lose what headers lose.
func (n note) unwrapped() push {
	p := push{path: "/gcs/eu", body: n.data()}.with("Content-Type", "application/json")
	for name, v := range n.attributes() {
		p = p.with(name, strings.TrimSpace(strings.ReplaceAll(v, "\n", " ")))
	}
	return p.with("x-goog-pubsub-message-id", "1").with("x-goog-pubsub-publish-time", "2026-11-20T17:22:37Z").
		with("x-goog-pubsub-subscription-name", "projects/p/subscriptions/s")
}

// arc is a request of Eventarc, binary or structured.
func (n note) arc(t testing.TB, structured bool) push {
	t.Helper()
	e := n.cloudEvent(t)
	ctx := binding.WithForceBinary(t.Context())
	if structured {
		ctx = binding.WithForceStructured(t.Context())
	}
	r := httptest.NewRequest(http.MethodPost, "/", nil)
	if err := cehttp.WriteRequest(ctx, binding.ToMessage(&e), r); err != nil {
		t.Fatal(err)
	}
	var body bytes.Buffer
	if _, err := body.ReadFrom(r.Body); err != nil {
		t.Fatal(err)
	}
	return push{path: "/gcs/eu", body: body.Bytes(), headers: r.Header}
}

// viaTopic is a wrapped push inside of a CloudEvent: what Eventarc makes of a topic.
func (n note) viaTopic() push {
	return n.wrapped().with("Ce-Id", "1").with("Ce-Specversion", "1.0").with("Ce-Source", "//pubsub.googleapis.com/projects/p/topics/t").
		with("Ce-Type", "google.cloud.pubsub.topic.v1.messagePublished").with("Ce-Time", "2026-11-20T17:22:37Z")
}

// channels are all the ways of one note.
func (n note) channels(t testing.TB) map[string]push {
	t.Helper()
	return map[string]push{
		"wrapped": n.wrapped(), "unwrapped": n.unwrapped(), "Eventarc, binary": n.arc(t, false), "Eventarc, structured": n.arc(t, true),
		"Eventarc of a topic": n.viaTopic(),
	}
}

// written is a note that b2, which is open, may send of.
func written(key string) note {
	return note{name: finalize, key: key, generation: "7", metageneration: "1", payload: true}
}

// inB2 makes b of all buckets b2: what the open store is of.
func openOfB(c *gcs.HandlerConfig) {
	c.Stores = c.Stores[2:]
	c.Stores[0].Bucket, c.Stores[0].Source = "b", "https://storage.googleapis.com/b"
}

func TestTrapKeysRoundTripThroughAllChannels(t *testing.T) {
	h, w := newHandler(t, oidctest.New(t), openOfB)
	ids := map[string]string{}
	for _, key := range keys {
		for channel, p := range written(key).channels(t) {
			code := p.post(t, h)
			events, dead := w.take()
			if code != 200 || len(events) != 1 || len(dead) != 0 {
				t.Errorf("%s: %q: %d %v %v", channel, key, code, events, dead)
				continue
			}
			o, err := event.ObjectOf(events[0])
			if err != nil || o.Key != key || events[0].Source() != "https://storage.googleapis.com/b" {
				t.Errorf("%s: %q became %q of %s, %v", channel, key, o.Key, events[0].Source(), err)
			}
			if id, ok := ids[key]; ok && id != events[0].ID() {
				t.Errorf("%s: %q has another id", channel, key)
			}
			ids[key] = events[0].ID()
		}
	}
}

func TestTrapUnwrappedPushesThatLackWhatCanNotBeLackedNameTheMend(t *testing.T) {
	h, w := newHandler(t, oidctest.New(t), openOfB)
	bare := written("k")
	none := bare
	none.payload = false
	for mend, p := range map[string]push{
		"--push-no-wrapper-write-metadata": {path: "/gcs/eu", body: bare.data()},
		"payload format to JSON_API_V1":    none.unwrapped(),
	} {
		if got := p.post(t, h); got != 200 {
			t.Error(mend, got)
		}
		if events, dead := w.take(); len(events) != 0 || len(dead) != 1 || !strings.Contains(dead[0], mend) {
			t.Errorf("%s: %v %q", mend, events, dead)
		}
	}
}

func TestPoisonIsAckedAndKept(t *testing.T) {
	h, w := newHandler(t, oidctest.New(t))
	for _, junk := range []string{
		"", "null", "7", "[]", "{}", "not json", `{"message":null}`, `{"message":{}}`, `{"message":{"data":"not base64"}}`, `{"message":7}`,
		"{\"message\":{\"attributes\":{\"objectId\":\"\xff\"}}}", `{"kind":"storage#object"}`,
	} {
		if got := (push{path: "/gcs/eu", body: []byte(junk)}).post(t, h); got != 200 {
			t.Errorf("%q: %d", junk, got)
		}
		if events, dead := w.take(); len(events) != 0 || len(dead) != 1 {
			t.Errorf("%q: %v %q", junk, events, dead)
		}
	}
	for _, headers := range []map[string]string{
		{"Ce-Type": "x"}, {"Content-Type": "application/cloudevents+json"}, {"Content-Type": "application/cloudevents-batch+json"},
		{"Eventtype": finalize},
	} {
		p := push{path: "/gcs/eu", body: []byte("[]")}
		for name, v := range headers {
			p = p.with(name, v)
		}
		if got := p.post(t, h); got != 200 {
			t.Errorf("%v: %d", headers, got)
		}
		if events, dead := w.take(); len(events) != 0 || len(dead) != 1 {
			t.Errorf("%v: %v %q", headers, events, dead)
		}
	}
	w.deadErr = errors.New("disk full")
	if got := (push{path: "/gcs/eu", body: []byte("not json")}).post(t, h); got != 503 {
		t.Errorf("a dead letter that was not stored: %d", got)
	}
}

func TestTrapSendersAreWhoTheirTokensSay(t *testing.T) {
	i := oidctest.New(t)
	h, w := newHandler(t, i)
	p := written("k").wrapped()
	p.path = "/gcs/us"
	for name, c := range map[string]struct {
		change map[string]any
		want   int
	}{
		"good":                  {nil, 200},
		"issuer without https":  {map[string]any{"iss": "accounts.google.com"}, 200},
		"wrong audience":        {map[string]any{"aud": "https://evil.example"}, 401},
		"wrong issuer":          {map[string]any{"iss": "https://evil.example"}, 401},
		"look-alike issuer":     {map[string]any{"iss": "https://accounts.google.com.evil.example"}, 401},
		"expired":               {map[string]any{"exp": i.Now().Add(-time.Hour).Unix()}, 401},
		"replayed":              {map[string]any{"iat": i.Now().Add(-2 * time.Hour).Unix(), "exp": i.Now().Add(time.Hour).Unix()}, 401},
		"not yet valid":         {map[string]any{"nbf": i.Now().Add(time.Hour).Unix()}, 401},
		"wrong e-mail":          {map[string]any{"email": "evil@project.iam.gserviceaccount.com"}, 403},
		"unverified e-mail":     {map[string]any{"email_verified": false}, 403},
		"no e-mail":             {map[string]any{"email": nil}, 403},
		"the account before it": {map[string]any{"email": "old@project.iam.gserviceaccount.com"}, 200},
	} {
		if got := p.with("Authorization", i.With(t, c.change)).post(t, h); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
		if events, dead := w.take(); len(events) != map[bool]int{true: 1}[c.want == 200] || len(dead) != 0 {
			t.Errorf("%s: %v %v", name, events, dead)
		}
	}
	if got := p.post(t, h); got != 401 {
		t.Errorf("nothing shown: %d", got)
	}
	if got := p.with("Authorization", "Bearer "+token).post(t, h); got != 401 {
		t.Errorf("the secret of another store: %d", got)
	}
	old := i.With(t, nil)
	i.Rotate(t, "two")
	i.Advance(time.Minute)
	if got := p.with("Authorization", i.Sign(t, "two", i.Claims())).post(t, h); got != 200 {
		t.Errorf("rotated key: %d", got)
	}
	if got := p.with("Authorization", old).post(t, h); got != 401 {
		t.Errorf("withdrawn key: %d", got)
	}
}

func TestTrapKeyServerDownIs503(t *testing.T) {
	i := oidctest.New(t)
	h, w := newHandler(t, i)
	p := written("k").wrapped()
	p.path = "/gcs/us"
	i.AnswerWith(oidctest.Down)
	if got := p.with("Authorization", i.With(t, nil)).post(t, h); got != 503 || len(w.events) != 0 {
		t.Error(got, w.events)
	}
	i.AnswerWith(nil)
	i.Advance(time.Minute)
	if got := p.with("Authorization", i.With(t, nil)).post(t, h); got != 200 || len(w.events) != 1 {
		t.Error(got, w.events)
	}
}

func TestSharedSecrets(t *testing.T) {
	h, w := newHandler(t, oidctest.New(t))
	p := written("q/k").wrapped()
	for path, want := range map[string]int{
		"/gcs/us2?token=" + token: 200, "/gcs/us2?token=old-token": 200, "/gcs/us2?token=": 401, "/gcs/us2?token=x": 401, "/gcs/us2": 401,
		"/gcs/us?token=" + token: 401,
	} {
		p.path = path
		if got := p.post(t, h); got != want {
			t.Errorf("%s: %d", path, got)
		}
	}
	p.path = "/gcs/us2"
	if got := p.with("Authorization", "Bearer "+token).post(t, h); got != 200 {
		t.Error(got)
	}
	if strings.Contains(w.logs.String(), token) {
		t.Errorf("a secret is in the logs: %s", &w.logs)
	}
}

func TestSendersThatShowNothingAreRefusedBeforeTheirMessageIsRead(t *testing.T) {
	i := oidctest.New(t)
	h, _ := newHandler(t, i)
	for _, authorization := range []string{"", i.With(t, map[string]any{"aud": "x"}), i.With(t, map[string]any{"email": "x"})} {
		r := httptest.NewRequest(http.MethodPost, "/gcs/us", readNever{t})
		r.Header.Set("Authorization", authorization)
		rec := httptest.NewRecorder()
		if h.ServeHTTP(rec, r); rec.Code != 401 && rec.Code != 403 {
			t.Error(rec.Code)
		}
	}
}

type readNever struct{ t *testing.T }

func (r readNever) Read([]byte) (int, error) {
	r.t.Error("the body was read")
	return 0, errors.New("no")
}

func TestAnswersOtherThanPosts(t *testing.T) {
	h, _ := newHandler(t, oidctest.New(t), func(c *gcs.HandlerConfig) { c.MaxBody = 2000 })
	for _, method := range []string{http.MethodGet, http.MethodPut, http.MethodOptions} {
		w := httptest.NewRecorder()
		if h.ServeHTTP(w, httptest.NewRequest(method, "/gcs/eu", nil)); w.Code != 405 || w.Header().Get("Allow") != "POST" {
			t.Error(method, w.Code)
		}
	}
	for _, path := range []string{"/gcs/", "/gcs/nobody", "/s3/eu", "/eu", "/gcs/eu/more"} {
		if got := (push{path: path}).post(t, h); got != 404 {
			t.Error(path, got)
		}
	}
	if got := (push{path: "/gcs/eu", body: bytes.Repeat([]byte(" "), 2001)}).post(t, h); got != 413 {
		t.Error(got)
	}
}

func TestTrapBrokerFailuresAreAlways503AndTheRetryHasTheSameID(t *testing.T) {
	h, w := newHandler(t, oidctest.New(t), openOfB)
	p := written("k").wrapped()
	if got := p.post(t, h); got != 200 {
		t.Fatal(got)
	}
	events, _ := w.take()
	for name, err := range map[string]error{
		"500": errors.New("500"), "503": errkind.New(errkind.Unavailable, "503"), "408": context.DeadlineExceeded,
		"409": errkind.New(errkind.Conflict, "409"), "429": errkind.New(errkind.Throttled, "429"),
		"400": errkind.New(errkind.Invalid, "400"), "401": errkind.New(errkind.Unauthenticated, "401"),
		"403": errkind.New(errkind.PermissionDenied, "403"), "gone": context.Canceled,
	} {
		w.fail = err
		if got := p.post(t, h); got != 503 {
			t.Errorf("%s: %d", name, got)
		}
		w.fail = nil
		if got := p.post(t, h); got != 200 {
			t.Errorf("%s: %d", name, got)
		}
		if again, _ := w.take(); len(again) != 1 || again[0].ID() != events[0].ID() {
			t.Errorf("%s: %v", name, again)
		}
	}
	silent, _ := newHandler(t, oidctest.New(t), openOfB, func(c *gcs.HandlerConfig) { c.Timeout = time.Millisecond; c.Sink = deaf{} })
	if got := p.post(t, silent); got != 503 {
		t.Error(got)
	}
}

// deaf is a broker that does not answer.
type deaf struct{}

func (deaf) Publish(ctx context.Context, _ []cloudevents.Event) error { <-ctx.Done(); return ctx.Err() }

func TestOneTopicCanBeThatOfManyBucketsAndOneBucketThatOfManyReplicas(t *testing.T) {
	h, w := newHandler(t, oidctest.New(t))
	for key, want := range map[string]int{"p/k": 1, "q/k": 1, "p/.bucketmesh/x": 0, "q/.bucketmesh/x": 0, "r/.bucketmesh/x": 1} {
		if got := written(key).wrapped().post(t, h); got != 200 { // of the bucket b, on the path of b2
			t.Error(key, got)
		}
		if events, dead := w.take(); len(events) != want || len(dead) != 0 {
			t.Error(key, events, dead)
		}
	}
}

func TestMetricsTellWhyMessagesWereRefused(t *testing.T) {
	i := oidctest.New(t)
	h, w := newHandler(t, i)
	p := written("k").wrapped()
	p.path = "/gcs/us"
	p.with("Authorization", i.With(t, nil)).post(t, h)
	for _, change := range []map[string]any{{"aud": "x"}, {"iss": "x"}, {"exp": 7}, {"email": "x"}} {
		p.with("Authorization", i.With(t, change)).post(t, h)
	}
	p.post(t, h)
	var got metricdata.ResourceMetrics
	if err := w.reader.Collect(t.Context(), &got); err != nil {
		t.Fatal(err)
	}
	counts := map[string]int64{}
	for _, m := range got.ScopeMetrics[0].Metrics {
		for _, p := range m.Data.(metricdata.Sum[int64]).DataPoints {
			name := m.Name
			for _, a := range p.Attributes.ToSlice() {
				name += fmt.Sprintf(" %s=%s", a.Key, a.Value.String())
			}
			counts[name] = p.Value
		}
	}
	for _, name := range []string{
		"bucketmesh.normalizer.events store=us type=dev.bucketmesh.object.written.v1",
		"bucketmesh.normalizer.refused reason=token audience status=401 store=us",
		"bucketmesh.normalizer.refused reason=token issuer status=401 store=us",
		"bucketmesh.normalizer.refused reason=token expired status=401 store=us",
		"bucketmesh.normalizer.refused reason=principal status=403 store=us",
		"bucketmesh.normalizer.refused reason=no token status=401 store=us",
	} {
		if counts[name] != 1 {
			t.Errorf("%s is %d, of %v", name, counts[name], counts)
		}
	}
}

func TestHandlerRefusesConfigurationsThatCannotWork(t *testing.T) {
	for name, change := range map[string]func(*gcs.HandlerConfig){
		"nobody may send":     func(c *gcs.HandlerConfig) { c.Stores[0].Auth = gcs.Auth{} },
		"an empty token":      func(c *gcs.HandlerConfig) { c.Stores[1].Auth.Tokens = []string{" "} },
		"an empty account":    func(c *gcs.HandlerConfig) { c.Stores[1].Auth.Accounts = []string{""} },
		"accounts unverified": func(c *gcs.HandlerConfig) { c.Verifier = nil },
		"a name taken":        func(c *gcs.HandlerConfig) { c.Stores[0].Name = "us2" },
		"a name with a slash": func(c *gcs.HandlerConfig) { c.Stores[0].Name = "a/b" },
		"no bucket":           func(c *gcs.HandlerConfig) { c.Stores[0].Bucket = "" },
		"no sink":             func(c *gcs.HandlerConfig) { c.Sink = nil },
		"no dead letters":     func(c *gcs.HandlerConfig) { c.DeadLetters = nil },
		"no clock":            func(c *gcs.HandlerConfig) { c.Now = nil },
	} {
		w := &world{}
		c := gcs.HandlerConfig{Stores: stores(), Sink: w, DeadLetters: w, Now: time.Now, Verifier: &oidc.Verifier{}}
		change(&c)
		if _, err := gcs.NewHandler(c); !errkind.Is(err, errkind.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestHandlerIsSafeForConcurrentUse(t *testing.T) {
	i := oidctest.New(t)
	h, w := newHandler(t, i)
	p := written("k").wrapped()
	p.path = "/gcs/us"
	p = p.with("Authorization", i.With(t, nil))
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if got := p.post(t, h); got != 200 {
				t.Error(got)
			}
		})
	}
	wg.Wait()
	if len(w.events) != 20 || i.Fetches() != 1 {
		t.Errorf("%d events, %d fetches", len(w.events), i.Fetches())
	}
}
