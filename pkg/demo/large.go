package demo

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"time"
)

// large writes one object in parts, as tools do with what does not fit into one request.
func (l *load) large(ctx context.Context, key string) error {
	l.opts.Progress.Begin(fmt.Sprintf("writing a large object of %s in parts", bytesText(l.opts.Large)), 1)
	defer l.opts.Progress.End()
	s := l.sites[1]
	seed, name := l.rnd.Uint64(), s.Where().Name
	c := Change{Kind: Large, Site: name, Object: Object{
		Key: key, ContentType: "video/mp4", Metadata: map[string]string{"author": name},
	}}
	if err := c.Object.digest(randomBytes(seed, l.opts.Large)); err != nil {
		return err
	}
	a := l.watch.expect(name, Large, c.Object)
	if err := s.Upload(ctx, c.Object, randomBytes(seed, l.opts.Large)); err != nil {
		l.watch.forget(a)
		return err //nolint:wrapcheck // says what could not be written where
	}
	c.Acked = time.Now()
	c = l.ledger.add(c)
	within, cancel := context.WithTimeout(ctx, l.opts.Patience)
	defer cancel()
	at, err := l.watch.wait(within, a, l.sites)
	if err != nil {
		return fmt.Errorf("%w: %w", errLate, err)
	}
	l.ledger.update(c.ID, func(c *Change) { c.Everywhere = at })
	l.opts.Progress.Advance(1)
	return nil
}

// randomBytes are n bytes that follow from a seed.
func randomBytes(seed uint64, n int64) io.Reader {
	var key [32]byte
	for i := range 8 {
		key[i] = byte(seed >> (8 * i))
	}
	return io.LimitReader(rand.NewChaCha8(key), n)
}
