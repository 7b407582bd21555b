package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
	"github.com/bucketmesh/bucketmesh/pkg/reconcile"
	"github.com/bucketmesh/bucketmesh/pkg/state"
	"github.com/bucketmesh/bucketmesh/pkg/version"
)

// The checks compare what the system did with the truth: for every state of every bucket, the set of user operations
// that it really follows.

// looked notes what a worker saw: the version that it makes of this follows exactly these operations. A read does not replace a look
// of the same pass.
func (w *world) looked(b *bucket, stat bool) {
	k := w.running
	if k == nil {
		return
	}
	if _, seen := k.looks[b.name]; stat || !seen {
		k.looks[b.name] = look{object: *b.cur, turn: w.turn}
	}
}

// trace follows what a worker is about to write, and where.
func (w *world) trace(k *worker, p reconcile.Point) {
	if p.Version != nil {
		w.logf("  %s line %s replica %s version %s nonce %s", k.id, p.Line, p.Replica, p.Version.ID, p.Nonce)
	}
	if p.Line == "5c" {
		k.writing[p.Replica] = p.Version
	}
}

func (w *world) writing(replica string) version.ID {
	if w.running == nil || w.running.writing[replica] == nil {
		return ""
	}
	return w.running.writing[replica].ID
}

func (w *world) pastOf(v version.ID) uint64 { return w.truth[v] }

// opOf is the latest operation that made a value.
func (w *world) opOf(value int) int {
	for k, op := range slices.Backward(w.ops) {
		if op.value == value {
			return k
		}
	}
	return -1
}

// committed learns the truth about new versions of a row, and checks I4.
func (w *world) committed(row state.Row, fx state.Effects) {
	w.mixRow(row, fx)
	for _, ours := range []bool{false, true} { // what users wrote comes first: a join or a resolution is made of it
		for id, v := range row.Versions {
			if ours == (v.Origin == version.Synchronizer) {
				w.learn(id, v)
			}
		}
	}
	if w.log != nil {
		w.tellRow(row, fx)
	}
	for _, b := range w.buckets {
		w.prove(b, row.Replicas[b.name])
	}
	for _, b := range w.buckets {
		w.checkPast(b, row.Replicas[b.name])
	}
}

// learn is the truth about one version.
func (w *world) learn(id version.ID, v *version.Version) {
	if _, known := w.truth[id]; known {
		return
	}
	w.vectors[id], w.born[id] = v.Vector, w.turn
	if v.Origin != version.Synchronizer {
		seen := w.running.looks[v.Origin]
		w.truth[id] = seen.claim
		if v.Kind == version.Delete && seen.present {
			w.fail("I7 no phantom: version %s deletes what is there at %s: %s", id, v.Origin, w.show(&seen.object))
		}
		return
	}
	var all uint64
	for other, vector := range w.vectors {
		if vector.LessEqual(v.Vector) {
			all |= w.truth[other]
		}
	}
	w.truth[id] = all
}

// tellRow logs a commit.
func (w *world) tellRow(row state.Row, fx state.Effects) {
	said := "    row"
	if fx.Remove {
		said = "    row is removed;"
	}
	for _, b := range w.buckets {
		r := row.Replicas[b.name]
		said += fmt.Sprintf(" %s: %s", b.name, cmp.Or(string(r.Version), "-"))
		if r.Tentative != "" {
			said += " tentative " + string(r.Tentative)
		}
		if r.Print.Present {
			said += " (" + strings.TrimSpace(r.Print.Tag+" "+r.Print.VersionID) + ")"
		}
	}
	for _, it := range row.Intents {
		said += fmt.Sprintf(", intent %s at %s until %s %s", it.Nonce, it.Replica, it.LeaseUntil.Sub(w.now).Round(time.Second), it.UploadID)
	}
	if fx.Dirty != nil {
		said += fmt.Sprintf(", dirty in %s: %s", fx.Dirty.Sub(w.now).Round(time.Millisecond), fx.Reason)
	}
	if fx.ClearDirty {
		said += ", clean"
	}
	w.logf("%s", said)
}

