package knative

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/bucketmesh/bucketmesh/test/e2e"
)

// Limits of a deployment that scales to zero.
const (
	readyWithin = 3 * time.Minute
	idleWithin  = 2 * time.Minute
)

// onCluster are the scenarios of a cluster, in their order: those of every data plane, and those about pods.
func onCluster(f fleet) []scenario {
	deploy := scenario{"deploy", "ko apply makes all of config/ ready within 3 minutes", deploy}
	asleep := scenario{"asleep", "then there are no pods", quiet}
	idle := scenario{"idle", "after the work there are no pods within 2 minutes", quiet}
	restarts := scenario{"restarts", "rolling updates of all services, restarts of the broker's dispatcher and of PostgreSQL lose nothing under load", restarts}
	var all []scenario
	for _, s := range scenarios() {
		if f.pushed && s.name == "poison" {
			continue // a key that MinIO can't hold
		}
		switch s.name {
		case "first":
			all = append(all, deploy, asleep, s)
		case "outage":
			all = append(all, idle, s)
		case "kills":
			all = append(all, s, restarts)
		default:
			all = append(all, s)
		}
	}
	return all
}

func deploy(ctx context.Context, w *world, r *Result) error {
	start := time.Now()
	if err := w.tell(ctx, "deploy", "config"); err != nil {
		return err
	}
	took := time.Since(start)
	r.took("ready", took)
	if took > readyWithin {
		return fmt.Errorf("all was ready after %s, must be within %s", took.Round(time.Second), readyWithin)
	}
	return nil
}

func quiet(ctx context.Context, w *world, r *Result) error {
	start := time.Now()
	pods := 0
	if err := poll(ctx, idleWithin, 500*time.Millisecond, "there are no pods", func(ctx context.Context) (none bool, err error) {
		pods, err = w.pods(ctx)
		if err == nil && pods > 0 {
			err = fmt.Errorf("there are %d", pods)
		}
		return err == nil, err
	}); err != nil {
		return err
	}
	r.took("noPodsAfter", time.Since(start))
	return nil
}

// pods of the services.
func (w *world) pods(ctx context.Context) (int, error) {
	out, err := w.asked(ctx, "pods")
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(out))
}

// asked is what the control program says.
func (w *world) asked(ctx context.Context, what string) (string, error) {
	out, err := exec.CommandContext(ctx, w.control, what).Output()
	if exit := (&exec.ExitError{}); errors.As(err, &exit) {
		err = fmt.Errorf("%w: %s", err, exit.Stderr)
	}
	if err != nil {
		return "", fmt.Errorf("%s %s: %w", filepath.Base(w.control), what, err)
	}
	return string(out), nil
}

// restarts has everything restarted, one after the other, while users write.
func restarts(ctx context.Context, w *world, r *Result) error {
	services, err := w.asked(ctx, "services")
	if err != nil {
		return err
	}
	victims := append(strings.Fields(services), "dispatcher", "postgres")
	g, gctx := errgroup.WithContext(ctx)
	done := make(chan struct{})
	g.Go(func() error {
		defer close(done)
		for _, name := range victims {
			if err := w.tell(gctx, "restart", name); err != nil {
				return err
			}
		}
		return nil
	})
	operations := 0
	g.Go(func() error {
		for {
			n, err := w.steady(gctx, w.killRate, 5*time.Second, func(ctx context.Context, i int) error {
				_, err := w.do(ctx, e2e.OpPut, i%sides, fmt.Sprintf("restarts/%d", i))
				return err
			})
			operations += n
			select {
			case <-done:
				return err
			default:
			}
			if err != nil {
				return err
			}
		}
	})
	err = g.Wait()
	r.fact("operations", operations)
	r.fact("restarted", strings.Join(victims, " "))
	return err
}
