// Package diff lays what replicas wrote at once beside what was there before, for people who have to decide between them:
// text, CSV and NDJSON by lines, JSON by member. It says where a merge would clash, by the rules of pkg/merge.
//
// New never fails: what can't be compared is described by sizes and digests, and a note says why. A Diff holds contents as
// they are, in data that is encoded as JSON; Write shows them on a terminal, with everything written out that
// could steer it. Both are bounded, whatever is compared. There is no state: all is safe for concurrent use.
package diff

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"github.com/bucketmesh/bucketmesh/pkg/merge"
	"github.com/bucketmesh/bucketmesh/pkg/merge/internal/text"
)

// What is shown at most.
const (
	maxPlaces  = 500
	maxLines   = 100  // of one content in a hunk
	maxChars   = 2000 // of a line or a value
	maxContext = 2    // lines around a hunk
)

// Binary is the format of what can't be compared.
const Binary merge.Format = "binary"

// Content is what is compared: what somebody wrote, or the base.
type Content struct {
	Name string
	Data []byte
}

// Diff is the comparison.
type Diff struct {
	Format  merge.Format `json:"format"`            // as what the contents were compared
	Note    string       `json:"note,omitempty"`    // why not otherwise
	Base    *Source      `json:"base,omitempty"`    // none if none is known: the first side stands in for it then
	Sides   []Source     `json:"sides"`             // in the order in which they were given, as in all lists of sides
	Hunks   []Hunk       `json:"hunks,omitempty"`   // by lines
	Changes []Change     `json:"changes,omitempty"` // by member
	More    int          `json:"more,omitempty"`    // hunks or changes beyond the first 500
}

// Source describes a content.
type Source struct {
	Name   string `json:"name"`
	Size   int    `json:"size"`
	SHA256 string `json:"sha256"`
}

// Hunk is a place in a text where some side differs.
type Hunk struct {
	Clash  bool     `json:"clash"`            // sides want different things here
	Before []string `json:"before,omitempty"` // lines of the base, or else of the first side, in front of it
	After  []string `json:"after,omitempty"`  // and behind it
	Base   *Part    `json:"base,omitempty"`
	Sides  []Part   `json:"sides"`
}

// Part is what a content has at a place.
type Part struct {
	Lines merge.Lines `json:"lines"`
	Text  []string    `json:"text,omitempty"` // lines with their endings; the first 100, and of each the first 2000 characters
	More  int         `json:"more,omitempty"` // lines beyond these
	Same  bool        `json:"same,omitempty"` // a side has what the base has
}

// Change is a place in a JSON document where some side differs.
type Change struct {
	Pointer string  `json:"pointer"` // RFC 6901; of items of an array the first, by its number in the base
	Clash   bool    `json:"clash"`
	Base    *Value  `json:"base,omitempty"`
	Sides   []Value `json:"sides"`
}

// Value is what a document has at a place.
type Value struct {
	Gone bool   `json:"gone,omitempty"` // nothing
	Text string `json:"text,omitempty"` // as it is written; the first 2000 characters
	Same bool   `json:"same,omitempty"` // a side has what the base has
}

// New compares sides with a base, or with each other if base is nil. Without a format, contents that are text are text.
func New(format merge.Format, base *Content, sides ...Content) *Diff {
	d := &Diff{Format: format}
	if base != nil {
		s := source(*base)
		d.Base = &s
	}
	for _, s := range sides {
		d.Sides = append(d.Sides, source(s))
	}
	if len(sides) == 0 {
		return d
	}
	if format == merge.JSON {
		err := d.json(base, sides)
		if err == nil {
			return d
		}
		d.Note = fmt.Sprintf("not compared as json: %v", err)
	}
	if format == merge.JSON || format == "" {
		d.Format = merge.Text
	}
	if err := d.lines(base, sides); err != nil {
		d.Format, d.Note = Binary, fmt.Sprintf("not compared: %v", err)
	}
	return d
}

func source(c Content) Source {
	sum := sha256.Sum256(c.Data)
	return Source{Name: c.Name, Size: len(c.Data), SHA256: hex.EncodeToString(sum[:])}
}

func cut(s string) string {
	short, _ := text.Cut(s, maxChars)
	return short
}
