package demo

import (
	"context"
	"crypto/md5" //nolint:gosec // it identifies, it does not protect
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
)

// folder is a kind of thing that people keep in buckets.
type folder struct {
	name, suffix, contentType string
	min, max                  int // bytes
	share                     int // of all objects, in tenths
}

var folders = []folder{
	{"photos", ".jpg", "image/jpeg", 4 << 10, 64 << 10, 3},
	{"notes", ".txt", "text/plain; charset=utf-8", 40, 2 << 10, 3},
	{"settings", ".json", "application/json", 20, 500, 2},
	{"logs/2026", ".log", "text/plain", 1 << 10, 8 << 10, 2},
}

// oddNames are keys that programs like to get wrong.
var oddNames = []string{"größe 1+1", "a%20b", "日本語", "q?x=1&y=#2", "it's (here)", "dots..and~tildes"}

// load writes, with the providers' own SDKs, what users would write. Everything follows from the seed but for the time.
type load struct {
	*Demo
	rnd  *rand.Rand // for one goroutine: who plans
	pace *rate.Limiter
}

// errLate ends the workload early: what should be written next must follow what is not there yet.
var errLate = errors.New("changes did not arrive everywhere in time")

func newLoad(d *Demo) *load {
	return &load{Demo: d, rnd: rand.New(rand.NewPCG(d.opts.Seed, 1)), pace: rate.NewLimiter(rate.Limit(d.opts.Rate), 1)}
}

// task is one change to be made at a site.
type task struct {
	kind Kind
	site Site
	key  string
	body string // put
	// object makes what is written out of what the user finds there (the zero Object for a create).
	object func(found Object) Object
}

func (l *load) anySite() Site { return l.sites[l.rnd.IntN(len(l.sites))] }

// text makes n bytes that no other object has.
func (l *load) text(n int) string {
	const letters = "abcdefghijklmnopqrstuvwxyz     \n"
	var b strings.Builder
	fmt.Fprintf(&b, "%016x ", l.rnd.Uint64())
	for b.Len() < n {
		b.WriteByte(letters[l.rnd.IntN(len(letters))])
	}
	return b.String()
}

func described(key, body, contentType string, metadata map[string]string) Object {
	sum, tag := sha256.Sum256([]byte(body)), md5.Sum([]byte(body)) //nolint:gosec // see the import
	return Object{
		Key: key, Size: int64(len(body)), SHA256: hex.EncodeToString(sum[:]), MD5: hex.EncodeToString(tag[:]),
		ContentType: contentType, Metadata: metadata,
	}
}

// creates plans the first objects, spread over folders and regions.
func (l *load) creates(n int) []task {
	var tasks []task
	for i := range n {
		place := i % 10
		f := folders[slices.IndexFunc(folders, func(f folder) bool { place -= f.share; return place < 0 })]
		name := fmt.Sprintf("%04d", i)
		if i < len(oddNames) {
			name = oddNames[i]
		}
		site := l.anySite()
		key := f.name + "/" + name + f.suffix
		body := l.text(f.min + l.rnd.IntN(f.max-f.min))
		meta := map[string]string{"author": site.Where().Name, "camera": fmt.Sprintf("no-%d", l.rnd.IntN(9))}
		tasks = append(tasks, task{kind: Create, site: site, key: key, body: body, object: func(Object) Object {
			return described(key, body, f.contentType, meta)
		}})
	}
	return tasks
}

// overwrites plans new contents for keys, at any region: a user reads what is there and writes something else.
func (l *load) overwrites(keys []string) []task {
	var tasks []task
	for _, key := range keys {
		site, body := l.anySite(), l.text(200+l.rnd.IntN(4000))
		tasks = append(tasks, task{kind: Overwrite, site: site, key: key, body: body, object: func(found Object) Object {
			meta := maps.Clone(found.Metadata)
			meta["revised_at"] = site.Where().Name // a name that Azure takes, too
			return described(key, body, found.ContentType, meta)
		}})
	}
	return tasks
}

