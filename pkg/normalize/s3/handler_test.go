package s3_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	cloudevents "github.com/cloudevents/sdk-go/v2/event"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/bucketmesh/bucketmesh/pkg/config"
	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/event"
	"github.com/bucketmesh/bucketmesh/pkg/normalize/s3"
)

// world is a broker and a dead-letter store in memory, and the logs.
type world struct {
	mu      sync.Mutex
	events  []cloudevents.Event
	dead    []string
	fail    func(i int, e cloudevents.Event) error // of the broker, per event
	deadErr error
	logs    bytes.Buffer
	reader  *sdkmetric.ManualReader
}

func (w *world) Publish(ctx context.Context, events []cloudevents.Event) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, e := range events {
		if w.fail != nil {
			if err := w.fail(i, e); err != nil {
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

const token = "s3cret-token-of-media"

func stores() []s3.Store {
	media := s3.StoreOf(config.Replica{Name: "us", Provider: "s3", Bucket: "b", Endpoint: "https://minio.example", Dialect: "aws"})
	media.Auth = s3.Auth{Tokens: []string{"old-token", token}, Topics: []string{topic}}
	sibling := s3.StoreOf(config.Replica{Name: "us2", Provider: "s3", Bucket: "b2", Endpoint: "https://minio.example", Dialect: "aws", Prefix: "p/"})
	sibling.Auth = s3.Auth{Tokens: []string{"token-of-b2"}}
	foreign := s3.StoreOf(config.Replica{Name: "eu", Provider: "s3", Bucket: "foreign", Endpoint: "https://other.example", Dialect: "versitygw"})
	foreign.Auth = s3.Auth{Open: true}
	onlySNS := s3.StoreOf(config.Replica{Name: "sns", Provider: "s3", Bucket: "b", Region: "us-east-1", Dialect: "aws"})
	onlySNS.Auth = s3.Auth{Topics: []string{topic}}
	return []s3.Store{media, sibling, foreign, onlySNS}
}

func newHandler(t testing.TB, a *aws, change ...func(*s3.HandlerConfig)) (*s3.Handler, *world) {
	t.Helper()
	w := &world{reader: sdkmetric.NewManualReader()}
	c := s3.HandlerConfig{
		Stores: stores(), Sink: w, DeadLetters: w, Now: func() time.Time { return now },
		Meter:  sdkmetric.NewMeterProvider(sdkmetric.WithReader(w.reader)).Meter("test"),
		Logger: slog.New(slog.NewJSONHandler(w, nil)),
	}
	if a != nil {
		c.Verifier = a.verifier(24 * time.Hour)
	} else {
		c.Stores = c.Stores[:3]
		c.Stores[0].Auth.Topics = nil
	}
	for _, f := range change {
		f(&c)
	}
	h, err := s3.NewHandler(c)
	if err != nil {
		t.Fatal(err)
	}
	return h, w
}

// post sends a body with headers (name, value, ...) and returns the status.
func post(t testing.TB, h http.Handler, path string, body []byte, headers ...string) int {
	t.Helper()
	r := httptest.NewRequest(http.MethodPost, path, bytes.NewReader(body))
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Body.Len() != 0 {
		t.Errorf("the answer has a body: %q", w.Body)
	}
	return w.Code
}

var bearer = []string{"Authorization", "Bearer " + token}

func TestRecordsBecomeEventsOfTheConfiguredSource(t *testing.T) {
	h, w := newHandler(t, nil)
	trace := "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	if got := post(t, h, "/s3/us", records(rec{key: "a+b"}, rec{key: "c"}), append(bearer, "Traceparent", trace)...); got != 200 {
		t.Fatal(got)
	}
	if len(w.events) != 2 || len(w.dead) != 0 {
		t.Fatal(w.events, w.dead)
	}
	e := w.events[0]
	if e.Source() != "https://minio.example/b" || e.Subject() != "a%20b" || e.Type() != event.ObjectWritten ||
		e.Extensions()["traceparent"] != trace || e.Extensions()[event.ExtRecordedTime] != "2026-11-20T18:00:00Z" {
		t.Errorf("%v", e)
	}
}

func TestSendersThatShowNothingAreRefusedBeforeTheirMessageIsRead(t *testing.T) {
	h, w := newHandler(t, nil)
	r := httptest.NewRequest(http.MethodPost, "/s3/us", readNever{t})
	rec := httptest.NewRecorder()
	if h.ServeHTTP(rec, r); rec.Code != 401 || rec.Header().Get("WWW-Authenticate") == "" {
		t.Error(rec.Code, rec.Header())
	}
	if len(w.events)+len(w.dead) != 0 {
		t.Error(w.events, w.dead)
	}
}

type readNever struct{ t *testing.T }

func (r readNever) Read([]byte) (int, error) {
	r.t.Error("the body was read")
	return 0, errors.New("no")
}

func TestTokensInAllTheirPlacesAndRotation(t *testing.T) {
	h, w := newHandler(t, nil)
	body := records(rec{key: "k"})
	basic := httptest.NewRequest(http.MethodGet, "/", nil)
	basic.SetBasicAuth("bucketmesh", token)
	for name, c := range map[string]struct {
		path, header, value string
		want                int
	}{
		"MinIO's auth_token of one word":  {"/s3/us", "Authorization", "Bearer " + token, 200},
		"MinIO's auth_token of two words": {"/s3/us", "Authorization", "Whatever " + token, 200},
		"bare":                            {"/s3/us", "Authorization", token, 200},
		"the token before the rotation":   {"/s3/us", "Authorization", "Bearer old-token", 200},
		"password in the URL":             {"/s3/us", "Authorization", basic.Header.Get("Authorization"), 200},
		"EventBridge's API key":           {"/s3/us", "X-Api-Key", token, 200},
		"parameter of the URL":            {"/s3/us?token=" + token, "", "", 200},
		"of another store":                {"/s3/us", "Authorization", "Bearer token-of-b2", 401},
		"a prefix":                        {"/s3/us", "Authorization", "Bearer " + token[:5], 401},
		"longer":                          {"/s3/us", "Authorization", "Bearer " + token + "x", 401},
		"empty bearer":                    {"/s3/us", "Authorization", "Bearer ", 401},
		"empty parameter":                 {"/s3/us?token=", "", "", 401},
		"both tokens in a row":            {"/s3/us", "Authorization", "old-token" + token, 401},
		"basic user instead of password":  {"/s3/us", "Authorization", "Basic czNjcmV0LXRva2VuLW9mLW1lZGlhOng=", 401},
	} {
		var headers []string
		if c.header != "" {
			headers = []string{c.header, c.value}
		}
		if got := post(t, h, c.path, body, headers...); got != c.want {
			t.Errorf("%s: %d", name, got)
		}
	}
	if strings.Contains(w.logs.String(), token) || strings.Contains(w.logs.String(), "old-token") {
		t.Errorf("a secret is in the logs: %s", &w.logs)
	}
}

func TestAnswersOtherThanPosts(t *testing.T) {
	h, _ := newHandler(t, nil)
	for _, method := range []string{http.MethodGet, http.MethodPut, http.MethodDelete, http.MethodOptions} {
		w := httptest.NewRecorder()
		if h.ServeHTTP(w, httptest.NewRequest(method, "/s3/us", nil)); w.Code != 405 || w.Header().Get("Allow") != "POST" {
			t.Error(method, w.Code)
		}
	}
	for _, path := range []string{"/", "/s3/", "/s3", "/s3/nobody", "/us", "us", "/s3/us/more", "/sns"} {
		r := httptest.NewRequest(http.MethodPost, "/", nil)
		r.URL.Path = path
		w := httptest.NewRecorder()
		if h.ServeHTTP(w, r); w.Code != 404 {
			t.Error(path, w.Code)
		}
	}
}

func TestTooLargeMessages(t *testing.T) {
	h, w := newHandler(t, nil, func(c *s3.HandlerConfig) { c.MaxBody = 1000 })
	if got := post(t, h, "/s3/us", bytes.Repeat([]byte(" "), 1001), bearer...); got != 413 || len(w.dead) != 0 {
		t.Error(got, w.dead)
	}
	if got := post(t, h, "/s3/us", records(rec{key: "k"}), bearer...); got != 200 {
		t.Error(got)
	}
}

func TestTrapBrokerFailuresAreAlways503(t *testing.T) {
	for name, err := range map[string]error{
		"500": errors.New("500"), "503": errkind.New(errkind.Unavailable, "503"), "408": context.DeadlineExceeded,
		"409": errkind.New(errkind.Conflict, "409"), "429": errkind.New(errkind.Throttled, "429"),
		"400": errkind.New(errkind.Invalid, "400"), "401": errkind.New(errkind.Unauthenticated, "401"),
		"403": errkind.New(errkind.PermissionDenied, "403"), "gone": context.Canceled,
	} {
		h, w := newHandler(t, nil)
		w.fail = func(int, cloudevents.Event) error { return err }
		if got := post(t, h, "/s3/us", records(rec{key: "k"}), bearer...); got != 503 {
			t.Errorf("%s: %d", name, got)
		}
	}
}

func TestTrapBrokerThatNeverAnswersIs503(t *testing.T) {
	h, w := newHandler(t, nil, func(c *s3.HandlerConfig) { c.Timeout = time.Millisecond; c.Sink = deaf{} })
	if got := post(t, h, "/s3/us", records(rec{key: "k"}), bearer...); got != 503 {
		t.Error(got, &w.logs)
	}
}

// deaf is a broker that does not answer.
type deaf struct{}

func (deaf) Publish(ctx context.Context, _ []cloudevents.Event) error { <-ctx.Done(); return ctx.Err() }

func TestTrapRecordTwoOfThreeFailsAndTheRetryRepeatsRecordOneWithTheSameID(t *testing.T) {
	h, w := newHandler(t, nil)
	body := records(rec{key: "1"}, rec{key: "2"}, rec{key: "3"})
	w.fail = func(i int, _ cloudevents.Event) error {
		if i == 1 {
			return errors.New("down")
		}
		return nil
	}
	if got := post(t, h, "/s3/us", body, bearer...); got != 503 || len(w.events) != 1 {
		t.Fatal(got, w.events)
	}
	w.fail = nil
	if got := post(t, h, "/s3/us", body, bearer...); got != 200 || len(w.events) != 4 {
		t.Fatal(got, w.events)
	}
	if w.events[0].ID() != w.events[1].ID() {
		t.Error("record 1 came again with another id")
	}
}

func TestPoisonIsAckedAndTheGoodRecordsAreDelivered(t *testing.T) {
	h, w := newHandler(t, nil)
	body := records(rec{key: "1"}, rec{version: "3.0", key: "2"}, rec{key: "3"})
	if got := post(t, h, "/s3/us", body, bearer...); got != 200 || len(w.events) != 2 || len(w.dead) != 1 {
		t.Fatal(got, w.events, w.dead)
	}
	for _, junk := range []string{"", "not json", "[]", `{"hello":"world"}`} {
		w.dead = nil
		if got := post(t, h, "/s3/us", []byte(junk), bearer...); got != 200 || len(w.dead) != 1 {
			t.Errorf("%q: %d %v", junk, got, w.dead)
		}
	}
	w.deadErr = errors.New("disk full")
	if got := post(t, h, "/s3/us", []byte("not json"), bearer...); got != 503 {
		t.Errorf("a dead letter that was not stored: %d", got)
	}
}

func TestBucketsOfTheSameServerShareAnEndpoint(t *testing.T) {
	h, w := newHandler(t, nil)
	body := records(rec{bucket: "b2", key: "k"}, rec{bucket: "foreign", key: "k"}, rec{bucket: "nobody", key: "k"}, rec{bucket: "b2", key: "p/.bucketmesh/x"})
	if got := post(t, h, "/s3/us", body, bearer...); got != 200 {
		t.Fatal(got)
	}
	if len(w.events) != 1 || w.events[0].Source() != "https://minio.example/b2" {
		t.Errorf("%v", w.events)
	}
	if len(w.dead) != 1 || !strings.Contains(w.dead[0], `record 2: bucket "foreign" is not a replica`) || !strings.Contains(w.dead[0], `record 3: bucket "nobody"`) {
		t.Errorf("%q", w.dead)
	}
}

func TestOneBucketWithTwoPrefixesReservesBoth(t *testing.T) {
	h, w := newHandler(t, nil, func(c *s3.HandlerConfig) {
		other := c.Stores[1]
		other.Name, other.Prefix = "us3", "q/"
		c.Stores = append(c.Stores, other)
	})
	body := records(rec{bucket: "b2", key: "p/.bucketmesh/x"}, rec{bucket: "b2", key: "q/.bucketmesh/x"}, rec{bucket: "b2", key: "r/.bucketmesh/x"})
	for _, path := range []string{"/s3/us2", "/s3/us3"} {
		w.events = nil
		if got := post(t, h, path, body, "X-Api-Key", "token-of-b2"); got != 200 || len(w.events) != 1 {
			t.Error(path, got, w.events)
		}
	}
}

func TestSNSNotificationsOverHTTP(t *testing.T) {
	a := newAWS(t)
	h, w := newHandler(t, a)
	send := func(path string, e s3.Envelope, headers ...string) int {
		t.Helper()
		b, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		// As SNS posts them: text/plain.
		return post(t, h, path, b, append(headers, "Content-Type", "text/plain; charset=UTF-8", "X-Amz-Sns-Message-Type", e.Type)...)
	}
	good := a.sign(t, notification(string(records(rec{key: "a%2Bb"}, rec{version: "3.0", key: "x"}))))
	if got := send("/s3/us", good); got != 200 || len(w.events) != 1 || len(w.dead) != 1 || w.events[0].Subject() != "a%2Bb" {
		t.Fatal(got, w.events, w.dead)
	}
	if got := send("/s3/sns", good); got != 200 || w.events[1].Source() != "https://s3.us-east-1.amazonaws.com/b" {
		t.Error(got, w.events)
	}
	viaBridge := a.sign(t, notification(string(bridge("Object Created", "PutObject", "a+b", ""))))
	if got := send("/s3/us", viaBridge); got != 200 || w.events[2].Subject() != "a%2Bb" {
		t.Error(got, w.events)
	}
	w.events, w.dead = nil, nil
	if got := send("/s3/us", a.sign(t, notification(`{"Service":"Amazon S3","Event":"s3:TestEvent"}`))); got != 200 || len(w.events)+len(w.dead) != 0 {
		t.Error("test event", got, w.events, w.dead)
	}
	if got := send("/s3/us", a.sign(t, notification(`hello`))); got != 200 || len(w.dead) != 1 || !strings.HasSuffix(w.dead[0], "|hello") {
		t.Error("poison", got, w.dead)
	}
	nested, err := json.Marshal(good)
	if err != nil {
		t.Fatal(err)
	}
	if got := send("/s3/us", a.sign(t, notification(string(nested)))); got != 200 || len(w.events) != 0 || len(w.dead) != 2 {
		t.Error("an envelope in an envelope", got, w.events, w.dead)
	}

	bad := good
	bad.Message += " "
	if got := send("/s3/us", bad, bearer...); got != 401 {
		t.Errorf("a token in place of a signature: %d", got)
	}
	alien := notification("{}")
	alien.TopicArn += "x"
	if got := send("/s3/us", a.sign(t, alien), bearer...); got != 403 {
		t.Errorf("foreign topic: %d", got)
	}
	if got := send("/s3/us2", good, "X-Api-Key", "token-of-b2"); got != 403 {
		t.Errorf("a store without topics: %d", got)
	}
	if got := post(t, h, "/s3/sns", records(rec{key: "k"})); got != 401 {
		t.Errorf("records where only SNS may send: %d", got)
	}
	if len(w.events) != 0 {
		t.Errorf("%v", w.events)
	}
}

func TestSNSWhereNoTopicIsAllowedAndNobodyCouldVerifyIt(t *testing.T) {
	h, w := newHandler(t, nil)
	body, err := json.Marshal(newAWS(t).sign(t, notification("{}")))
	if err != nil {
		t.Fatal(err)
	}
	if got := post(t, h, "/s3/us", body, bearer...); got != 403 || len(w.events)+len(w.dead) != 0 {
		t.Error(got, w.events, w.dead)
	}
}

func TestTrapKeyServerDownIs503(t *testing.T) {
	a := newAWS(t)
	clock := now
	h, w := newHandler(t, a, func(c *s3.HandlerConfig) {
		c.Verifier = s3.NewVerifier(a, func() time.Time { return clock }, 0)
	})
	body, err := json.Marshal(a.sign(t, notification(string(records(rec{key: "k"})))))
	if err != nil {
		t.Fatal(err)
	}
	a.answer = func(*http.Request) (*http.Response, error) { return nil, errors.New("no route") }
	if got := post(t, h, "/s3/us", body); got != 503 || len(w.events) != 0 {
		t.Error(got)
	}
	a.answer, clock = nil, now.Add(time.Minute)
	if got := post(t, h, "/s3/us", body); got != 200 || len(w.events) != 1 {
		t.Error(got)
	}
}

func TestTrapConfirmationsAreAckedNeverForwardedAndForeignTopicsNotConfirmed(t *testing.T) {
	a := newAWS(t)
	h, w := newHandler(t, a)
	send := func(e s3.Envelope) int {
		t.Helper()
		b, err := json.Marshal(a.sign(t, e))
		if err != nil {
			t.Fatal(err)
		}
		return post(t, h, "/s3/us", b)
	}
	if got := send(subscription()); got != 200 || a.requests() != 2 || a.asked[1] != subscription().SubscribeURL {
		t.Fatal(got, a.asked)
	}
	foreign := subscription()
	foreign.TopicArn += "-of-somebody"
	if got := send(foreign); got != 403 {
		t.Error(got)
	}
	for _, u := range badURLs {
		e := subscription()
		e.SubscribeURL = u
		if got := send(e); got != 401 {
			t.Errorf("%q: %d", u, got)
		}
	}
	forged := a.sign(t, subscription())
	forged.Token = "other"
	b, err := json.Marshal(forged)
	if err != nil {
		t.Fatal(err)
	}
	if got := post(t, h, "/s3/us", b, bearer...); got != 401 {
		t.Error("forged", got)
	}
	end := subscription()
	end.Type = "UnsubscribeConfirmation"
	if got := send(end); got != 200 {
		t.Error("unsubscription", got)
	}
	if a.requests() != 2 || len(w.events)+len(w.dead) != 0 {
		t.Error(a.asked, w.events, w.dead)
	}
	a.answer = func(*http.Request) (*http.Response, error) { return reply(500, nil), nil }
	if got := send(subscription()); got != 503 {
		t.Error("a confirmation that failed", got)
	}
}

func TestMetricsTellWhatBecameOfMessages(t *testing.T) {
	h, w := newHandler(t, nil)
	post(t, h, "/s3/us", records(rec{key: "1"}, rec{name: "ObjectRemoved:Delete", key: "2"}, rec{version: "3.0"}, rec{key: ".bucketmesh/p"}), bearer...)
	post(t, h, "/s3/us", nil)
	post(t, h, "/s3/nobody", nil)
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
	for name, want := range map[string]int64{
		"bucketmesh.normalizer.events store=us type=dev.bucketmesh.object.written.v1": 1,
		"bucketmesh.normalizer.events store=us type=dev.bucketmesh.object.deleted.v1": 1,
		"bucketmesh.normalizer.dead_letters store=us":                                 1,
		"bucketmesh.normalizer.ignored reason=reserved key store=us":                  1,
		"bucketmesh.normalizer.refused reason=no token status=401 store=us":           1,
		"bucketmesh.normalizer.refused reason=no such store status=404 store=":        1,
	} {
		if counts[name] != want {
			t.Errorf("%s is %d, want %d, of %v", name, counts[name], want, counts)
		}
	}
}

func TestHandlerRefusesConfigurationsThatCannotWork(t *testing.T) {
	for name, change := range map[string]func(*s3.HandlerConfig){
		"nobody may send":    func(c *s3.HandlerConfig) { c.Stores[0].Auth = s3.Auth{} },
		"an empty token":     func(c *s3.HandlerConfig) { c.Stores[0].Auth.Tokens = []string{""} },
		"topics unverified":  func(c *s3.HandlerConfig) { c.Stores[0].Auth.Topics = []string{topic} },
		"a name taken":       func(c *s3.HandlerConfig) { c.Stores[0].Name = "us2" },
		"no name":            func(c *s3.HandlerConfig) { c.Stores[0].Name = "" },
		"a name with slash":  func(c *s3.HandlerConfig) { c.Stores[0].Name = "a/b" },
		"no bucket":          func(c *s3.HandlerConfig) { c.Stores[0].Bucket = "" },
		"no source":          func(c *s3.HandlerConfig) { c.Stores[0].Source = "" },
		"a dialect unspoken": func(c *s3.HandlerConfig) { c.Stores[0].Dialect = "gcs" },
		"no sink":            func(c *s3.HandlerConfig) { c.Sink = nil },
		"no dead letters":    func(c *s3.HandlerConfig) { c.DeadLetters = nil },
		"no clock":           func(c *s3.HandlerConfig) { c.Now = nil },
	} {
		w := &world{}
		c := s3.HandlerConfig{Stores: stores()[:3], Sink: w, DeadLetters: w, Now: time.Now}
		c.Stores[0].Auth.Topics = nil
		change(&c)
		if _, err := s3.NewHandler(c); !errkind.Is(err, errkind.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestHandlerIsSafeForConcurrentUse(t *testing.T) {
	a := newAWS(t)
	h, w := newHandler(t, a)
	envelope, err := json.Marshal(a.sign(t, notification(string(records(rec{key: "k"})))))
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if got := post(t, h, "/s3/us", envelope); got != 200 {
				t.Error(got)
			}
		})
		wg.Go(func() {
			if got := post(t, h, "/s3/us", records(rec{key: "k"}), bearer...); got != 200 {
				t.Error(got)
			}
		})
	}
	wg.Wait()
	if len(w.events) != 40 || a.requests() != 1 {
		t.Errorf("%d events, %d requests for the certificate", len(w.events), a.requests())
	}
}
