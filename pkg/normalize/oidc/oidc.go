// Package oidc verifies the bearer tokens (JSON Web Tokens of OpenID Connect, RS256 only) by which Google's Pub/Sub and
// Azure's Event Grid prove who posts a notification.
//
// Verify says that a token is good; Claims.RequireAccount and Claims.RequireApplication say whether its bearer may send.
//
// Errors: Unauthenticated for a token that is not good, PermissionDenied for a good one of somebody else, Unavailable if
// the keys of the issuer can't be fetched now, so that the provider sends the message again; Invalid from New. Each has a
// reason for the metrics (package refuse). Nothing of a token is ever in an error.
//
// Concurrency: a Verifier may be used from many goroutines. Nothing runs in the background: keys are fetched by the
// calls that need them, one at a time.
package oidc

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/normalize/internal/refuse"
)

// Google's issuer, in both of its spellings, and where its keys are.
const (
	GoogleKeysURL = "https://www.googleapis.com/oauth2/v3/certs"

	googleIssuer     = "https://accounts.google.com"
	googleIssuerBare = "accounts.google.com"
)

// GoogleIssuers are the two spellings of Google's issuer.
func GoogleIssuers() []string { return []string{googleIssuer, googleIssuerBare} }

// EntraIssuers are the issuers of an Entra tenant's tokens, version 1 and 2: which one comes depends on the application
// that the token is for.
func EntraIssuers(tenant string) []string {
	return []string{"https://sts.windows.net/" + tenant + "/", "https://login.microsoftonline.com/" + tenant + "/v2.0"}
}

// EntraKeysURL is where the keys of an Entra tenant are, those of both versions.
func EntraKeysURL(tenant string) string {
	return "https://login.microsoftonline.com/" + url.PathEscape(tenant) + "/discovery/v2.0/keys"
}

// Defaults of a Config.
const (
	DefaultSkew         = time.Minute
	DefaultMaxAge       = time.Hour // what a token of Pub/Sub lives
	DefaultRefreshEvery = 30 * time.Second
	DefaultKeysFresh    = time.Hour
	DefaultKeysTrusted  = 24 * time.Hour
	DefaultTimeout      = 3 * time.Second
)

// Config of a Verifier. The zero value of a field is its default.
type Config struct {
	Issuers   []string // required; compared byte by byte
	Audiences []string // required; compared byte by byte, one of a token's is enough
	KeysURL   string   // required; of the JSON Web Key Set, https (http for loopback only)
	// Client fetches the keys; redirects are not followed, whatever it says. nil is one of our own.
	Client *http.Client
	Now    func() time.Time // nil is time.Now
	Skew   time.Duration    // how far the issuer's clock may be from ours
	// MaxAge bounds how long after it was issued a token is taken, even if it says that it is good for longer: one that
	// was captured can't be used for ever.
	MaxAge time.Duration
	// RefreshEvery bounds how often the keys are fetched, whatever tokens come: a token with an unknown key makes us
	// fetch, and anybody can invent such tokens. It is also how long a failure is remembered.
	RefreshEvery time.Duration
	KeysFresh    time.Duration // after this long they are fetched again; those at hand keep working if that fails
	KeysTrusted  time.Duration // and no longer than this: a key that was withdrawn must stop working
	Timeout      time.Duration // of one fetch
}

// Verifier verifies tokens. Make one with New.
type Verifier struct {
	c    Config
	keys *keyCache
}

// New makes a verifier; it fetches nothing yet. Errors: Invalid.
func New(c Config) (*Verifier, error) {
	switch {
	case len(c.Issuers) == 0 || slices.Contains(c.Issuers, ""):
		return nil, errkind.New(errkind.Invalid, "make token verifier: issuers are required, and none may be empty")
	case len(c.Audiences) == 0 || slices.Contains(c.Audiences, ""):
		return nil, errkind.New(errkind.Invalid, "make token verifier: audiences are required, and none may be empty: "+
			"a token for anybody else would do")
	}
	if err := checkKeysURL(c.KeysURL); err != nil {
		return nil, err
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	for _, d := range []struct {
		of  *time.Duration
		def time.Duration
	}{
		{&c.Skew, DefaultSkew},
		{&c.MaxAge, DefaultMaxAge},
		{&c.RefreshEvery, DefaultRefreshEvery},
		{&c.KeysFresh, DefaultKeysFresh},
		{&c.KeysTrusted, DefaultKeysTrusted},
		{&c.Timeout, DefaultTimeout},
	} {
		if *d.of <= 0 {
			*d.of = d.def
		}
	}
	c.KeysTrusted = max(c.KeysTrusted, c.KeysFresh)
	return &Verifier{c: c, keys: newKeyCache(c)}, nil
}

// checkKeysURL lets https through, and http to this machine. The keys decide who is let in: whoever could change them on
// their way could send anything.
func checkKeysURL(raw string) error {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" {
		return errkind.New(errkind.Invalid, "make token verifier: the URL of the keys must be https://HOST/PATH")
	}
	ip := net.ParseIP(u.Hostname())
	local := u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
	if u.Scheme != "https" && (u.Scheme != "http" || !local) {
		return errkind.New(errkind.Invalid, "make token verifier: the URL of the keys, at %s, must be https", u.Host)
	}
	return nil
}

