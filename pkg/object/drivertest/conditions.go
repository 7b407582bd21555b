package drivertest

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/object"
	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
)

func testPutConditions(t *testing.T, f *fixture) {
	ctx := t.Context()
	if f.h.Want.PutNotExist == driver.GuardNone {
		kind(t, f.tryPut(ctx, "cond", "x", driver.Precondition{NotExist: true}), errkind.Unsupported, "If-None-Match")
		f.absent(t, "cond")
	} else {
		if err := f.tryPut(ctx, "cond", "first", driver.Precondition{NotExist: true}); err != nil {
			t.Fatalf("create: %v", err)
		}
		kind(t, f.tryPut(ctx, "cond", "second", driver.Precondition{NotExist: true}), errkind.PreconditionFailed, "create of what is there")
		f.holds(t, "cond", "first")
	}
	old := f.put(t, "match", "old")
	if f.h.Want.PutMatch == driver.GuardNone {
		kind(t, f.tryPut(ctx, "match", "x", driver.Precondition{Match: old.Tag}), errkind.Unsupported, "If-Match")
		f.holds(t, "match", "old")
		return
	}
	if err := f.tryPut(ctx, "match", "new", driver.Precondition{Match: old.Tag, VersionID: old.VersionID}); err != nil {
		t.Fatalf("overwrite of the expected tag: %v", err)
	}
	kind(t, f.tryPut(ctx, "match", "newer", driver.Precondition{Match: old.Tag, VersionID: old.VersionID}), errkind.PreconditionFailed, "overwrite of a stale tag")
	f.holds(t, "match", "new")
	// S3 answers 404 here. NotFound would read as "retry as a create".
	kind(t, f.tryPut(ctx, "match-missing", "x", driver.Precondition{Match: old.Tag}), errkind.PreconditionFailed, "overwrite of a missing key")
	f.absent(t, "match-missing")
}

func testDeleteConditions(t *testing.T, f *fixture) {
	ctx := t.Context()
	old := f.put(t, "del", "old")
	cond := func(a *driver.Attrs) *driver.DeleteOptions {
		return &driver.DeleteOptions{If: driver.Precondition{Match: a.Tag, VersionID: a.VersionID}}
	}
	if f.h.Want.DeleteGuard == driver.GuardNone {
		_, err := f.Delete(ctx, "del", cond(old))
		kind(t, err, errkind.Unsupported, "a conditional delete where nothing can keep the condition")
		f.holds(t, "del", "old")
		return
	}
	cur := f.put(t, "del", "new")
	_, err := f.Delete(ctx, "del", cond(old))
	kind(t, err, errkind.PreconditionFailed, "delete of a stale tag")
	f.holds(t, "del", "new")
	a, err := f.Delete(ctx, "del", cond(cur))
	if err != nil {
		t.Fatalf("delete of the expected tag: %v", err)
	}
	f.absent(t, "del")
	if marker := f.h.Want.Versioned && !f.h.NoMarkers; a.DeleteMarker != marker || (a.VersionID != "") != marker {
		t.Errorf("delete answered marker=%v version %q on a bucket with versioned=%v", a.DeleteMarker, a.VersionID, f.h.Want.Versioned)
	}
}

// testDeleteSameBytes: the same bytes were written again. A content tag can't see it (R6); a check of the version can.
func testDeleteSameBytes(t *testing.T, f *fixture) {
	v1 := f.put(t, "same", "same")
	v2 := f.put(t, "same", "same")
	_, err := f.Delete(t.Context(), "same", &driver.DeleteOptions{If: driver.Precondition{Match: v1.Tag, VersionID: v1.VersionID}})
	switch {
	case f.h.Want.DeleteGuard == driver.GuardNone:
		kind(t, err, errkind.Unsupported, "a conditional delete where nothing can keep the condition")
		f.holds(t, "same", "same")
	case f.h.Want.DeleteGuard == driver.GuardMarker || v1.Tag != v2.Tag:
		kind(t, err, errkind.PreconditionFailed, "delete of the older of two equal versions")
		f.holds(t, "same", "same")
	default:
		if err != nil {
			t.Errorf("delete by a content tag: %v", err)
		}
		f.absent(t, "same")
	}
}

