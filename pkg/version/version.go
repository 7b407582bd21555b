package version

import (
	"maps"
	"slices"
)

// Synchronizer is the name under which the synchronizer itself adds dots (joins and resolutions). It can't be the name
// of a replica: replica names are DNS labels.
const Synchronizer = "~"

// Vector is a version vector: for each replica, the last write of it that is in a version's past. A missing entry is 0.
type Vector map[string]uint64

// With is a copy of v with one entry raised to n.
func (v Vector) With(name string, n uint64) Vector {
	c := make(Vector, len(v)+1)
	maps.Copy(c, v)
	c[name] = max(c[name], n)
	return c
}

// Join is the least vector above both.
func (v Vector) Join(w Vector) Vector {
	c := make(Vector, len(v)+len(w))
	maps.Copy(c, v)
	for k, n := range w {
		c[k] = max(c[k], n)
	}
	return c
}

// LessEqual reports whether all of v is in w.
func (v Vector) LessEqual(w Vector) bool {
	for k, n := range v {
		if n > w[k] {
			return false
		}
	}
	return true
}

// Before reports whether w happened after v: all of v is in w, and they differ.
func (v Vector) Before(w Vector) bool { return v.LessEqual(w) && !w.LessEqual(v) }

// Timestamp is a hybrid timestamp in nanoseconds since 1970: the provider's clock, pushed forward wherever causality
// demands it. Only its order means anything.
type Timestamp int64

// Kind is what a version is.
type Kind string

// The kinds of a version.
const (
	Put    Kind = "put"
	Delete Kind = "delete"
)

// Content is what is known of an object's bytes without reading them again. Empty fields are not known.
type Content struct {
	Size   int64  `json:"size"`
	MD5    string `json:"md5,omitempty"`    // lower-case hex
	SHA256 string `json:"sha256,omitempty"` // lower-case hex
	ETag   string `json:"etag,omitempty"`   // an S3 multipart ETag ("...-N"): equal ones of equal size are equal bytes
}

// Answer is the result of comparing contents.
type Answer int

// The answers. Unsure means that somebody has to read the bytes.
const (
	Unsure Answer = iota
	Equal
	Different
)

// Compare says whether two contents are the same bytes.
func (c Content) Compare(d Content) Answer {
	switch {
	case c.Size != d.Size:
		return Different
	case c.Size == 0:
		return Equal
	case c.SHA256 != "" && d.SHA256 != "":
		return answer(c.SHA256 == d.SHA256)
	case c.MD5 != "" && d.MD5 != "":
		return answer(c.MD5 == d.MD5)
	case c.ETag != "" && c.ETag == d.ETag:
		return Equal
	}
	return Unsure
}

func answer(equal bool) Answer {
	if equal {
		return Equal
	}
	return Different
}

// Merge adds what d knows to c. The two must describe the same bytes.
func (c Content) Merge(d Content) Content {
	if c.MD5 == "" {
		c.MD5 = d.MD5
	}
	if c.SHA256 == "" {
		c.SHA256 = d.SHA256
	}
	if c.ETag == "" {
		c.ETag = d.ETag
	}
	return c
}

// ID names one version of one key: "replica@dot". "" is the genesis: the replica never held anything that we know of.
type ID string

// Version is one version of an object. It is immutable.
type Version struct {
	ID           ID        `json:"id"`
	Vector       Vector    `json:"vv"`
	Kind         Kind      `json:"kind"`
	Content      Content   `json:"content"`
	MetaHash     string    `json:"meta,omitempty"` // hash of the properties as all providers share them
	Origin       string    `json:"origin"`         // the replica where a user wrote it; Synchronizer for joins and resolutions
	HLC          Timestamp `json:"hlc"`
	ProviderTime int64     `json:"time,omitempty"` // unix nanoseconds, as the provider said; 0 if it did not
	// Lineage is the vector of the user write that the content came from, if it is not Vector: a resolution has more in
	// its past than the user whose content it took. A version that follows Lineage is newer than this content.
	Lineage Vector `json:"lineage,omitempty"`
	// Supposed says that Lineage is a guess: the object may as well be a user's own write of that content.
	Supposed bool `json:"supposed,omitempty"`
	// Joined says that several users wrote this content, each without knowing of the others: Lineage is of one of them.
	Joined bool `json:"joined,omitempty"`
	// MayFollow is what else may be in a user version's past: versions that we were writing at its replica without
	// having an answer. It never makes a version dominate; it only keeps a policy from preferring a content that the
	// user may have overwritten knowingly.
	MayFollow Vector `json:"mayFollow,omitempty"`
	// Sources are the content vectors of what was merged into this version; none if it is no merge. Whoever has seen the
	// content of one of them must not lose to the merge, which brings that content back.
	Sources []Vector `json:"sources,omitempty"`
	// Past are the versions that this one replaced at its replica, the latest first, at most MaxPast: where a three-way merge
	// finds its base. Only keys whose conflicts are merged have it.
	Past []Ancestor `json:"past,omitempty"`
}

// MaxPast bounds Version.Past.
const MaxPast = 4

// Ancestor is an earlier version of a key, as much of it as it takes to find its bytes again.
type Ancestor struct {
	ID      ID      `json:"id"`
	Content Content `json:"content"`
}

// Succeeding is what Past is in a version that replaces v: v itself, and before it what v remembers. Nothing is older than a delete.
func (v *Version) Succeeding() []Ancestor {
	if v.Kind != Put {
		return nil
	}
	past := append([]Ancestor{{ID: v.ID, Content: v.Content}}, v.Past...)
	return past[:min(len(past), MaxPast)]
}

// MayHaveSeen reports whether the writer of v saw, or may have seen, the content of u.
func (v *Version) MayHaveSeen(u *Version) bool {
	all := v.Vector
	if len(v.MayFollow) > 0 {
		all = all.Join(v.MayFollow)
	}
	seen := func(c Vector) bool { return c.Before(v.Vector) || len(v.MayFollow) > 0 && c.LessEqual(all) }
	content := u.ContentVector()
	if u.Supposed && !v.Joined && v.known().LessEqual(u.Vector) { // whoever wrote u saw v: so the guess is wrong
		content = u.Vector
	}
	return seen(content) || slices.ContainsFunc(u.Sources, seen)
}

// known is ContentVector without guesses.
func (v *Version) known() Vector {
	if v.Supposed {
		return v.Vector
	}
	return v.ContentVector()
}

// ContentVector is the vector of the user write that v's content came from.
func (v *Version) ContentVector() Vector {
	if v.Lineage != nil {
		return v.Lineage
	}
	return v.Vector
}
