package object

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
)

// key is a probe's key; cleanup knows it from now on, whatever becomes of the write.
func (p *prober) key(name string) string {
	key := p.dir + name
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wrote[key] = true
	return key
}

func (p *prober) made(key string, a *driver.Attrs) {
	if a.VersionID == "" {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.versions[key] = append(p.versions[key], a.VersionID)
}

func (p *prober) put(ctx context.Context, name, content string, cond driver.Precondition) (*driver.Attrs, error) {
	key := p.key(name)
	return p.patiently(ctx, key, func() (*driver.Attrs, error) {
		return p.d.Put(ctx, key, strings.NewReader(content), &driver.PutOptions{Size: int64(len(content)), If: cond})
	})
}

func (p *prober) delete(ctx context.Context, name string, cond driver.Precondition) (*driver.Attrs, error) {
	key := p.key(name)
	return p.patiently(ctx, key, func() (*driver.Attrs, error) {
		return p.d.Delete(ctx, key, &driver.DeleteOptions{If: cond})
	})
}

// patience is how often a throttled write is sent, and how long to wait at least in between.
const (
	patience = 8
	pause    = time.Second
)

// patiently sends a write again that the bucket throttled: GCS takes one write a second to a name, and the probe races many
// for one. Throttled means that nothing was written, so that whoever waited still takes part in the race.
func (p *prober) patiently(ctx context.Context, key string, write func() (*driver.Attrs, error)) (*driver.Attrs, error) {
	for left := patience; ; left-- {
		a, err := write()
		if err == nil {
			p.made(key, a)
		}
		if left == 1 || !errkind.Is(err, errkind.Throttled) {
			return a, err
		}
		wait := max(pause, errkind.Delay(err))
		select {
		case <-time.After(wait + rand.N(wait)): // apart from the others
		case <-ctx.Done():
			return nil, err
		}
	}
}

// cleanup removes every version that is there; what can't be listed is removed by what the answers told.
func (p *prober) cleanup(ctx context.Context) error {
	var mu sync.Mutex
	var errs []error
	fail := func(err error) {
		mu.Lock()
		defer mu.Unlock()
		errs = append(errs, err)
	}
	var g errgroup.Group
	g.SetLimit(p.o.Writers)
	for key := range p.wrote {
		g.Go(func() error {
			ids, err := p.left(ctx, key)
			if err != nil && !errkind.Is(err, errkind.Invalid) { // an Invalid key was never stored
				fail(err)
			}
			for _, id := range ids {
				_, err := p.patiently(ctx, key, func() (*driver.Attrs, error) { return p.d.Delete(ctx, key, &driver.DeleteOptions{VersionID: id}) })
				if err != nil && !errkind.Is(err, errkind.Invalid) {
					fail(err)
				}
			}
			return nil
		})
	}
	_ = g.Wait() // the errors are in errs
	return errors.Join(errs...)
}

// left are the versions of a key that have to be removed; "" is the current one.
func (p *prober) left(ctx context.Context, key string) (ids []string, err error) {
	p.mu.Lock()
	ids = slices.Clone(p.versions[key])
	p.mu.Unlock()
	if v, lists := p.d.(driver.Versioner); lists && p.report.Capabilities.Versioned {
		all, lerr := v.Versions(ctx, key)
		if err = lerr; err == nil && len(all) > 0 {
			ids = nil
			for i := range all {
				ids = append(ids, all[i].VersionID)
			}
		}
	}
	if len(ids) == 0 {
		ids = []string{""}
	}
	return ids, err
}
