package s3

import (
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/sha1" // SignatureVersion 1; topics that can do better use version 2
	"crypto/sha256"
	"encoding/base64"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/normalize/internal/refuse"
)

// Types of SNS messages.
const (
	snsNotification = "Notification"
	snsSubscribe    = "SubscriptionConfirmation"
	snsUnsubscribe  = "UnsubscribeConfirmation"
)

// Envelope is what SNS wraps around a message.
type Envelope struct {
	Type             string  `json:"Type"`
	MessageID        string  `json:"MessageId"`
	TopicArn         string  `json:"TopicArn"`
	Subject          *string `json:"Subject"` // signed only if it is there
	Message          string  `json:"Message"`
	Timestamp        string  `json:"Timestamp"`
	Token            string  `json:"Token"`
	SubscribeURL     string  `json:"SubscribeURL"`
	SignatureVersion string  `json:"SignatureVersion"`
	Signature        string  `json:"Signature"`
	SigningCertURL   string  `json:"SigningCertURL"`
}

// snsHost is the only kind of host that certificates and confirmations are fetched from.
var snsHost = regexp.MustCompile(`^sns\.([a-z0-9-]+)\.amazonaws\.com(\.cn)?$`)

// Reasons of refusal.
const (
	Topic           refuse.Reason = "sns topic"
	TooOld          refuse.Reason = "sns message too old"
	Future          refuse.Reason = "sns message of the future"
	Malformed       refuse.Reason = "malformed sns message"
	Signature       refuse.Reason = "sns signature"
	SigningURL      refuse.Reason = "sns certificate url"
	SubscribeURL    refuse.Reason = "sns subscribe url"
	Certificate     refuse.Reason = "sns certificate"
	CertificateDown refuse.Reason = "sns certificate not available"
	ConfirmDown     refuse.Reason = "sns confirmation not possible"
)

// refused is the error for who is not SNS, or does not send what SNS sends.
func refused(reason refuse.Reason, format string, args ...any) error {
	return refuse.New(errkind.Unauthenticated, reason, "verify sns message: "+format, args...)
}

// Doer does HTTP requests. It must not follow redirects: http.Client does unless told otherwise.
type Doer interface {
	Do(*http.Request) (*http.Response, error)
}

// NewClient makes a Doer that follows no redirects. timeout bounds each request.
func NewClient(timeout time.Duration) *http.Client {
	return &http.Client{
		Timeout:       timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Verifier checks that SNS sent a message, and confirms subscriptions. Make one with NewVerifier.
type Verifier struct {
	client Doer
	now    func() time.Time
	maxAge time.Duration
	certs  *certCache
}

// DefaultMaxAge is as long as a delivery policy of SNS for HTTP can make it try: it keeps the timestamp through its tries.
const DefaultMaxAge = time.Hour

// NewVerifier makes a verifier that fetches certificates with client. Messages (confirmations too) with a timestamp that is
// older than maxAge and a quarter of an hour are refused: somebody recorded them. So are those more than a quarter of an
// hour ahead of now. maxAge 0 is DefaultMaxAge; a negative one lets every age in.
func NewVerifier(client Doer, now func() time.Time, maxAge time.Duration) *Verifier {
	if maxAge == 0 {
		maxAge = DefaultMaxAge
	}
	return &Verifier{client: client, now: now, maxAge: maxAge, certs: newCertCache(client, now)}
}

const clockSkew = 15 * time.Minute

// Verify checks an envelope against the topics that may send. Errors: PermissionDenied for a topic that is not listed,
// Unauthenticated for a signature, a certificate URL or a time that is not right, Unavailable if the certificate can't
// be fetched now.
func (v *Verifier) Verify(ctx context.Context, e *Envelope, topics []string) error {
	if !slices.Contains(topics, e.TopicArn) { // first: it costs nothing
		return refuse.New(errkind.PermissionDenied, Topic, "verify sns message: topic %q is not allowed", e.TopicArn)
	}
	if err := v.checkTime(e.Timestamp); err != nil {
		return err
	}
	text, err := signedText(e)
	if err != nil {
		return err
	}
	signature, err := base64.StdEncoding.DecodeString(e.Signature)
	if err != nil {
		return refused(Signature, "signature: %w", err)
	}
	if err := checkURL(e.SigningCertURL, e.TopicArn, SigningURL); err != nil {
		return err
	}
	key, err := v.certs.key(ctx, e.SigningCertURL)
	if err != nil {
		return err
	}
	switch e.SignatureVersion {
	case "1":
		sum := sha1.Sum(text)
		err = rsa.VerifyPKCS1v15(key, crypto.SHA1, sum[:], signature)
	case "2":
		sum := sha256.Sum256(text)
		err = rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], signature)
	default:
		return refused(Signature, "signature version %q", e.SignatureVersion)
	}
	if err != nil {
		return refused(Signature, "%w", err)
	}
	return nil
}

