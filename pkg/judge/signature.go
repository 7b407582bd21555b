package judge

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
)

// SignatureHeader has the signature of a body.
const SignatureHeader = "Bucketmesh-Signature"

// MaxAge is how old a signature may be, and how far ahead the other clock.
const MaxAge = 5 * time.Minute

// Sign is the signature of a body at a time.
func Sign(secret string, at time.Time, body []byte) string {
	t := strconv.FormatInt(at.Unix(), 10)
	return "t=" + t + ",v1=" + hex.EncodeToString(mac(secret, t, body))
}

func mac(secret, t string, body []byte) []byte {
	h := hmac.New(sha256.New, []byte(secret))
	h.Write([]byte(t + "."))
	h.Write(body)
	return h.Sum(nil)
}

// Verify checks a signature: Unauthenticated if it is not one of this body with this secret, or too old.
func Verify(secret string, now time.Time, signature string, body []byte) error {
	refused := func(why string) error {
		return errkind.New(errkind.Unauthenticated, "verify verdict: %s", why)
	}
	var t string
	var sums [][]byte // several, while a secret is being changed
	for part := range strings.SplitSeq(signature, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		switch name {
		case "t":
			t = value
		case "v1":
			if sum, err := hex.DecodeString(value); err == nil && len(sums) < 4 {
				sums = append(sums, sum)
			}
		}
	}
	seconds, err := strconv.ParseInt(t, 10, 64)
	if err != nil || len(sums) == 0 {
		return refused("the header " + SignatureHeader + " is missing, or is not of the form t=<unix seconds>,v1=<hex>")
	}
	want := mac(secret, t, body)
	ok := false
	for _, sum := range sums {
		ok = ok || hmac.Equal(sum, want)
	}
	if !ok {
		return refused("the signature is not of this body with the secret of the rule")
	}
	if age := now.Sub(time.Unix(seconds, 0)); age > MaxAge || age < -MaxAge {
		return refused("the signature is of " + time.Unix(seconds, 0).UTC().Format(time.RFC3339) + ", more than " + MaxAge.String() + " from now")
	}
	return nil
}