// mixRow lets the digest of the run depend on a commit.
func (w *world) mixRow(row state.Row, fx state.Effects) {
	c := w.chooser
	c.mix(uint64(len(row.Versions))<<32 | uint64(len(row.Intents))<<16 | uint64(len(fx.Events))<<8 | uint64(len(fx.Conflicts)))
	for _, b := range w.buckets {
		r := row.Replicas[b.name]
		c.mixString(string(r.Version))
		c.mixString(string(r.Tentative))
		c.mixString(r.Print.Tag)
	}
	if fx.Dirty != nil {
		c.mix(uint64(fx.Dirty.UnixNano()))
	}
}

// checkPast is I4.
func (w *world) checkPast(b *bucket, r state.Replica) {
	if !r.Print.Present || !b.cur.present || r.Print.Tag != b.cur.tag || b.versioned() && r.Print.VersionID != "" && r.Print.VersionID != b.cur.version {
		return
	}
	for k := range w.ops {
		missing := w.truth[r.Version]>>k&1 == 1 && b.cur.claim>>k&1 == 0
		if missing && w.ops[k].value != b.cur.value {
			w.fail("I4 recorded past: version %s of replica %s claims operation %d, which its object never followed", r.Version, b.name, k)
		}
	}
}

// prove lets a state count as following a resolution or a join, if it was seen after that had been stored: from then on
// a user who writes over it does follow it.
func (w *world) prove(b *bucket, r state.Replica) {
	seen, ok := w.running.looks[b.name]
	born, known := w.born[r.Version]
	if !ok || !known || seen.turn <= born || seen.present != r.Print.Present || seen.tag != r.Print.Tag {
		return
	}
	if b.cur.chain == seen.chain && b.cur.serial >= seen.serial {
		b.cur.claim |= w.truth[r.Version]
	}
}

func (w *world) kept(value int) bool { return w.preserved>>value&1 == 1 }

func (w *world) excused(value int) bool { return w.residual>>value&1 == 1 }

// overwritten reports that a user overwrote operation k, or the same value elsewhere, knowing it. Whoever writes at a
// ReadOnly replica overwrites only what was written there.
func (w *world) overwritten(k int) bool {
	for same := range w.ops {
		if w.ops[same].value != w.ops[k].value {
			continue
		}
		for j := range w.ops {
			if j != same && w.ops[j].past>>same&1 == 1 && !w.ops[j].merged && (!w.ops[j].ro || w.ops[same].ro) {
				return true
			}
		}
	}
	return false
}

// checkOverwrite is I6: what is overwritten is dominated by what overwrites it, or preserved.
func (w *world) checkOverwrite(b *bucket, over *object, v version.ID, cond driver.Precondition, value int) {
	w.logf("  write at %s over %s by version %s: value %d", b.name, w.show(over), v, value)
	// R6 is no loss where versions are kept; but a write that landed on what somebody else had seen meanwhile is taken for a user's.
	w.unordered = w.unordered || cond.Match != "" && b.cloud.contentTags && over.again
	if !over.present || over.value == value || w.kept(over.value) || w.follows(v, over.value) {
		return
	}
	switch {
	case cond.Match != "" && b.cloud.recovers(): // the tag is made of the bytes; line 5d has to find it
		w.logf("  it is hidden in the history of %s", b.name)
		return
	case cond.Match != "" && b.cloud.weak():
		w.residual |= 1 << over.value
		w.logf("  no condition can see that: R6")
		return
	case cond == (driver.Precondition{}) && b.lossy(value != 0) && w.running != nil && w.running.looks[b.name].serial != over.serial:
		w.residual |= 1 << over.value
		w.logf("  it came after the look: the loss window of %s", b.cloud.name)
		return
	}
	w.fail("I6 overwrite: value %d of operation %d at %s is neither in the past of version %s nor preserved", over.value, over.op, b.name, v)
}

// lossy says that nothing stands in for a condition of a write of this kind.
func (b *bucket) lossy(put bool) bool {
	if put {
		return b.cloud.put == driver.GuardNone
	}
	return b.cloud.delete == driver.GuardNone
}

// follows reports that a version has a write of this value in its true past. Equal values are one, whoever wrote
// them: a replica whose user wrote what is there already may be joined with the others.
func (w *world) follows(v version.ID, value int) bool {
	for k, op := range w.ops {
		if op.value == value && w.truth[v]>>k&1 == 1 {
			return true
		}
	}
	return false
}

