package oidc_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/normalize/internal/refuse"
	"github.com/bucketmesh/bucketmesh/pkg/normalize/oidc"
	"github.com/bucketmesh/bucketmesh/pkg/normalize/oidc/oidctest"
)

func verifier(t testing.TB, i *oidctest.Issuer, change ...func(*oidc.Config)) *oidc.Verifier {
	t.Helper()
	c := oidc.Config{Issuers: oidc.GoogleIssuers(), Audiences: []string{oidctest.Audience}, KeysURL: i.URL, Now: i.Now}
	for _, f := range change {
		f(&c)
	}
	v, err := oidc.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestGoodTokens(t *testing.T) {
	i := oidctest.New(t)
	v := verifier(t, i)
	for name, change := range map[string]map[string]any{
		"as Google makes it":         nil,
		"the issuer without https":   {"iss": "accounts.google.com"},
		"more than one audience":     {"aud": []string{"https://other.example", oidctest.Audience}},
		"a clock that is ahead":      {"iat": i.Now().Add(50 * time.Second).Unix(), "nbf": i.Now().Add(50 * time.Second).Unix()},
		"expired a moment ago":       {"exp": i.Now().Add(-50 * time.Second).Unix()},
		"nearly as old as it may be": {"iat": i.Now().Add(-time.Hour).Unix()},
	} {
		c, err := v.Verify(t.Context(), i.With(t, change))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if c.Email != oidctest.Account || !c.EmailVerified || c.Subject != "113774264463038321964" || c.Application != "113774264463038321964" {
			t.Errorf("%s: %+v", name, c)
		}
		if err := c.RequireAccount([]string{"other@x", oidctest.Account}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if i.Fetches() != 1 {
		t.Errorf("the keys were fetched %d times", i.Fetches())
	}
	if _, err := v.Verify(t.Context(), strings.Replace(i.With(t, nil), "Bearer", "bearer ", 1)); err != nil {
		t.Error("schemes have no case:", err)
	}
}

// refused holds for a token that is not good.
func refused(t *testing.T, name string, err error, kind errkind.Kind, reason refuse.Reason) {
	t.Helper()
	if !errkind.Is(err, kind) || refuse.Of(err) != reason {
		t.Errorf("%s: %q of kind %v for the reason %q; want %v, %q", name, err, errkind.Of(err), refuse.Of(err), kind, reason)
	}
}

func TestTrapTokensThatAreNotGood(t *testing.T) {
	i := oidctest.New(t)
	v := verifier(t, i)
	now := i.Now()
	for name, c := range map[string]struct {
		change map[string]any
		reason refuse.Reason
	}{
		"wrong audience":                {map[string]any{"aud": "https://evil.example"}, oidc.Audience},
		"an audience with a slash more": {map[string]any{"aud": oidctest.Audience + "/"}, oidc.Audience},
		"an audience that begins alike": {map[string]any{"aud": oidctest.Audience + "2"}, oidc.Audience},
		"the audience in upper case":    {map[string]any{"aud": strings.ToUpper(oidctest.Audience)}, oidc.Audience},
		"no audience":                   {map[string]any{"aud": nil}, oidc.Audience},
		"an empty list of audiences":    {map[string]any{"aud": []string{}}, oidc.Audience},
		"an audience that is no string": {map[string]any{"aud": 7}, oidc.Malformed},
		"no issuer":                     {map[string]any{"iss": nil}, oidc.Issuer},
		"wrong issuer":                  {map[string]any{"iss": "https://login.microsoftonline.com/t/v2.0"}, oidc.Issuer},
		"look-alike: a slash more":      {map[string]any{"iss": "https://accounts.google.com/"}, oidc.Issuer},
		"look-alike: http":              {map[string]any{"iss": "http://accounts.google.com"}, oidc.Issuer},
		"look-alike: host that goes on": {map[string]any{"iss": "https://accounts.google.com.evil.example"}, oidc.Issuer},
		"look-alike: host before it":    {map[string]any{"iss": "https://evil-accounts.google.com"}, oidc.Issuer},
		"look-alike: user part":         {map[string]any{"iss": "https://accounts.google.com@evil.example"}, oidc.Issuer},
		"look-alike: upper case":        {map[string]any{"iss": "https://Accounts.Google.com"}, oidc.Issuer},
		"look-alike: another script":    {map[string]any{"iss": "https://accounts.goog\u04cfe.com"}, oidc.Issuer},
		"look-alike: a dot at the end":  {map[string]any{"iss": "accounts.google.com."}, oidc.Issuer},
		"look-alike: a space":           {map[string]any{"iss": " accounts.google.com"}, oidc.Issuer},
		"expired":                       {map[string]any{"exp": now.Add(-2 * time.Minute).Unix()}, oidc.Expired},
		"never expires":                 {map[string]any{"exp": nil}, oidc.Malformed},
		"not yet valid":                 {map[string]any{"nbf": now.Add(2 * time.Minute).Unix()}, oidc.NotYet},
		"issued in the future":          {map[string]any{"iat": now.Add(2 * time.Minute).Unix()}, oidc.NotYet},
		"no time of issue":              {map[string]any{"iat": nil}, oidc.Malformed},
		"replayed: old, and good for long": {map[string]any{
			"iat": now.Add(-62 * time.Minute).Unix(), "exp": now.Add(1000 * time.Hour).Unix()}, oidc.TooOld},
		"an e-mail that is no string": {map[string]any{"email": []string{oidctest.Account}}, oidc.Malformed},
	} {
		_, err := v.Verify(t.Context(), i.With(t, c.change))
		refused(t, name, err, errkind.Unauthenticated, c.reason)
	}
	if i.Fetches() != 0 {
		t.Errorf("tokens that can't be good made us fetch keys %d times", i.Fetches())
	}
}

func TestTrapForgedSignatures(t *testing.T) {
	i := oidctest.New(t)
	v := verifier(t, i)
	stranger, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	public := &i.Key("one").PublicKey
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	asPEM := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	good := i.With(t, nil)
	parts := strings.Split(strings.TrimPrefix(good, "Bearer "), ".")
	raw := func(header any, payload any, signature string) string {
		h, err := json.Marshal(header)
		if err != nil {
			t.Fatal(err)
		}
		p, err := json.Marshal(payload)
		if err != nil {
			t.Fatal(err)
		}
		return "Bearer " + base64.RawURLEncoding.EncodeToString(h) + "." + base64.RawURLEncoding.EncodeToString(p) + "." + signature
	}
	evil := i.Claims()
	evil["email"] = "evil@x"
	for name, c := range map[string]struct {
		header string
		reason refuse.Reason
	}{
		"another key of the same id":        {oidctest.Sign(t, jose.RS256, stranger, "one", i.Claims()), oidc.Signature},
		"claims of another token":           {raw(map[string]string{"alg": "RS256", "kid": "one"}, evil, parts[2]), oidc.Signature},
		"no signature":                      {"Bearer " + parts[0] + "." + parts[1] + ".", oidc.Signature},
		"alg none":                          {raw(map[string]string{"alg": "none", "kid": "one"}, i.Claims(), ""), oidc.Algorithm},
		"alg None":                          {raw(map[string]string{"alg": "None", "kid": "one"}, i.Claims(), ""), oidc.Algorithm},
		"no alg":                            {raw(map[string]string{"kid": "one"}, i.Claims(), parts[2]), oidc.Algorithm},
		"HS256 with the public key":         {oidctest.Sign(t, jose.HS256, asPEM, "one", i.Claims()), oidc.Algorithm},
		"HS256 with the public key's bytes": {oidctest.Sign(t, jose.HS256, der, "one", i.Claims()), oidc.Algorithm},
		"RS512, right key":                  {oidctest.Sign(t, jose.RS512, i.Key("one"), "one", i.Claims()), oidc.Algorithm},
		"PS256, right key":                  {oidctest.Sign(t, jose.PS256, i.Key("one"), "one", i.Claims()), oidc.Algorithm},
		"a critical header":                 {raw(map[string]any{"alg": "RS256", "kid": "one", "crit": []string{"x"}, "x": 1}, i.Claims(), parts[2]), oidc.Signature},
		"the token brings its own key": {raw(map[string]any{"alg": "RS256", "kid": "two", "jwk": jose.JSONWebKey{Key: &stranger.PublicKey}},
			i.Claims(), parts[2]), oidc.UnknownKey},
		"no key id":        {oidctest.Sign(t, jose.RS256, i.Key("one"), "", i.Claims()), oidc.UnknownKey},
		"unknown key":      {oidctest.Sign(t, jose.RS256, stranger, "two", i.Claims()), oidc.UnknownKey},
		"an encrypted one": {"Bearer a.b.c.d.e", oidc.Malformed},
		"two dots":         {"Bearer ..", oidc.Algorithm},
		"no token at all":  {"Bearer abc", oidc.Malformed},
		"much too long":    {"Bearer " + strings.Repeat("a", 9000), oidc.Malformed},
		"nothing":          {"", refuse.NoToken},
		"an empty bearer":  {"Bearer ", refuse.NoToken},
		"another scheme":   {strings.Replace(good, "Bearer", "Basic", 1), refuse.NoToken},
		"no scheme":        {strings.TrimPrefix(good, "Bearer "), refuse.NoToken},
	} {
		_, err := v.Verify(t.Context(), c.header)
		refused(t, name, err, errkind.Unauthenticated, c.reason)
		for _, part := range strings.FieldsFunc(c.header, func(r rune) bool { return r == '.' || r == ' ' }) {
			if len(part) > 6 && err != nil && strings.Contains(err.Error(), part) {
				t.Errorf("%s: a part of the token is in the error: %v", name, err)
			}
		}
	}
	if i.Fetches() != 1 {
		t.Errorf("the keys were fetched %d times", i.Fetches())
	}
}

func TestTrapRightTokenOfAnotherPrincipal(t *testing.T) {
	i := oidctest.New(t)
	v := verifier(t, i)
	for name, change := range map[string]map[string]any{
		"wrong e-mail":           {"email": "evil@project.iam.gserviceaccount.com"},
		"e-mail in upper case":   {"email": strings.ToUpper(oidctest.Account)},
		"an e-mail that goes on": {"email": oidctest.Account + ".evil.example"},
		"no e-mail":              {"email": nil},
		"unverified e-mail":      {"email_verified": false},
		"nothing of verified":    {"email_verified": nil},
	} {
		c, err := v.Verify(t.Context(), i.With(t, change))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		refused(t, name, c.RequireAccount([]string{oidctest.Account}), errkind.PermissionDenied, refuse.Principal)
	}
	refused(t, "nobody is allowed", oidc.Claims{EmailVerified: true}.RequireAccount([]string{""}), errkind.PermissionDenied, refuse.Principal)
}

func TestTokensOfEntra(t *testing.T) {
	i := oidctest.New(t)
	const tenant = "72f988bf-86f1-41af-91ab-2d7cd011db47"
	v := verifier(t, i, func(c *oidc.Config) { c.Issuers = oidc.EntraIssuers(tenant) })
	entra := func(version string, change map[string]any) map[string]any {
		c := map[string]any{"iss": "https://sts.windows.net/" + tenant + "/", "appid": "app", "azp": nil, "tid": tenant, "email": nil}
		if version == "2.0" {
			c["iss"], c["appid"], c["azp"] = "https://login.microsoftonline.com/"+tenant+"/v2.0", nil, "app"
		}
		maps.Copy(c, change)
		return c
	}
	for _, version := range []string{"1.0", "2.0"} {
		c, err := v.Verify(t.Context(), i.With(t, entra(version, nil)))
		if err != nil || c.Application != "app" || c.Tenant != tenant {
			t.Errorf("%s: %+v, %v", version, c, err)
		}
		if err := c.RequireApplication([]string{"app"}); err != nil {
			t.Error(err)
		}
		refused(t, version, c.RequireApplication([]string{"App"}), errkind.PermissionDenied, refuse.Principal)
	}
	for _, iss := range []string{
		"https://sts.windows.net/" + tenant, "https://sts.windows.net/other/", "https://login.microsoftonline.com/" + tenant + "/v2.0/",
		"https://login.microsoftonline.com/" + tenant + "/v1.0", "https://login.microsoftonline.com.evil.example/" + tenant + "/v2.0",
		"https://login.microsoftonline.com/common/v2.0", "https://accounts.google.com",
	} {
		_, err := v.Verify(t.Context(), i.With(t, entra("1.0", map[string]any{"iss": iss})))
		refused(t, iss, err, errkind.Unauthenticated, oidc.Issuer)
	}
	refused(t, "no application", oidc.Claims{}.RequireApplication([]string{""}), errkind.PermissionDenied, refuse.Principal)
}

func TestVerifierRefusesConfigurationsThatCannotWork(t *testing.T) {
	for name, change := range map[string]func(*oidc.Config){
		"no issuer":            func(c *oidc.Config) { c.Issuers = nil },
		"an empty issuer":      func(c *oidc.Config) { c.Issuers = []string{""} },
		"no audience":          func(c *oidc.Config) { c.Audiences = nil },
		"an empty audience":    func(c *oidc.Config) { c.Audiences = []string{""} },
		"no keys":              func(c *oidc.Config) { c.KeysURL = "" },
		"keys over http":       func(c *oidc.Config) { c.KeysURL = "http://keys.example/certs" },
		"keys over http by IP": func(c *oidc.Config) { c.KeysURL = "http://10.0.0.1/certs" },
		"look-alike loopback":  func(c *oidc.Config) { c.KeysURL = "http://127.0.0.1.evil.example/certs" },
		"keys in a file":       func(c *oidc.Config) { c.KeysURL = "file:///etc/keys" },
		"keys with a password": func(c *oidc.Config) { c.KeysURL = "https://a:s3cret@keys.example/certs" },
		"keys that are no URL": func(c *oidc.Config) { c.KeysURL = "https://s3cret\x7f/" },
	} {
		c := oidc.Config{Issuers: []string{"i"}, Audiences: []string{"a"}, KeysURL: oidc.GoogleKeysURL}
		change(&c)
		if _, err := oidc.New(c); !errkind.Is(err, errkind.Invalid) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, url := range []string{oidc.GoogleKeysURL, oidc.EntraKeysURL("t"), "http://localhost:1/x", "http://[::1]:1/x", "http://127.0.0.1:1/x"} {
		if _, err := oidc.New(oidc.Config{Issuers: []string{"i"}, Audiences: []string{"a"}, KeysURL: url}); err != nil {
			t.Errorf("%s: %v", url, err)
		}
	}
}
