package s3

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/bucketmesh/bucketmesh/pkg/event"
	"github.com/bucketmesh/bucketmesh/pkg/normalize"
)

// record is one element of Records. Fields that are not listed are ignored: the minor version may add some.
type record struct {
	EventVersion     string `json:"eventVersion"`
	EventTime        string `json:"eventTime"`
	EventName        string `json:"eventName"`
	ResponseElements struct {
		RequestID string `json:"x-amz-request-id"`
	} `json:"responseElements"`
	S3 struct {
		Bucket struct {
			Name string `json:"name"`
		} `json:"bucket"`
		Object recordObject `json:"object"`
	} `json:"s3"`
	LifecycleEventData struct {
		TransitionEventData struct {
			DestinationStorageClass string `json:"destinationStorageClass"`
		} `json:"transitionEventData"`
	} `json:"lifecycleEventData"`
	IntelligentTieringEventData struct {
		DestinationAccessTier string `json:"destinationAccessTier"`
	} `json:"intelligentTieringEventData"`
}

type recordObject struct {
	Key         rawString `json:"key"`
	Size        decimal   `json:"size"`
	ETag        string    `json:"eTag"`
	VersionID   string    `json:"versionId"`
	Sequencer   string    `json:"sequencer"`
	ContentType string    `json:"contentType"`
}

// Resolve finds the store of a bucket that a message names.
type Resolve func(bucket string) (Store, bool)

// decodeRecord adds one record to m: as a change, as poison, or to what is ignored.
func decodeRecord(raw json.RawMessage, resolve Resolve, m *normalize.Message) {
	poison := func(format string, args ...any) {
		m.Poison = append(m.Poison, normalize.Poison{Raw: raw, Reason: fmt.Sprintf(format, args...)})
	}
	var r record
	if err := json.Unmarshal(raw, &r); err != nil {
		poison("decode record: %v", err)
		return
	}
	if major, _, _ := strings.Cut(r.EventVersion, "."); major != "2" {
		poison("record has eventVersion %q: only 2.x is understood", r.EventVersion)
		return
	}
	if r.EventName == "" {
		poison("record has no eventName")
		return
	}
	version := versionID(r.S3.Object.VersionID)
	name, c := classify(r.EventName, version)
	if c.ignore != "" {
		m.Ignore(c.ignore)
		return
	}
	store, ok := resolve(r.S3.Bucket.Name)
	if !ok {
		poison("bucket %q is not a replica of this server", r.S3.Bucket.Name)
		return
	}
	key := string(r.S3.Object.Key)
	if store.Dialect == AWS || store.Dialect == MinIO {
		decoded, err := url.QueryUnescape(key)
		if err != nil {
			poison("decode key %q: %v", key, err)
			return
		}
		key = decoded
	}
	f := facts{
		name: name, class: c, key: key, version: version, etag: r.S3.Object.ETag, size: r.S3.Object.Size,
		sequencer: r.S3.Object.Sequencer, contentType: r.S3.Object.ContentType,
		storageClass: r.LifecycleEventData.TransitionEventData.DestinationStorageClass,
		requestID:    r.ResponseElements.RequestID, eventTime: r.EventTime, native: raw,
	}
	if f.storageClass == "" {
		f.storageClass = r.IntelligentTieringEventData.DestinationAccessTier
	}
	f.addTo(m, store)
}

// facts are what records and EventBridge events say in common.
type facts struct {
	name                                       string
	class                                      class
	key, version, etag, sequencer, contentType string
	size                                       decimal
	storageClass, requestID, eventTime         string
	native                                     json.RawMessage
}

