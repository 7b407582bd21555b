// Package merge puts contents together that several replicas wrote at once: what each of them changed, in one content. It
// guesses nothing: where two sides want different things of one place it fails, and the caller keeps both.
//
// # Formats
//
// JSON: objects are merged by member, at any depth. A member that one side changed, added or removed is changed, added or
// removed; two that changed it to the same value agree. Arrays are merged by the diff3 of their items, as text is by lines:
// changes in different places are both taken; two changes that touch each other (two sides append, say) are a clash. All
// else is one value. Values keep their text: literals of numbers are never read as numbers, and 1.0 is not 1. Members keep
// the order of the base; the layout is that of a side which changed it, and else that of the base. A member twice in one object is refused.
//
// Text: diff3 by lines. Changes of different places are both taken; changes that overlap or touch are a clash, unless they are
// the same. A line's ending is part of it, and so is its absence at the end. There is never a marker of a conflict in the result.
//
// CSV and NDJSON: the union of rows; a row is what it says, as a whole. Rows that any side added are there, rows that some
// side removed, and none added another one of, are not. A row that was edited is a row removed and another added, so a row edited on two sides is
// there twice. It is a multiset: of a row that is there several times, as many as the side has that has most of them, if that
// is more than in the base, and else as many as the side has that has the fewest. Rows of the base come first, in its order,
// then those added, side by side. The first record of a CSV is its header, and has to be the same on all sides.
//
// # Without a base
//
// Nothing tells what was added from what was removed: members and rows are united, and where values differ is a clash. Text
// is merged with a base only.
//
// # What holds
//
// The result does not depend on the order of the sides: they are put in the order of their bytes first, and a merge looks
// at all of them at once. Sides that say the same, or the same as the base, don't count; if one is left it is the result, as it is.
// The same version of this package gives the same result everywhere; the library that finds differences may choose
// other ones of the same text in another version.
//
// # Bounds
//
// Contents are as large as the caller lets them be. Beyond 1000 levels, or 524,288 values, lines or rows in one content, is a
// refusal. Time is O(n^1.5 log n) for up to 65,536 lines that differ, and O(n log n) beyond; memory is linear.
//
// # Errors and concurrency
//
// All errors are of kind Invalid: the same contents fail the same way again. A *Clash is one that says where. The functions
// are pure, and safe for concurrent use.
package merge

import (
	"bytes"
	"path"
	"slices"
	"strings"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
)

// Format is how a content is understood.
type Format string

// The formats.
const (
	JSON   Format = "json"
	Text   Format = "text"
	CSV    Format = "csv" // with any of , ; tab and | between fields
	NDJSON Format = "ndjson"
)

// byExtension are the names that say what is in an object.
var byExtension = map[string]Format{
	".json": JSON, ".geojson": JSON, ".jsonld": JSON, ".webmanifest": JSON,
	".ndjson": NDJSON, ".jsonl": NDJSON,
	".csv": CSV, ".tsv": CSV,
	".txt": Text, ".text": Text, ".md": Text, ".markdown": Text, ".rst": Text, ".log": Text,
	".yaml": Text, ".yml": Text, ".toml": Text, ".ini": Text, ".cfg": Text, ".conf": Text, ".properties": Text, ".env": Text,
	".xml": Text, ".html": Text, ".htm": Text, ".css": Text, ".js": Text, ".ts": Text, ".sql": Text, ".sh": Text,
}

// byType are the media types that do not say it by their first or last part.
var byType = map[string]Format{
	"application/json": JSON, "text/json": JSON,
	"application/x-ndjson": NDJSON, "application/ndjson": NDJSON, "application/jsonl": NDJSON, "application/jsonlines": NDJSON,
	"text/csv": CSV, "application/csv": CSV, "text/tab-separated-values": CSV,
	"application/xml": Text, "application/yaml": Text, "application/x-yaml": Text, "application/toml": Text,
	"application/javascript": Text, "application/sql": Text,
}

// FormatOf is the format of an object, by the extension of its key, and else by its content type. It is false if neither
// says that it can be merged.
func FormatOf(key, contentType string) (Format, bool) {
	if f, ok := byExtension[strings.ToLower(path.Ext(key))]; ok {
		return f, true
	}
	media, _, _ := strings.Cut(contentType, ";")
	media = strings.ToLower(strings.TrimSpace(media))
	if f, ok := byType[media]; ok {
		return f, true
	}
	switch {
	case strings.HasSuffix(media, "+json"):
		return JSON, true
	case strings.HasPrefix(media, "text/"), strings.HasSuffix(media, "+xml"), strings.HasSuffix(media, "+yaml"):
		return Text, true
	}
	return "", false
}

// side is one of the contents to be merged.
type side struct {
	text []byte
	of   []int // which of the caller's sides have it
}

// Merge is what base becomes by the changes of all sides. A base of nil is one that is not known; an empty one is an empty
// content. The result may be one of the arguments.
func Merge(f Format, base []byte, sides ...[]byte) ([]byte, error) {
	switch f {
	case JSON, Text, CSV, NDJSON:
	default:
		return nil, errkind.New(errkind.Invalid, "merge: no format %q: use json, text, csv or ndjson", string(f))
	}
	if len(sides) == 0 {
		return nil, errkind.New(errkind.Invalid, "merge: no contents")
	}
	changed := distinct(base, sides)
	switch {
	case len(changed) == 0:
		return base, nil
	case len(changed) == 1:
		return changed[0].text, nil
	case f == JSON:
		return mergeJSON(base, changed)
	case f == Text:
		return mergeText(base, changed)
	}
	return mergeRows(f, base, changed)
}

// distinct are the contents that differ from base and from each other, in the order of their bytes.
func distinct(base []byte, contents [][]byte) []side {
	var sides []side
	for i, text := range contents {
		if base != nil && bytes.Equal(text, base) {
			continue
		}
		same := func(s side) bool { return bytes.Equal(s.text, text) }
		if at := slices.IndexFunc(sides, same); at >= 0 {
			sides[at].of = append(sides[at].of, i)
			continue
		}
		sides = append(sides, side{text, []int{i}})
	}
	slices.SortFunc(sides, func(a, b side) int { return bytes.Compare(a.text, b.text) })
	return sides
}
