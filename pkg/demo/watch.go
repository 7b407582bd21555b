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
	key     string
	etag    string // "" for a delete; a multipart tag says nothing elsewhere, see matches
	kind    Kind
	left    map[string]bool // replicas that do not have it yet
	last    time.Time
	arrived chan struct{} // closed when left is empty
}

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
func (w *watch) expect(origin string, kind Kind, key, etag string) *arrival {
	a := &arrival{origin: origin, key: key, etag: etag, kind: kind, left: map[string]bool{}, arrived: make(chan struct{})}
	for _, n := range w.names {
		if n != origin {
			a.left[n] = true
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.awaited[key] = append(w.awaited[key], a)
	return a
}

// forget gives up on a change.
func (w *watch) forget(a *arrival) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.drop(a)
}

func (w *watch) drop(a *arrival) {
	w.awaited[a.key] = slices.DeleteFunc(w.awaited[a.key], func(b *arrival) bool { return a == b })
}

func (a *arrival) matches(n Notification) bool {
	if n.Deleted || a.kind == Delete {
		return n.Deleted && a.kind == Delete
	}
	// The tag of a multipart upload depends on its parts, which the copy is free to choose.
	return n.ETag == a.etag || strings.Contains(a.etag, "-")
}

// notified takes a notification.
func (w *watch) notified(n Notification) {
	w.mu.Lock()
	for _, a := range slices.Clone(w.awaited[n.Key]) {
		if a.left[n.Site] && a.matches(n) {
			w.arrive(a, n.Site, n.At)
			break
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

// wait waits until a change is everywhere and returns when that was. want is what the replicas have to hold then.
func (w *watch) wait(ctx context.Context, a *arrival, sites []*Site, want Object) (time.Time, error) {
	poll := time.NewTimer(pollAfter)
	defer poll.Stop()
	for {
		select {
		case <-a.arrived:
			return a.last, nil
		case <-poll.C:
			for _, name := range w.missing(a) {
				i := slices.IndexFunc(sites, func(s *Site) bool { return s.Name == name })
				if sites[i].holds(ctx, want, a.kind == Delete) {
					w.mu.Lock()
					if a.left[name] {
						w.arrive(a, name, time.Now())
					}
					w.mu.Unlock()
				}
			}
			poll.Reset(pollEvery)
		case <-ctx.Done():
			w.forget(a)
			return time.Time{}, errkind.New(errkind.Unavailable, "%s of %s at %s did not come to %s: %w",
				a.kind, a.key, a.origin, strings.Join(w.missing(a), ", "), fmt.Errorf("wait for change: %w", ctx.Err()))
		}
	}
}

// holds asks a replica whether it holds an object, or is without it. Trouble is a no: it will be asked again.
func (s *Site) holds(ctx context.Context, want Object, gone bool) bool {
	o, ok, err := s.Head(ctx, want.Key)
	if err != nil || gone || !ok {
		return err == nil && gone && !ok
	}
	o.SHA256 = want.SHA256 // a HEAD does not tell
	multipart := strings.Contains(want.ETag, "-")
	return (o.ETag == want.ETag || multipart) && o.Identity() == want.Identity()
}
