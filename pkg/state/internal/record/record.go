// Package record holds what all stores share: the checks before a commit, the document form of a row, the arithmetic
// of revisions and times. It does no I/O.
//
// Errors are of kind errkind.Invalid. All functions are pure and safe for concurrent use.
package record

import (
	"encoding/json"
	"hash/fnv"
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/state"
)

// DefaultLimit is the number of records of a listing whose caller named no limit.
const DefaultLimit = 1000

// Limit is n, or DefaultLimit if n is not positive: no listing is unbounded.
func Limit(n int) int {
	if n <= 0 {
		return DefaultLimit
	}
	return n
}

// Check refuses commits that can never work, before a transaction is spent on them.
func Check(row state.Row, fx state.Effects) error {
	if err := CheckKeys(row.Group, row.Key); err != nil {
		return err
	}
	if row.Rev < 0 {
		return errkind.New(errkind.Invalid, "commit row %q: revision %d is negative", row.Key, row.Rev)
	}
	if fx.Lease != nil && (fx.ClearDirty || fx.ClearLease) {
		return errkind.New(errkind.Invalid, "commit row %q: the same commit makes a lease and clears it", row.Key)
	}
	for _, e := range fx.Events {
		if !name(e.ID) || len(e.JSON) == 0 {
			return errkind.New(errkind.Invalid, "commit row %q: an outbox event needs an id and a document", row.Key)
		}
	}
	for _, c := range fx.Conflicts {
		if !name(c.ID) {
			return errkind.New(errkind.Invalid, "commit row %q: a conflict needs an id", row.Key)
		}
		if c.Group != row.Group || c.Key != row.Key {
			return errkind.New(errkind.Invalid, "commit row %q of group %q: conflict %q is of key %q of group %q",
				row.Key, row.Group, c.ID, c.Key, c.Group)
		}
	}
	for i := range fx.Removed {
		if err := CheckRemoved(fx.Removed[i]); err != nil {
			return err
		}
		if fx.Removed[i].End != "" {
			return errkind.New(errkind.Invalid, "commit row %q: removed object %q has ended already", row.Key, fx.Removed[i].ID)
		}
		if r := &fx.Removed[i]; r.Group != row.Group || r.Key != row.Key {
			return errkind.New(errkind.Invalid, "commit row %q of group %q: removed object %q is of key %q of group %q",
				row.Key, row.Group, r.ID, r.Key, r.Group)
		}
	}
	return nil
}

// CheckRemoved refuses records of removed objects that nobody could find again.
func CheckRemoved(r state.Removed) error {
	if !name(r.ID) {
		return errkind.New(errkind.Invalid, "write removed object of key %q: it needs an id", r.Key)
	}
	return CheckKeys(r.Group, r.Key)
}

// CheckKeys refuses groups and keys that are empty, and groups that are not text.
func CheckKeys(group string, keys ...string) error {
	if !name(group) {
		return errkind.New(errkind.Invalid, "use group %q: not the name of a group", group)
	}
	if slices.Contains(keys, "") {
		return errkind.New(errkind.Invalid, "use group %q: a key is empty", group)
	}
	return nil
}

// CheckCursor refuses names of cursors that not every database can hold.
func CheckCursor(group, cursor string) error {
	if !name(group) || !name(cursor) {
		return errkind.New(errkind.Invalid, "use cursor %q of group %q: not a name", cursor, group)
	}
	return nil
}

// name reports whether s is text that every database can hold and look up: not empty, UTF-8, no NUL.
func name(s string) bool {
	return s != "" && utf8.ValidString(s) && !strings.ContainsRune(s, 0)
}

// maxReason bounds how much of an error message is kept beside a dirty key, bytes.
const maxReason = 1 << 10

// Reason is s in a form that every database can hold: it is often the message of somebody else's error.
func Reason(s string) string {
	if len(s) > maxReason {
		s = s[:maxReason]
	}
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}

// Encode is the document of a row, without its group, key and revision, which are columns.
func Encode(row state.Row) ([]byte, error) {
	b, err := json.Marshal(row)
	if err != nil {
		return nil, errkind.New(errkind.Invalid, "encode row %q: %w", row.Key, err)
	}
	return b, nil
}

// Decode is the row of a document.
func Decode(group, key string, rev int64, doc []byte) (state.Row, error) {
	var row state.Row
	if err := json.Unmarshal(doc, &row); err != nil {
		return state.Row{}, errkind.New(errkind.Invalid, "decode row %q of group %q: %w", key, group, err)
	}
	row.Group, row.Key, row.Rev = group, key, rev
	return row, nil
}

// EncodeConflict is the document of a conflict record.
func EncodeConflict(c state.Conflict) ([]byte, error) {
	b, err := json.Marshal(c)
	if err != nil {
		return nil, errkind.New(errkind.Invalid, "encode conflict %q: %w", c.ID, err)
	}
	return b, nil
}

// DecodeConflict is the record of a document. The key comes from its column, which holds it as bytes: JSON would
// replace what is not UTF-8.
func DecodeConflict(key string, doc []byte) (state.Conflict, error) {
	var c state.Conflict
	if err := json.Unmarshal(doc, &c); err != nil {
		return c, errkind.New(errkind.Invalid, "decode conflict of key %q: %w", key, err)
	}
	c.Key = key
	return c, nil
}

// States are the states of conflicts that a filter, which is not "", stands for.
func States(filter string) []string {
	if filter == state.ConflictOpen {
		return state.OpenStates()
	}
	return []string{filter}
}

// LastConflicts keeps one record of each id, the last one: one statement can't replace the same record twice.
func LastConflicts(cs []state.Conflict) []state.Conflict {
	if len(cs) < 2 {
		return cs
	}
	at := make(map[string]int, len(cs))
	out := make([]state.Conflict, 0, len(cs))
	for _, c := range cs {
		if i, ok := at[c.ID]; ok {
			out[i] = c
			continue
		}
		at[c.ID] = len(out)
		out = append(out, c)
	}
	return out
}

// NextRev is the revision after prev at time now. floor is the highest revision that a removed row may have had.
// Revisions follow the clock, so that they stay ordered also if the floor were lost; they never stand still or go
// back when the clock does.
func NextRev(now time.Time, prev, floor int64) int64 {
	return max(Nanos(now), prev+1, floor+1)
}

// Shards is the number of counters per group. A group's keys are counted in shards so that transactions that create
// keys at the same time rarely wait for each other, and that who creates one is rarely told to look again because another one went
// (state.Row.AsOf).
const Shards = 4096

// Shard is the counter that counts a key.
func Shard(key string) int64 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(key)) // a hash never fails
	return int64(h.Sum32() % Shards)
}

// Nanos is t in unix nanoseconds. Times outside of what these can tell (years 1678 to 2262) are cut to the nearest
// end; the zero time is math.MinInt64.
func Nanos(t time.Time) int64 {
	switch {
	case t.Before(time.Unix(0, math.MinInt64)):
		return math.MinInt64
	case t.After(time.Unix(0, math.MaxInt64)):
		return math.MaxInt64
	}
	return t.UnixNano()
}

// Time is the inverse of Nanos, in UTC.
func Time(n int64) time.Time {
	if n == math.MinInt64 {
		return time.Time{}
	}
	return time.Unix(0, n).UTC()
}
