// Package oidctest is an issuer of OpenID Connect tokens for tests: it signs tokens, and serves its keys as Google and
// Entra do, over real HTTP.
//
// Errors: the test fails. Concurrency: an Issuer may be used from many goroutines.
package oidctest

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
)

// What good tokens say.
const (
	Audience = "https://bucketmesh.example/gcs/us"
	Account  = "pusher@project.iam.gserviceaccount.com"
)

// KeyID is that of the first key.
const KeyID = "one"

// Issuer signs tokens, and serves its keys. Make one with New.
type Issuer struct {
	URL string // of the keys

	mu      sync.Mutex
	now     time.Time
	private map[string]*rsa.PrivateKey // by key id
	public  []any                      // what is in the key set besides
	answer  http.HandlerFunc           // instead of the key set; nil: the key set
	asked   int
}

// New makes an issuer with one key, which ends with the test.
func New(t testing.TB) *Issuer {
	t.Helper()
	i := &Issuer{now: time.Date(2026, 11, 20, 18, 0, 0, 0, time.UTC), private: make(map[string]*rsa.PrivateKey)}
	i.Rotate(t, KeyID)
	server := httptest.NewServer(i)
	t.Cleanup(server.Close)
	i.URL = server.URL + "/certs"
	return i
}

// Rotate makes the keys with these ids the only ones.
func (i *Issuer) Rotate(t testing.TB, ids ...string) {
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

// Now is the time by which tokens are made; it stands still.
func (i *Issuer) Now() time.Time {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.now
}

// Advance moves the time.
func (i *Issuer) Advance(d time.Duration) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.now = i.now.Add(d)
}

// AnswerWith is the answer to who asks for the keys; nil is the keys.
func (i *Issuer) AnswerWith(h http.HandlerFunc) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.answer = h
}

// Fetches is how often the keys were asked for.
func (i *Issuer) Fetches() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.asked
}

// Key is the private key with that id.
func (i *Issuer) Key(id string) *rsa.PrivateKey {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.private[id]
}

// Also puts more into the key set.
func (i *Issuer) Also(keys ...any) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.public = append(i.public, keys...)
}

// ServeHTTP serves the key set.
func (i *Issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
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

// Down is an answer.
func Down(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) }

// Claims are those of a good token of now, as Google's are.
func (i *Issuer) Claims() map[string]any {
	now := i.Now()
	return map[string]any{
		"iss": "https://accounts.google.com", "aud": Audience, "sub": "113774264463038321964", "azp": "113774264463038321964",
		"email": Account, "email_verified": true, "iat": now.Unix(), "exp": now.Add(time.Hour).Unix(),
	}
}

// Sign makes an Authorization header of claims, signed with the key of that id.
func (i *Issuer) Sign(t testing.TB, id string, claims map[string]any) string {
	t.Helper()
	return Sign(t, jose.RS256, i.Key(id), id, claims)
}

// Sign makes an Authorization header of claims, signed with any key.
func Sign(t testing.TB, alg jose.SignatureAlgorithm, key any, id string, claims map[string]any) string {
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

// With is a good token but for some claims; nil takes one away.
func (i *Issuer) With(t testing.TB, change map[string]any) string {
	t.Helper()
	c := i.Claims()
	for name, v := range change {
		if c[name] = v; v == nil {
			delete(c, name)
		}
	}
	return i.Sign(t, KeyID, c)
}
