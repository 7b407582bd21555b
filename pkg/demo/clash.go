package demo

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"google.golang.org/api/googleapi"

	"github.com/bucketmesh/bucketmesh/pkg/config"
	"github.com/bucketmesh/bucketmesh/pkg/state"
)

// conflictKey is what two people write to at once; a number is put in for each try.
const conflictKey = "shared/plan-%d.txt"

// clash has users in two regions write one key at once until both writes were acknowledged before either had travelled.
// That is never assumed: if the pipeline was faster, the second user is refused, and another key is taken.
func (l *load) clash(ctx context.Context) error {
	l.opts.Progress.Begin("writing one key in two regions at once", 0)
	defer l.opts.Progress.End()
	for n := range l.opts.Tries {
		found, err := l.tryClash(ctx, fmt.Sprintf(conflictKey, n+1))
		if err != nil || found {
			return err
		}
	}
	return nil // the summary says that there was no conflict
}

func (l *load) tryClash(ctx context.Context, key string) (found bool, err error) {
	within, cancel := context.WithTimeout(ctx, l.opts.Patience)
	defer cancel()
	base := l.text(60)
	c, a, err := l.make(ctx, task{kind: Create, site: l.sites[2], key: key, body: base, object: func(Object) Object {
		return described(key, base, "text/plain", map[string]string{"author": l.sites[2].Where().Name})
	}})
	if err != nil {
		return false, err
	}
	at, err := l.watch.wait(within, a, l.sites)
	if err != nil {
		return false, fmt.Errorf("%w: %w", errLate, err)
	}
	l.ledger.update(c.ID, func(c *Change) { c.Everywhere = at })

	// Both users read the same content, then both save.
	writers, written, over := l.sites[:2], make([]Change, 2), make([]string, 2)
	bodies := []string{"the plan as us sees it: " + l.text(80), "the plan as eu sees it: " + l.text(90)}
	for i, s := range writers {
		found, follows, err := l.find(ctx, s, key)
		if err != nil {
			return false, err
		}
		meta := maps.Clone(found.Metadata)
		meta["author"], over[i] = s.Where().Name, found.Tag
		written[i] = Change{Kind: Clash, Site: s.Where().Name, Follows: follows, Object: described(key, bodies[i], found.ContentType, meta)}
	}
	// Each saves over what they have read, and only over that. So, if both are told that it is saved, neither write was in
	// the other's past: a conflict without doubt.
	barrier, answers := make(chan struct{}), make([]error, 2)
	var both sync.WaitGroup
	for i, s := range writers {
		both.Go(func() {
			<-barrier
			answers[i] = s.Put(ctx, written[i].Object, bodies[i], over[i])
			written[i].Acked = time.Now()
		})
	}
	close(barrier)
	both.Wait()
	for i, err := range answers {
		switch {
		case err == nil:
		case refused(err) && answers[1-i] == nil: // the other write was there already, and this user knows
			written[1-i].Kind = Overwrite
			other := l.ledger.add(written[1-i])
			return false, l.until(within, key, func() (bool, error) { return l.everywhere(within, other.Object), nil })
		default:
			return false, err
		}
	}
	for i := range written {
		written[i] = l.ledger.add(written[i])
	}
	return true, l.until(within, key, func() (bool, error) {
		records, err := l.mesh.Store().Conflicts(within, GroupName, "resolved", 1000)
		if err != nil {
			return false, fmt.Errorf("read conflicts: %w", err)
		}
		known := slices.ContainsFunc(records, func(r state.Conflict) bool { return r.Key == key })
		return known && l.resolvedEverywhere(within, key, written), nil
	})
}

// until polls, and takes a condition that never holds for changes that did not arrive.
func (l *load) until(ctx context.Context, key string, done func() (bool, error)) error {
	if err := poll(ctx, done); err != nil {
		return fmt.Errorf("%w: writes of %s were not settled: %w", errLate, key, err)
	}
	return nil
}

// refused reports that a conditional write found something else than its writer had read.
func refused(err error) bool {
	var (
		s3    interface{ HTTPStatusCode() int }
		gcs   *googleapi.Error
		azure *azcore.ResponseError
	)
	return errors.As(err, &s3) && s3.HTTPStatusCode() == http.StatusPreconditionFailed ||
		errors.As(err, &gcs) && gcs.Code == http.StatusPreconditionFailed ||
		errors.As(err, &azure) && azure.StatusCode == http.StatusPreconditionFailed
}

// resolvedEverywhere reports that one of the writes is current at all replicas and the other is at all in a copy.
func (l *load) resolvedEverywhere(ctx context.Context, key string, written []Change) bool {
	for i, c := range written {
		if !l.everywhere(ctx, c.Object) {
			continue
		}
		for _, s := range l.sites {
			if !keeps(ctx, s, key, written[1-i]) {
				return false
			}
		}
		return true
	}
	return false
}

func (l *load) everywhere(ctx context.Context, o Object) bool {
	for _, s := range l.sites {
		if !isAt(ctx, s, o, false) {
			return false
		}
	}
	return true
}

// keeps reports whether a site has a conflict copy of a key with the content that lost.
func keeps(ctx context.Context, s Site, key string, lost Change) bool {
	keys, err := s.List(ctx)
	if err != nil {
		return false
	}
	for k, o := range keys {
		if !strings.HasPrefix(k, config.ConflictPrefix+key+"/") || o.Size != lost.Object.Size {
			continue
		}
		if o, err = s.Read(ctx, k); err == nil && o.SHA256 == lost.Object.SHA256 {
			return true
		}
	}
	return false
}

// poll asks until the answer is yes.
func poll(ctx context.Context, done func() (bool, error)) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if ok, err := done(); ok || err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("wait: %w", ctx.Err())
		}
	}
}
