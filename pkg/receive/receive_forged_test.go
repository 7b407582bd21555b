package receive_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"maps"
	"math/big"
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
	"github.com/bucketmesh/bucketmesh/pkg/normalize/azure"
	"github.com/bucketmesh/bucketmesh/pkg/normalize/oidc/oidctest"
	"github.com/bucketmesh/bucketmesh/pkg/normalize/s3"
	"github.com/bucketmesh/bucketmesh/pkg/receive"
	"github.com/bucketmesh/bucketmesh/pkg/serve"
)

const (
	snsTopic      = "arn:aws:sns:us-east-1:111122223333:media"
	snsCert       = "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-0123456789abcdef.pem"
	entraTenant   = "72f988bf-0000-4000-8000-2d7cd011db47"
	entraAudience = "api://bucketmesh-webhook"
	secret        = "s3cret-of-media"
)

// clouds is a group with a replica at each provider behind the handler of all, with all that proves who sends: SNS's web
// server, and the issuers of Google and Entra, each of which has a double that nobody trusts.
type clouds struct {
	handler       http.Handler
	taken         *taken
	reader        *sdkmetric.ManualReader
	sns, snsOther *snsServer
	google, entra *oidctest.Issuer
	other         *oidctest.Issuer
}

// taken are the ids of what came through.
type taken struct {
	mu  sync.Mutex
	ids []string
}

func (n *taken) Publish(_ context.Context, events ...cloudevents.Event) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, e := range events {
		n.ids = append(n.ids, e.ID())
	}
	return nil
}

func (n *taken) Store(context.Context, []byte, string, string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.ids = append(n.ids, "dead letter")
	return nil
}

func (n *taken) take() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	ids := n.ids
	n.ids = nil
	return ids
}