// testDeleteOverMarker: the object is gone already. A delete under a condition must not claim to have deleted that
// version, nor pile up markers.
func testDeleteOverMarker(t *testing.T, f *fixture) {
	a := f.put(t, "gone", "x")
	if _, err := f.Delete(t.Context(), "gone", nil); err != nil {
		t.Fatalf("delete: %v", err)
	}
	before, err := f.vers.Versions(t.Context(), "gone")
	if err != nil {
		t.Fatalf("versions: %v", err)
	}
	_, err = f.Delete(t.Context(), "gone", &driver.DeleteOptions{If: driver.Precondition{Match: a.Tag, VersionID: a.VersionID}})
	switch f.h.Want.DeleteGuard {
	case driver.GuardNone:
		kind(t, err, errkind.Unsupported, "a conditional delete where nothing can keep the condition")
	case driver.GuardMarker:
		kind(t, err, errkind.PreconditionFailed, "a conditional delete over a delete marker")
	case driver.GuardNative:
		if err != nil { // a success is right too: the object is not there, which is what was asked for
			kind(t, err, errkind.PreconditionFailed, "a conditional delete of what is gone")
		}
	}
	f.absent(t, "gone")
	after, err := f.vers.Versions(t.Context(), "gone")
	if err != nil || len(after) != len(before) {
		t.Errorf("%d versions before, %d after, %v", len(before), len(after), err)
	}
}

// testLostAnswer: the write went well and its answer got lost. Trying it again would answer 412, and we would take our own
// write for somebody else's.
func testLostAnswer(t *testing.T, f *fixture) {
	if f.h.Want.PutNotExist == driver.GuardNone {
		kind(t, f.tryPut(t.Context(), "lost", "x", driver.Precondition{NotExist: true}), errkind.Unsupported, "If-None-Match")
		return
	}
	var counter object.Counter
	lossy := object.Fault(object.Count(f.Bucket, &counter), object.Faults{After: func(op object.Op, _ string) error {
		if op == object.OpPut {
			return errkind.New(errkind.Unavailable, "the answer got lost")
		}
		return nil
	}})
	b := object.New(object.Retry(lossy, object.RetryOptions{Initial: time.Millisecond}))
	_, err := b.Put(t.Context(), "lost", strings.NewReader("x"), &driver.PutOptions{Size: 1, If: driver.Precondition{NotExist: true}})
	kind(t, err, errkind.Unavailable, "a create whose answer got lost")
	if n := counter.Snapshot().Put; n != 1 {
		t.Errorf("the create was sent %d times, want once", n)
	}
	f.holds(t, "lost", "x")
}

func testRaceNotExist(t *testing.T, f *fixture) {
	for round := range f.h.Rounds {
		key := fmt.Sprint("race-", round)
		results := race(f.h.Writers, func(n int) error {
			return f.tryPut(t.Context(), key, fmt.Sprint("writer ", n), driver.Precondition{NotExist: true})
		})
		if f.h.Want.PutNotExist == driver.GuardNone {
			for _, err := range results {
				kind(t, err, errkind.Unsupported, "If-None-Match")
			}
			f.absent(t, key)
			return
		}
		f.onlyWinner(t, key, results)
		f.forget(t, key)
	}
}

func testRaceMatch(t *testing.T, f *fixture) {
	for range f.h.Rounds {
		base := f.put(t, "race", "base")
		results := race(f.h.Writers, func(n int) error {
			return f.tryPut(t.Context(), "race", fmt.Sprint("writer ", n), driver.Precondition{Match: base.Tag, VersionID: base.VersionID})
		})
		if f.h.Want.PutMatch == driver.GuardNone {
			for _, err := range results {
				kind(t, err, errkind.Unsupported, "If-Match")
			}
			f.holds(t, "race", "base")
			return
		}
		f.onlyWinner(t, "race", results)
		f.forget(t, "race")
	}
}

// roundsUnder is how often to race for a condition: what is refused every time needs no thousand rounds.
func (f *fixture) roundsUnder(g driver.Guard) int {
	if g == driver.GuardNone {
		return min(2, f.h.Rounds)
	}
	return f.h.Rounds
}

// forget removes a key with all its versions, so that a thousand rounds don't fill the server.
func (f *fixture) forget(t *testing.T, key string) {
	t.Helper()
	vs, err := f.vers.Versions(t.Context(), key)
	if err != nil {
		t.Fatalf("versions: %v", err)
	}
	for _, v := range vs {
		if _, err := f.Delete(t.Context(), key, &driver.DeleteOptions{VersionID: v.VersionID}); err != nil {
			t.Fatalf("remove version: %v", err)
		}
	}
	f.absent(t, key)
}

// onlyWinner asserts that exactly one writer succeeded and that its content is what is there.
func (f *fixture) onlyWinner(t *testing.T, key string, results []error) {
	t.Helper()
	won := winners(t, results)
	if len(won) != 1 {
		t.Fatalf("writers %v won, want exactly one", won)
	}
	f.holds(t, key, fmt.Sprint("writer ", won[0]))
}

