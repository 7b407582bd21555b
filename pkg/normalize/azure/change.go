package azure

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"

	"github.com/bucketmesh/bucketmesh/pkg/event"
	"github.com/bucketmesh/bucketmesh/pkg/normalize"
)

// data is the data of an event of Azure Storage. Fields that are not listed are ignored.
type data struct {
	API            string      `json:"api"`
	RequestID      string      `json:"requestId"` // what the writer was told in x-ms-request-id
	ETag           string      `json:"eTag"`      // with or without quotes
	ContentType    string      `json:"contentType"`
	ContentLength  json.Number `json:"contentLength"`
	AccessTier     string      `json:"accessTier"`
	URL            string      `json:"url"`
	SourceURL      string      `json:"sourceUrl"`
	DestinationURL string      `json:"destinationUrl"`
	Sequencer      string      `json:"sequencer"`
}

// decodeRecord adds one event to m: as changes, as poison, or to what is ignored.
func decodeRecord(raw json.RawMessage, at Account, m *normalize.Message) {
	poison := func(format string, args ...any) {
		m.Poison = append(m.Poison, normalize.Poison{Raw: raw, Reason: fmt.Sprintf(format, args...)})
	}
	r, err := parse(raw)
	if err != nil {
		poison("%v", err)
		return
	}
	if _, c := classify(r.EventType, ""); c.ignore != "" { // their data is of other forms, and some have another topic
		m.Ignore(c.ignore)
		return
	}
	var d data
	if err := json.Unmarshal(r.Data, &d); err != nil {
		poison("decode data of %s: %v", r.EventType, err)
		return
	}
	name, c := classify(r.EventType, d.API)
	switch account, ok := accountOf(r.Topic); {
	case c.ignore != "":
		m.Ignore(c.ignore)
		return
	case c.typ == "":
		poison("event type %q is not one of Azure Storage", r.EventType)
		return
	case r.ID == "":
		poison("event has no id")
		return
	case !ok:
		poison("topic %q is no storage account", r.Topic)
		return
	case account != at.name:
		poison("storage account %q is not that of the replica: its subscription posts to the wrong path", account)
		return
	}
	container, key, ok := blobOf(r.Subject)
	if !ok {
		poison("subject %q of %s names no blob", r.Subject, r.EventType)
		return
	}
	f := facts{record: r, data: d, name: name, class: c, native: raw}
	f.addTo(m, at, container, key)
}

// facts are what an event says.
type facts struct {
	record record
	data   data
	name   string // of the type, without its prefix
	class  class
	native json.RawMessage
}

// addTo adds what happened to the blob (or directory) of that container and name.
func (f facts) addTo(m *normalize.Message, at Account, container, key string) {
	url := f.data.URL
	if url == "" {
		url = f.data.DestinationURL
	}
	whole, ok := restore(key, url)
	if !ok { // some name that begins like this one
		f.class = class{typ: event.PrefixChanged}
		whole = key[:strings.LastIndexByte(key[:strings.Index(key, lost)], '/')+1]
	} else if f.class.typ == event.PrefixChanged {
		whole = directory(whole)
	}
	if f.data.SourceURL == "" || !ok {
		f.add(m, at, f.class, container, whole, nil)
		return
	}
	fromContainer, from, ok := sourceOf(f.data.SourceURL, f.data.DestinationURL, key)
	switch {
	case !ok:
		m.Poison = append(m.Poison, normalize.Poison{Raw: f.native, Reason: fmt.Sprintf("sourceUrl %q names no blob", f.data.SourceURL)})
		return
	case badKey(from) != "":
		m.Poison = append(m.Poison, normalize.Poison{Raw: f.native, Reason: "sourceUrl names a key " + badKey(from)})
		return
	case f.class.typ == event.PrefixChanged:
		from = directory(from)
	}
	if fromContainer == container && !at.reserved(container, from) && !at.reserved(container, whole) {
		f.add(m, at, f.class, container, whole, &event.Rename{From: from, To: whole})
		return
	}
	// A move between containers is two sources, so an event for each. So is one in or out of what is reserved, where only one of
	// the two names is of interest.
	there, here := f.class, f.class
	if f.class.typ == event.ObjectRenamed {
		there.typ, here.typ = event.ObjectDeleted, event.ObjectWritten
	}
	f.add(m, at, there, fromContainer, from, nil)
	f.add(m, at, here, container, whole, nil)
}

// directory is the prefix of what is in a directory.
func directory(name string) string { return strings.TrimSuffix(name, "/") + "/" }

// add makes a change.
func (f facts) add(m *normalize.Message, at Account, c class, container, key string, rename *event.Rename) {
	store, ok := at.stores[container]
	if !ok { // a subscription is of the whole account, unless it has a filter
		m.Ignore("another container")
		return
	}
	if reason := badKey(key); reason != "" {
		m.Poison = append(m.Poison, normalize.Poison{Raw: f.native, Reason: "event " + f.name + " names a key " + reason})
		return
	}
	if store.Reserved(key) {
		m.Ignore("reserved key")
		return
	}
	operation := f.data.API
	if operation == "" {
		operation = f.name
	}
	change := normalize.Change{
		Type: c.typ, Source: store.Source, Name: f.name + "/" + f.data.API, Time: parseTime(f.record.EventTime),
		Sequence: event.HexSequence(f.data.Sequencer), EventID: f.record.ID,
		Object: event.Object{
			Provider: Provider, Bucket: container, ETag: strings.Trim(f.data.ETag, `"`), ContentType: f.data.ContentType,
			StorageClass: f.data.AccessTier, Operation: operation, Change: c.change, Rename: rename,
			RequestID: f.data.RequestID, SequencerRaw: f.data.Sequencer, EventTimeRaw: f.record.EventTime, Native: f.native,
		},
	}
	change.Object.SetKey(key)
	if change.Object.ETag != "" {
		change.Object.ETagKind = "opaque"
	}
	switch c.typ {
	case event.ObjectWritten, event.ObjectMetadataUpdated: // what is gone has no size
		// Not through a float: 2^53 + 1 stays what it is.
		if n, err := strconv.ParseUint(f.data.ContentLength.String(), 10, 63); err == nil {
			change.Object.Size = new(strconv.FormatUint(n, 10))
		}
	}
	m.Changes = append(m.Changes, change)
}

// maxKey is the length of a name that Azure allows, in UTF-16.
const maxKey = 1024

// badKey says what is wrong with a key that no container can hold: such an event would only fail again and again further
// on. "" is nothing. JSON has no strings that are not UTF-8.
func badKey(key string) string {
	switch n := len(utf16.Encode([]rune(key))); {
	case n > maxKey:
		return fmt.Sprintf("of %d characters: Azure allows %d", n, maxKey)
	case strings.ContainsRune(key, 0):
		return "with a NUL"
	}
	return ""
}

// parseTime reads Azure's time; one that can't be read is no time, never ours.
func parseTime(s string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return time.Time{}
	}
	return t
}
