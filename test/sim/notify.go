package main

import (
	"strconv"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/reconcile"
)

// notice is a notification under way.
type notice struct {
	hint reconcile.Hint
	at   time.Time // not before
}

// notify tells of a new state as its provider does.
func (w *world) notify(b *bucket, o *object, edit bool) {
	h := reconcile.Hint{Replica: b.name, Kind: reconcile.Deleted, Time: o.mtime, Seq: strconv.Itoa(b.serial), RequestID: o.request}
	switch {
	case edit:
		h.Kind = reconcile.Changed
	case o.present:
		h.Kind, h.Tag = reconcile.Written, o.tag
		if b.versioned() {
			h.VersionID = o.version
		}
		h.Copied = o.copied
	}
	o.told = w.tell(b, h)
}

// tell sends a notification: lossy, repeated, late, in any order.
func (w *world) tell(_ *bucket, h reconcile.Hint) bool {
	n := notice{hint: h}
	w.all = append(w.all, n)
	told := false
	for range 2 {
		if w.fault(w.p.late) {
			n.at = w.now.Add(time.Duration(w.chooser.intN(12*60)) * time.Minute)
		}
		if told = told || !w.fault(w.p.drop); told {
			w.events = append(w.events, n)
		}
		if !w.fault(w.p.duplicate) {
			break
		}
	}
	return told
}