func testRaceComplete(t *testing.T, f *fixture) {
	for round := range f.roundsUnder(f.h.Want.CompleteGuard) {
		key, cond := "create", driver.Precondition{NotExist: true}
		if round%2 == 1 {
			key = "match"
			base := f.put(t, key, "base")
			cond = driver.Precondition{Match: base.Tag, VersionID: base.VersionID}
		}
		ids, parts := make([]string, f.h.Writers), make([]driver.Part, f.h.Writers)
		for n := range f.h.Writers { // everything but the finish is prepared, so that the finishes meet
			content := fmt.Sprint("writer ", n)
			var err error
			if ids[n], err = f.parts.Begin(t.Context(), key, &driver.PutOptions{}); err != nil {
				t.Fatalf("begin: %v", err)
			}
			if parts[n], err = f.parts.PutPart(t.Context(), key, ids[n], 1, bytes.NewReader([]byte(content)), int64(len(content))); err != nil {
				t.Fatalf("put part: %v", err)
			}
		}
		results := race(f.h.Writers, func(n int) error {
			_, err := f.parts.Complete(t.Context(), key, ids[n], parts[n:n+1], &driver.PutOptions{Size: parts[n].Size, If: cond})
			return err
		})
		if f.h.Want.CompleteGuard == driver.GuardNone {
			for _, err := range results {
				kind(t, err, errkind.Unsupported, "a condition on complete")
			}
		} else {
			f.onlyWinner(t, key, results)
		}
		for _, id := range ids {
			if err := f.parts.Abort(t.Context(), key, id); err != nil {
				t.Errorf("abort: %v", err)
			}
		}
		f.forget(t, key)
	}
}

// testRaceDelete: many deletes of one version.
func testRaceDelete(t *testing.T, f *fixture) {
	for range f.roundsUnder(f.h.Want.DeleteGuard) {
		f.raceDelete(t)
		f.forget(t, "race")
	}
}

func (f *fixture) raceDelete(t *testing.T) {
	t.Helper()
	base := f.put(t, "race", "base")
	opts := &driver.DeleteOptions{If: driver.Precondition{Match: base.Tag, VersionID: base.VersionID}}
	answers := make([]*driver.Attrs, f.h.Writers)
	results := race(f.h.Writers, func(n int) (err error) {
		answers[n], err = f.Delete(t.Context(), "race", opts)
		return err
	})
	if f.h.Want.DeleteGuard == driver.GuardNone {
		for _, err := range results {
			kind(t, err, errkind.Unsupported, "a conditional delete")
		}
		f.holds(t, "race", "base")
		return
	}
	won := winners(t, results)
	f.absent(t, "race")
	if len(won) == 0 || len(won) > 1 && !f.h.SharedDeletes {
		t.Errorf("writers %v won, want exactly one", won)
	}
	if !f.h.Want.Versioned {
		return
	}
	vs, err := f.vers.Versions(t.Context(), "race")
	if f.h.NoMarkers {
		if err != nil || len(vs) != 1 || vs[0].VersionID != base.VersionID || vs[0].IsLatest {
			t.Fatalf("want the version that was deleted, got %+v, %v", vs, err)
		}
		return
	}
	if err != nil || len(vs) != 2 || !vs[0].DeleteMarker || vs[1].VersionID != base.VersionID {
		t.Fatalf("want one marker over the version, got %+v, %v", vs, err)
	}
	for _, n := range won {
		if answers[n].VersionID != vs[0].VersionID {
			t.Errorf("writer %d was told of marker %s, there is %s", n, answers[n].VersionID, vs[0].VersionID)
		}
	}
}

// testRaceDeletePut: deletes and overwrites of one version. A write that was acknowledged must be there afterwards.
func testRaceDeletePut(t *testing.T, f *fixture) {
	for range f.h.Rounds {
		f.raceDeletePut(t)
		f.forget(t, "race")
	}
}

func (f *fixture) raceDeletePut(t *testing.T) {
	t.Helper()
	base := f.put(t, "race", "base")
	cond := driver.Precondition{Match: base.Tag, VersionID: base.VersionID}
	results := race(f.h.Writers, func(n int) error {
		if n%2 == 0 {
			_, err := f.Delete(t.Context(), "race", &driver.DeleteOptions{If: cond})
			return err
		}
		return f.tryPut(t.Context(), "race", fmt.Sprint("writer ", n), cond)
	})
	for n, guard := range []driver.Guard{f.h.Want.DeleteGuard, f.h.Want.PutMatch} {
		for ; guard == driver.GuardNone && n < len(results); n += 2 {
			kind(t, results[n], errkind.Unsupported, "a condition that nothing can keep")
			results[n] = errkind.New(errkind.PreconditionFailed, "as good as lost")
		}
	}
	if max(f.h.Want.DeleteGuard, f.h.Want.PutMatch) == driver.GuardNone {
		f.holds(t, "race", "base")
		return
	}
	var puts, deletes []int
	for _, n := range winners(t, results) {
		if n%2 == 0 {
			deletes = append(deletes, n)
		} else {
			puts = append(puts, n)
		}
	}
	switch {
	case len(puts) == 1:
		f.holds(t, "race", fmt.Sprint("writer ", puts[0]))
	case len(puts) == 0 && len(deletes) > 0:
		f.absent(t, "race")
	default:
		t.Errorf("puts %v and deletes %v won", puts, deletes)
	}
}
