package azblob

import (
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
)

// Limits of a blob's name.
const (
	maxKeyUnits = 1024 // UTF-16 code units: what .NET, in which the limit is written, calls characters
	maxSegments = 254
)

// checkKey refuses a key that no blob can have, before it is sent: the service would refuse it with a text that doesn't say why,
// or store it under another name, so that two keys become one object.
func checkKey(key string) error {
	if !utf8.ValidString(key) {
		return driver.RefuseKey("Azure can't hold the key %q: it is not UTF-8", key)
	}
	if n := len(utf16.Encode([]rune(key))); n > maxKeyUnits {
		return driver.RefuseKey("Azure can't hold the key: it has %d characters, the limit is %d", n, maxKeyUnits)
	}
	if i := strings.IndexFunc(key, notInKeys); i >= 0 {
		r, _ := utf8.DecodeRuneInString(key[i:])
		return driver.RefuseKey("Azure can't hold the key %q: a blob's name can't have the character %U; rename the object", key, r)
	}
	segments := 0
	for segment := range strings.SplitSeq(key, "/") {
		segments++
		if strings.HasSuffix(segment, ".") {
			return driver.RefuseKey("Azure can't hold the key %q: it drops dots at the end of a name or of a part of its path; "+
				"rename the object", key)
		}
	}
	if segments > maxSegments {
		return driver.RefuseKey("Azure can't hold the key: it has %d parts between slashes, the limit is %d", segments, maxSegments)
	}
	return nil
}

// notInKeys: control characters and noncharacters are refused, and a backslash becomes a slash.
func notInKeys(r rune) bool {
	return r < ' ' || r >= 0x7f && r <= 0x9f || r == '\\' || r&0xfffe == 0xfffe || r >= 0xfdd0 && r <= 0xfdef
}
