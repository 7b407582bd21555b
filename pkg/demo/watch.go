package demo

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
)

// watch finds out when a change has arrived at each replica: from what that replica's own server notifies and, for
// notifications that got lost, by asking the replica.
type watch struct {
	names []string

	mu       sync.Mutex
	awaited  map[string][]*arrival // by key
	listener func(Notification)
}

// arrival is a change on its way.
type arrival struct {
	origin  string
	want    Object // of a delete only the key
	kind    Kind
	left    map[string]bool // replicas that do not have it yet
	last    time.Time
	arrived chan struct{} // closed when left is empty
	ask     chan string   // replicas that told of something which may be it
}

// asksKept are those that wait to be made; with one more a replica is asked as if its notification was lost.
const asksKept = 16

// pollAfter is how long to wait for a notification before a replica is asked, and pollEvery how often it is.
const (
	pollAfter = 3 * time.Second
	pollEvery = 200 * time.Millisecond
)

func newWatch(names []string) *watch {
	return &watch{names: names, awaited: map[string][]*arrival{}}
}

// listen hands every further notification to f as well.
func (w *watch) listen(f func(Notification)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.listener = f
}

// expect is called before a change is made, so that no notification can come too early.
func (w *watch) expect(origin string, kind Kind, want Object) *arrival {
	a := &arrival{
		origin: origin, want: want, kind: kind, left: map[string]bool{}, arrived: make(chan struct{}), ask: make(chan string, asksKept),
	}
	for _, n := range w.names {
		if n != origin {
			a.left[n] = true
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.awaited[want.Key] = append(w.awaited[want.Key], a)
	return a
}

// forget gives up on a change.
func (w *watch) forget(a *arrival) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.drop(a)
}

func (w *watch) drop(a *arrival) {
	w.awaited[a.want.Key] = slices.DeleteFunc(w.awaited[a.want.Key], func(b *arrival) bool { return a == b })
}

// match is what a notification says of an arrival.
type match int

const (
	other match = iota
	same
	unclear // the replica has to be asked
)

func (a *arrival) matches(n Notification) match {
	switch {
	case n.Deleted && a.kind == Delete:
		return same
	case n.Deleted || a.kind == Delete:
		return other
	case a.kind == Edit, n.MD5 == "", a.want.MD5 == "": // what is new of an edit are not the bytes
		return unclear
	case n.MD5 == a.want.MD5:
		return same
	}
	return other
}

// notified takes a notification.
func (w *watch) notified(n Notification) {
	w.mu.Lock()
	for _, a := range slices.Clone(w.awaited[n.Key]) {
		if !a.left[n.Site] {
			continue
		}
		switch a.matches(n) {
		case same:
			w.arrive(a, n.Site, n.At)
		case unclear:
			select {
			case a.ask <- n.Site:
			default:
			}
		case other:
		}
	}
	listener := w.listener
	w.mu.Unlock()
	if listener != nil {
		listener(n)
	}
}

// arrive is called with the lock held.
func (w *watch) arrive(a *arrival, site string, at time.Time) {
	delete(a.left, site)
	if at.After(a.last) {
		a.last = at
	}
	if len(a.left) == 0 {
		w.drop(a)
		close(a.arrived)
	}
}

func (w *watch) missing(a *arrival) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var names []string
	for _, n := range w.names {
		if a.left[n] {
			names = append(names, n)
		}
	}
	return names
}

// wait waits until a change is everywhere and returns when that was: when its notifications came or, where they do not say
// enough, when the replicas had been asked and held it.
func (w *watch) wait(ctx context.Context, a *arrival, sites []Site) (time.Time, error) {
	poll := time.NewTimer(pollAfter)
	defer poll.Stop()
	for {
		select {
		case <-a.arrived:
			return a.last, nil
		case name := <-a.ask:
			w.look(ctx, a, name, sites)
		case <-poll.C:
			for _, name := range w.missing(a) {
				w.look(ctx, a, name, sites)
			}
			poll.Reset(pollEvery)
		case <-ctx.Done():
			w.forget(a)
			return time.Time{}, errkind.New(errkind.Unavailable, "%s of %s at %s did not come to %s: %w",
				a.kind, a.want.Key, a.origin, strings.Join(w.missing(a), ", "), fmt.Errorf("wait for change: %w", ctx.Err()))
		}
	}
}

// look asks a replica whether a change has arrived.
func (w *watch) look(ctx context.Context, a *arrival, name string, sites []Site) {
	i := slices.IndexFunc(sites, func(s Site) bool { return s.Where().Name == name })
	if !isAt(ctx, sites[i], a.want, a.kind == Delete) {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if a.left[name] {
		w.arrive(a, name, time.Now())
	}
}