func (v *Verifier) checkTime(timestamp string) error {
	t, err := time.Parse(time.RFC3339Nano, timestamp)
	if err != nil {
		return refused(Malformed, "timestamp: %w", err)
	}
	switch age := v.now().Sub(t); {
	case age < -clockSkew:
		return refused(Future, "timestamp %s is %s ahead: compare the clocks", timestamp, -age.Round(time.Second))
	case v.maxAge > 0 && age > v.maxAge+clockSkew:
		return refused(TooOld, "timestamp %s is %s old", timestamp, age.Round(time.Second))
	}
	return nil
}

// signedText is what SNS signs: names and values of certain fields, a newline after each, in the byte order of names.
func signedText(e *Envelope) ([]byte, error) {
	fields := [][2]string{{"Message", e.Message}, {"MessageId", e.MessageID}}
	switch e.Type {
	case snsNotification:
		if e.Subject != nil {
			fields = append(fields, [2]string{"Subject", *e.Subject})
		}
		fields = append(fields, [2]string{"Timestamp", e.Timestamp})
	case snsSubscribe, snsUnsubscribe:
		fields = append(fields,
			[2]string{"SubscribeURL", e.SubscribeURL}, [2]string{"Timestamp", e.Timestamp}, [2]string{"Token", e.Token})
	default:
		return nil, refused(Malformed, "type %q", e.Type)
	}
	fields = append(fields, [2]string{"TopicArn", e.TopicArn}, [2]string{"Type", e.Type})
	var b strings.Builder
	for _, f := range fields {
		b.WriteString(f[0] + "\n" + f[1] + "\n")
	}
	return []byte(b.String()), nil
}

// Confirm answers a verified SubscriptionConfirmation. Errors: Unauthenticated for a URL that is not SNS's, Unavailable
// if SNS can't be reached or does not confirm.
func (v *Verifier) Confirm(ctx context.Context, e *Envelope) error {
	if err := checkURL(e.SubscribeURL, e.TopicArn, SubscribeURL); err != nil {
		return err
	}
	if _, err := fetch(ctx, v.client, e.SubscribeURL, 64<<10); err != nil {
		return refuse.New(errkind.Unavailable, ConfirmDown, "confirm sns subscription: %w", err)
	}
	return nil
}

// checkURL lets only https URLs of the host of SNS in the topic's own region through, without user, port or other disguise.
// what says which of the URLs it is.
func checkURL(raw, topic string, what refuse.Reason) error {
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "https" || u.User != nil || u.Opaque != "" || !snsHost.MatchString(u.Host) {
		return refused(what, "%q is not an https URL of sns", raw)
	}
	arn := strings.Split(topic, ":") // arn:partition:sns:region:account:name
	if len(arn) != 6 || snsHost.FindStringSubmatch(u.Host)[1] != arn[3] {
		return refused(what, "%q is not in the region of topic %q", raw, topic)
	}
	// The cache goes by the URL: one certificate must not have many.
	if what == SigningURL && (!strings.HasSuffix(u.Path, ".pem") || strings.ContainsAny(raw, "?#")) {
		return refused(what, "%q is no certificate", raw)
	}
	return nil
}

// fetch gets a small document.
func fetch(ctx context.Context, client Doer, from string, limit int64) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return nil, err
	}
	res, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }() // only read from: nothing to learn
	if res.StatusCode != http.StatusOK {
		return nil, errkind.New(errkind.Unavailable, "get %s: status %d", req.URL.Host, res.StatusCode)
	}
	b, err := io.ReadAll(io.LimitReader(res.Body, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = errkind.New(errkind.Unavailable, "get %s: more than %d bytes", req.URL.Host, limit)
	}
	return b, err
}