// edits plans changes of metadata and content type with the same bytes, at sites that tell of such changes.
func (l *load) edits(keys []string) []task {
	var tasks []task
	told := slices.DeleteFunc(slices.Clone(l.sites), func(s Site) bool { return s.Where().EditsUntold })
	for i, key := range keys {
		tasks = append(tasks, task{kind: Edit, site: told[l.rnd.IntN(len(told))], key: key, object: func(found Object) Object {
			found.Metadata = maps.Clone(found.Metadata)
			found.Metadata["rating"] = fmt.Sprintf("%d", 1+i%5)
			if i%4 == 0 {
				found.ContentType = "application/octet-stream"
			}
			return found
		}})
	}
	return tasks
}

func (l *load) deletes(keys []string) []task {
	var tasks []task
	for _, key := range keys {
		tasks = append(tasks, task{kind: Delete, site: l.anySite(), key: key, object: func(found Object) Object { return Object{Key: found.Key} }})
	}
	return tasks
}

// run makes the changes, some at once, and waits until each is everywhere.
func (l *load) run(ctx context.Context, stage string, tasks []task) error {
	l.opts.Progress.Begin(stage, len(tasks))
	within, cancel := context.WithTimeout(ctx, l.opts.Patience)
	defer cancel()
	var waiting sync.WaitGroup
	var late atomic.Int64
	var all errgroup.Group
	all.SetLimit(l.opts.Workers)
	for _, t := range tasks {
		if l.pace.Wait(within) != nil {
			late.Add(1) // the time is over, or will be before the next change may be made
			break
		}
		all.Go(func() error {
			c, a, err := l.make(ctx, t)
			if err != nil {
				return err
			}
			waiting.Go(func() {
				at, err := l.watch.wait(within, a, l.sites)
				if err != nil {
					late.Add(1)
					return
				}
				l.ledger.update(c.ID, func(c *Change) { c.Everywhere = at })
				l.opts.Progress.Advance(1)
			})
			return nil
		})
	}
	err := all.Wait()
	waiting.Wait()
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	if err == nil && late.Load() > 0 {
		err = fmt.Errorf("%d %w", late.Load(), errLate)
	}
	l.opts.Progress.End()
	if err != nil {
		return fmt.Errorf("%s: %w", stage, err)
	}
	return nil
}

// make makes one change: it reads what is there, writes, and notes what was acknowledged.
func (l *load) make(ctx context.Context, t task) (c Change, a *arrival, err error) {
	c = Change{Kind: t.kind, Site: t.site.Where().Name}
	var found Object
	if t.kind != Create {
		if found, c.Follows, err = l.find(ctx, t.site, t.key); err != nil {
			return c, nil, err
		}
	}
	c.Object = t.object(found)
	a = l.watch.expect(t.site.Where().Name, t.kind, c.Object)
	switch t.kind {
	case Delete:
		err = t.site.Remove(ctx, t.key)
	case Edit:
		err = t.site.Edit(ctx, c.Object)
	default:
		err = t.site.Put(ctx, c.Object, t.body, found.Tag)
	}
	if err != nil {
		l.watch.forget(a)
		return c, nil, err
	}
	c.Acked = time.Now()
	return l.ledger.add(c), a, nil
}

// find reads what is at a site and makes sure that it is what was last written to the key anywhere: then, and only then,
// a change that is made there follows it.
func (l *load) find(ctx context.Context, at Site, key string) (Object, []int, error) {
	last, ok := l.ledger.last(key)
	if !ok {
		return Object{}, nil, errkind.New(errkind.Invalid, "find %s: it was never written", key)
	}
	found, err := at.Read(ctx, key)
	if err != nil {
		return Object{}, nil, err
	}
	if found.Identity() != last.Identity {
		return Object{}, nil, errkind.New(errkind.Conflict, "find %s at %s: it is not what was last written to it", key, at.Where().Name)
	}
	return found, []int{last.ID}, nil
}
