package s3_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1" // SignatureVersion 1
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/normalize/s3"
)

const (
	topic      = "arn:aws:sns:us-east-1:111122223333:media"
	chinaTopic = "arn:aws-cn:sns:cn-north-1:111122223333:media"
	certURL    = "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-0123456789abcdef.pem"
)

// aws stands in for SNS's web server: it hands out the certificate, takes confirmations and remembers who asked.
type aws struct {
	key *rsa.PrivateKey
	pem []byte

	mu     sync.Mutex
	asked  []string
	answer func(*http.Request) (*http.Response, error) // nil: as SNS does
}

func newAWS(t testing.TB) *aws {
	t.Helper()
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return &aws{key: k, pem: certificate(t, k, now.Add(-time.Hour), now.Add(48*time.Hour))}
}

func certificate(t testing.TB, k *rsa.PrivateKey, from, to time.Time) []byte {
	t.Helper()
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "sns.amazonaws.com"}, NotBefore: from, NotAfter: to}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func reply(status int, body []byte) *http.Response {
	return &http.Response{StatusCode: status, Body: io.NopCloser(bytes.NewReader(body))}
}

func (a *aws) Do(r *http.Request) (*http.Response, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.asked = append(a.asked, r.URL.String())
	if a.answer != nil {
		return a.answer(r)
	}
	if strings.HasSuffix(r.URL.Path, ".pem") {
		return reply(200, a.pem), nil
	}
	return reply(200, []byte("<ConfirmSubscriptionResponse/>")), nil
}

func (a *aws) requests() int { a.mu.Lock(); defer a.mu.Unlock(); return len(a.asked) }

// notification is an envelope that is not signed yet.
func notification(message string) s3.Envelope {
	return s3.Envelope{
		Type: "Notification", MessageID: "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324", TopicArn: topic, Message: message,
		Timestamp: now.Add(-time.Minute).Format("2006-01-02T15:04:05.000Z"), SignatureVersion: "2", SigningCertURL: certURL,
	}
}

func subscription() s3.Envelope {
	e := notification("You have chosen to subscribe to the topic.\nTo confirm, visit the URL.")
	e.Type, e.Token = "SubscriptionConfirmation", "2336412f37"
	e.SubscribeURL = "https://sns.us-east-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn=" + topic + "&Token=2336412f37"
	return e
}

// sign writes the text to sign in full, so that the test does not share the code that it tests.
func (a *aws) sign(t testing.TB, e s3.Envelope) s3.Envelope {
	t.Helper()
	var text string
	switch {
	case e.Type != "Notification":
		text = fmt.Sprintf("Message\n%s\nMessageId\n%s\nSubscribeURL\n%s\nTimestamp\n%s\nToken\n%s\nTopicArn\n%s\nType\n%s\n",
			e.Message, e.MessageID, e.SubscribeURL, e.Timestamp, e.Token, e.TopicArn, e.Type)
	case e.Subject != nil:
		text = fmt.Sprintf("Message\n%s\nMessageId\n%s\nSubject\n%s\nTimestamp\n%s\nTopicArn\n%s\nType\n%s\n",
			e.Message, e.MessageID, *e.Subject, e.Timestamp, e.TopicArn, e.Type)
	default:
		text = fmt.Sprintf("Message\n%s\nMessageId\n%s\nTimestamp\n%s\nTopicArn\n%s\nType\n%s\n",
			e.Message, e.MessageID, e.Timestamp, e.TopicArn, e.Type)
	}
	s := sha256.Sum256([]byte(text))
	hash, sum := crypto.SHA256, s[:]
	if e.SignatureVersion == "1" {
		s := sha1.Sum([]byte(text))
		hash, sum = crypto.SHA1, s[:]
	}
	sig, err := rsa.SignPKCS1v15(rand.Reader, a.key, hash, sum)
	if err != nil {
		t.Fatal(err)
	}
	e.Signature = base64.StdEncoding.EncodeToString(sig)
	return e
}

func (a *aws) verifier(maxAge time.Duration) *s3.Verifier {
	return s3.NewVerifier(a, func() time.Time { return now }, maxAge)
}

func verify(a *aws, e s3.Envelope) error {
	return a.verifier(24*time.Hour).Verify(context.Background(), &e, []string{"arn:other", chinaTopic, topic})
}

