package object

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
)

// race lets all writers start at once and counts those who won. Losing is PreconditionFailed or Conflict; anything else
// is an error. Unsupported stands for a condition that the bucket refuses, which is no promise either.
func (p *prober) race(ctx context.Context, write func(ctx context.Context, n int) error) (winners int, supported bool, err error) {
	start := make(chan struct{})
	results := make([]error, p.o.Writers)
	var wg sync.WaitGroup
	for n := range p.o.Writers {
		wg.Go(func() {
			<-start
			results[n] = write(ctx, n)
		})
	}
	close(start)
	wg.Wait()
	supported = true
	refused := false
	var failed, throttled error
	for _, e := range results {
		switch errkind.Of(e) {
		case errkind.PreconditionFailed, errkind.Conflict:
			refused = true
		case errkind.Throttled: // to the last: it wrote nothing
			throttled = e
		case errkind.Unsupported:
			supported = false
		default:
			if e == nil {
				winners++
			} else {
				failed = errors.Join(failed, e)
			}
		}
	}
	if throttled != nil && !refused && winners < 2 { // nobody's condition was tried: that proves nothing
		failed = errors.Join(failed, throttled)
	}
	return winners, supported, failed
}

// guard runs the races for one condition. prepare makes the state that the writers race for.
func (p *prober) guard(ctx context.Context, what string, prepare func(context.Context, string) (string, error), write func(context.Context, string, string, int) error) (driver.Guard, error) {
	for round := range p.o.Rounds {
		key := fmt.Sprintf("%s-%d", what, round)
		tag, err := prepare(ctx, key)
		if err != nil {
			return driver.GuardNone, err
		}
		winners, supported, err := p.race(ctx, func(ctx context.Context, n int) error { return write(ctx, key, tag, n) })
		switch {
		case err != nil:
			return driver.GuardNone, err
		case !supported:
			p.find("The condition of %s is refused by the bucket.", what)
			return p.instead(), nil
		case winners > 1:
			p.find("The condition of %s is not kept: %d of %d writers at once succeeded where one may.", what, winners, p.o.Writers)
			return p.instead(), nil
		case winners == 0:
			p.find("The condition of %s let nobody win of %d writers at once: such writes may need more attempts.", what, p.o.Writers)
		}
	}
	return driver.GuardNative, nil
}

// deletesAgainstPuts races deletes with puts for one tag. Several deletes may succeed (a delete of what is gone already
// is a success on some servers); but a put that succeeded must still be there.
func (p *prober) deletesAgainstPuts(ctx context.Context) (kept bool, err error) {
	if p.report.Capabilities.PutMatch != driver.GuardNative {
		return true, nil // no put can take part; the stale tag was refused
	}
	for round := range p.o.Rounds {
		name := fmt.Sprintf("delete-if-match-%d", round)
		tag, err := p.base(ctx, name)
		if err != nil {
			return false, err
		}
		var puts atomic.Int32
		_, _, err = p.race(ctx, func(ctx context.Context, n int) error {
			if n%2 == 0 {
				_, err := p.delete(ctx, name, driver.Precondition{Match: tag})
				return err
			}
			_, err := p.put(ctx, name, fmt.Sprint("writer ", n), driver.Precondition{Match: tag})
			if err == nil {
				puts.Add(1)
			}
			return err
		})
		if err != nil {
			return false, err
		}
		_, err = p.d.Stat(ctx, p.key(name), "")
		switch {
		case errkind.Is(err, errkind.NotFound):
			if puts.Load() > 0 {
				return false, nil
			}
		case err != nil:
			return false, err
		}
	}
	return true, nil
}
