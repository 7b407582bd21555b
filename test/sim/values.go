package main

import (
	"crypto/md5" //nolint:gosec // as an S3 server computes its ETags
	"encoding/hex"
	"strconv"
	"strings"
)

// A value is what users make of an object: bytes and metadata, each by a number. Values are numbered as well; 0 is none.
type value struct{ bytes, meta int }

// metaKey is the name of the users' metadata.
const metaKey = "m"

// valueOf is the number of a value, a new one if need be.
func (w *world) valueOf(v value) int {
	for i := 1; i < len(w.values); i++ {
		if w.values[i] == v {
			return i
		}
	}
	w.values = append(w.values, v)
	return len(w.values) - 1
}

// encode gives contents bytes: of one length, so that no comparison ends early, or of several.
func (w *world) encode(bytes int) string {
	s := "content " + strconv.Itoa(100+bytes)
	if w.p.sizes {
		s += strings.Repeat(".", bytes%3)
	}
	return s
}

func (w *world) digest(bytes int) string {
	if d := w.digests[bytes]; d != "" {
		return d
	}
	sum := md5.Sum([]byte(w.encode(bytes))) //nolint:gosec // as an S3 server computes its ETags
	w.digests[bytes] = hex.EncodeToString(sum[:])
	return w.digests[bytes]
}

// decode is the value that is written at a replica. Only a user and a merge may make a new one: any other mixture is as bad as a loss.
func (w *world) decode(replica string, raw []byte, meta map[string]string) int {
	n, err := strconv.Atoi(strings.TrimRight(strings.TrimPrefix(string(raw), "content "), "."))
	v := value{bytes: n - 100}
	if err == nil && meta[metaKey] != "" {
		v.meta, err = strconv.Atoi(meta[metaKey])
	}
	for i := 1; err == nil && i < len(w.values); i++ {
		if w.values[i] == v {
			return i
		}
	}
	if k := w.running; err == nil && k != nil && k.writing[replica] != nil && len(k.writing[replica].Sources) > 1 {
		w.ops = append(w.ops, userOp{value: w.valueOf(v), past: w.truth[k.writing[replica].ID], merged: true})
		w.logf("  op %d is a merge: value %d", len(w.ops)-1, len(w.values)-1)
		return len(w.values) - 1
	}
	w.fail("T torn: nobody wrote the bytes %q with the metadata %q", raw, meta[metaKey])
	return 0
}
