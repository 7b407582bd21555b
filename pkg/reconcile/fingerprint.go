package reconcile

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
	"github.com/bucketmesh/bucketmesh/pkg/reconcile/plan"
	"github.com/bucketmesh/bucketmesh/pkg/state"
	"github.com/bucketmesh/bucketmesh/pkg/version"
)

// Metadata keys with this prefix are ours. They are never propagated and never compared.
const (
	reservedMeta = "bucketmesh-"
	// MetaNonce carries the nonce of the intent under which we wrote an object.
	MetaNonce = reservedMeta + "nonce"
	// MetaOver carries the version id that our write was meant to replace, on a versioned bucket.
	MetaOver = reservedMeta + "over"
	// MetaPreserves marks a conflict copy with the id of the version that it preserves.
	MetaPreserves = reservedMeta + "preserves"
)

// Observe turns attributes into an observation.
func Observe(a *driver.Attrs) plan.Observation {
	return plan.Observation{
		Print: state.Fingerprint{
			Present: true, Tag: a.Tag, VersionID: a.VersionID, Metageneration: a.Metageneration,
			ModTime: unixNano(a.ModTime), MetaHash: MetaHash(a.Properties), Nonce: a.Metadata[MetaNonce],
		},
		Content: contentOf(a),
		Time:    unixNano(a.ModTime),
	}
}

// multipartETag is the MD5 of the parts' MD5s, and their number. ETags of other providers look otherwise.
var multipartETag = regexp.MustCompile(`^[0-9a-f]{32}-[0-9]+$`)

func contentOf(a *driver.Attrs) version.Content {
	c := version.Content{Size: a.Size, MD5: a.MD5, SHA256: a.SHA256}
	if multipartETag.MatchString(a.ETag) { // of S3: equal ones of equal size are equal bytes
		c.ETag = a.ETag
	}
	return c
}

func unixNano(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

// MetaHash is a hash of what users set on an object beside its bytes. Our own metadata is left out. The hash of no
// properties at all is "".
func MetaHash(p driver.Properties) string {
	user := UserProperties(p)
	if user.ContentType == "" && user.ContentEncoding == "" && user.ContentLanguage == "" && user.ContentDisposition == "" &&
		user.CacheControl == "" && user.Expires == "" && len(user.Metadata) == 0 && len(user.Tags) == 0 && len(user.Extra) == 0 {
		return ""
	}
	h := sha256.New()
	put := func(s string) {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(s)))
		h.Write(n[:])
		h.Write([]byte(s))
	}
	for _, s := range []string{
		user.ContentType, user.ContentEncoding, user.ContentLanguage, user.ContentDisposition, user.CacheControl, user.Expires,
	} {
		put(s)
	}
	parts := []map[string]string{user.Metadata, user.Tags}
	if len(user.Extra) > 0 { // the hashes of all other objects stay what they were
		parts = append(parts, user.Extra)
	}
	for _, m := range parts {
		for _, k := range slices.Sorted(maps.Keys(m)) {
			put(k)
			put(m[k])
		}
		put("") // a pair can't move from one map to the other unnoticed
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// UserProperties is p without what is ours.
func UserProperties(p driver.Properties) driver.Properties {
	if !hasReserved(p.Metadata) {
		return p
	}
	m := make(map[string]string, len(p.Metadata))
	for k, v := range p.Metadata {
		if !strings.HasPrefix(k, reservedMeta) {
			m[k] = v
		}
	}
	p.Metadata = m
	return p
}

func hasReserved(m map[string]string) bool {
	for k := range m {
		if strings.HasPrefix(k, reservedMeta) {
			return true
		}
	}
	return false
}

// with is p as we write it under a nonce.
func withMeta(p driver.Properties, key, value string) driver.Properties {
	p = UserProperties(p)
	m := make(map[string]string, len(p.Metadata)+1)
	maps.Copy(m, p.Metadata)
	m[key] = value
	p.Metadata = m
	return p
}
