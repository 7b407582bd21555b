package azure_test

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/bucketmesh/bucketmesh/pkg/normalize/azure"
	"github.com/bucketmesh/bucketmesh/pkg/normalize/oidc"
)

const (
	tenant   = "72f988bf-0000-4000-8000-2d7cd011db47"
	audience = "api://bucketmesh-webhook"
)

var now = time.Date(2026, 11, 20, 18, 0, 0, 0, time.UTC)

// entra stands in for Microsoft Entra ID: its key document and its tokens.
type entra struct {
	key  *rsa.PrivateKey
	url  string
	down atomic.Bool
}

func newEntra(t testing.TB) *entra {
	t.Helper()
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	e := &entra{key: k}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if e.down.Load() {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		set := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: &k.PublicKey, KeyID: "k1", Use: "sig"}}}
		if err := json.NewEncoder(w).Encode(set); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(server.Close)
	e.url = server.URL
	return e
}

func (e *entra) verifier(t testing.TB) *oidc.Verifier {
	t.Helper()
	v, err := oidc.New(oidc.Config{
		Issuers: oidc.EntraIssuers(tenant), Audiences: []string{audience}, KeysURL: e.url, Now: func() time.Time { return now },
	})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// claims of a token as Event Grid shows it, of version 1.
func claims() map[string]any {
	return map[string]any{
		"iss": "https://sts.windows.net/" + tenant + "/", "aud": audience, "appid": azure.EventGridApp, "tid": tenant,
		"iat": now.Add(-time.Minute).Unix(), "nbf": now.Add(-time.Minute).Unix(), "exp": now.Add(time.Hour).Unix(),
	}
}

func (e *entra) token(t testing.TB, key any, alg jose.SignatureAlgorithm, kid string, change map[string]any) string {
	t.Helper()
	c := claims()
	for name, value := range change {
		if c[name] = value; value == nil {
			delete(c, name)
		}
	}
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, (&jose.SignerOptions{}).WithHeader("kid", kid))
	if err != nil {
		t.Fatal(err)
	}
	token, err := jwt.Signed(s).Claims(c).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func (e *entra) good(t testing.TB) string { return e.token(t, e.key, jose.RS256, "k1", nil) }
