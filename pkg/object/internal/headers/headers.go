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

// Encode makes a header value of any text, for servers that answer text that is not ASCII in RFC 2047. A value that would be
// read back as something else is encoded, too; so are spaces at the ends, which HTTP cuts off.
func Encode(v string) string {
	if untold(v) || Decode(v) != v {
		return Word(v)
	}
	return v
}

// EncodeWord makes a header value of any text, for servers that give back what they were given. It is never empty.
func EncodeWord(v string) string {
	if v == "" || untold(v) || DecodeWord(v) != v {
		return Word(v)
	}
	return v
}

// untold tells whether a header would not give v back.
func untold(v string) bool { return strings.TrimSpace(v) != v || !Printable(v) }

// Printable tells whether v is printable ASCII.
func Printable(v string) bool { return strings.IndexFunc(v, notPrintable) < 0 }

func notPrintable(r rune) bool { return r < ' ' || r > '~' }

// Word is RFC 2047 "B" in one word. (mime's encoder leaves ASCII alone and splits at 75 characters; both would lose
// what has to be kept here. Decoders don't mind long words.)
func Word(v string) string {
	return "=?UTF-8?B?" + base64.StdEncoding.EncodeToString([]byte(v)) + "?="
}

// Decode gives back what Encode was given, and text that is not ASCII in any form of RFC 2047, which is how S3 answers it. A
// word that holds what could be told as it is was made by a user, and is the value itself.
func Decode(v string) string {
	if !strings.Contains(v, "=?") {
		return v
	}
	var d mime.WordDecoder
	if s, err := d.DecodeHeader(v); err == nil && s != v && Encode(s) != s {
		return s
	}
	return v
}

// DecodeWord gives back what EncodeWord or Word was given, and every other text as it is.
func DecodeWord(v string) string {
	var d mime.WordDecoder
	if s, err := d.Decode(v); err == nil && Word(s) == v {
		return s
	}
	return v
}
