package main

import "fmt"

// userOp is one operation of a user.
type userOp struct {
	value int    // 0: a delete
	past  uint64 // operations that it follows: what its replica held
	ro    bool   // at a ReadOnly replica
	// merged: not a user's at all, but a merge of what users wrote. What went into it is kept, so it may get lost; but whoever
	// overwrites it follows it.
	merged bool
}

// earlier is a state that a user can bring back.
type earlier struct {
	object
	at *bucket
}

// user makes one operation of a user at some replica.
func (w *world) user() {
	b := w.buckets[w.chooser.intN(len(w.buckets))]
	k := len(w.ops)
	cur := b.cur
	next := object{present: true, op: k, past: cur.past | 1<<k, claim: cur.claim | 1<<k, chain: cur.chain}
	choice := w.chooser.intN(12)
	what := "put"
	fresh := value{bytes: k + 1}
	switch {
	case choice >= 9 && w.p.deletes && cur.present:
		next.present, what = false, "delete"
	case choice >= 9-w.p.restoring && choice < 9 && w.p.restores && w.restorable(b) != nil:
		old := w.restorable(b)
		next.value, next.nonce, next.over, what = old.value, old.nonce, old.over, "restore"
	case choice == 4 && w.p.restores && cur.present: // an edit of the bytes that keeps our metadata
		next.value, next.nonce, next.over, what = w.valueOf(fresh), cur.nonce, cur.over, "edit bytes"
	case choice >= 2 && choice <= 3 && w.p.edits && cur.present && !(w.p.exact && b.cloud.silentEdits):
		next.value, next.nonce, next.over, what = w.valueOf(value{bytes: w.values[cur.value].bytes, meta: k + 1}), cur.nonce, cur.over, "edit metadata"
		next.parts = cur.parts && b.cloud.metagen
		next.copied = b.cloud.contentTags && w.chooser.intN(2) == 0 // or it is put again
		if b.cloud.metagen {
			next.metagen, next.tag, next.version = cur.metagen+1, cur.tag, cur.version
		}
		if b.cloud.silentEdits {
			w.lost = true
		}
	case (choice == 1 || choice == 5) && w.p.nosy && w.elsewhere(b) != nil: // the bytes of another replica, by a user's own tool
		other := w.elsewhere(b)
		next.value, next.nonce, what = other.value, other.nonce, "copy over" // with our metadata, as tools do
	case choice == 1 && w.p.restores && b.hidden() != nil && w.busyWorkers() == 0 && len(w.row().Intents) == 0:
		w.undelete(b, k)
		return
	default:
		next.value = w.valueOf(fresh)
	}
	next.again = what == "restore" || what == "edit metadata" || what == "copy over"
	if cur.present {
		w.history = append(w.history, earlier{*cur, b})
	}
	w.ops = append(w.ops, userOp{value: next.value, past: cur.past, ro: !b.users})
	b.become(next)
	w.logf("user op %d at %s: %s: %s", k, b.name, what, w.show(b.cur))
}

// elsewhere is what another replica holds and this one does not.
func (w *world) elsewhere(b *bucket) *object {
	for _, other := range w.buckets {
		if o := other.cur; other != b && o.present && (!b.cur.present || b.cur.value != o.value) {
			return o
		}
	}
	return nil
}

// hidden is the version below a delete marker, if the bucket has markers and is deleted.
func (b *bucket) hidden() *object {
	if n := len(b.hist); !b.cur.present && b.cloud.versions && !b.cloud.generations && n > 1 && b.hist[n-2].present && b.hist[n-1] == b.cur {
		return b.hist[n-2]
	}
	return nil
}

// undelete removes the marker, so that the version below is current again as it was. If the marker is one of ours that was not
// acknowledged, nothing tells that from a delete that never came: as with R2, what the user did is undone. So it is not done then.
func (w *world) undelete(b *bucket, k int) {
	w.ops = append(w.ops, userOp{value: b.hidden().value, past: b.cur.past, ro: !b.users})
	past, claim, chain := b.cur.past|1<<k, b.cur.claim|1<<k, b.cur.chain
	b.drop(b.cur.version)
	b.cur.past, b.cur.claim, b.cur.chain, b.cur.op = b.cur.past|past, b.cur.claim|claim, chain, k
	w.logf("user op %d at %s: undelete: %s", k, b.name, w.show(b.cur))
}

// restorable is an earlier state of the replica with another value than the current one; one that we wrote, if there is.
func (w *world) restorable(b *bucket) *object {
	var found *object
	for n := range w.history {
		old := &w.history[n]
		if old.at != b || b.cur.present && old.value == b.cur.value {
			continue
		}
		if found == nil || old.nonce != "" && (found.nonce == "" || (n+len(w.ops))%2 == 0) {
			found = &old.object
		}
	}
	return found
}

func (w *world) show(o *object) string {
	if !o.present {
		return fmt.Sprintf("absent past=%b", o.past)
	}
	v := w.values[o.value]
	s := fmt.Sprintf("value %d (bytes %d", o.value, v.bytes)
	if v.meta != 0 {
		s += fmt.Sprintf(", metadata %d", v.meta)
	}
	s += fmt.Sprintf(") tag=%s", o.tag)
	if o.version != "" {
		s += " version=" + o.version
	}
	if o.nonce != "" {
		s += " nonce=" + o.nonce
	}
	return s + fmt.Sprintf(" past=%b", o.past)
}
