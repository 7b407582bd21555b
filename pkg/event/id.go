package event

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"net/url"
)

// Identity is what makes one change of one object that change, and no other. Two deliveries of a change have equal
// identities; message ids, random numbers and the time of receipt have no place in it.
type Identity struct {
	Provider       string
	Store          string // the CloudEvents source, which holds the endpoint: bucket names alone collide
	Bucket         string
	Key            string // raw bytes
	Kind           string // event type
	Name           string // the provider's own name of the operation
	Version        string // version id or generation
	Metageneration string
	Sequence       string // sequencer, normalized where it can be
	// RequestID and EventTime are set only when Sequence does not identify the change: it is missing, starts again
	// with the server, or is shared with other changes of the same kind.
	RequestID string
	EventTime string
	// EventID is the provider's own id of the event, where each delivery of one event has the same (Azure Event Grid).
	EventID string
}

// ObjectID is the CloudEvents id of a change: the same for every delivery, also after a restart, and different for two
// changes. It is lower-case hex of SHA-256 over the length-prefixed fields.
func ObjectID(i Identity) string {
	fields := []string{i.Provider, i.Store, i.Bucket, i.Key, i.Kind, i.Name, i.Version, i.Metageneration, i.Sequence,
		i.RequestID, i.EventTime}
	if i.EventID != "" { // the ids of providers without one stay what they were
		fields = append(fields, i.EventID)
	}
	return digest(fields...)
}

// PartitionKey keeps the events of one key in one partition of a broker that has them, and so in order.
func PartitionKey(source, key string) string { return digest(source, key) }

// GroupSource is the CloudEvents source of events that a group's own services make.
func GroupSource(group string) string {
	return "https://bucketmesh.dev/groups/" + url.PathEscape(group)
}

// digest hashes fields with their lengths in front, so that no two lists of fields run together.
func digest(fields ...string) string {
	n := 0
	for _, f := range fields {
		n += 8 + len(f)
	}
	b := make([]byte, 0, n)
	for _, f := range fields {
		b = binary.BigEndian.AppendUint64(b, uint64(len(f)))
		b = append(b, f...)
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
