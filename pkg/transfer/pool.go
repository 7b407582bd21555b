package transfer

import (
	"context"
	"maps"
	"math/bits"
	"slices"
	"sync"

	"golang.org/x/sync/semaphore"
)

// smallest is the size of the smallest buffer: below it, bookkeeping costs more than memory.
const smallest = 4 << 10

// pool hands out buffers. Buffers in use and buffers kept for reuse together never exceed its maximum, which a
// sync.Pool could not promise.
type pool struct {
	max int64
	sem *semaphore.Weighted // what is in use

	mu    sync.Mutex
	free  map[int64][][]byte // by size
	held  int64              // bytes in use
	total int64              // bytes in use or kept

	observe func(held, total int64) // a test looks at every change; nil otherwise
}

func newPool(maximum int64) *pool {
	return &pool{max: maximum, sem: semaphore.NewWeighted(maximum), free: map[int64][][]byte{}}
}

// get waits for memory and returns a buffer of exactly size bytes.
func (p *pool) get(ctx context.Context, size int64) ([]byte, error) {
	if err := p.sem.Acquire(ctx, size); err != nil {
		return nil, context.Cause(ctx)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.held += size
	if l := len(p.free[size]); l > 0 {
		b := p.free[size][l-1]
		p.free[size] = slices.Delete(p.free[size], l-1, l)
		p.changed()
		return b, nil
	}
	// What is in use fits (the semaphore says so); what is kept has to make room.
	for _, s := range slices.Backward(slices.Sorted(maps.Keys(p.free))) {
		for p.total+size > p.max && len(p.free[s]) > 0 {
			l := len(p.free[s])
			p.free[s] = slices.Delete(p.free[s], l-1, l)
			p.total -= s
		}
	}
	p.total += size
	p.changed()
	return make([]byte, size), nil
}

// put takes a buffer back, which the caller must not touch any more.
func (p *pool) put(b []byte) {
	size := int64(len(b))
	p.mu.Lock()
	p.held -= size
	p.free[size] = append(p.free[size], b)
	p.changed()
	p.mu.Unlock()
	p.sem.Release(size)
}

func (p *pool) changed() {
	if p.observe != nil {
		p.observe(p.held, p.total)
	}
}

// Buffered is how many bytes all copies hold in buffers right now; it is never more than Config.Memory.
func (c *Copier) Buffered() int64 {
	c.pool.mu.Lock()
	defer c.pool.mu.Unlock()
	return c.pool.held
}

// class is the size of the buffer for n bytes. There are few sizes, so that buffers are used again: powers of two up to
// the part size, and grown parts, which are as large as they are.
func (c *Copier) class(n, part int64) int64 {
	if n*2 > part {
		return part
	}
	return min(max(smallest, int64(1)<<bits.Len64(uint64(n-1))), part)
}
