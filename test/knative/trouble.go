package knative

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/bucketmesh/bucketmesh/test/e2e"
)

// brokerName is what the control program calls the way into the broker.
const brokerName = "broker"

func outage(ctx context.Context, w *world, r *Result) error {
	n := 0
	err := w.without(ctx, brokerName, func() (err error) {
		for _, d := range w.doors {
			start := time.Now()
			status, err := w.notify(ctx, d, "outage-direct", w.token, nil)
			if err != nil {
				return fmt.Errorf("%s: %w", d.replica, err)
			}
			r.fact(d.replica+" status", status)
			r.took(d.replica+" answered", time.Since(start))
			if status != http.StatusServiceUnavailable {
				return fmt.Errorf("%s: the normalizer answered %d, must be 503", d.replica, status)
			}
		}
		n, err = w.do(ctx, e2e.OpPut, 0, "outage")
		return err
	})
	if err != nil {
		return err
	}
	start := time.Now()
	if err := w.readable(ctx, 1, "outage", n, w.within); err != nil {
		return err
	}
	r.took("readableAfter", time.Since(start))
	return nil
}

// without does something while a part is stopped, and starts it again in any case.
func (w *world) without(ctx context.Context, part string, do func() error) error {
	if err := w.tell(ctx, "stop", part); err != nil {
		return err
	}
	err := do()
	return errors.Join(err, w.tell(context.WithoutCancel(ctx), "start", part))
}

// letter is a dead letter as the command line tells of it.
type letter struct {
	ID      string `json:"id"`
	Trigger string `json:"trigger"`
	Reason  string `json:"reason"`
}

func (w *world) letters(ctx context.Context) ([]letter, error) {
	var all []letter
	return all, w.cli(ctx, &all, "dead-letters", "list", "--limit", "0")
}

// fullNote is nearly all that MinIO takes as a user's metadata, 2,048 bytes: with what bucketmesh adds to a copy it is too much.
const fullNote = 1960

// poison is an object that only the side where it was written can hold.
func poison(ctx context.Context, w *world, r *Result) error {
	const key = "poison"
	if _, err := w.doNoted(ctx, e2e.OpPut, 0, key, strings.Repeat("n", fullNote)); err != nil {
		return err
	}
	var all []letter
	about := func(ctx context.Context) (found letter, err error) {
		all, err = w.letters(ctx)
		for _, l := range all {
			if strings.Contains(l.Reason, `"`+key+`"`) {
				return l, err
			}
		}
		return letter{}, err
	}
	var l letter
	if err := poll(ctx, w.within, 200*time.Millisecond, "there is a dead letter about "+key, func(ctx context.Context) (ok bool, err error) {
		l, err = about(ctx)
		return l.ID != "", err
	}); err != nil {
		return err
	}
	r.fact("letters", len(all))
	r.fact("reason", l.Reason[:min(len(l.Reason), 60)])
	n, err := w.do(ctx, e2e.OpPut, 0, key)
	if err != nil {
		return err
	}
	if err := w.readable(ctx, 1, key, n, w.within); err != nil {
		return err
	}
	if err := w.cli(ctx, nil, "dead-letters", "replay", "--all", "--broker", w.broker); err != nil {
		return err
	}
	return poll(ctx, w.within, 200*time.Millisecond, "there is no dead letter any more", func(ctx context.Context) (bool, error) {
		all, err := w.letters(ctx)
		return len(all) == 0, err
	})
}

func kills(ctx context.Context, w *world, r *Result) error {
	pick := rand.New(rand.NewPCG(w.seed, 1)) //nolint:gosec // repeatable
	g, gctx := errgroup.WithContext(ctx)
	killed := map[string]int{}
	g.Go(func() error {
		tick := time.NewTicker(w.killOver / time.Duration(w.kills+1))
		defer tick.Stop()
		for range w.kills {
			select {
			case <-tick.C:
			case <-gctx.Done():
				return gctx.Err()
			}
			name := w.victims[pick.IntN(len(w.victims))]
			if err := w.tell(gctx, "kill", name); err != nil {
				return err
			}
			killed[name]++
		}
		return nil
	})
	puts := 0
	g.Go(func() (err error) {
		keys := max(10, int(w.killRate*w.killOver.Seconds())/4) // each is written about four times
		puts, err = w.steady(gctx, w.killRate, w.killOver, func(ctx context.Context, i int) error {
			kind := e2e.OpPut
			if i%7 == 6 {
				kind = e2e.OpDelete
			}
			_, err := w.do(ctx, kind, i%sides, fmt.Sprintf("kills/%d", i*i%keys))
			return err
		})
		return err
	})
	err := g.Wait()
	r.fact("operations", puts)
	r.fact("killed", killed)
	return err
}