// Reasons of refusal.
const (
	Malformed  refuse.Reason = "malformed token"
	Algorithm  refuse.Reason = "token algorithm"
	Issuer     refuse.Reason = "token issuer"
	Audience   refuse.Reason = "token audience"
	Expired    refuse.Reason = "token expired"
	NotYet     refuse.Reason = "token not yet valid"
	TooOld     refuse.Reason = "token too old"
	UnknownKey refuse.Reason = "token key unknown"
	Signature  refuse.Reason = "token signature"
	KeysDown   refuse.Reason = "keys not available"
)

// maxToken is the bytes of a token that are looked at; Entra's have 2 KB.
const maxToken = 8 << 10

// algorithm is the only one: what Google and Entra sign with. A list of them is how "none" and HS256 with a public key
// for its secret get in.
const algorithm = jose.RS256

// Verify checks the value of an Authorization header: "Bearer TOKEN".
func (v *Verifier) Verify(ctx context.Context, authorization string) (Claims, error) {
	scheme, raw, _ := strings.Cut(strings.TrimSpace(authorization), " ")
	raw = strings.TrimSpace(raw)
	switch {
	case !strings.EqualFold(scheme, "Bearer") || raw == "":
		return Claims{}, refuse.New(errkind.Unauthenticated, refuse.NoToken, "verify token: there is no bearer token")
	case len(raw) > maxToken:
		return Claims{}, refuse.New(errkind.Unauthenticated, Malformed, "verify token: it has more than %d bytes", maxToken)
	}
	token, err := jwt.ParseSigned(raw, []jose.SignatureAlgorithm{algorithm})
	switch {
	case errors.As(err, new(*jose.ErrUnexpectedSignatureAlgorithm)):
		return Claims{}, refuse.New(errkind.Unauthenticated, Algorithm, "verify token: it is not signed with %s", algorithm)
	case err != nil || len(token.Headers) != 1: // err may hold a part of the token
		return Claims{}, refuse.New(errkind.Unauthenticated, Malformed, "verify token: it is not a signed token")
	}
	// What costs nothing is first: only a token that could be good may make us fetch keys.
	var unverified, verified payload
	if err := token.UnsafeClaimsWithoutVerification(&unverified); err != nil {
		return Claims{}, refuse.New(errkind.Unauthenticated, Malformed, "verify token: its claims can't be read")
	}
	if err := v.check(unverified); err != nil {
		return Claims{}, err
	}
	key, err := v.keys.key(ctx, token.Headers[0].KeyID)
	if err != nil {
		return Claims{}, err
	}
	if err := token.Claims(key, &verified); err != nil {
		return Claims{}, refuse.New(errkind.Unauthenticated, Signature, "verify token: its signature is not right")
	}
	if err := v.check(verified); err != nil { // what was signed, not what was read before
		return Claims{}, err
	}
	return verified.claims(), nil
}

// check looks at all that does not depend on the signature.
func (v *Verifier) check(p payload) error {
	refused := func(reason refuse.Reason, format string, args ...any) error {
		return refuse.New(errkind.Unauthenticated, reason, "verify token: "+format, args...)
	}
	now := v.c.Now()
	switch {
	case !slices.Contains(v.c.Issuers, p.Issuer):
		return refused(Issuer, "its issuer is none of %q", v.c.Issuers)
	case !slices.ContainsFunc(v.c.Audiences, p.Audience.Contains):
		return refused(Audience, "its audience is none of %q", v.c.Audiences)
	case p.Expiry == nil || p.IssuedAt == nil:
		return refused(Malformed, "it does not say when it was issued and when it expires")
	case now.Add(-v.c.Skew).After(p.Expiry.Time()):
		return refused(Expired, "it is expired")
	case p.NotBefore != nil && now.Add(v.c.Skew).Before(p.NotBefore.Time()), now.Add(v.c.Skew).Before(p.IssuedAt.Time()):
		return refused(NotYet, "it is not yet valid: compare the clocks")
	case now.Sub(p.IssuedAt.Time()) > v.c.MaxAge+v.c.Skew:
		return refused(TooOld, "it was issued more than %s ago", v.c.MaxAge)
	}
	return nil
}
