package azblob

import (
	"strconv"
	"strings"
)

// Metadata names are C# identifiers in Azure and header tokens everywhere else. What no identifier has is written as the byte's
// number: "content-hash" is "content_x2d_hash".

// expiresName holds the Expires property, which Azure has no place for. encodeName makes no such name of any key (it would
// write "_expires" as it is), so that it can't be a user's key of another provider.
const expiresName = "bucketmesh_x5f_expires"

// encodeName makes an identifier of a metadata key, in a way that decodeName undoes.
func encodeName(key string) string {
	var b strings.Builder
	for i := range len(key) {
		c := key[i]
		if letter(c) || digit(c) && i > 0 || c == '_' && !escapes(key[i:]) {
			b.WriteByte(c)
			continue
		}
		b.WriteString("_x" + hexDigits[c>>4:c>>4+1] + hexDigits[c&15:c&15+1] + "_")
	}
	return b.String()
}

// decodeName is the key of a metadata name. A name that encodeName would not have made is a user's own, and stays as it is;
// Azure ignores the case of names, keys are lower case.
func decodeName(name string) string {
	name = strings.ToLower(name)
	var b strings.Builder
	for i := 0; i < len(name); i++ {
		if escapes(name[i:]) && len(name) > i+4 && name[i+4] == '_' {
			if n, err := strconv.ParseUint(name[i+2:i+4], 16, 8); err == nil {
				b.WriteByte(byte(n))
				i += 4
				continue
			}
		}
		b.WriteByte(name[i])
	}
	if key := b.String(); encodeName(key) == name && strings.IndexFunc(key, notInNames) < 0 {
		return key
	}
	return name
}

// notInNames tells whether r is in no metadata key of any provider: an escape of it was not made by encodeName.
func notInNames(r rune) bool {
	return (r < 'a' || r > 'z') && (r < '0' || r > '9') && !strings.ContainsRune("-_.!#$%&'*+^`|~", r)
}

// escapes tells whether s begins like an escape. (What follows is not looked at: it may be the "_" of the next one.)
func escapes(s string) bool {
	return len(s) >= 4 && s[0] == '_' && s[1] == 'x' && hexDigit(s[2]) && hexDigit(s[3])
}

func letter(c byte) bool { return c >= 'a' && c <= 'z' }

func digit(c byte) bool { return c >= '0' && c <= '9' }

func hexDigit(c byte) bool { return digit(c) || c >= 'a' && c <= 'f' }

const hexDigits = "0123456789abcdef"
