package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"
)

// exitPartial is the exit code of a sync that left keys over.
const exitPartial = 4

// run is one whole run at a fleet of servers.
func run(ctx context.Context, o options, f Fleet, getenv func(string) string, out, progress io.Writer) (err error) {
	if err := o.defaults(); err != nil {
		return err
	}
	s := &Stage{options: o, locks: map[string]*keyLocks{}, ledger: &ledger{}}
	defer func() { err = errors.Join(err, s.Close()) }()
	if err := s.setUp(ctx, f, getenv); err != nil {
		return err
	}
	began := time.Now()
	if err := s.Program.Start(ctx); err != nil {
		return err
	}
	defer func() {
		if s.Program.cmd != nil {
			err = errors.Join(err, s.Program.Stop(context.WithoutCancel(ctx)))
		}
	}()
	if err := s.Program.Ready(ctx); err != nil {
		return err
	}
	if s.grid != nil {
		if err := s.grid.Validate(ctx); err != nil {
			return err
		}
	}
	sum := &Summary{Seed: o.seed, State: o.state, NoEvents: o.noEvents}
	var asserts []string
	if o.noEvents {
		asserts, err = s.withoutEvents(ctx, sum, progress)
	} else {
		err = s.withEvents(ctx, sum, progress)
	}
	if err != nil {
		return err
	}
	fmt.Fprintln(progress, "waiting until the replicas are equal")
	settled, err := settle(ctx, o.seed, s.replicas, o.limit, progress)
	if err != nil {
		return s.atFault(ctx, err)
	}
	sum.ConvergedAfter = settled.after.Seconds()
	if err := s.check(ctx, settled, sum); err != nil {
		return err
	}
	if o.noEvents {
		sum.Faults = append(sum.Faults, s.checkDeletes(settled.objects)...)
		sum.Asserted = asserts
	}
	s.inspect(ctx, sum)
	s.askGrid(sum)
	sum.Seconds = time.Since(began).Seconds()
	if err := s.Program.Stop(ctx); err != nil {
		sum.Faults = append(sum.Faults, err.Error())
	}
	return sum.report(out, o.output)
}

// withEvents is the workload with notifications, and with kills if there are to be any.
func (s *Stage) withEvents(ctx context.Context, sum *Summary, progress io.Writer) error {
	fmt.Fprintf(progress, "%d operations over %s, seed %d, %d kills, state in %s\n", s.ops, s.over, s.seed, s.kills, s.state)
	ops := makePlan(planOptions{
		seed: s.seed, count: s.ops, first: 1, replicas: s.traits(), multipart: s.multipart, keys: keySpace(s.keys), over: s.over,
	})
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.work(gctx, ops, progress) })
	if s.kills > 0 {
		g.Go(func() (err error) {
			k := &killer{program: s.Program, seed: s.seed, kills: s.kills, over: s.over, progress: progress}
			sum.Kills, err = k.run(ctx)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	if s.kills == 0 && s.grid == nil {
		return nil
	}
	// What nobody told of is found by a look at everything: versitygw throws away what it can't deliver while nobody listens,
	// and Azure has no events for edits of metadata.
	return s.sync(ctx, progress)
}

func (s *Stage) work(ctx context.Context, ops []Operation, progress io.Writer) error {
	w := &workload{seed: s.seed, replicas: s.replicas, ledger: s.ledger, progress: progress, locks: s.locks}
	return w.run(ctx, ops)
}

func (s *Stage) sync(ctx context.Context, progress io.Writer) error {
	fmt.Fprintln(progress, "bucketmesh sync")
	_, err := s.Program.run(ctx, s.limit, "sync")
	if exit := new(exec.ExitError); errors.As(err, &exit) && exit.ExitCode() == exitPartial {
		fmt.Fprintln(progress, "  some keys are left over; they are tried again by themselves")
		return nil // whether they are is what is checked next
	}
	return err
}

// check judges every acknowledged content.
func (s *Stage) check(ctx context.Context, settled *settled, sum *Summary) error {
	e := &evidence{writes: s.ledger.all(), history: map[string]map[string][]stored{}, exact: map[string]bool{}}
	e.current, e.kept = conflictCopies(settled.objects)
	for _, r := range s.replicas {
		e.exact[r.name] = r.exact
		if !r.versioned {
			continue
		}
		h, ok := r.bucket.(historian)
		if !ok {
			return fmt.Errorf("%s has versions, and no way to list them", r.name)
		}
		var err error
		if e.history[r.name], err = h.history(ctx); err != nil {
			return err
		}
	}
	e.writes = withTrueIdentity(e)
	verdicts, faults := judge(e)
	sum.fill(s, e, verdicts, faults)
	return nil
}

// withTrueIdentity corrects what copies thought that they copied: a copy that keeps metadata is conditional on the etag of its
// source, which an edit of the source's metadata does not change. The history knows what was really copied.
func withTrueIdentity(e *evidence) []write {
	for i, w := range e.writes {
		if w.kind != OpCopy || w.outcome != acked {
			continue
		}
		for _, v := range e.history[w.replica][w.key] {
			if v.versionID == w.versionID {
				e.writes[i].meta = v.op
			}
		}
	}
	return e.writes
}

// atFault adds where to find what bucketmesh itself says to a failure.
func (s *Stage) atFault(ctx context.Context, err error) error {
	if _, serr := s.Program.run(ctx, 30*time.Second, "status", "--output", "json"); serr != nil {
		return errors.Join(err, serr)
	}
	return fmt.Errorf("%w\nwhat bucketmesh says: %s", err, filepath.Join(s.dir, "status.log"))
}
