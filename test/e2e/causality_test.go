package e2e

import (
	"strings"
	"testing"
	"time"
)

// at is a time of the tests' clock.
func at(n int) time.Time { return time.Unix(int64(n), 0) }

func user(op int, replica, key, version string) write {
	return write{op: op, kind: OpPut, replica: replica, key: key, body: op, meta: op, versionID: version, outcome: acked, started: at(op), ended: at(op)}
}

func (w write) over(op, body int) write {
	w.seen, w.conditional = sight{present: true, op: op, body: body}, true
	return w
}

func (w write) as(k Kind, body int) write {
	w.kind, w.body = k, body
	return w
}

func versions(ops ...int) []stored {
	out := make([]stored, len(ops))
	for i, op := range ops {
		out[i] = stored{versionID: "v" + string(rune('0'+i)), op: op, body: op, marker: op == 0}
	}
	return out
}

func TestFates(t *testing.T) {
	none := map[string]map[string][]stored{"a": {}, "b": {}}
	for _, tc := range []struct {
		name string
		e    evidence
		want map[int]fate
	}{
		{"what is there", evidence{writes: []write{user(1, "a", "k", "v0")},
			history: map[string]map[string][]stored{"a": {"k": versions(1)}},
			current: map[string]object{"k": {1, 1}}}, map[int]fate{1: isCurrent}},
		{"what is nowhere", evidence{writes: []write{user(1, "c", "k", "")}, history: none}, map[int]fate{1: lost}},
		{"a user's version on top", evidence{writes: []write{user(1, "a", "k", "v0"), user(2, "a", "k", "v1")},
			history: map[string]map[string][]stored{"a": {"k": versions(1, 2)}},
			current: map[string]object{"k": {2, 2}}}, map[int]fate{1: overwritten, 2: isCurrent}},
		{"our own version on top proves nothing", evidence{writes: []write{user(1, "a", "k", "v0"), user(2, "b", "k", "v0")},
			history: map[string]map[string][]stored{"a": {"k": versions(1, 2)}, "b": {"k": versions(2)}},
			current: map[string]object{"k": {2, 2}}}, map[int]fate{1: lost, 2: isCurrent}},
		{"the loser is kept", evidence{writes: []write{user(1, "a", "k", "v0"), user(2, "b", "k", "v0")},
			history: map[string]map[string][]stored{"a": {"k": versions(1, 2)}, "b": {"k": versions(2)}},
			current: map[string]object{"k": {2, 2}}, kept: map[string][]object{"k": {{1, 1}}}}, map[int]fate{1: isKept, 2: isCurrent}},
		{"a copy of another key keeps nothing", evidence{writes: []write{user(1, "a", "k", "v0")},
			history: map[string]map[string][]stored{"a": {"k": versions(1)}},
			kept:    map[string][]object{"l": {{1, 1}}}}, map[int]fate{1: lost}},
		{"overwritten at another replica, where we had brought it", evidence{writes: []write{user(1, "a", "k", "v0"), user(2, "b", "k", "v1")},
			history: map[string]map[string][]stored{"a": {"k": versions(1, 2)}, "b": {"k": versions(1, 2)}},
			current: map[string]object{"k": {2, 2}}}, map[int]fate{1: overwritten, 2: isCurrent}},
		{"a put that the server filed below ours was never overwritten by a user", evidence{writes: []write{user(1, "a", "k", "v0"), user(2, "b", "k", "v0"), user(3, "a", "k", "v1")},
			history: map[string]map[string][]stored{"a": {"k": versions(1, 3, 2)}, "b": {"k": versions(2)}},
			current: map[string]object{"k": {2, 2}}}, map[int]fate{1: overwritten, 2: isCurrent, 3: lost}},
		{"a delete overwrites", evidence{writes: []write{user(1, "a", "k", "v0"), user(2, "a", "k", "v1").as(OpDelete, 2)},
			history: map[string]map[string][]stored{"a": {"k": versions(1, 0)}}}, map[int]fate{1: overwritten}},
		{"only what lies right below", evidence{writes: []write{user(1, "b", "k", "v9"), user(3, "a", "k", "v2")},
			history: map[string]map[string][]stored{"a": {"k": versions(1, 2, 3)}, "b": {"k": {{versionID: "v9", op: 1, body: 1}}}},
			current: map[string]object{"k": {3, 3}}}, map[int]fate{1: lost, 3: isCurrent}},
		{"a condition that held", evidence{writes: []write{user(1, "c", "k", ""), user(2, "c", "k", "").over(1, 1)}, history: none,
			current: map[string]object{"k": {2, 2}}}, map[int]fate{1: overwritten, 2: isCurrent}},
		{"a refused write overwrites nothing", evidence{writes: []write{user(1, "c", "k", ""), func() write {
			w := user(2, "c", "k", "").over(1, 1)
			w.outcome = refused
			return w
		}()}, history: none}, map[int]fate{1: lost}},
		{"no condition proves nothing where there are no versions", evidence{writes: []write{user(1, "c", "k", ""), func() write {
			w := user(2, "c", "k", "").over(1, 1)
			w.conditional = false
			return w
		}()}, history: none, current: map[string]object{"k": {2, 2}}}, map[int]fate{1: lost, 2: isCurrent}},
		{"the etag does not tell an edit of the same bytes apart", evidence{writes: []write{user(1, "a", "k", "v0"), user(2, "a", "k", "v1").as(OpEdit, 1), user(3, "c", "k", "").over(1, 1)},
			history: map[string]map[string][]stored{"a": {"k": {{"v0", false, 1, 1}, {"v1", false, 2, 1}, {"v2", false, 3, 3}}}},
			current: map[string]object{"k": {3, 3}}}, map[int]fate{1: overwritten, 2: overwritten, 3: isCurrent}},
		{"but an edit of other bytes is another content", evidence{writes: []write{user(1, "a", "k", "v0").as(OpEdit, 9), user(3, "c", "k", "").over(2, 2)},
			history: map[string]map[string][]stored{"a": {"k": versions(1, 3)}},
			current: map[string]object{"k": {3, 3}}}, map[int]fate{1: lost, 3: isCurrent}},
		{"bytes that are current under an edit's metadata", evidence{writes: []write{user(1, "c", "k", "")}, history: none,
			current: map[string]object{"k": {2, 1}}}, map[int]fate{1: isCurrent}},
		{"an edit where nothing guards it", evidence{writes: []write{user(2, "c", "k", "").as(OpEdit, 1)}, history: none,
			current: map[string]object{"k": {3, 3}}}, map[int]fate{2: unguarded}},
		{"an edit where conditions guard it", evidence{writes: []write{user(2, "x", "k", "").as(OpEdit, 1)}, history: none, exact: map[string]bool{"x": true},
			current: map[string]object{"k": {3, 3}}}, map[int]fate{2: lost}},
		{"an exact condition tells metadata apart", evidence{writes: []write{user(1, "a", "k", "v0"), user(2, "a", "k", "v1").as(OpEdit, 1), user(3, "x", "k", "").over(1, 1)},
			history: map[string]map[string][]stored{"a": {"k": {{"v0", false, 1, 1}, {"v1", false, 2, 1}, {"v2", false, 3, 3}}}}, exact: map[string]bool{"x": true},
			current: map[string]object{"k": {3, 3}}}, map[int]fate{1: overwritten, 2: lost, 3: isCurrent}},
		{"an edit that an exact condition was about", evidence{writes: []write{user(1, "x", "k", ""), user(2, "x", "k", "").as(OpEdit, 1).over(1, 1), user(3, "x", "k", "").over(2, 1)},
			history: none, exact: map[string]bool{"x": true},
			current: map[string]object{"k": {3, 3}}}, map[int]fate{1: overwritten, 2: overwritten, 3: isCurrent}},
		{"a copy of the same once more is no overwrite", evidence{writes: []write{func() write {
			w := user(2, "x", "k", "").as(OpCopy, 1).over(1, 1)
			w.meta = 1
			return w
		}()}, history: none, exact: map[string]bool{"x": true}}, map[int]fate{2: lost}},
		{"an edit where versions guard it", evidence{writes: []write{user(2, "a", "k", "v0").as(OpEdit, 1)},
			history: map[string]map[string][]stored{"a": {"k": versions(2, 3)}},
			current: map[string]object{"k": {3, 3}}}, map[int]fate{2: lost}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			verdicts, faults := judge(&tc.e)
			if len(faults) > 0 {
				t.Errorf("faults %q", faults)
			}
			got := map[int]fate{}
			for _, v := range verdicts {
				got[v.write.op] = v.fate
			}
			for op, want := range tc.want {
				if got[op] != want {
					t.Errorf("operation %d is %s, want %s\n%s", op, got[op], want, explain(&tc.e, "k"))
				}
			}
			if len(got) != len(tc.want) {
				t.Errorf("%d verdicts, want %d", len(got), len(tc.want))
			}
		})
	}
}

func TestAMissingVersionIsAFault(t *testing.T) {
	e := evidence{writes: []write{user(1, "a", "k", "gone")}, history: map[string]map[string][]stored{"a": {"k": versions(1)}},
		current: map[string]object{"k": {1, 1}}}
	if _, faults := judge(&e); len(faults) != 1 || !strings.Contains(faults[0], "gone") {
		t.Errorf("faults %q, want one that names the version", faults)
	}
}
