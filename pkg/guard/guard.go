// Package guard is the delete brake: it counts the deletes of a group that come up to be carried on to other replicas, lets
// them go while they are few, and holds all of them once they are many, until a person decides. It does no I/O: each function
// says what becomes of a state.Weighing, which the store reads and writes in one transaction, so that several processes
// count together.
//
// Errors: what a person may not do now is errkind.Conflict, with what they may.
//
// Concurrency: there is no state.
package guard

import (
	"fmt"
	"slices"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/state"
	"github.com/bucketmesh/bucketmesh/pkg/version"
)

// Limits are the limits of a brake.
type Limits struct {
	Keys      int           // so many deletes are let through whatever their share
	Percent   int           // of the keys of the group; 100 counts no share
	Within    time.Duration // deletes are counted for so long
	PerMinute int           // 0 is off
	Hold      time.Duration // a delete waits for so long, so that a mass delete is recognised before its first one goes
}

// Off reports that nothing is counted.
func (l Limits) Off() bool { return l.Percent >= 100 && l.PerMinute == 0 }

const (
	// Recheck is when a delete that is held is looked at again, if nobody decides: its key may have come back unnoticed.
	Recheck = 24 * time.Hour
	// stretch bounds how much longer than Hold a delete waits while ever more come up.
	stretch = 10
	// periods is how finely deletes are counted within Limits.Within.
	periods = 60
)

// Verdict is what becomes of a delete.
type Verdict struct {
	Go      bool      // it may be carried on
	Until   time.Time // otherwise: when to ask again
	Why     string    // otherwise: for people
	Tripped bool      // it was the one that was too many
}

// Weigh decides about the delete of a key, whose tombstone is v, and notes it. It may be asked as often as one likes: a delete
// counts once, and so does a key that is deleted several times.
func Weigh(w *state.Weighing, v version.ID, l Limits, now time.Time) Verdict {
	b, d := &w.Brake, &w.Deletion
	if d.Version != v {
		note(b, d, v, l, now)
	}
	switch {
	case b.State == state.Paused:
		return hold(b, d, now)
	case d.Approved, !d.Noted.After(b.Approved):
		return pass(b, d)
	case b.State == state.Tripped && !l.Off():
		return hold(b, d, now)
	case !d.Waiting:
		return pass(b, d)
	}
	if why := tooMany(w, l, now); why != "" {
		b.State, b.Since, b.Reason = state.Tripped, now, why
		v := hold(b, d, now)
		v.Tripped = true
		return v
	}
	if until := waitsUntil(w, l, now); until.After(now) {
		return Verdict{Until: until, Why: "a delete waits a moment, should it be the first of many (deletes.hold)"}
	}
	return pass(b, d)
}

// note writes a delete down that was not known. It takes the place of an earlier one of its key.
func note(b *state.Brake, d *state.Deletion, v version.ID, l Limits, now time.Time) {
	withdraw(b, d)
	*d = state.Deletion{Version: v, Noted: now, Waiting: true}
	if !now.After(b.Approved) { // this clock is behind another worker's: the approval is not about what came up after it
		d.Noted = b.Approved.Add(time.Nanosecond)
	}
	b.Waiting++
	if d.Noted.After(b.Latest) {
		b.Latest = d.Noted
	}
	if now.Before(b.Until) || b.Further > 0 {
		d.Approved = true
		b.Further = max(b.Further-1, 0)
		return
	}
	count(b, l, now, 1)
	if at := now.Unix() / 60 * 60; b.Minute.At != at {
		b.Minute = state.Count{At: at}
	}
	b.Minute.N++
}

// count adds deletes to those of the current period, and forgets the periods that are over.
func count(b *state.Brake, l Limits, now time.Time, n int64) {
	from := now.Add(-l.Within).Unix()
	b.Counts = slices.DeleteFunc(slices.Clone(b.Counts), func(c state.Count) bool { return c.At < from })
	period := max(int64(l.Within.Seconds())/periods, 1)
	at := now.Unix() / period * period
	if last := len(b.Counts) - 1; last >= 0 && b.Counts[last].At >= at { // another process may be ahead
		b.Counts[last].N += n
		return
	}
	b.Counts = append(b.Counts, state.Count{At: max(at, from), N: n})
}

// Withdraw forgets a delete: its key is there again, or is nowhere any more.
func Withdraw(w *state.Weighing) {
	withdraw(&w.Brake, &w.Deletion)
	w.Deletion = state.Deletion{}
}

func withdraw(b *state.Brake, d *state.Deletion) {
	if d.Version == "" {
		return
	}
	if d.Waiting {
		b.Waiting = max(b.Waiting-1, 0)
	}
	if d.Approved || !d.Noted.After(b.Approved) {
		return // it is not among those that are counted
	}
	b.Counts = slices.Clone(b.Counts)
	for i := len(b.Counts) - 1; i >= 0; i-- {
		if c := &b.Counts[i]; c.At <= d.Noted.Unix() {
			c.N = max(c.N-1, 0)
			return
		}
	}
}

func hold(b *state.Brake, d *state.Deletion, now time.Time) Verdict {
	if !d.Waiting {
		d.Waiting = true
		b.Waiting++
	}
	return Verdict{Until: now.Add(Recheck), Why: "held by the delete brake: " + Why(*b)}
}

