package plan

import (
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/state"
	"github.com/bucketmesh/bucketmesh/pkg/version"
)

// Observation is what one replica answered when it was looked at.
type Observation struct {
	Print   state.Fingerprint
	Content version.Content // of a present object
	Time    int64           // when it was written, unix nanoseconds by the provider's clock; 0 if it did not say
	Expired bool            // it is absent, and a rule of the bucket is said to have removed it, which is nobody's delete
}

// Absent is the observation of an explicit "not found"; at is the time of the event that told of it, if any.
func Absent(at time.Time) Observation {
	if at.IsZero() {
		return Observation{}
	}
	return Observation{Time: at.UnixNano()}
}

// Unchanged reports whether seen is the state that the row remembers. An S3 ETag alone does not tell: it stays the same
// through a metadata-only edit. The answer to a PUT tells no modification time: then our nonce stands for it. A metageneration
// says nothing beyond the hash: GCS counts also what nobody synchronizes (another storage class, a hold, an ACL), and a
// lifecycle rule must not be a user who writes.
func Unchanged(known, seen state.Fingerprint) bool {
	if !known.Present || !seen.Present {
		return known.Present == seen.Present
	}
	if known.Tag != seen.Tag || known.MetaHash != seen.MetaHash || known.Nonce != seen.Nonce {
		return false
	}
	if known.VersionID != "" && seen.VersionID != "" {
		return known.VersionID == seen.VersionID
	}
	return known.ModTime == seen.ModTime || known.ModTime == 0 || seen.ModTime == 0
}
