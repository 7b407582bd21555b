package reconcile_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/event"
	"github.com/bucketmesh/bucketmesh/pkg/object"
	"github.com/bucketmesh/bucketmesh/pkg/reconcile"
)

// The process may die at every line, after any number of commits. The event comes again, and everything comes to the same
// end; without it, the dirty set alone gets there from the first commit on.
func TestCrashAtEveryLine(t *testing.T) {
	for name, change := range map[string]struct {
		do   func(r *rig) *reconcile.Hint
		want string
	}{
		"put":    {func(r *rig) *reconcile.Hint { return written("a", r.put("a", "new")) }, "new"},
		"delete": {func(r *rig) *reconcile.Hint { r.delete("a"); return r.deleted("a") }, absent},
	} {
		for _, line := range []string{"5a", "5c", "5e"} {
			for _, redelivered := range []bool{true, false} {
				t.Run(fmt.Sprintf("%s/%s/redelivered=%v", name, line, redelivered), func(t *testing.T) {
					everywhere(t, "abc", func(t *testing.T, r *rig) {
						r.everyone("base")
						h := change.do(r)
						r.trace = func(p reconcile.Point) {
							if p.Line == line {
								panic(crash{})
							}
						}
						r.untilCrash(func() { r.sync(h) })
						r.trace = nil
						if redelivered || line == "5a" { // before the first commit only the event knows
							r.sync(h)
						}
						r.rest()
						r.wantAll(change.want)
						r.wantCopies()
						if n := len(r.row().Intents); n != 0 {
							t.Errorf("%d intents stay", n)
						}
					})
				})
			}
		}
	}
}

// A crash after any commit must leave a way back: an event that comes again is taken for an echo by then.
func TestCrashAfterEveryCommitLeavesAWakeUp(t *testing.T) {
	for name, begin := range map[string]func(t *testing.T, r *rig) *reconcile.Hint{
		"a put":          func(_ *testing.T, r *rig) *reconcile.Hint { return written("a", r.put("a", "new")) },
		"equal contents": func(_ *testing.T, r *rig) *reconcile.Hint { r.put("b", "new"); return written("a", r.put("a", "new")) },
		"bytes to be read": func(t *testing.T, r *rig) *reconcile.Hint {
			h := written("a", putInParts(t, r, "a", "n", "ew"))
			r.put("b", "new")
			return h
		},
		"a conflict": func(_ *testing.T, r *rig) *reconcile.Hint { r.put("b", "old"); return written("a", r.put("a", "new")) },
	} {
		for _, full := range []bool{true, false} {
			for n := 1; n <= 4; n++ {
				t.Run(fmt.Sprintf("%s/full=%v/commit %d", name, full, n), func(t *testing.T) {
					everywhere(t, "ab", func(t *testing.T, r *rig) {
						h := begin(t, r)
						if full {
							h = nil
						}
						commits := 0
						r.store.committed = func() {
							if commits++; commits == n {
								panic(crash{})
							}
						}
						if !r.crashes(func() { r.sync(h) }) && commits == 0 {
							t.Error("nothing was committed")
						}
						r.store.committed = nil
						if commits == n && !(n >= 1 && r.settled()) {
							r.wantDirty(true)
						}
						r.rest()
						r.wantAll(r.get("a", key))
						if !r.somewhere("new") {
							t.Error("lost")
						}
					})
				})
			}
		}
	}
}

// crashes runs do and reports whether it crashed.
func (r *rig) crashes(do func()) (did bool) {
	defer func() {
		switch c := recover(); c.(type) {
		case crash:
			did = true
			r.engine = r.newEngine(r.order...)
		case nil:
		default:
			panic(c)
		}
	}()
	do()
	return false
}

// settled reports that the row says the same of every replica, proven.
func (r *rig) settled() bool {
	row := r.row()
	for _, name := range r.order {
		if rep := row.Replicas[name]; rep.Tentative != "" || rep.Version != row.Replicas[r.order[0]].Version {
			return false
		}
	}
	return len(row.Intents) == 0
}

