// Package headers carries metadata values through HTTP headers: any text, in ASCII, and back unchanged.
//
// Providers differ in what they do to a value that isn't ASCII (S3 and MinIO answer it in RFC 2047 encoding, versitygw as it was
// sent, Azure refuses it): encoding it ourselves gives one form on all, which is also what an S3 user's tools read.
//
// There are no errors: what doesn't decode is its own text. The functions hold no state and may be called at the same time.
package headers

import (
	"encoding/base64"
	"mime"
	"strings"
)

// Encode makes a header value of any text. A value that already looks encoded is encoded too, or it would be read back
// as something else; so are spaces at the ends, which HTTP cuts off.
func Encode(v string) string {
	if strings.Contains(v, "=?") || strings.TrimSpace(v) != v || !Printable(v) {
		return Word(v)
	}
	return v
}

// Printable tells whether v is printable ASCII.
func Printable(v string) bool { return strings.IndexFunc(v, notPrintable) < 0 }

func notPrintable(r rune) bool { return r < ' ' || r > '~' }

// Word is RFC 2047 "B" in one word. (mime's encoder leaves ASCII alone and splits at 75 characters; both would lose
// what has to be kept here. Decoders don't mind long words.)
func Word(v string) string {
	return "=?UTF-8?B?" + base64.StdEncoding.EncodeToString([]byte(v)) + "?="
}

// Decode gives back what Encode or Word was given.
func Decode(v string) string {
	if !strings.Contains(v, "=?") {
		return v
	}
	var d mime.WordDecoder
	if s, err := d.DecodeHeader(v); err == nil {
		return s
	}
	return v
}