func (w *world) engineWrote(b *bucket) {
	w.writes++
	w.logf("  %s now holds %s", b.name, w.show(b.cur))
	w.checkLost()
}

// checkLost is I1: every value that a user wrote is current somewhere, overwritten by a user who followed it, or preserved.
func (w *world) checkLost() {
	for k, op := range w.ops {
		if op.value == 0 || op.merged || w.kept(op.value) || w.excused(op.value) || w.overwritten(k) || w.somewhere(op.value) {
			continue
		}
		w.fail("I1 lost update: value %d of operation %d is nowhere", op.value, k)
	}
}

// somewhere says that a bucket holds a value: as its current state, or, until everything is at rest, in a history where line 5d looks
// for it. What nobody told of, or nobody may list, stays there.
func (w *world) somewhere(value int) bool {
	for _, b := range w.buckets {
		if b.cur.present && b.cur.value == value {
			return true
		}
		if !b.cloud.recovers() {
			continue
		}
		for _, o := range b.hist {
			if o.present && o.value == value && (!w.resting || !o.told || b.unlist) {
				return true
			}
		}
	}
	return false
}

// settled says that the row knows every replica as it is, that all hold one version, and that nothing is left to be done.
func (w *world) settled() bool {
	row := w.row()
	if len(row.Intents) > 0 {
		return false
	}
	drift := w.drifting(row)
	for _, b := range w.buckets {
		r := row.Replicas[b.name]
		if r.Print.Present != b.cur.present || r.Print.Tag != b.cur.tag || r.Tentative != "" {
			return false
		}
		if r.Version != row.Replicas[w.buckets[0].name].Version && !drift {
			return false
		}
	}
	return true
}

// drifting says that the only head was written where users should not write: it is left alone.
func (w *world) drifting(row state.Row) bool {
	for _, ro := range w.buckets {
		v := row.Versions[row.Replicas[ro.name].Version]
		if ro.users || v == nil || v.Origin != ro.name {
			continue
		}
		for _, b := range w.buckets {
			u := row.Versions[row.Replicas[b.name].Version]
			if u != nil && u != v && !u.Vector.Before(v.Vector) {
				return false
			}
		}
		return true
	}
	return false
}

// atRest checks I1, I2, I3, I5 and P4 where the system came to rest.
func (w *world) atRest() {
	w.resting = true
	w.logf("at rest")
	row := w.row()
	first := w.buckets[0].cur
	drift := w.drifting(row)
	for _, b := range w.buckets[1:] {
		if !drift && (b.cur.present != first.present || b.cur.value != first.value) {
			w.fail("I2 convergence: at rest, %s holds %s and %s holds %s", w.buckets[0].name, w.show(first), b.name, w.show(b.cur))
			return
		}
	}
	w.checkLost()
	if !drift && !w.unordered {
		w.checkRollback(first)
	}
	for _, b := range w.buckets {
		if n := b.abandoned(); n > 0 && !b.unaborted {
			w.fail("P4 uploads: %d uploads with parts are left at %s", n, b.name)
		}
	}
	if !first.present && !drift && row.Rev != 0 {
		w.fail("I8 forgetting: the key is nowhere, and its row is still there")
	}
	if w.violation != "" {
		return
	}
	before := w.writes
	w.deliverAll()
	w.start(w.workers[0], task{})
	w.finishWorkers()
	if w.writes != before {
		w.fail("I5 no loop: notifications of what is already everywhere made %d writes", w.writes-before)
	}
}

// checkRollback is I3: the final value comes from a user operation that no user overwrote knowingly. A delete that was
// undone is the documented residual R2.
func (w *world) checkRollback(final *object) {
	if !slices.ContainsFunc(w.ops, func(op userOp) bool { return !op.ro }) {
		return // nobody who may wrote anything
	}
	value := 0
	if final.present {
		value = final.value
	}
	for k, op := range w.ops {
		if op.value != value || op.ro {
			continue
		}
		newest, deleted := true, false
		for j, after := range w.ops {
			if j == k || after.past>>k&1 == 0 || after.ro || after.merged || w.excused(after.value) {
				continue
			}
			if after.value == 0 {
				deleted = true
			} else {
				newest = false
			}
		}
		if newest || deleted {
			return
		}
	}
	w.fail("I3 rollback: the final value %d comes from no causally maximal operation", value)
}