// addTo makes the change.
func (f facts) addTo(m *normalize.Message, store Store) {
	if f.key == "" && f.class.typ != event.Unrecognized {
		m.Poison = append(m.Poison, normalize.Poison{Raw: f.native, Reason: "record of " + f.name + " names no key"})
		return
	}
	if reason := normalize.BadKey(f.key); reason != "" {
		m.Poison = append(m.Poison, normalize.Poison{Raw: f.native, Reason: "record of " + f.name + " names a key " + reason})
		return
	}
	if store.Reserved(f.key) {
		m.Ignore("reserved key")
		return
	}
	c := normalize.Change{
		Type: f.class.typ, Source: store.Source, Name: f.name, Time: parseTime(f.eventTime),
		Object: event.Object{
			Provider: Provider, Bucket: store.Bucket, Version: f.version, ETag: strings.Trim(f.etag, `"`),
			ContentType: f.contentType, StorageClass: f.storageClass, Operation: operation(f.name),
			Change: f.class.change, DeleteMarker: f.class.marker, Lifecycle: f.class.lifecycle,
			RequestID: f.requestID, SequencerRaw: f.sequencer, EventTimeRaw: f.eventTime, Native: f.native,
		},
	}
	c.Object.SetKey(f.key)
	c.Object.ETagKind = etagKind(c.Object.ETag)
	writes := f.class.typ == event.ObjectWritten
	switch {
	case !writes && f.class.typ != event.ObjectMetadataUpdated: // what is gone has no size
	case store.Dialect == VersityGW && f.size == "0" && f.name != "ObjectCreated:Put": // what it says of copies and multipart uploads
	case store.Dialect == MinIO && f.size == "" && writes: // it leaves 0 out
		c.Object.Size = new("0")
	case f.size != "":
		c.Object.Size = new(string(f.size))
	}
	switch store.Dialect {
	case VersityGW: // counts from 1 after each start of the server: neither an order nor an identity
		c.Vague = true
	case RGW:
		c.Sequence = event.PairSequence(f.sequencer)
	default:
		c.Sequence = event.HexSequence(f.sequencer)
	}
	// MinIO gives each tagging of an object the sequencer of the put before: two of them must stay two.
	switch f.class.typ {
	case event.ObjectWritten, event.ObjectDeleted, event.ObjectVersionDeleted:
	default:
		c.Vague = true
	}
	m.Changes = append(m.Changes, c)
}

// operation is the short name: what follows the last colon, or all of it.
func operation(name string) string { return name[strings.LastIndexByte(name, ':')+1:] }

// versionID drops the "null" of buckets without versions.
func versionID(s string) string {
	if s == "null" {
		return ""
	}
	return s
}

// parseTime reads a provider's time; one that can't be read is no time, never ours.
func parseTime(s string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return time.Time{}
	}
	return t
}

// etagKind tells by its form what an ETag can be: 32 hex digits may be the MD5 (not with KMS), "…-N" is of N parts.
func etagKind(etag string) string {
	if etag == "" {
		return ""
	}
	hash, parts, multipart := strings.Cut(etag, "-")
	hexed := strings.IndexFunc(hash, func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'a' || r > 'f') && (r < 'A' || r > 'F')
	}) < 0
	switch {
	case multipart && hexed && hash != "" && parts != "" && strings.Trim(parts, "0123456789") == "":
		return "multipart"
	case !multipart && hexed && len(hash) == 32:
		return "single"
	}
	return "opaque"
}

// decimal is a count of bytes as an exact decimal string, "" if it is missing or can't be one. It comes as a number or
// (RGW) as a string, and does not go through a float: 2^53 + 1 stays what it is.
type decimal string

// UnmarshalJSON implements json.Unmarshaler.
func (d *decimal) UnmarshalJSON(b []byte) error {
	s := string(bytes.Trim(b, `"`))
	if n, err := strconv.ParseUint(s, 10, 63); err == nil {
		*d = decimal(strconv.FormatUint(n, 10))
	}
	return nil
}

// rawString is a JSON string whose bytes are kept even where they are not UTF-8, which encoding/json would replace:
// two keys must not become one.
type rawString string

// UnmarshalJSON implements json.Unmarshaler.
func (r *rawString) UnmarshalJSON(b []byte) error {
	if utf8.Valid(b) {
		return json.Unmarshal(b, (*string)(r))
	}
	if len(b) < 2 || b[0] != '"' {
		return fmt.Errorf("a string was expected")
	}
	var out strings.Builder
	for rest := b[1 : len(b)-1]; len(rest) > 0; {
		// Escapes are ASCII, so that a cut before a byte that is not UTF-8 never splits one.
		n := 0
		for n < len(rest) {
			c, size := utf8.DecodeRune(rest[n:])
			if c == utf8.RuneError && size == 1 {
				break
			}
			n += size
		}
		var part string
		if err := json.Unmarshal(append(append([]byte{'"'}, rest[:n]...), '"'), &part); err != nil {
			return err
		}
		out.WriteString(part)
		if n < len(rest) {
			out.WriteByte(rest[n])
			n++
		}
		rest = rest[n:]
	}
	*r = rawString(out.String())
	return nil
}
