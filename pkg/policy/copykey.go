package policy

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"unicode/utf8"

	"github.com/bucketmesh/bucketmesh/pkg/version"
)

const (
	// CopyPrefix is where conflict copies are, in the bucket itself.
	CopyPrefix = ".conflicts/"

	// QuarantinePrefix is where objects are kept that a delete took away. It is below the prefix that no group takes part in.
	QuarantinePrefix = ".bucketmesh/quarantine/"

	maxKey        = 1024 // bytes, at all providers
	maxQuarantine = 512  // bytes: fits below the prefix of a replica, too
	maxID         = 128  // bytes of a version id that stays readable in the key of a copy
	escape        = "!"  // a byte that no provider and no URL gives a meaning to
	digest        = escape + "sha256-"
)

// CopyKey is the key under which a losing version of key is preserved: ".conflicts/<key>/<version id>", at most 1,024
// bytes. Different arguments give different keys.
//
// Segments that stores treat in ways of their own (empty ones, "." and "..") are written with a leading "!", as are
// segments that begin with "!". A key that is too long is cut between two characters and gets its SHA-256 as a further
// segment, which no escaped key can contain. A key that ends with "/" or is itself a conflict copy is a key like any other.
func CopyKey(key string, loser version.ID) string { return keyBelow(CopyPrefix, key, loser, maxKey) }

// QuarantineKey is the key under which a version of key is kept that a delete took away, as CopyKey, of at most 512 bytes.
func QuarantineKey(key string, taken version.ID) string {
	return keyBelow(QuarantinePrefix, key, taken, maxQuarantine)
}

func keyBelow(prefix, key string, id version.ID, most int) string {
	tail := "/" + segmentOf(id)
	name := escapeKey(key)
	if room := most - len(prefix) - len(tail); len(name) > room {
		sum := digest + hash(key)
		name = cut(name, room-len("/")-len(sum))
		if name != "" {
			name += "/"
		}
		name += sum
	}
	return prefix + name + tail
}

func escapeKey(key string) string {
	segments := strings.Split(key, "/")
	for i, s := range segments {
		if s == "" || s == "." || s == ".." || strings.HasPrefix(s, escape) {
			segments[i] = escape + s
		}
	}
	return strings.Join(segments, "/")
}

// cut shortens an escaped key to at most n bytes of whole characters, without an empty or dotted segment at the end.
func cut(name string, n int) string {
	for n > 0 && !utf8.RuneStart(name[n]) {
		n--
	}
	return strings.TrimRight(name[:n], "./")
}

// segmentOf is a version id as one segment. Ids are made of a DNS label, "@" and a number; anything else is hashed, not
// trusted.
func segmentOf(id version.ID) string {
	plain := id != "" && len(id) <= maxID && strings.Trim(string(id), ".") != ""
	for i := 0; plain && i < len(id); i++ {
		c := id[i]
		plain = c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("@~-_.", c) >= 0
	}
	if plain {
		return string(id)
	}
	return digest + hash(string(id))
}

func hash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}