// Large objects go in parts. What a crash leaves of an upload is aborted when its lease has ended.
func TestUploadOfACrashIsAborted(t *testing.T) {
	for name, at := range map[string]object.Op{"in the middle": object.OpPutPart, "before the end": object.OpComplete} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, options{names: "ab", part: 4})
			a := r.put("a", "a large object")
			r.sites["b"].before = once(at, crashed)
			r.untilCrash(func() { r.sync(written("a", a)) })
			if n := r.sites["b"].Uploads(); n != 1 {
				t.Fatalf("%d uploads are open", n)
			}
			if id := r.row().Intents[0].UploadID; id == "" {
				t.Fatal("the upload was not remembered")
			}
			r.rest()
			r.wantAll("a large object")
			if n := r.sites["b"].Uploads(); n != 0 {
				t.Errorf("%d uploads stay open", n)
			}
		})
	}
}

// A user takes back what a dying process was about to copy. Nothing is left to write then, but for the upload to end.
func TestIntentThatNobodyNeedsEnds(t *testing.T) {
	r := newRig(t, options{names: "ab", part: 4})
	r.everyone("base of some size")
	a := r.put("a", "something else")
	r.sites["b"].before = once(object.OpComplete, crashed)
	r.untilCrash(func() { r.sync(written("a", a)) })
	r.put("a", "base of some size")
	r.sync(nil)
	r.wantDirty(true)
	r.rest()
	r.wantAll("base of some size")
	if n, m := len(r.row().Intents), r.sites["b"].Uploads(); n != 0 || m != 0 {
		t.Errorf("%d intents and %d uploads stay", n, m)
	}
}

// An abort that fails is tried again; one that is not allowed must not hold up the key for ever.
func TestAbortThatFails(t *testing.T) {
	for name, err := range map[string]error{"for now": unavailable(), "for good": denied("no AbortMultipartUpload permission")} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, options{names: "ab", part: 4})
			a := r.put("a", "a large object")
			r.sites["b"].before = once(object.OpComplete, crashed)
			r.untilCrash(func() { r.sync(written("a", a)) })
			r.sites["b"].before = always(err, object.OpAbort)
			r.clock.advance(time.Hour)
			r.sync(nil)
			if errkind.Of(err).Retryable() {
				r.wantDirty(true)
				r.sites["b"].before = nil
			}
			r.rest()
			r.wantAll("a large object")
		})
	}
}

// Two processes at one key: the second leaves it to the first, or finds it done.
func TestTwoWorkersOnOneKey(t *testing.T) {
	for _, op := range []object.Op{object.OpOpen, object.OpPut} {
		t.Run(string(op), func(t *testing.T) {
			everywhere(t, "abc", func(t *testing.T, r *rig) {
				r.everyone("base")
				h := written("a", r.put("a", "new"))
				second := r.newEngine(r.order...)
				meet := func() error {
					for _, hint := range []*reconcile.Hint{h, written("b", r.stat("b")), nil} {
						if _, err := second.Reconcile(t.Context(), key, hint, 0); err != nil && !errkind.Of(err).Retryable() {
							t.Errorf("the second worker ends with %v", err)
						}
					}
					return nil
				}
				if op == object.OpOpen {
					r.sites["a"].after = once(op, meet)
				} else {
					r.sites["b"].before = once(op, meet)
				}
				cost := r.spent(func() { r.sync(h) })
				r.rest()
				r.wantAll("new")
				r.wantCopies()
				if cost["b"].Put > 2 || cost["c"].Put > 2 {
					t.Errorf("requests %+v", cost)
				}
				if n := r.count(event.ConflictDetected); n != 0 {
					t.Errorf("%d conflicts", n)
				}
			})
		})
	}
}