func TestTrapSNSSignatureVersions1And2(t *testing.T) {
	a := newAWS(t)
	subject, empty := "Amazon S3 Notification", ""
	for _, version := range []string{"1", "2"} {
		for name, change := range map[string]func(*s3.Envelope){
			"subject absent":   func(*s3.Envelope) {},
			"subject present":  func(e *s3.Envelope) { e.Subject = &subject },
			"subject empty":    func(e *s3.Envelope) { e.Subject = &empty },
			"escaped newlines": func(e *s3.Envelope) { e.Message = "a\nb\\nc\t\"日本\"" },
			"confirmation":     func(e *s3.Envelope) { *e = subscription() },
			"unsubscription":   func(e *s3.Envelope) { *e = subscription(); e.Type = "UnsubscribeConfirmation" },
			"china": func(e *s3.Envelope) {
				e.TopicArn, e.SigningCertURL = chinaTopic, "https://sns.cn-north-1.amazonaws.com.cn/x.pem"
			},
			"clock a bit behind": func(e *s3.Envelope) { e.Timestamp = now.Add(time.Minute).Format(time.RFC3339) },
		} {
			e := notification("{}")
			change(&e)
			e.SignatureVersion = version
			e = a.sign(t, e)
			wire, err := json.Marshal(e)
			if err != nil {
				t.Fatal(err)
			}
			var got s3.Envelope
			if err := json.Unmarshal(wire, &got); err != nil {
				t.Fatal(err)
			}
			if err := verify(a, got); err != nil {
				t.Errorf("v%s, %s: %v", version, name, err)
			}
		}
	}
}

func TestTrapSNSBadSignatures(t *testing.T) {
	a, other := newAWS(t), newAWS(t)
	subject := "s"
	for name, change := range map[string]func(*s3.Envelope){
		"message changed":  func(e *s3.Envelope) { e.Message += " " },
		"id changed":       func(e *s3.Envelope) { e.MessageID += "x" },
		"time changed":     func(e *s3.Envelope) { e.Timestamp = now.Format(time.RFC3339) },
		"type changed":     func(e *s3.Envelope) { e.Type = "SubscriptionConfirmation" },
		"subject added":    func(e *s3.Envelope) { e.Subject = &subject },
		"version swapped":  func(e *s3.Envelope) { e.SignatureVersion = "1" },
		"version unknown":  func(e *s3.Envelope) { e.SignatureVersion = "3" },
		"no version":       func(e *s3.Envelope) { e.SignatureVersion = "" },
		"of another key":   func(e *s3.Envelope) { *e = other.sign(t, *e) },
		"not base64":       func(e *s3.Envelope) { e.Signature = "!" },
		"no signature":     func(e *s3.Envelope) { e.Signature = "" },
		"type of nobody":   func(e *s3.Envelope) { e.Type = "Greeting" },
		"no time":          func(e *s3.Envelope) { e.Timestamp = "" },
		"a time to come":   func(e *s3.Envelope) { e.Timestamp = now.Add(time.Hour).Format(time.RFC3339); *e = a.sign(t, *e) },
		"a time long gone": func(e *s3.Envelope) { e.Timestamp = now.Add(-26 * time.Hour).Format(time.RFC3339); *e = a.sign(t, *e) },
	} {
		e := a.sign(t, notification("{}"))
		change(&e)
		if err := verify(a, e); !errkind.Is(err, errkind.Unauthenticated) {
			t.Errorf("%s: %v", name, err)
		}
	}
	e := notification("{}")
	e.Timestamp = now.Add(-1000 * time.Hour).Format(time.RFC3339)
	e = a.sign(t, e)
	if err := a.verifier(-1).Verify(t.Context(), &e, []string{topic}); err != nil {
		t.Errorf("without a window every age is good: %v", err)
	}
}

func TestTrapSNSForeignTopicsAreRefusedBeforeAnythingIsFetched(t *testing.T) {
	a := newAWS(t)
	for _, arn := range []string{"", topic + "x", strings.ToUpper(topic), "arn:aws:sns:us-east-1:999999999999:media"} {
		e := notification("{}")
		e.TopicArn = arn
		if err := verify(a, a.sign(t, e)); !errkind.Is(err, errkind.PermissionDenied) {
			t.Errorf("%q: %v", arn, err)
		}
	}
	if a.requests() != 0 {
		t.Errorf("asked for %v", a.asked)
	}
}

