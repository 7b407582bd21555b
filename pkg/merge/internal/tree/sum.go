package tree

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"slices"
	"strings"
	"unicode/utf8"
)

func sumScalar(t json.Token, raw []byte) Sum {
	if s, ok := t.(string); ok {
		return sha256.Sum256([]byte("s" + exact(s, raw)))
	}
	return sha256.Sum256(append([]byte("l"), raw...))
}

// exact is a string without its escapes. A string with half of a surrogate pair is none of Unicode's: all of them would be
// read as the same, so it is its text that counts, behind a byte that no other string has.
func exact(s string, raw []byte) string {
	if strings.ContainsRune(s, utf8.RuneError) && bytes.Contains(bytes.ToLower(raw), []byte(`\ud`)) {
		return "\xff" + string(raw)
	}
	return s
}

func sumObject(members []Member) Sum {
	sorted := slices.Clone(members)
	slices.SortFunc(sorted, func(a, b Member) int { return strings.Compare(a.Name, b.Name) })
	h := sha256.New()
	h.Write([]byte("o"))
	for _, m := range sorted {
		h.Write(binary.AppendUvarint(nil, uint64(len(m.Name))))
		h.Write([]byte(m.Name))
		h.Write(m.Value.Sum[:])
	}
	return Sum(h.Sum(nil))
}

func sumArray(items []*Node) Sum {
	h := sha256.New()
	h.Write([]byte("a"))
	for _, n := range items {
		h.Write(n.Sum[:])
	}
	return Sum(h.Sum(nil))
}

// Pointer is the JSON pointer (RFC 6901) of a path; "" is the whole document.
func Pointer(path []string) string {
	var b strings.Builder
	for _, name := range path {
		b.WriteByte('/')
		name = strings.TrimPrefix(name, "\xff")
		b.WriteString(strings.ReplaceAll(strings.ReplaceAll(name, "~", "~0"), "/", "~1"))
	}
	return b.String()
}
