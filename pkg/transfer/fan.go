package transfer

import (
	"context"
	"fmt"
	"io"
	"sync"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/version"
)

// Fan reads size bytes from body to its end and writes them to all destinations. The results are in the order of the
// destinations; the content is what was read, and zero if all uploads had failed before the end of a large object.
//
// An error means that the source could not be read to its end (its own kind), ended early (Unavailable), went on after
// size bytes (Conflict: look again), or that the object does not fit the limits (Invalid). Then no conditional request
// was sent to any destination, uploads that were begun are aborted, and each result holds an error as well.
//
// Body has to give up when ctx ends, as that of driver.Bucket.Open does. Fan does not close it. Each destination is
// called by one goroutine at a time, but for parts, of which Config.Parallel may be under way.
func (c *Copier) Fan(ctx context.Context, body io.Reader, size int64, dests []Dest) (version.Content, []Result, error) {
	if size < 0 || len(dests) == 0 {
		return version.Content{}, nil, errkind.New(errkind.Invalid, "copy object: %d bytes to %d destinations", size, len(dests))
	}
	f := &fan{c: c, src: c.source(body, size), dests: dests, results: make([]Result, len(dests))}
	var err error
	if c.small(size, dests) {
		err = f.whole(ctx)
	} else {
		err = f.parts(ctx)
	}
	if err != nil {
		for i := range f.results {
			if f.results[i].Err == nil {
				f.results[i].Err = err
			}
		}
		return version.Content{}, f.results, err
	}
	return f.content, f.results, nil
}

// small reports whether one Put carries the object everywhere.
func (c *Copier) small(size int64, dests []Dest) bool {
	if size > c.cfg.PartSize {
		return false
	}
	for _, d := range dests {
		if m := d.Bucket.Capabilities().MaxPut; m > 0 && size > m {
			return false
		}
	}
	return true
}

// fan is one call of Fan.
type fan struct {
	c       *Copier
	src     *source
	dests   []Dest
	results []Result
	content version.Content // set once the source is at its end
}

// whole copies an object in one Put per destination, all from one buffer.
func (f *fan) whole(ctx context.Context) error {
	var data []byte
	if f.src.size > 0 {
		buf, err := f.c.pool.get(ctx, f.c.class(f.src.size, f.c.cfg.PartSize))
		if err != nil {
			return fmt.Errorf("wait for memory: %w", err)
		}
		defer f.c.pool.put(buf)
		data = buf[:f.src.size]
	}
	if err := f.src.fill(ctx, data); err != nil {
		return err
	}
	if err := f.src.end(ctx); err != nil {
		return err
	}
	f.content = f.src.content()
	f.each(func(i int) { f.results[i] = f.put(ctx, &f.dests[i], data) })
	return nil
}

// put sends the whole object to one destination.
func (f *fan) put(ctx context.Context, d *Dest, data []byte) (r Result) {
	if r.Err = d.finish(ctx); r.Err != nil {
		return r
	}
	opts := d.Put
	opts.Size, opts.MD5, opts.SHA256 = f.content.Size, f.content.MD5, f.content.SHA256
	v := newView(data)
	defer v.revoke()
	r.Sent = true
	attrs, err := d.Bucket.Put(ctx, d.Key, v, &opts)
	if err != nil {
		r.Err = fmt.Errorf("put object: %w", err)
		return r
	}
	r.Attrs = attrs
	return r
}

// finish gives the caller the last word before the conditional request.
func (d *Dest) finish(ctx context.Context) error {
	if d.Finish != nil {
		if err := d.Finish(ctx); err != nil {
			return fmt.Errorf("prepare to finish: %w", err)
		}
	}
	if ctx.Err() != nil {
		return fmt.Errorf("prepare to finish: %w", context.Cause(ctx))
	}
	return nil
}

// parts copies an object in parts to all destinations at the same pace.
func (f *fan) parts(ctx context.Context) error {
	part, err := f.c.partSize(f.src.size, f.dests)
	if err != nil {
		return err
	}
	count := int((f.src.size + part - 1) / part)
	ups := make([]*upload, len(f.dests))
	for i := range f.dests {
		ups[i] = newUpload(ctx, f.c, &f.dests[i], &f.results[i], count)
		defer ups[i].cancel()
	}
	f.each(func(i int) { ups[i].begin(f.src.size, part) })

	var inflight sync.WaitGroup
	err = f.stream(ctx, ups, part, &inflight)
	if err != nil {
		f.each(func(i int) { ups[i].drop(err) })
	}
	inflight.Wait()
	if err == nil && alive(ups) {
		f.content = f.src.content()
		f.each(func(i int) { ups[i].complete(f.content) })
	}
	for i, u := range ups {
		f.results[i].Err = u.outcome()
	}
	return err
}

// stream reads part after part and sends each to all uploads that live. It returns when the source is at its end, or
// when nobody is left to read for; parts may still be in flight then.
func (f *fan) stream(ctx context.Context, ups []*upload, part int64, inflight *sync.WaitGroup) error {
	slots := make(chan struct{}, f.c.cfg.Parallel)
	for n, left := 1, f.src.size; left > 0; n++ {
		// The slot comes before the memory: a copy must not sit on memory while it waits for its own parts.
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return fmt.Errorf("wait for parts in flight: %w", context.Cause(ctx))
		}
		// A caller that gave up fails all uploads as well, but the source is what was not read.
		if ctx.Err() != nil {
			return fmt.Errorf("read source: %w", context.Cause(ctx))
		}
		if !alive(ups) {
			return nil
		}
		size := min(part, left)
		buf, err := f.c.pool.get(ctx, f.c.class(size, part))
		if err != nil {
			return fmt.Errorf("wait for memory: %w", err)
		}
		if err := f.src.fill(ctx, buf[:size]); err != nil {
			f.c.pool.put(buf)
			return err
		}
		left -= size
		send := func() {
			f.each(func(i int) { ups[i].part(n, buf[:size]) })
			f.c.pool.put(buf)
			<-slots
		}
		if f.c.inline {
			send()
		} else {
			inflight.Go(send)
		}
	}
	return f.src.end(ctx)
}

// each runs do for every destination.
func (f *fan) each(do func(i int)) {
	fns := make([]func(), len(f.dests))
	for i := range fns {
		fns[i] = func() { do(i) }
	}
	f.c.cfg.Run(fns...)
}

func alive(ups []*upload) bool {
	for _, u := range ups {
		if u.outcome() == nil {
			return true
		}
	}
	return false
}

// goAll is the default of Config.Run.
func goAll(fns ...func()) {
	if len(fns) == 1 {
		fns[0]()
		return
	}
	var wg sync.WaitGroup
	for _, fn := range fns {
		wg.Go(fn)
	}
	wg.Wait()
}
