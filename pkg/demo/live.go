package demo

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	cloudevents "github.com/cloudevents/sdk-go/v2/event"
	"golang.org/x/sync/errgroup"

	"github.com/bucketmesh/bucketmesh/pkg/config"
	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/event"
)

// Play leaves the demo to a person: it says where the replicas are and then tells of every change until ctx is done. It
// fails if a server or the pipeline does.
func (d *Demo) Play(ctx context.Context, out io.Writer) error {
	l := &live{out: out, names: d.watch.names, changes: map[string]*seen{}}
	l.line("%s", d.guide())
	d.watch.listen(l.notified)
	defer d.watch.listen(nil)
	stop := d.mesh.Watch(l.conflict)
	defer stop()

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var both errgroup.Group
	both.Go(func() error {
		defer cancel()
		return d.Gone(ctx)
	})
	both.Go(func() error {
		defer cancel()
		select {
		case <-d.mesh.Failed():
			return fmt.Errorf("play: %w", d.mesh.Err())
		case <-ctx.Done():
			return nil
		}
	})
	return both.Wait()
}

// guide is what a person needs to play.
func (d *Demo) guide() string {
	var b strings.Builder
	guides := make([]Guide, len(d.sites))
	b.WriteString("\nThe three replicas stay up until Ctrl-C. Change something with the tools of their providers:\n\n")
	said := map[string]bool{}
	for i, s := range d.sites {
		guides[i] = s.Guide()
		for _, line := range guides[i].Setup {
			if !said[line] {
				fmt.Fprintf(&b, "  %s\n", line)
			}
			said[line] = true
		}
	}
	for _, s := range d.sites {
		at := s.Where()
		fmt.Fprintf(&b, "  %-4s %-6s %s  bucket %s (%s)\n", at.Name, at.Provider, at.Endpoint, at.Bucket, at.Server)
	}
	key := func(line, key string) string { return strings.ReplaceAll(line, "{key}", key) }
	b.WriteString("\nA change in one region, read in the others:\n\n")
	fmt.Fprintf(&b, "  %s <README.md\n", key(guides[0].Write, "hello.md"))
	for _, g := range guides[1:] {
		fmt.Fprintf(&b, "  %s\n", key(g.Read, "hello.md"))
	}
	b.WriteString("\nTwo writes at once, and what became of them:\n\n")
	us, eu := cmp.Or(guides[0].Race, guides[0].Write), cmp.Or(guides[1].Race, guides[1].Write)
	fmt.Fprintf(&b, "  (echo us | %s) & (echo eu | %s); wait\n", key(us, "both.txt"), key(eu, "both.txt"))
	for _, g := range guides {
		fmt.Fprintf(&b, "  %s\n", key(g.List, config.ConflictPrefix))
	}
	return b.String()
}

// live tells of changes as they happen.
type live struct {
	names []string

	mu      sync.Mutex
	out     io.Writer
	changes map[string]*seen // by key
}

// seen is the last change of a key.
type seen struct {
	md5     string // of the contents; "" if nobody told
	deleted bool
	from    string
	at      time.Time
	here    map[string]bool
}

// same reports whether a replica tells of the change itself. Not all tell of the bytes: then a replica that has not told yet
// is taken to tell of this change.
func (s *seen) same(n Notification) bool {
	return s.deleted == n.Deleted && !s.here[n.Site] && (s.md5 == n.MD5 || s.md5 == "" || n.MD5 == "")
}

// remembered bounds the keys that live knows; a key that was forgotten is news again.
const remembered = 10_000

func (l *live) line(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.say(format, args...)
}

func (l *live) say(format string, args ...any) { fmt.Fprintf(l.out, format+"\n", args...) }

// notified takes what a server tells of itself. The first to tell of a content is where a user wrote it; the others have
// got it from bucketmesh.
func (l *live) notified(n Notification) {
	if strings.HasPrefix(n.Key, config.ConflictPrefix) || strings.HasPrefix(n.Key, config.ReservedPrefix) {
		return // what a conflict was like is told by its event
	}
	verb := "wrote"
	if n.Deleted {
		verb = "deleted"
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.changes[n.Key]
	if c == nil || !c.same(n) {
		if len(l.changes) >= remembered {
			clear(l.changes)
		}
		l.changes[n.Key] = &seen{md5: n.MD5, deleted: n.Deleted, from: n.Site, at: n.At, here: map[string]bool{n.Site: true}}
		l.say("%s  %-4s %s %s", n.At.Format("15:04:05.000"), n.Site, verb, n.Key)
		return
	}
	c.here[n.Site] = true
	c.md5 = cmp.Or(c.md5, n.MD5)
	if len(c.here) == len(l.names) {
		l.say("%s       %s is everywhere, %d ms after %s told of it", n.At.Format("15:04:05.000"), n.Key, n.At.Sub(c.at).Milliseconds(), c.from)
	}
}

// conflict tells of conflicts.
func (l *live) conflict(e cloudevents.Event) {
	if e.Type() != event.ConflictDetected && e.Type() != event.ConflictResolved {
		return
	}
	c, err := event.ConflictOf(e)
	if err != nil {
		l.line("a conflict event can't be read: %v", errkind.New(errkind.Invalid, "read event: %w", err))
		return
	}
	now := time.Now().Format("15:04:05.000")
	if e.Type() == event.ConflictDetected {
		l.line("%s       conflict: %s was written in %d places at once", now, c.Key, len(c.Heads))
		return
	}
	kept := "nothing had to be kept"
	if len(c.Copies) > 0 {
		kept = "kept: " + strings.Join(c.Copies, ", ")
	}
	l.line("%s       resolved: %s: %s; %s", now, c.Key, c.Reason, kept)
}
