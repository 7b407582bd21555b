package httpin

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"strings"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
)

// Tokens compares shared secrets without telling by its time how much of one was right, or which.
type Tokens [][sha256.Size]byte

// NewTokens prepares secrets that CheckTokens finds good.
func NewTokens(secrets []string) Tokens {
	var t Tokens
	for _, s := range secrets {
		t = append(t, sha256.Sum256([]byte(s)))
	}
	return t
}

// Allow reports whether a request shows one of the tokens.
func (t Tokens) Allow(r *http.Request) bool {
	ok := 0
	for _, shown := range presented(r) {
		sum := sha256.Sum256([]byte(shown))
		for _, want := range t {
			ok |= subtle.ConstantTimeCompare(sum[:], want[:])
		}
	}
	return ok == 1
}

// CheckTokens reports what is wrong with the secrets of a store. Errors: Invalid.
func CheckTokens(store string, secrets []string) error {
	for _, s := range secrets {
		if strings.TrimSpace(s) == "" {
			return errkind.New(errkind.Invalid, "store %s: an empty token would let everybody in", store)
		}
	}
	return nil
}

// presented lists what a request shows, in all places where senders can put a secret.
func presented(r *http.Request) []string {
	var out []string
	if auth := strings.TrimSpace(r.Header.Get("Authorization")); auth != "" {
		out = append(out, auth)
		// MinIO puts "Bearer " before an auth_token of one word, and sends one of two words as it is.
		if _, word, ok := strings.Cut(auth, " "); ok {
			out = append(out, strings.TrimSpace(word))
		}
		// versitygw and RGW know nothing but a URL, which can hold a user and a password.
		if _, password, ok := r.BasicAuth(); ok && password != "" {
			out = append(out, password)
		}
	}
	if key := r.Header.Get("X-Api-Key"); key != "" {
		out = append(out, key)
	}
	if r.URL.RawQuery == "" {
		return out
	}
	query := r.URL.Query()
	for _, name := range []string{"token", "code"} { // code is what webhooks in Azure call it
		if q := query.Get(name); q != "" {
			out = append(out, q)
		}
	}
	return out
}
