package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	"golang.org/x/sync/errgroup"

	"github.com/bucketmesh/bucketmesh/pkg/config"
	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/reconcile"
	"github.com/bucketmesh/bucketmesh/pkg/state"
)

const (
	sweepPage = 256
	// sweepAtLeast is the longest sleep: another process may have made a key due that this one was not told of.
	sweepAtLeast = time.Minute
	// sweepAtMost bounds how often sweeps follow each other.
	sweepAtMost = 50 * time.Millisecond
)

// sweeper looks again at dirty keys when they are due. It sleeps until then: idle costs no request.
type sweeper struct {
	group    string
	store    state.Store
	engine   *reconcile.Engine
	rule     func(key string) config.ConflictRule
	log      *slog.Logger
	parallel int
	// spread puts each sweep off by up to this time: of several processes that sleep until the same key is due, one is first, and
	// the others find nothing to do any more.
	spread time.Duration
	after  func(context.Context) error // after each sweep; nil is nothing

	turn chan struct{} // is full while run is at a sweep

	mu   sync.Mutex
	next time.Time // when run wakes up
	woke chan struct{}
}

func newSweeper(o Options) *sweeper {
	return &sweeper{
		group: o.Group.Name, rule: o.Group.Rule, store: o.Store, log: o.Logger, parallel: o.Sweepers,
		woke: make(chan struct{}, 1), turn: make(chan struct{}, 1),
	}
}

// wake makes sure that a sweep happens at a time.
func (s *sweeper) wake(at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.next.IsZero() && !at.Before(s.next) {
		return
	}
	s.next = at
	select {
	case s.woke <- struct{}{}:
	default:
	}
}

// sleepUntil sets the time of the next sweep; run calls it after one.
func (s *sweeper) sleepUntil(at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next = at
}

func (s *sweeper) due() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Until(s.next)
}

// run sweeps until ctx is done.
func (s *sweeper) run(ctx context.Context) error {
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval, pause.MaxInterval = time.Second, 30*time.Second
	for {
		s.sleepUntil(time.Now().Add(sweepAtLeast)) // what is told from here on brings it forward
		err := s.inTurn(ctx)
		if s.after != nil {
			err = errors.Join(err, s.after(ctx))
		}
		if err == nil {
			var next time.Time
			var ok bool
			if next, ok, err = s.store.NextDue(ctx, s.group); err == nil && ok {
				s.wake(next)
			}
		}
		notBefore := sweepAtMost
		if err == nil {
			pause.Reset()
		} else if ctx.Err() == nil {
			notBefore = pause.NextBackOff()
			s.log.WarnContext(ctx, "sweep is not complete, it will be tried again", "wait", notBefore, "error", err)
			s.wake(time.Now().Add(notBefore))
		}
		if err := s.sleep(ctx, notBefore); err != nil {
			return err
		}
	}
}

// sleep waits until the next sweep, and for at least a time.
func (s *sweeper) sleep(ctx context.Context, atLeast time.Duration) error {
	begin, late := time.Now(), rand.N(s.spread+1)
	for {
		wait := max(s.due()+late, atLeast-time.Since(begin))
		if wait <= 0 {
			return nil
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err() //nolint:wrapcheck // the caller asked
		case <-s.woke:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// inTurn is sweep as run does it.
func (s *sweeper) inTurn(ctx context.Context) error {
	if err := s.idle(ctx); err != nil {
		return err
	}
	defer func() { <-s.turn }()
	return s.sweep(ctx)
}

// idle waits until run is at no sweep, and keeps it from one until the turn is given back.
func (s *sweeper) idle(ctx context.Context) error {
	select {
	case s.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return errkind.New(errkind.Of(ctx.Err()), "wait for the sweep that is under way: %w", ctx.Err())
	}
}

// sweep looks at all keys that are due. The error is the first that was no trouble with a bucket; the other keys are
// looked at all the same.
func (s *sweeper) sweep(ctx context.Context) error {
	begin := time.Now()
	for {
		page, err := s.store.Due(ctx, s.group, begin, sweepPage)
		if err != nil {
			return fmt.Errorf("read due keys: %w", err)
		}
		if len(page) == 0 {
			return nil
		}
		// Several processes may have the same page: each looks at it in another order, and leaves out what another one has done.
		rand.Shuffle(len(page), func(i, j int) { page[i], page[j] = page[j], page[i] })
		var g errgroup.Group
		g.SetLimit(s.parallel)
		for _, d := range page {
			if ctx.Err() != nil {
				break
			}
			g.Go(func() error { return s.look(ctx, d) })
		}
		if err := g.Wait(); err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return errkind.New(errkind.Of(err), "sweep: %w", err)
		}
		if len(page) < sweepPage {
			return nil
		}
	}
}

// unsettled is after how many announcements of a conflict the sweep settles it itself: its events do not get to the resolver, or the
// broker gives it less time than the copies of its losers take. Where a webhook or a person decides, only the resolver can ask.
const unsettled = 3

func (s *sweeper) look(ctx context.Context, d state.Dirty) error {
	if row, err := s.store.Get(ctx, s.group, d.Key); err != nil {
		return fmt.Errorf("look at %q again: %w", d.Key, err)
	} else if row.DirtyMark != d.Mark { // somebody was there, and if there still is something to do, it says when
		return nil
	}
	out, err := s.engine.Reconcile(ctx, d.Key, nil, d.Attempts)
	if err == nil && out == reconcile.Conflicted && d.Attempts >= unsettled && !s.rule(d.Key).Policy.Asks() {
		if _, err = s.engine.Resolve(ctx, d.Key); err == nil {
			out, err = s.engine.Reconcile(ctx, d.Key, nil, d.Attempts)
		}
	}
	if errkind.Is(err, errkind.Conflict) { // somebody else is at work on it: it stays due, and holds up no other key
		s.log.DebugContext(ctx, "key is busy", "key", d.Key, "reason", err)
		return nil
	}
	if err != nil {
		return fmt.Errorf("look at %q again: %w", d.Key, err)
	}
	s.log.DebugContext(ctx, "looked again", "key", d.Key, "reason", d.Reason, "attempts", d.Attempts, "outcome", out.String())
	return nil
}
