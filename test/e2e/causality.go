package e2e

import (
	"fmt"
	"slices"
	"strings"
)

// identity of a content: the key, and the operation that set its metadata. Only a copy that keeps the metadata of its
// source shares the operation with another key.
type identity struct {
	key string
	op  int
}

// stored is one version in the history of a key at a versioned replica.
type stored struct {
	versionID string
	marker    bool // a delete marker
	op        int  // who set the metadata
	body      int  // who made the bytes, as the metadata say
}

// object is what a key, or a conflict copy of it, holds in the end.
type object struct {
	op   int // who set the metadata
	body int // who made the bytes: read from the bytes
}

// evidence is all that the rule looks at.
type evidence struct {
	writes  []write
	history map[string]map[string][]stored // versioned replicas: replica -> key -> versions, oldest first
	exact   map[string]bool                // replicas where a condition tells apart all that a user can change
	current map[string]object              // key -> the object that all replicas hold
	kept    map[string][]object            // key -> its conflict copies
}

// fate of an acknowledged content.
type fate string

// The fates.
const (
	isCurrent   fate = "current"
	overwritten fate = "overwritten"
	isKept      fate = "kept"
	unguarded   fate = "unguarded"
	lost        fate = "LOST"
)

// verdict is the fate of one acknowledged write, and why.
type verdict struct {
	write write
	fate  fate
	why   string
}

// judge decides the fate of every acknowledged content. A content is overwritten only by a USER write that followed it,
// and that is proved, never assumed from time:
//
//   - at a versioned replica, the version right below a user's version is what the bucket held when the user wrote;
//   - at a replica without versions, users write with conditions only: a write that was accepted with a condition replaced
//     what it was conditional on. Where conditions are exact (a generation with its metageneration, Azure's ETag) that is one
//     content. Elsewhere the etag does not tell metadata apart, so an edit of the same bytes that began before counts as
//     replaced, too.
//
// One thing a server that has neither versions nor exact conditions gives nobody the means to guard: an edit of the metadata alone leaves the ETag as it
// was, so a conditional write that raced with it succeeds. Such an edit (never its bytes) is counted apart, as unguarded.
//
// What bucketmesh itself overwrote proves nothing: such a content must have been overwritten by a user elsewhere, or be kept.
func judge(e *evidence) (verdicts []verdict, faults []string) {
	over, faults := overwrites(e)
	for _, w := range e.writes {
		if w.kind == OpDelete || w.outcome != acked {
			continue
		}
		verdicts = append(verdicts, fateOf(e, w, over))
	}
	return verdicts, faults
}

func fateOf(e *evidence, w write, over map[identity]write) verdict {
	v := verdict{write: w}
	holds := func(o object) bool { return o.op == w.meta || o.body == w.op }
	now, present := e.current[w.key]
	id := identity{w.key, w.meta}
	by, replaced := over[id]
	switch {
	case present && holds(now):
		v.fate, v.why = isCurrent, "it is what all replicas hold"
		if now.op != w.meta {
			v.why = fmt.Sprintf("its bytes are current, with the metadata of operation %d", now.op)
		}
	case replaced:
		v.fate, v.why = overwritten, fmt.Sprintf("by operation %d (%s at %s)", by.op, by.kind, by.replica)
	case slices.ContainsFunc(e.kept[w.key], holds):
		v.fate, v.why = isKept, "as a conflict copy"
	case w.kind == OpEdit && !versioned(e, w.replica) && !e.exact[w.replica]:
		v.fate, v.why = unguarded, "an edit of metadata at a replica whose conditions do not tell metadata apart"
	default:
		v.fate = lost
	}
	return v
}

func versioned(e *evidence, replica string) bool {
	_, ok := e.history[replica]
	return ok
}

// overwrites finds, for each content, a user write that followed it.
func overwrites(e *evidence) (over map[identity]write, faults []string) {
	over = map[identity]write{}
	for _, w := range e.writes {
		if w.outcome == refused {
			continue
		}
		versions := e.history[w.replica]
		if !versioned(e, w.replica) {
			for _, id := range replacedBlind(e, w) {
				over[id] = w
			}
			continue
		}
		i := slices.IndexFunc(versions[w.key], func(s stored) bool { return isVersionOf(s, w) })
		switch {
		case i < 0 && w.outcome == acked:
			faults = append(faults, fmt.Sprintf("operation %d: version %s of %q at %s was acknowledged and is not in the bucket's history", w.op, w.versionID, w.key, w.replica))
		case i > 0 && !versions[w.key][i-1].marker:
			id := identity{w.key, versions[w.key][i-1].op}
			if id.op != w.meta {
				over[id] = w
			}
		}
	}
	return over, faults
}

// isVersionOf reports whether a version is what a user's write made. A write without an answer is known by its metadata, but for
// a delete, which then proves nothing.
func isVersionOf(s stored, w write) bool {
	if w.outcome == acked {
		return s.versionID == w.versionID
	}
	return w.kind != OpDelete && !s.marker && s.op == w.op
}

// replacedBlind is what a conditional write at a replica without versions replaced.
func replacedBlind(e *evidence, w write) []identity {
	if !w.conditional || !w.seen.present || w.outcome != acked {
		return nil
	}
	ids := []identity{{w.key, w.seen.op}}
	if e.exact[w.replica] {
		return slices.DeleteFunc(ids, func(id identity) bool { return id.op == w.meta }) // a copy of the same once more
	}
	for _, o := range e.writes {
		if o.key == w.key && o.op != w.op && o.kind != OpDelete && o.body == w.seen.body && o.started.Before(w.ended) {
			ids = append(ids, identity{w.key, o.meta})
		}
	}
	return ids
}

// explain is the full evidence of one key.
func explain(e *evidence, key string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "key %q\n", key)
	if o, ok := e.current[key]; ok {
		fmt.Fprintf(&b, "  current: metadata of operation %d, bytes of operation %d\n", o.op, o.body)
	} else {
		b.WriteString("  current: absent\n")
	}
	for _, o := range e.kept[key] {
		fmt.Fprintf(&b, "  kept: metadata of operation %d, bytes of operation %d\n", o.op, o.body)
	}
	for _, w := range e.writes {
		if w.key != key {
			continue
		}
		fmt.Fprintf(&b, "  %s..%s %s at %s by operation %d: metadata %d bytes %d etag %s version %q, saw ", w.started.Format("15:04:05.000000"),
			w.ended.Format("05.000000"), w.kind, w.replica, w.op, w.meta, w.body, w.etag, w.versionID)
		if w.seen.present {
			fmt.Fprintf(&b, "operation %d (bytes %d, etag %s)", w.seen.op, w.seen.body, w.seen.etag)
		} else {
			b.WriteString("nothing")
		}
		fmt.Fprintf(&b, ", conditional %v: %s %s\n", w.conditional, w.outcome, w.detail)
	}
	for replica, keys := range e.history {
		for i, s := range keys[key] {
			what := fmt.Sprintf("metadata %d bytes %d", s.op, s.body)
			if s.marker {
				what = "delete marker"
			}
			fmt.Fprintf(&b, "  %s version %d: %s %s%s\n", replica, i, s.versionID, what, authorOf(e.writes, replica, s))
		}
	}
	return b.String()
}

func authorOf(writes []write, replica string, s stored) string {
	for _, w := range writes {
		if w.replica == replica && w.outcome == acked && w.versionID == s.versionID && s.versionID != "" {
			return fmt.Sprintf(" (user, operation %d)", w.op)
		}
	}
	return " (bucketmesh)"
}
