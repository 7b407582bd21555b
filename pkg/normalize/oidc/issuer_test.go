package oidc_test

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/bucketmesh/bucketmesh/pkg/normalize/oidc"
)

const (
	audience = "https://bucketmesh.example/gcs/us"
	account  = "pusher@project.iam.gserviceaccount.com"
)

// issuer signs tokens, and serves its keys as Google and Entra do, over real HTTP.
type issuer struct {
	server *httptest.Server

	mu      sync.Mutex
	now     time.Time
	private map[string]*rsa.PrivateKey // by key id
	public  []any                      // what is in the key set besides
	answer  http.HandlerFunc           // instead of the key set; nil: the key set
	asked   int
}

func newIssuer(t testing.TB) *issuer {
	t.Helper()
	i := &issuer{now: time.Date(2026, 11, 20, 18, 0, 0, 0, time.UTC), private: make(map[string]*rsa.PrivateKey)}
	i.rotate(t, "one")
	i.server = httptest.NewServer(i)
	t.Cleanup(i.server.Close)
	return i
}

// rotate makes the keys with these ids the only ones.
func (i *issuer) rotate(t testing.TB, ids ...string) {
	t.Helper()
	keys := make(map[string]*rsa.PrivateKey)
	for _, id := range ids {
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			t.Fatal(err)
		}
		keys[id] = key
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.private = keys
}

func (i *issuer) clock() time.Time {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.now
}

func (i *issuer) advance(d time.Duration) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.now = i.now.Add(d)
}

func (i *issuer) answerWith(h http.HandlerFunc) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.answer = h
}

func (i *issuer) fetches() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.asked
}

// ServeHTTP serves the key set.
func (i *issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	i.mu.Lock()
	i.asked++
	answer := i.answer
	set := struct {
		Keys []any `json:"keys"`
	}{Keys: append([]any{}, i.public...)}
	for id, key := range i.private {
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: &key.PublicKey, KeyID: id, Algorithm: "RS256", Use: "sig"})
	}
	i.mu.Unlock()
	if answer != nil {
		answer(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(set); err != nil {
		panic(err)
	}
}

func down(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) }

// claims are those of a good token of now, as Google's are.
func (i *issuer) claims() map[string]any {
	now := i.clock()
	return map[string]any{
		"iss": "https://accounts.google.com", "aud": audience, "sub": "113774264463038321964", "azp": "113774264463038321964",
		"email": account, "email_verified": true, "iat": now.Unix(), "exp": now.Add(time.Hour).Unix(),
	}
}

// sign makes an Authorization header of claims, signed with the key of that id.
func (i *issuer) sign(t testing.TB, id string, claims map[string]any) string {
	t.Helper()
	i.mu.Lock()
	key := i.private[id]
	i.mu.Unlock()
	return sign(t, jose.RS256, key, id, claims)
}

func sign(t testing.TB, alg jose.SignatureAlgorithm, key any, id string, claims map[string]any) string {
	t.Helper()
	opts := (&jose.SignerOptions{}).WithType("JWT").WithHeader("kid", id)
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, opts)
	if err != nil {
		t.Fatal(err)
	}
	token, err := jwt.Signed(signer).Claims(claims).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return "Bearer " + token
}

// with is a good token but for some claims; nil takes one away.
func (i *issuer) with(t testing.TB, change map[string]any) string {
	t.Helper()
	c := i.claims()
	for name, v := range change {
		if c[name] = v; v == nil {
			delete(c, name)
		}
	}
	return i.sign(t, "one", c)
}

func (i *issuer) verifier(t testing.TB, change ...func(*oidc.Config)) *oidc.Verifier {
	t.Helper()
	c := oidc.Config{Issuers: oidc.GoogleIssuers(), Audiences: []string{audience}, KeysURL: i.server.URL + "/certs", Now: i.clock}
	for _, f := range change {
		f(&c)
	}
	v, err := oidc.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return v
}
