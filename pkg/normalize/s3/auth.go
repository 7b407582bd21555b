package s3

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"strings"
)

// tokens compares shared secrets without telling by its time how much of one was right, or which.
type tokens [][sha256.Size]byte

func newTokens(secrets []string) tokens {
	var t tokens
	for _, s := range secrets {
		t = append(t, sha256.Sum256([]byte(s)))
	}
	return t
}

// allow reports whether a request shows one of the tokens.
func (t tokens) allow(r *http.Request) bool {
	ok := 0
	for _, shown := range presented(r) {
		sum := sha256.Sum256([]byte(shown))
		for _, want := range t {
			ok |= subtle.ConstantTimeCompare(sum[:], want[:])
		}
	}
	return ok == 1
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
	if strings.Contains(r.URL.RawQuery, "token=") {
		if q := r.URL.Query().Get("token"); q != "" {
			out = append(out, q)
		}
	}
	return out
}