// badURLs look like SNS's and are not.
var badURLs = []string{
	"http://sns.us-east-1.amazonaws.com/x.pem", "", "x.pem", "//sns.us-east-1.amazonaws.com/x.pem", "https:///x.pem",
	"https://sns.us-east-1.amazonaws.com.evil.example/x.pem", "https://evil.example/sns.us-east-1.amazonaws.com/x.pem",
	"https://sns.us-east-1.amazonaws.com@evil.example/x.pem", "https://evil.example#sns.us-east-1.amazonaws.com/x.pem",
	"https://evil.example?sns.us-east-1.amazonaws.com/x.pem", "https://xsns.us-east-1.amazonaws.com/x.pem",
	"https://sns.us-east-1.amazonaws.com:8443/x.pem", "https://sns.us.east.amazonaws.com/x.pem", "https://sns..amazonaws.com/x.pem",
	"https://sns-us-east-1.amazonaws.com/x.pem", "https://sns.us-east-1.amazonaws.co/x.pem", "https://sns.us-east-1.amazonaws.com.cn.x/x.pem",
	"https://SNS.us-east-1.amazonaws.com\n/x.pem", "https://sns.us-east-1.amazonaws.com\\@evil.example/x.pem",
	"https://user:pw@sns.us-east-1.amazonaws.com/x.pem", "file:///etc/x.pem", "https://s3.amazonaws.com/sns.x.pem",
	"https://sns.us-east-1.amazonaws.com%00/x.pem", "https:sns.us-east-1.amazonaws.com/x.pem",
	"https://sns.us-east-1.amazonaws.com.evil.com/x.pem", "https://evilsns.us-east-1.amazonaws.com/x.pem",
	"https://evil.com/sns.us-east-1.amazonaws.com.pem", "https://sns.us-east-1.amazonaws.com:443/x.pem",
	"https://sns.us-east-1.amazonaws.com:/x.pem", "https://SNS.US-EAST-1.AMAZONAWS.COM/x.pem", "https://sns.us-east-1.amazonaws.com./x.pem",
	"https://@sns.us-east-1.amazonaws.com/x.pem", "https://sns.us-east-1.amazonaws.com@evil/x.pem", "ftp://sns.us-east-1.amazonaws.com/x.pem",
	"https://sns.us-east-1.amazonaws.com\t/x.pem", "https://sns.us-east-1.amazonaws\u3002com/x.pem", "https://[::1]/x.pem",
	"https://sns.evil.sns.us-east-1.amazonaws.com/x.pem", "https://us-east-1.amazonaws.com/x.pem",
}

func TestSNSURLsAreOfTheRegionOfTheirTopic(t *testing.T) {
	a := newAWS(t)
	e := notification("{}")
	e.SigningCertURL = "https://sns.eu-west-1.amazonaws.com/x.pem"
	if err := verify(a, a.sign(t, e)); !errkind.Is(err, errkind.Unauthenticated) {
		t.Errorf("certificate: %v", err)
	}
	e = subscription()
	e.SubscribeURL = strings.Replace(e.SubscribeURL, "us-east-1", "eu-west-1", 1)
	if err := a.verifier(0).Confirm(t.Context(), &e); !errkind.Is(err, errkind.Unauthenticated) {
		t.Errorf("confirmation: %v", err)
	}
	if a.requests() != 0 {
		t.Errorf("asked for %v", a.asked)
	}
}

func TestSNSCertificateFailureIsRememberedForAWhile(t *testing.T) {
	a := newAWS(t)
	clock := now
	v := s3.NewVerifier(a, func() time.Time { return clock }, 0)
	a.answer = func(*http.Request) (*http.Response, error) { return reply(503, nil), nil }
	e := a.sign(t, notification("{}"))
	for range 5 {
		if err := v.Verify(t.Context(), &e, []string{topic}); !errkind.Is(err, errkind.Unavailable) {
			t.Fatal(err)
		}
		clock = clock.Add(time.Second)
	}
	if a.requests() != 1 {
		t.Errorf("%d requests", a.requests())
	}
	clock, a.answer = clock.Add(30*time.Second), nil
	if err := v.Verify(t.Context(), &e, []string{topic}); err != nil {
		t.Error(err)
	}
}

func TestTrapSNSLookAlikeCertificateHosts(t *testing.T) {
	a := newAWS(t)
	for _, u := range append(badURLs, "https://sns.us-east-1.amazonaws.com/x.exe", "https://sns.us-east-1.amazonaws.com/?x.pem",
		"https://sns.us-east-1.amazonaws.com/x.pem?redirect=evil", "https://sns.us-east-1.amazonaws.com/x.pem?",
		"https://sns.us-east-1.amazonaws.com/x.pem#1", "https://sns.us-east-1.amazonaws.com/x.pem#") {
		e := notification("{}")
		e.SigningCertURL = u
		if err := verify(a, a.sign(t, e)); !errkind.Is(err, errkind.Unauthenticated) {
			t.Errorf("%q: %v", u, err)
		}
	}
	if a.requests() != 0 {
		t.Errorf("asked for %v", a.asked)
	}
}

