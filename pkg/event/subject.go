package event

import (
	"strings"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
)

const upperHex = "0123456789ABCDEF"

// plain reports whether a byte of a key stands for itself in a subject: RFC 3986's unreserved characters and "/", which
// is kept so that prefix and suffix filters of triggers work on directories and extensions.
func plain(c byte) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		return true
	}
	return c == '-' || c == '.' || c == '_' || c == '~' || c == '/'
}

// EncodeSubject renders a key as a CloudEvents subject: percent-encoded after RFC 3986, "/" kept, ASCII only. A subject
// travels in an HTTP header, which the CloudEvents SDK neither encodes nor checks: a key with a newline would fail to
// send, and one with a space at its end would come out as another key.
func EncodeSubject(key string) string {
	n := 0
	for i := range len(key) {
		if !plain(key[i]) {
			n++
		}
	}
	if n == 0 {
		return key
	}
	var b strings.Builder
	b.Grow(len(key) + 2*n)
	for i := range len(key) {
		if c := key[i]; plain(c) {
			b.WriteByte(c)
		} else {
			b.Write([]byte{'%', upperHex[c>>4], upperHex[c&15]})
		}
	}
	return b.String()
}

// DecodeSubject exactly reverses EncodeSubject. It accepts nothing that EncodeSubject does not produce, so that two
// spellings of one key can't exist; other input is Invalid.
func DecodeSubject(subject string) (string, error) {
	var b strings.Builder
	b.Grow(len(subject))
	for i := 0; i < len(subject); i++ {
		c := subject[i]
		switch {
		case plain(c):
			b.WriteByte(c)
		case c == '%' && i+2 < len(subject):
			hi, lo := strings.IndexByte(upperHex, subject[i+1]), strings.IndexByte(upperHex, subject[i+2])
			if hi < 0 || lo < 0 || plain(byte(hi<<4|lo)) {
				return "", errkind.New(errkind.Invalid, "decode subject: bad escape %q at byte %d", subject[i:i+3], i)
			}
			b.WriteByte(byte(hi<<4 | lo))
			i += 2
		default:
			return "", errkind.New(errkind.Invalid, "decode subject: byte %#02x at %d is not encoded", c, i)
		}
	}
	return b.String(), nil
}