// Why says why a brake holds deletes, and what to do about it.
func Why(b state.Brake) string {
	if b.State == state.Paused {
		return "somebody paused all deletes; `bucketmesh brake resume` ends that"
	}
	return b.Reason + "; `bucketmesh brake approve` lets the deletes go, `bucketmesh brake undo` brings the objects back"
}

func pass(b *state.Brake, d *state.Deletion) Verdict {
	if d.Waiting {
		d.Waiting = false
		b.Waiting = max(b.Waiting-1, 0)
	}
	return Verdict{Go: true}
}

// tooMany says what limit is exceeded, "" if none is.
func tooMany(w *state.Weighing, l Limits, now time.Time) string {
	n := Counted(w.Brake, l, now)
	if most := Most(*w, l, now); most >= 0 && n > most {
		return fmt.Sprintf("%d deletes within %s, more than %d of %d keys", n, short(l.Within), most, keysBefore(w, l, now))
	}
	if l.PerMinute > 0 && w.Brake.Minute.N > int64(l.PerMinute) && w.Brake.Minute.At == now.Unix()/60*60 {
		return fmt.Sprintf("%d deletes in one minute, more than %d", w.Brake.Minute.N, l.PerMinute)
	}
	return ""
}

// Most is how many deletes are let through within Limits.Within; -1 is all.
func Most(w state.Weighing, l Limits, now time.Time) int64 {
	if l.Percent >= 100 {
		return -1
	}
	return max(int64(l.Keys), keysBefore(&w, l, now)*int64(l.Percent)/100)
}

// Counted is how many deletes count now.
func Counted(b state.Brake, l Limits, now time.Time) (n int64) {
	from := now.Add(-l.Within).Unix()
	for _, c := range b.Counts {
		if c.At >= from {
			n += c.N
		}
	}
	return n
}

// keysBefore is how many keys the group had before the deletes that count: rows of those that were carried on are gone.
func keysBefore(w *state.Weighing, l Limits, now time.Time) int64 {
	return w.Keys + max(Counted(w.Brake, l, now)-w.Brake.Waiting, 0)
}

// waitsUntil is when a delete has waited for long enough. While more of them wait than the brake lets through in any case, the
// wait begins again with each further one, up to a bound: a mass delete takes its time, too.
func waitsUntil(w *state.Weighing, l Limits, now time.Time) time.Time {
	noted := w.Deletion.Noted
	if l.Hold <= 0 || l.Off() || keysBefore(w, l, now) <= int64(l.Keys) && l.PerMinute == 0 { // can't ever be too many
		return noted
	}
	until := noted.Add(l.Hold)
	if w.Brake.Waiting > int64(l.Keys) {
		until = w.Brake.Latest.Add(l.Hold)
		if last := noted.Add(stretch * l.Hold); until.After(last) {
			until = last
		}
	}
	return until
}

// Approve lets the deletes go that came up until now, and counts from zero for later ones. Those of a while from now, or so
// many more, may go, too. What came up is told by the clocks of those that noted it: the approver's may be ahead of them, or behind.
func Approve(b *state.Brake, now time.Time, during time.Duration, further int64) {
	armed(b, now)
	b.Approved, b.Counts, b.Minute = b.Latest, nil, state.Count{}
	b.Until, b.Further = time.Time{}, max(further, 0)
	if during > 0 {
		b.Until = now.Add(during)
	}
}

// Undone arms the brake again after the deletes that were held were undone. What is left waiting came up since, and counts.
func Undone(b *state.Brake, l Limits, now time.Time) {
	armed(b, now)
	b.Counts, b.Minute = nil, state.Count{}
	b.Until, b.Further = time.Time{}, 0
	if b.Waiting > 0 {
		count(b, l, now, b.Waiting)
	}
}

// Pause holds every delete from now on.
func Pause(b *state.Brake, now time.Time) {
	if b.State == state.Paused {
		return
	}
	*b = state.Brake{State: state.Paused, Since: now, Waiting: b.Waiting, Counts: b.Counts, Minute: b.Minute, Latest: b.Latest, Approved: b.Approved}
}

// Resume ends a pause. The deletes that waited are counted as if they came up now.
func Resume(b *state.Brake, l Limits, now time.Time) error {
	if b.State == state.Tripped {
		return errkind.New(errkind.Conflict, "resume deletes: the brake tripped (%s); approve the deletes, or undo them", b.Reason)
	}
	if b.State == state.Armed {
		return nil
	}
	armed(b, now)
	b.Counts = nil
	if b.Waiting > 0 {
		count(b, l, now, b.Waiting)
	}
	return nil
}

func armed(b *state.Brake, now time.Time) {
	if b.State != state.Armed {
		b.State, b.Since, b.Reason = state.Armed, now, ""
	}
}

// short is 1h instead of 1h0m0s.
func short(d time.Duration) string {
	s := d.String()
	if n := len(s); n > 3 && s[n-3:] == "m0s" {
		s = s[:n-2]
	}
	if n := len(s); n > 3 && s[n-3:] == "h0m" {
		s = s[:n-2]
	}
	return s
}