// A worker that wakes up after its lease has ended can't write any more: its requests end before the lease does.
func TestZombieCanNotWrite(t *testing.T) {
	for name, op := range map[string]object.Op{"put": object.OpPut, "delete": object.OpDelete, "complete": object.OpComplete} {
		t.Run(name, func(t *testing.T) {
			o := options{names: "ab"}
			if op == object.OpComplete {
				o.part = 2
			}
			r := newRig(t, o)
			r.everyone("base")
			other := r.newEngine(r.order...)
			r.sites["b"].before = once(op, func() error {
				r.clock.advance(time.Hour)
				if _, err := other.Reconcile(t.Context(), key, nil, 0); err != nil { // somebody else does its work
					return err
				}
				r.put("b", "after") // and a user goes on
				return nil
			})
			if op == object.OpDelete {
				r.delete("a")
				_, _ = r.engine.Reconcile(t.Context(), key, r.deleted("a"), 0)
			} else {
				_, _ = r.engine.Reconcile(t.Context(), key, written("a", r.put("a", "new")), 0)
			}
			r.rest()
			r.wantAll("after")
			if n := r.sites["b"].Uploads(); n != 0 {
				t.Errorf("%d uploads stay open", n)
			}
		})
	}
}

// A key that changes faster than it can be copied gives others their turn, and backs off.
func TestHotKeyEndsPendingAndDirty(t *testing.T) {
	everywhere(t, "ab", func(t *testing.T, r *rig) {
		r.everyone("base")
		n := 0
		r.sites["a"].before = func(op object.Op, k string) error {
			if op == object.OpOpen && k == key {
				n++
				r.put("a", fmt.Sprint("write ", n))
			}
			return nil
		}
		cost := r.spent(func() { r.wantSync(written("a", r.put("a", "write 0")), reconcile.Pending) })
		if cost["a"].Get > 10 {
			t.Errorf("%d reads in one call", cost["a"].Get)
		}
		d := r.wantDirty(true)
		r.again()
		if next := r.wantDirty(true); next.Attempts <= d.Attempts {
			t.Errorf("no back-off: %+v after %+v", next, d)
		}
		r.sites["a"].before = nil
		r.rest()
		r.wantAll(fmt.Sprint("write ", n))
		r.wantCopies()
	})
}

// The caller gives up in the middle: an error that a broker repeats, nothing is taken for absent, and the key is dirty
// from the first commit on.
func TestCallerThatGivesUp(t *testing.T) {
	for _, op := range []object.Op{object.OpOpen, object.OpPut, object.OpStat} {
		t.Run(string(op), func(t *testing.T) {
			r := newRig(t, options{names: "ab"})
			r.everyone("base")
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			stop := once(op, func() error { cancel(); return nil })
			r.sites["a"].before, r.sites["b"].before = stop, stop
			h := written("a", r.put("a", "new"))
			if op == object.OpStat {
				h = nil
			}
			_, err := r.engine.Reconcile(ctx, key, h, 0)
			if !errkind.Is(err, errkind.Canceled) {
				t.Errorf("ended with %v", err)
			}
			r.sites["a"].before, r.sites["b"].before = nil, nil
			r.sync(h)
			r.rest()
			r.wantAll("new")
		})
	}
}

// A slow line: the time for a large object grows with the attempts, instead of starting over for ever.
func TestLargeObjectOverASlowLine(t *testing.T) {
	r := newRig(t, options{names: "ab"})
	large := strings.Repeat("x", 9<<20) // at 4 MiB/s, 2 s beside the 30 s of a small one
	r.sites["b"].before = func(op object.Op, _ string) error {
		if op == object.OpPut {
			r.clock.advance(40 * time.Second)
		}
		return nil
	}
	r.wantSync(written("a", r.put("a", large)), reconcile.Pending)
	r.rest()
	if r.get("b", key) != large {
		t.Error("it never arrives")
	}
}

// An intent of a replica that has left the group ends with its lease; the row is not kept for it.
func TestIntentOfAReplicaThatLeftTheGroup(t *testing.T) {
	r := newRig(t, options{names: "abc"})
	r.everyone("base")
	r.sites["c"].after = once(object.OpPut, crashed)
	a := r.put("a", "new")
	r.untilCrash(func() { r.sync(written("a", a)) })
	r.order = []string{"a", "b"}
	r.engine = r.newEngine(r.order...)
	r.rest()
	r.wantAll("new")
	if n := len(r.row().Intents); n != 0 {
		t.Errorf("%d intents stay", n)
	}
	r.delete("a")
	r.sync(r.deleted("a"))
	r.rest()
	if r.row().Rev != 0 {
		t.Error("the row stays")
	}
}
