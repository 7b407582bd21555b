package main

import (
	"slices"

	"github.com/bucketmesh/bucketmesh/pkg/reconcile"
	"github.com/bucketmesh/bucketmesh/pkg/state"
	"github.com/bucketmesh/bucketmesh/pkg/version"
)

// The checks compare what the system did with the truth: for every state of every bucket, the set of user operations
// that it really follows.

// looked notes what a worker saw: the version that it makes of this follows exactly these operations.
func (w *world) looked(replica string, o object) {
	if w.running != nil {
		w.running.looks[replica] = look{object: o, turn: w.turn}
	}
}

// trace follows what a worker is about to write, and where.
func (w *world) trace(k *worker, p reconcile.Point) {
	if p.Version != nil {
		w.logf("  %s line %s replica %s version %s nonce %s", k.name(w), p.Line, p.Replica, p.Version.ID, p.Nonce)
	}
	if p.Line == "5c" {
		k.writing[p.Replica] = p.Version.ID
	}
}

func (w *world) writing(replica string) version.ID {
	if w.running == nil {
		return ""
	}
	return w.running.writing[replica]
}

func (w *world) pastOf(v version.ID) uint64 { return w.truth[v] }

// opOf is the latest operation that wrote a content.
func (w *world) opOf(content int) int {
	for k, op := range slices.Backward(w.ops) {
		if op.content == content {
			return k
		}
	}
	return -1
}

// committed learns the truth about new versions of a row, and checks I4.
func (w *world) committed(row state.Row) {
	for id, v := range row.Versions {
		if _, ok := w.truth[id]; ok {
			continue
		}
		w.vectors[id], w.born[id] = v.Vector, w.turn
		if v.Origin != version.Synchronizer {
			w.truth[id] = w.running.looks[v.Origin].claim
			continue
		}
		var all uint64
		for other, vector := range w.vectors {
			if vector.LessEqual(v.Vector) {
				all |= w.truth[other]
			}
		}
		w.truth[id] = all
	}
	if w.log != nil {
		for _, b := range w.buckets {
			r := row.Replicas[b.name]
			w.logf("    row %s: version=%s tentative=%s tag=%s", b.name, r.Version, r.Tentative, r.Print.Tag)
		}
	}
	for _, b := range w.buckets {
		w.prove(b, row.Replicas[b.name])
	}
	for _, b := range w.buckets {
		r := row.Replicas[b.name]
		if !r.Print.Present || !b.cur.present || r.Print.Tag != b.cur.tag {
			continue
		}
		for k := range w.ops {
			missing := w.truth[r.Version]>>k&1 == 1 && b.cur.claim>>k&1 == 0
			if missing && w.ops[k].content != b.cur.content {
				w.fail("I4 recorded past: version %s of replica %s claims operation %d, which its object never followed", r.Version, b.name, k)
			}
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

func (w *world) kept(content int) bool { return w.preserved>>content&1 == 1 }

// overwritten reports that a user overwrote operation k, or the same content elsewhere, knowing it.
func (w *world) overwritten(k int) bool {
	for same := range w.ops {
		if w.ops[same].content != w.ops[k].content {
			continue
		}
		for j := range w.ops {
			if j != same && w.ops[j].past>>same&1 == 1 {
				return true
			}
		}
	}
	return false
}

// checkOverwrite is I6: what is overwritten is dominated by what overwrites it, or preserved.
func (w *world) checkOverwrite(b *bucket, v version.ID, content int, put bool) {
	c := b.cur
	w.logf("  write at %s over %s by version %s content %d", b.name, show(c), v, content)
	if !c.present || put && c.content == content || w.kept(c.content) || w.follows(v, c.content) {
		return
	}
	w.fail("I6 overwrite: content %d of operation %d at %s is neither in the past of version %s nor preserved", c.content, c.op, b.name, v)
}

// follows reports that a version has a write of this content in its true past. Equal bytes are one content, whoever wrote
// them: a replica whose user wrote the bytes that are there already may be joined with the others.
func (w *world) follows(v version.ID, content int) bool {
	for k, op := range w.ops {
		if op.content == content && w.truth[v]>>k&1 == 1 {
			return true
		}
	}
	return false
}

func (w *world) engineWrote(b *bucket) {
	w.writes++
	w.logf("  %s now holds %s", b.name, show(b.cur))
	w.checkLost()
}

// checkLost is I1: every content that a user wrote is current somewhere, overwritten by a user who followed it, or
// preserved.
func (w *world) checkLost() {
	for k, op := range w.ops {
		if op.content == 0 || w.kept(op.content) || w.overwritten(k) {
			continue
		}
		current := false
		for _, b := range w.buckets {
			current = current || b.cur.present && b.cur.content == op.content
		}
		if !current {
			w.fail("I1 lost update: content %d of operation %d is nowhere", op.content, k)
		}
	}
}

// atRest checks I2, I3 and I5 where the system came to rest.
func (w *world) atRest() {
	first := w.buckets[0].cur
	for _, b := range w.buckets[1:] {
		if b.cur.present != first.present || b.cur.content != first.content {
			w.fail("I2 convergence: at rest, %s holds %s and %s holds %s", w.buckets[0].name, show(first), b.name, show(b.cur))
			return
		}
	}
	w.checkLost()
	w.checkRollback(first)
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
func (w *world) checkRollback(final object) {
	if len(w.ops) == 0 {
		return
	}
	content := 0
	if final.present {
		content = final.content
	}
	for k, op := range w.ops {
		if op.content != content {
			continue
		}
		newest, deleted := true, false
		for j := range w.ops {
			if j == k || w.ops[j].past>>k&1 == 0 {
				continue
			}
			if w.ops[j].content == 0 {
				deleted = true
			} else {
				newest = false
			}
		}
		if newest || deleted {
			return
		}
	}
	w.fail("I3 rollback: the final content %d comes from no causally maximal operation", content)
}
