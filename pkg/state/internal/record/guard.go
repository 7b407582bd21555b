package record

import (
	"encoding/json"
	"math"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/state"
)

// EncodeBrake is the document of a brake.
func EncodeBrake(b state.Brake) (string, error) {
	doc, err := json.Marshal(b)
	if err != nil {
		return "", errkind.New(errkind.Invalid, "encode delete brake: %w", err)
	}
	return string(doc), nil
}

// DecodeBrake is the brake of a document; no document is the brake of a group that never deleted anything.
func DecodeBrake(doc []byte) (b state.Brake, err error) {
	if len(doc) == 0 {
		return b, nil
	}
	if err := json.Unmarshal(doc, &b); err != nil {
		return b, errkind.New(errkind.Invalid, "decode delete brake: %w", err)
	}
	return b, nil
}

// EncodeRemoved is the document of a removed object.
func EncodeRemoved(r state.Removed) (string, error) {
	doc, err := json.Marshal(r)
	if err != nil {
		return "", errkind.New(errkind.Invalid, "encode removed object %q: %w", r.ID, err)
	}
	return string(doc), nil
}

// DecodeRemoved is the removed object of a document. The key comes from its column; see DecodeConflict.
func DecodeRemoved(key string, doc []byte) (r state.Removed, err error) {
	if err := json.Unmarshal(doc, &r); err != nil {
		return r, errkind.New(errkind.Invalid, "decode removed object of key %q: %w", key, err)
	}
	r.Key = key
	return r, nil
}

// LastRemoved keeps one record of each id, the last one; see LastConflicts.
func LastRemoved(all []state.Removed) []state.Removed {
	at := make(map[string]int, len(all))
	var out []state.Removed
	for _, r := range all {
		if i, ok := at[r.ID]; ok {
			out[i] = r
			continue
		}
		at[r.ID] = len(out)
		out = append(out, r)
	}
	return out
}

// Above is the least text that is greater than all that begin with a prefix; ok is false if there is none.
func Above(prefix string) (above string, ok bool) {
	b := []byte(prefix)
	for len(b) > 0 {
		if b[len(b)-1] < 0xff {
			b[len(b)-1]++
			return string(b), true
		}
		b = b[:len(b)-1]
	}
	return "", false
}

// Expiry is the time before which what a query looks for has expired, the end of time if it does not ask.
func Expiry(q state.RemovedQuery) int64 {
	if q.ExpiredBefore.IsZero() {
		return math.MaxInt64
	}
	return Nanos(q.ExpiredBefore)
}