func newClouds(t *testing.T) *clouds {
	t.Helper()
	c := &clouds{
		taken: &taken{}, reader: sdkmetric.NewManualReader(), sns: newSNS(t), snsOther: newSNS(t),
		google: oidctest.New(t), entra: oidctest.New(t), other: oidctest.New(t),
	}
	for _, i := range []*oidctest.Issuer{c.google, c.entra, c.other} {
		i.Advance(time.Since(i.Now())) // the handlers have the clock of this machine
	}
	telemetry := serve.NoTelemetry()
	telemetry.Meter = sdkmetric.NewMeterProvider(sdkmetric.WithReader(c.reader))
	var err error
	c.handler, err = receive.All(receive.Config{
		Group: &config.Group{Name: "media", Replicas: []config.Replica{
			{Name: "us", Provider: "s3", Bucket: "b", Region: "us-east-1", Dialect: "aws"},
			{Name: "eu", Provider: "gcs", Bucket: "b"},
			{Name: "asia", Provider: "azblob", Account: "media", Bucket: "b"},
		}},
		Tokens: []string{secret}, Topics: []string{snsTopic}, SNS: c.sns,
		Push:  receive.Push{Audience: oidctest.Audience, Accounts: []string{oidctest.Account}, KeysURL: c.google.URL},
		Entra: receive.Entra{Tenant: entraTenant, Audience: entraAudience, KeysURL: c.entra.URL},
		Sink:  c.taken, DeadLetters: c.taken, Telemetry: telemetry,
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// refused are the counts of refusals, by status and reason.
func (c *clouds) refused(t *testing.T) map[string]int64 {
	t.Helper()
	var got metricdata.ResourceMetrics
	if err := c.reader.Collect(t.Context(), &got); err != nil {
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

// send posts a message with headers (name, value, ...).
func (c *clouds) send(method, path, body string, headers ...string) int {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	c.handler.ServeHTTP(w, r)
	return w.Code
}

const (
	s3Message    = `{"Records":[{"eventVersion":"2.1","eventName":"ObjectCreated:Put","s3":{"bucket":{"name":"b"},"object":{"key":"k","sequencer":"1"}}}]}`
	gcsMessage   = `{"message":{"attributes":{"eventType":"OBJECT_FINALIZE","bucketId":"b","objectId":"k","objectGeneration":"1","payloadFormat":"NONE"},"messageId":"1"},"subscription":"s"}`
	azureMessage = `[{"topic":"/subscriptions/s/resourceGroups/g/providers/Microsoft.Storage/storageAccounts/media","id":"1","eventType":"Microsoft.Storage.BlobCreated",` +
		`"subject":"/blobServices/default/containers/b/blobs/k","data":{"api":"PutBlob","sequencer":"1"}}]`
	azureValidation = `[{"id":"1","eventType":"Microsoft.EventGrid.SubscriptionValidationEvent","data":{"validationCode":"code"}}]`
)

// snsServer stands in for SNS: it signs, and hands out its certificate.
type snsServer struct {
	key  *rsa.PrivateKey
	pem  []byte
	down bool
}

func newSNS(t *testing.T) *snsServer {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "sns.amazonaws.com"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return &snsServer{key: key, pem: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}
}

// Do implements s3.Doer.
func (s *snsServer) Do(*http.Request) (*http.Response, error) {
	if s.down {
		return &http.Response{StatusCode: http.StatusServiceUnavailable, Body: http.NoBody}, nil
	}
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(bytes.NewReader(s.pem))}, nil
}

// sign makes a message of SNS, changed before it is signed.
func (s *snsServer) sign(t *testing.T, change func(*s3.Envelope)) string {
	t.Helper()
	e := s3.Envelope{
		Type: "Notification", MessageID: "m", TopicArn: snsTopic, Message: s3Message, Timestamp: time.Now().UTC().Format(time.RFC3339),
		SignatureVersion: "2", SigningCertURL: snsCert,
	}
	change(&e)
	text := fmt.Sprintf("Message\n%s\nMessageId\n%s\nTimestamp\n%s\nTopicArn\n%s\nType\n%s\n", e.Message, e.MessageID, e.Timestamp, e.TopicArn, e.Type)
	if e.Type != "Notification" {
		text = fmt.Sprintf("Message\n%s\nMessageId\n%s\nSubscribeURL\n%s\nTimestamp\n%s\nToken\n%s\nTopicArn\n%s\nType\n%s\n",
			e.Message, e.MessageID, e.SubscribeURL, e.Timestamp, e.Token, e.TopicArn, e.Type)
	}
	sum := sha256.Sum256([]byte(text))
	signature, err := rsa.SignPKCS1v15(rand.Reader, s.key, crypto.SHA256, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	e.Signature = base64.StdEncoding.EncodeToString(signature)
	b, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func as(*s3.Envelope) {}

func aged(d time.Duration) func(*s3.Envelope) {
	return func(e *s3.Envelope) { e.Timestamp = time.Now().Add(-d).UTC().Format(time.RFC3339) }
}

func confirmation(url string, age time.Duration) func(*s3.Envelope) {
	return func(e *s3.Envelope) {
		aged(age)(e)
		e.Type, e.SubscribeURL, e.Token = "SubscriptionConfirmation", url, "t"
	}
}

func certificateAt(url string) func(*s3.Envelope) {
	return func(e *s3.Envelope) { e.SigningCertURL = url }
}

// eventGrid is an Authorization header as Event Grid shows it, but for some claims.
func (c *clouds) eventGrid(t *testing.T, issuer *oidctest.Issuer, change map[string]any) string {
	t.Helper()
	now := issuer.Now()
	claims := map[string]any{
		"iss": "https://sts.windows.net/" + entraTenant + "/", "aud": entraAudience, "appid": azure.EventGridApp, "tid": entraTenant,
		"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(time.Hour).Unix(),
	}
	maps.Copy(claims, change)
	return issuer.Sign(t, oidctest.KeyID, claims)
}

// attack is a message that must not come through.
type attack struct {
	name, method, path, body string
	authorization, origin    string
	want                     string // status and reason
}

func (c *clouds) attacks(t *testing.T) []attack {
	t.Helper()
	var list []attack
	snsAttack := func(name, body, want string) {
		list = append(list, attack{name: "sns: " + name, method: http.MethodPost, path: "/s3/us", body: body, want: want})
	}
	const confirm = "https://sns.us-east-1.amazonaws.com/?Action=ConfirmSubscription"
	snsAttack("forged", c.snsOther.sign(t, as), "401 sns signature")
	snsAttack("changed on its way", strings.Replace(c.sns.sign(t, as), `\"k\"`, `\"x\"`, 1), "401 sns signature")
	snsAttack("wrong topic", c.sns.sign(t, func(e *s3.Envelope) { e.TopicArn += "x" }), "403 sns topic")
	snsAttack("replayed", c.sns.sign(t, aged(2*time.Hour)), "401 sns message too old")
	snsAttack("of the future", c.sns.sign(t, aged(-time.Hour)), "401 sns message of the future")
	snsAttack("replayed confirmation", c.sns.sign(t, confirmation(confirm, 2*time.Hour)), "401 sns message too old")
	snsAttack("nothing that SNS sends", s3Message, "401 no token")
	for _, host := range []string{
		"sns.us-east-1.amazonaws.com.evil.com", "evilsns.us-east-1.amazonaws.com", "sns.us-east-1.amazonaws.com@evil.com",
		"sns.us-east-1.amazonaws.com:8443", "user:pw@sns.us-east-1.amazonaws.com", "SNS.us-east-1.amazonaws.com", "sns.us-east-1.amazonaws.com.",
	} {
		snsAttack("certificate at "+host, c.sns.sign(t, certificateAt("https://"+host+"/x.pem")), "401 sns certificate url")
		snsAttack("confirmation at "+host, c.sns.sign(t, confirmation("https://"+host+"/", 0)), "401 sns subscribe url")
	}
	snsAttack("certificate over http", c.sns.sign(t, certificateAt(strings.Replace(snsCert, "https", "http", 1))), "401 sns certificate url")

	hour := func(of *oidctest.Issuer, hours int64) int64 { return of.Now().Unix() + hours*3600 }
	tokens := func(path, body string, g *oidctest.Issuer, sign func(issuer *oidctest.Issuer, change map[string]any) string, lookAlike string) {
		for _, a := range []struct{ name, authorization, want string }{
			{"nothing shown", "", "401 no token"},
			{"a wrong secret", "Bearer " + secret[:5], "401 malformed token"},
			{"forged", sign(c.other, nil), "401 token signature"},
			{"wrong audience", sign(g, map[string]any{"aud": "https://somebody.example"}), "401 token audience"},
			{"look-alike issuer", sign(g, map[string]any{"iss": lookAlike}), "401 token issuer"},
			{"expired", sign(g, map[string]any{"iat": hour(g, -2), "nbf": hour(g, -2), "exp": hour(g, -1)}), "401 token expired"},
			{"replayed", sign(g, map[string]any{"iat": hour(g, -48), "nbf": hour(g, -48)}), "401 token too old"},
			{"of the future", sign(g, map[string]any{"iat": hour(g, 1), "nbf": hour(g, 1), "exp": hour(g, 2)}), "401 token not yet valid"},
			{"somebody else", sign(g, map[string]any{"email": "evil@project.iam.gserviceaccount.com", "appid": "11111111-2222-4333-8444-555555555555"}), "403 principal"},
		} {
			list = append(list, attack{
				name: path + ": " + a.name, method: http.MethodPost, path: path, body: body, authorization: a.authorization, want: a.want,
			})
		}
	}
	tokens("/gcs/eu", gcsMessage, c.google, func(i *oidctest.Issuer, change map[string]any) string { return i.With(t, change) },
		"https://accounts.google.com.evil.com")
	list = append(list, attack{
		name: "gcs: address not verified", method: http.MethodPost, path: "/gcs/eu", body: gcsMessage,
		authorization: c.google.With(t, map[string]any{"email_verified": false}), want: "403 principal",
	})
	entra := func(i *oidctest.Issuer, change map[string]any) string { return c.eventGrid(t, i, change) }
	tokens("/azure/asia", azureMessage, c.entra, entra, "https://sts.windows.net.evil.com/"+entraTenant+"/")
	tokens("/azure/asia", azureValidation, c.entra, entra, "https://sts.windows.net/11111111-2222-4333-8444-555555555555/")
	for _, origin := range []string{"", "*", "eventgrid.azure.net.evil.com", "evileventgrid.azure.net", "EVENTGRID.azure.net", "eventgrid.azure.net."} {
		list = append(list, attack{name: "azure: origin " + origin, method: http.MethodOptions, path: "/azure/asia", origin: origin, want: "403 origin"})
	}
	return list
}

// TestForgedExpiredWrongAudienceLookAlikeReplayed: all of them are refused, for good, and each is counted by its reason.
func TestForgedExpiredWrongAudienceLookAlikeReplayed(t *testing.T) {
	c := newClouds(t)
	attacks, refused := c.attacks(t), 0
	for _, a := range attacks {
		before := c.refused(t)[a.want]
		var headers []string
		if a.authorization != "" {
			headers = append(headers, "Authorization", a.authorization)
		}
		if a.origin != "" {
			headers = append(headers, "WebHook-Request-Origin", a.origin)
		}
		got := c.send(a.method, a.path, a.body, headers...)
		if counted := c.refused(t)[a.want] == before+1; !strings.HasPrefix(a.want, fmt.Sprint(got)+" ") || !counted {
			t.Errorf("%s: %d, counted as %q: %t, %v", a.name, got, a.want, counted, c.refused(t))
			continue
		}
		refused++
	}
	if ids := c.taken.take(); len(ids) > 0 || refused != len(attacks) {
		t.Errorf("%d of %d refused; came through: %v", refused, len(attacks), ids)
	}
	t.Logf("%d of %d refused and counted", refused, len(attacks))
}

// TestKeyServersDownIs503: a sender that can't be verified now is asked to come again, whoever it is.
func TestKeyServersDownIs503(t *testing.T) {
	c := newClouds(t)
	c.sns.down = true
	c.google.AnswerWith(oidctest.Down)
	c.entra.AnswerWith(oidctest.Down)
	for _, s := range []struct{ path, body, authorization, want string }{
		{"/s3/us", c.sns.sign(t, as), "", "503 sns certificate not available"},
		{"/gcs/eu", gcsMessage, c.google.With(t, nil), "503 keys not available"},
		{"/azure/asia", azureMessage, c.eventGrid(t, c.entra, nil), "503 keys not available"},
	} {
		before := c.refused(t)[s.want]
		got := c.send(http.MethodPost, s.path, s.body, "Authorization", s.authorization)
		if got != http.StatusServiceUnavailable || c.refused(t)[s.want] != before+1 {
			t.Errorf("%s: %d, %v", s.path, got, c.refused(t))
		}
	}
	if ids := c.taken.take(); len(ids) > 0 {
		t.Errorf("came through: %v", ids)
	}
}

// TestRepeatsWithinTheirTimeAreTheSameEvent: who sends at least once repeats messages, so that a replay within the life of
// its proof can't be told from the provider's own. It does no harm: the event has the id of the first.
func TestRepeatsWithinTheirTimeAreTheSameEvent(t *testing.T) {
	c := newClouds(t)
	for _, s := range []struct{ path, body, authorization string }{
		{"/s3/us", c.sns.sign(t, aged(time.Hour)), ""},
		{"/s3/us?token=" + secret, s3Message, ""},
		{"/gcs/eu", gcsMessage, c.google.With(t, nil)},
		{"/azure/asia", azureMessage, c.eventGrid(t, c.entra, nil)},
		{"/azure/asia?code=" + secret, azureMessage, ""},
	} {
		for range 3 {
			if got := c.send(http.MethodPost, s.path, s.body, "Authorization", s.authorization); got != http.StatusOK {
				t.Fatalf("%s: %d, %v", s.path, got, c.refused(t))
			}
		}
		if ids := c.taken.take(); len(ids) != 3 || ids[0] != ids[1] || ids[1] != ids[2] || len(ids[0]) != 64 {
			t.Errorf("%s: %v", s.path, ids)
		}
	}
}
