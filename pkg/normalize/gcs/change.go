package gcs

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/event"
	"github.com/bucketmesh/bucketmesh/pkg/normalize"
)

// resource is an object as the JSON API shows it. Fields that are not listed are ignored. Numbers may be JSON numbers or
// strings, and do not go through a float: 2^53 + 1 stays what it is.
type resource struct {
	Kind           string      `json:"kind"`
	Name           string      `json:"name"`
	Bucket         string      `json:"bucket"`
	Generation     json.Number `json:"generation"`
	Metageneration json.Number `json:"metageneration"`
	Size           json.Number `json:"size"`
	ContentType    string      `json:"contentType"`
	ETag           string      `json:"etag"`
	MD5Hash        string      `json:"md5Hash"`
	CRC32C         string      `json:"crc32c"`
	StorageClass   string      `json:"storageClass"`
}

// objectKind is the kind of a resource that is an object.
const objectKind = "storage#object"

// facts are what all channels say in common.
type facts struct {
	name        string // of the change
	bucket, key string
	generation  string
	links       *links // nil: the channel does not tell
	eventTime   string
	payload     []byte   // none is possible
	object      resource // what is in it
	native      json.RawMessage
}

// addTo adds the change to m: as a change, as poison, or to what is ignored.
func (f facts) addTo(m *normalize.Message, resolve Resolve) {
	c := classify(f.name, f.links)
	if c.ignore != "" {
		m.Ignore(c.ignore)
		return
	}
	poison := func(format string, args ...any) {
		m.Poison = append(m.Poison, normalize.Poison{Raw: m.Raw, Reason: fmt.Sprintf(format, args...)})
	}
	store, known := resolve(f.bucket)
	numbers := map[string]string{"generation": f.generation, "metageneration": f.object.Metageneration.String(), "size": f.object.Size.String()}
	for name, n := range numbers {
		if numbers[name] = decimal(n); n != "" && numbers[name] == "" {
			poison("%s of %q: %s %q is not a whole number", f.name, f.key, name, n)
			return
		}
	}
	generation, metageneration, size := numbers["generation"], numbers["metageneration"], numbers["size"]
	bad := normalize.BadKey(f.key)
	switch {
	case !known:
		poison("bucket %q is not a replica of this server", f.bucket)
		return
	case bad != "":
		poison("%s names a key %s", f.name, bad)
		return
	case c.typ != event.Unrecognized && f.key == "":
		poison("%s names no object", f.name)
		return
	case c.typ != event.Unrecognized && generation == "":
		poison("%s of %q names no generation", f.name, f.key)
		return
	case store.Reserved(f.key):
		m.Ignore("reserved key")
		return
	}
	// Nothing else tells one update of a generation from the next one: without payload the time, and where a payload has no
	// metageneration (fake-gcs-server, which rounds the time to seconds), what it says.
	vague, digest := c.typ == event.Unrecognized || !c.once && metageneration == "", ""
	if vague && len(f.payload) > 0 {
		sum := sha256.Sum256(f.payload)
		digest = hex.EncodeToString(sum[:])
	}
	change := normalize.Change{
		Type: c.typ, Source: store.Source, Name: f.name, Time: parseTime(f.eventTime), Once: c.once,
		Sequence: sequence(f.name, generation, metageneration),
		Vague:    vague, EventID: digest,
		Object: event.Object{
			Provider: Provider, Bucket: store.Bucket, Generation: generation, Metageneration: metageneration,
			ETag: f.object.ETag, ContentType: f.object.ContentType, StorageClass: f.object.StorageClass,
			Operation: operation(f.name), Change: c.change, EventTimeRaw: f.eventTime, Native: f.native,
		},
	}
	o := &change.Object
	o.SetKey(f.key)
	if o.ETag != "" {
		o.ETagKind = "opaque"
	}
	if f.links != nil {
		o.PreviousGeneration = f.links.overwrote
	}
	switch c.typ {
	case event.ObjectWritten, event.ObjectMetadataUpdated: // what is gone has no size
		if size != "" {
			o.Size = new(size)
		}
		o.Checksums = f.object.checksums()
	}
	if c.typ == event.ObjectWritten && f.links != nil {
		o.Replaced = new(f.links.overwrote != "")
	}
	m.Changes = append(m.Changes, change)
}

// checksums are those of the whole object, in base64 as the provider has them.
func (r resource) checksums() map[string]string {
	sums := make(map[string]string)
	if r.MD5Hash != "" { // composed objects have none
		sums["md5"] = r.MD5Hash
	}
	if r.CRC32C != "" {
		sums["crc32c"] = r.CRC32C
	}
	if len(sums) == 0 {
		return nil
	}
	return sums
}

// operation is the short name: FINALIZE.
func operation(name string) string { return strings.TrimPrefix(name, "OBJECT_") }

const (
	digits = 20                     // of an unsigned number of 64 bits
	last   = "99999999999999999999" // after all updates of a generation
)

// sequence is generation and metageneration, padded so that strings compare like the numbers. It is advisory:
// generations are unique, not increasing. A generation begins with metageneration 1, and nothing follows its end; so
// that the sequence, which is part of the id, is the same with and without payload.
func sequence(name, generation, metageneration string) string {
	switch name {
	case finalize:
		metageneration = "1"
	case archive, remove:
		metageneration = last
	}
	if generation == "" || metageneration == "" {
		return ""
	}
	return pad(generation) + "." + pad(metageneration)
}

func pad(n string) string { return strings.Repeat("0", max(0, digits-len(n))) + n }

// decimal is a whole number in its one form, "" if it is none.
func decimal(s string) string {
	n, err := strconv.ParseUint(s, 10, 63)
	if err != nil {
		return ""
	}
	return strconv.FormatUint(n, 10)
}

// parseTime reads the provider's time; one that can't be read is no time, never ours.
func parseTime(s string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return time.Time{}
	}
	return t
}
