package event

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"

	cloudevents "github.com/cloudevents/sdk-go/v2/event"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
)

// SetKey stores a key that may not be valid UTF-8.
func (o *Object) SetKey(key string) {
	o.Key, o.KeyBase64 = key, ""
	if !utf8.ValidString(key) {
		o.Key = strings.ToValidUTF8(key, "\uFFFD")
		o.KeyBase64 = base64.StdEncoding.EncodeToString([]byte(key))
	}
}

// RawKey is the key as the provider has it, byte by byte. Errors: Invalid for a broken twin.
func (o *Object) RawKey() (string, error) {
	if o.KeyBase64 == "" {
		return o.Key, nil
	}
	b, err := base64.StdEncoding.DecodeString(o.KeyBase64)
	if err != nil {
		return "", errkind.New(errkind.Invalid, "decode key: %w", err)
	}
	return string(b), nil
}

// NewObject makes an object.*, prefix.changed or unrecognized event. The subject is the key of o; what the native
// record takes too much is cut, with a note in o.NativeNote, so that the event stays below MaxSize in structured JSON.
func NewObject(m Meta, o Object) (cloudevents.Event, error) {
	key, err := o.RawKey()
	if err != nil {
		return cloudevents.Event{}, err
	}
	m.Key = key
	cleanNative(&o)
	for {
		raw, err := marshal(&o)
		if err != nil {
			return cloudevents.Event{}, err
		}
		e, err := envelope(m, raw)
		if err != nil {
			return cloudevents.Event{}, err
		}
		// The attributes of an event are short; only large data needs the exact measure.
		if len(raw) < MaxSize/4 && len(e.Subject()) < MaxSize/4 {
			return e, nil
		}
		size, err := structuredSize(&e)
		if err != nil {
			return cloudevents.Event{}, err
		}
		if size < MaxSize {
			return e, nil
		}
		if len(o.Native) == 0 {
			return cloudevents.Event{}, errkind.New(errkind.Invalid,
				"make event: %d bytes without its native record, must be less than %d", size, MaxSize)
		}
		cutNative(&o, size-MaxSize+1)
	}
}

// maxNote is the bytes of a note that are kept: a reason may quote what a sender wrote, and must leave room for the record.
const maxNote = 2 << 10

// note adds to what is said of the native record: what a dead letter is one for must not be lost.
func note(o *Object, text string) {
	if o.NativeNote != "" {
		text = o.NativeNote + "; " + text
	}
	o.NativeNote = text
}

// cleanNative makes the native record something that JSON can hold, and shortens a note that is too long.
func cleanNative(o *Object) {
	if len(o.NativeNote) > maxNote {
		o.NativeNote = strings.ToValidUTF8(o.NativeNote[:maxNote], "") + "…"
	}
	if len(o.Native) == 0 {
		o.Native = nil
		return
	}
	native, changed := validUTF8(o.Native)
	if changed {
		note(o, "bytes that are not UTF-8 were replaced")
	}
	if !json.Valid(native) { // a string of it is better than nothing
		native, _ = json.Marshal(string(native))
		note(o, "not JSON: rendered as a string")
	}
	o.Native = native
}

// cut is how the note begins that a record was cut.
const cut = "cut: the record has "

// cutNative shortens the native record by at least excess bytes. What is left is a JSON string with the beginning of
// the record, because half a record is no JSON.
func cutNative(o *Object, excess int) {
	var text string
	if json.Unmarshal(o.Native, &text) != nil { // not cut before, nor a string: take its bytes
		text = string(o.Native)
	}
	budget := len(o.Native) - excess - len(`"",`)
	if !strings.Contains(o.NativeNote, cut) {
		before := len(o.NativeNote)
		note(o, fmt.Sprintf("%s%d bytes and an event less than %d", cut, len(text), MaxSize))
		budget -= len(o.NativeNote) - before + len(`"nativeNote":"",`)
	}
	end := 0
	for i, r := range text {
		if budget -= escapedLen(r); budget < 0 {
			break
		}
		end = i + utf8.RuneLen(r)
	}
	if o.Native, _ = marshal(text[:end]); end == 0 { // marshal of a string can't fail
		o.Native = nil
	}
}

// escapedLen is how many bytes a rune takes in a JSON string.
func escapedLen(r rune) int {
	switch {
	case r == '"' || r == '\\':
		return 2
	case r < ' ' || r == '\u2028' || r == '\u2029' || r == utf8.RuneError:
		return 6
	}
	return utf8.RuneLen(r)
}

// ObjectOf reads the data of an object.*, prefix.changed or unrecognized event. Errors: Invalid for other types and for
// data that does not decode or names no bucket or key.
func ObjectOf(e cloudevents.Event) (Object, error) {
	var o Object
	t := e.Type()
	if !strings.HasPrefix(t, Prefix+"object.") && t != PrefixChanged && t != Unrecognized {
		return o, errkind.New(errkind.Invalid, "read object event: type %q has no object", t)
	}
	if err := data(e, &o); err != nil {
		return o, err
	}
	if o.Bucket == "" || (o.Key == "" && t != Unrecognized && t != PrefixChanged) {
		return o, errkind.New(errkind.Invalid, "read object event %s: it names no bucket or no key", e.ID())
	}
	return o, nil
}

// data decodes the JSON data of an event.
func data(e cloudevents.Event, into any) error {
	if mt := e.DataMediaType(); mt != "" && mt != cloudevents.ApplicationJSON {
		return errkind.New(errkind.Invalid, "read event %s: data is %s, not JSON", e.ID(), mt)
	}
	if err := json.Unmarshal(e.Data(), into); err != nil {
		return errkind.New(errkind.Invalid, "read event %s: %w", e.ID(), err)
	}
	return nil
}