func TestSNSCertificatesAreCachedAndBounded(t *testing.T) {
	a := newAWS(t)
	clock := now
	v := s3.NewVerifier(a, func() time.Time { return clock }, -1)
	check := func(url string) {
		t.Helper()
		e := notification("{}")
		e.SigningCertURL = url
		e = a.sign(t, e)
		if err := v.Verify(t.Context(), &e, []string{topic}); err != nil {
			t.Fatal(err)
		}
	}
	for range 5 {
		check(certURL)
	}
	if a.requests() != 1 {
		t.Errorf("%d requests for one certificate", a.requests())
	}
	clock = clock.Add(25 * time.Hour)
	if check(certURL); a.requests() != 2 {
		t.Error("a day-old certificate is not looked at again")
	}
	for i := range 100 {
		check(fmt.Sprintf("https://sns.us-east-1.amazonaws.com/%d.pem", i))
	}
	for i := range 100 {
		check(fmt.Sprintf("https://sns.us-east-1.amazonaws.com/%d.pem", i))
	}
	if n := a.requests(); n < 150 {
		t.Errorf("%d requests: the cache grows without bound", n)
	}
}

func TestSNSCertificateTrouble(t *testing.T) {
	a := newAWS(t)
	noX509 := []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
	for name, c := range map[string]struct {
		kind   errkind.Kind
		answer func(*http.Request) (*http.Response, error)
	}{
		"down":      {errkind.Unavailable, func(*http.Request) (*http.Response, error) { return nil, errors.New("down") }},
		"503":       {errkind.Unavailable, func(*http.Request) (*http.Response, error) { return reply(503, nil), nil }},
		"redirect":  {errkind.Unavailable, func(*http.Request) (*http.Response, error) { return reply(302, a.pem), nil }},
		"endless":   {errkind.Unavailable, func(*http.Request) (*http.Response, error) { return reply(200, bytes.Repeat(a.pem, 100)), nil }},
		"not PEM":   {errkind.Unauthenticated, func(*http.Request) (*http.Response, error) { return reply(200, []byte("hello")), nil }},
		"not X.509": {errkind.Unauthenticated, func(*http.Request) (*http.Response, error) { return reply(200, noX509), nil }},
		"expired": {errkind.Unauthenticated, func(*http.Request) (*http.Response, error) {
			return reply(200, certificate(t, a.key, now.Add(-48*time.Hour), now.Add(-time.Hour))), nil
		}},
		"not yet": {errkind.Unauthenticated, func(*http.Request) (*http.Response, error) {
			return reply(200, certificate(t, a.key, now.Add(time.Hour), now.Add(2*time.Hour))), nil
		}},
	} {
		clock := now
		v := s3.NewVerifier(a, func() time.Time { return clock }, 0)
		e := a.sign(t, notification("{}"))
		a.answer = c.answer
		if err := v.Verify(t.Context(), &e, []string{topic}); !errkind.Is(err, c.kind) {
			t.Errorf("%s: %v", name, err)
		}
		a.answer, clock = nil, now.Add(time.Minute)
		if err := v.Verify(t.Context(), &e, []string{topic}); err != nil {
			t.Errorf("after %s: %v", name, err)
		}
	}
}

func TestConfirmOnlyAsksSNS(t *testing.T) {
	a := newAWS(t)
	v := a.verifier(0)
	for _, u := range badURLs {
		e := subscription()
		e.SubscribeURL = u
		if err := v.Confirm(t.Context(), &e); !errkind.Is(err, errkind.Unauthenticated) {
			t.Errorf("%q: %v", u, err)
		}
	}
	if a.requests() != 0 {
		t.Errorf("asked for %v", a.asked)
	}
	e := subscription()
	if err := v.Confirm(t.Context(), &e); err != nil || a.requests() != 1 || a.asked[0] != e.SubscribeURL {
		t.Error(err, a.asked)
	}
	a.answer = func(*http.Request) (*http.Response, error) { return reply(500, nil), nil }
	if err := v.Confirm(t.Context(), &e); !errkind.Is(err, errkind.Unavailable) {
		t.Error(err)
	}
}

func TestClientFollowsNoRedirects(t *testing.T) {
	var asked []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.Path)
		http.Redirect(w, r, "/elsewhere", http.StatusFound)
	}))
	defer server.Close()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/x.pem", nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := s3.NewClient(5 * time.Second).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusFound || len(asked) != 1 {
		t.Error(res.Status, asked)
	}
}
