package object

import (
	"context"
	"errors"
	"strings"

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
	a, err := p.d.Put(ctx, key, strings.NewReader(content), &driver.PutOptions{Size: int64(len(content)), If: cond})
	if err == nil {
		p.made(key, a)
	}
	return a, err
}

func (p *prober) delete(ctx context.Context, name string, cond driver.Precondition) (*driver.Attrs, error) {
	key := p.key(name)
	a, err := p.d.Delete(ctx, key, &driver.DeleteOptions{If: cond})
	if err == nil {
		p.made(key, a)
	}
	return a, err
}

// cleanup removes every version that is there; what can't be listed is removed by what the answers told.
func (p *prober) cleanup(ctx context.Context) error {
	var errs []error
	v, lists := p.d.(driver.Versioner)
	for key := range p.wrote {
		ids := p.versions[key]
		if lists && p.report.Capabilities.Versioned {
			if all, err := v.Versions(ctx, key); err == nil && len(all) > 0 {
				ids = nil
				for i := range all {
					ids = append(ids, all[i].VersionID)
				}
			} else if err != nil {
				errs = append(errs, err)
			}
		}
		if len(ids) == 0 {
			ids = []string{""}
		}
		for _, id := range ids {
			if _, err := p.d.Delete(ctx, key, &driver.DeleteOptions{VersionID: id}); err != nil && !errkind.Is(err, errkind.Invalid) {
				errs = append(errs, err) // an Invalid key was never stored
			}
		}
	}
	return errors.Join(errs...)
}
