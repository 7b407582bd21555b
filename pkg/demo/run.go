package demo

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/object"
	"github.com/bucketmesh/bucketmesh/pkg/state"
)

// Run runs the workload on a started demo, waits until everything is quiet and checks the result.
func (d *Demo) Run(ctx context.Context) (*Summary, error) {
	begin := time.Now()
	s := &Summary{Seed: d.opts.Seed, Group: GroupName, ConflictsFound: []ConflictSummary{}, Notes: d.Notes()}
	l := newLoad(d)
	start := d.requests()
	trouble := l.all(ctx, s)
	if trouble != nil && !errors.Is(trouble, errLate) {
		return nil, fmt.Errorf("run demo: %w", trouble)
	}
	s.Requests = d.requests().Sub(start)
	d.opts.Progress.Begin("listing and reading all replicas", 0)
	replicas, err := d.settled(ctx)
	d.opts.Progress.End()
	if err != nil {
		return nil, fmt.Errorf("run demo: %w", err)
	}
	if err := d.summarize(ctx, s, replicas); err != nil {
		return nil, fmt.Errorf("run demo: %w", err)
	}
	if trouble != nil {
		s.Differences = append(s.Differences, trouble.Error())
		s.Converged = false
	}
	s.DurationMillis = time.Since(begin).Milliseconds()
	return s, nil
}

// all is the workload. Each step starts when the one before has arrived everywhere, so that it is known what each change
// follows, and what its requests cost.
func (l *load) all(ctx context.Context, s *Summary) error {
	creates := l.creates(l.opts.Objects)
	before := l.requests()
	if err := l.run(ctx, "writing objects in three regions", creates); err != nil {
		return err
	}
	s.Small = small(len(creates), l.requests().Sub(before), len(l.sites))

	keys := make([]string, len(creates))
	for i, t := range creates {
		keys[i] = t.key
	}
	l.rnd.Shuffle(len(keys), func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
	tenth := len(keys) / 10
	overwrites, edits := l.overwrites(keys[:3*tenth]), l.edits(keys[2*tenth:3*tenth])
	if err := l.run(ctx, "overwriting in other regions", overwrites); err != nil {
		return err
	}
	if err := l.run(ctx, "editing metadata", edits); err != nil {
		return err
	}
	if err := l.run(ctx, "deleting", l.deletes(keys[4*tenth:5*tenth])); err != nil {
		return err
	}
	if err := l.large(ctx, "films/large.mp4"); err != nil {
		return err
	}
	return l.clash(ctx)
}

// requests are those of the pipeline for all replicas; the workload's and the check's own are not in it.
func (d *Demo) requests() object.Snapshot {
	var sum object.Snapshot
	for _, s := range d.mesh.Counters() {
		sum = sum.Add(s)
	}
	return sum
}

// settled reads all replicas until they are as they should be, or until the time is over: a conflict copy or the echo of
// the last change may be on its way. It returns what was read last.
func (d *Demo) settled(ctx context.Context) (map[string]Snapshot, error) {
	deadline := time.Now().Add(d.opts.Patience)
	for {
		replicas, err := snapshots(ctx, d.sites, d.opts.Workers)
		if err != nil {
			return nil, err
		}
		v := Check(d.ledger.Changes(), replicas)
		if v.Converged() && len(v.Lost) == 0 || time.Now().After(deadline) {
			return replicas, nil
		}
		select {
		case <-time.After(pollEvery):
		case <-ctx.Done():
			return nil, fmt.Errorf("read replicas: %w", ctx.Err())
		}
	}
}

// Changes are all changes that the workload made so far.
func (d *Demo) Changes() []Change { return d.ledger.Changes() }

// Verify lists and reads all replicas and checks them.
func (d *Demo) Verify(ctx context.Context) (Verdict, error) {
	replicas, err := snapshots(ctx, d.sites, d.opts.Workers)
	if err != nil {
		return Verdict{}, fmt.Errorf("verify demo: %w", err)
	}
	return Check(d.ledger.Changes(), replicas), nil
}

func (d *Demo) summarize(ctx context.Context, s *Summary, replicas map[string]Snapshot) error {
	changes := d.ledger.Changes()
	v := Check(changes, replicas)
	s.Converged, s.Differences = v.Converged(), v.Differences
	s.Lost, s.LostContents = len(v.Lost), v.Lost
	s.Changes = len(changes)
	s.Propagation = propagation(changes)
	for _, site := range d.sites {
		at := site.Where()
		r := ReplicaSummary{
			Name: at.Name, Provider: at.Provider, Server: at.Server, Endpoint: at.Endpoint, Bucket: at.Bucket, Written: map[Kind]int{},
		}
		for key, o := range replicas[at.Name] {
			r.Objects++
			r.Bytes += o.Size
			if strings.HasPrefix(key, ".") {
				r.Copies++
			}
		}
		for _, c := range changes {
			if c.Site == at.Name {
				r.Written[c.Kind]++
			}
		}
		s.Replicas = append(s.Replicas, r)
	}
	records, err := d.mesh.Store().Conflicts(ctx, GroupName, "resolved", 1000)
	if err != nil {
		return fmt.Errorf("read conflicts: %w", err)
	}
	for _, r := range records {
		if c, ok := conflictOf(r, changes, replicas); ok {
			s.ConflictsFound = append(s.ConflictsFound, c)
		}
	}
	s.Conflicts = len(s.ConflictsFound)
	return nil
}

// conflictOf is a conflict as a person wants to know it. ok says that it is more than a record: its winner is current and
// what the others wrote is in the copies, at every replica.
func conflictOf(r state.Conflict, changes []Change, replicas map[string]Snapshot) (c ConflictSummary, ok bool) {
	c = ConflictSummary{
		ID: r.ID, Key: r.Key, Policy: r.Policy, Reason: r.Reason, WinnerAt: r.WinnerAt,
		ResolvedMillis: millis(r.Resolved.Sub(r.Detected)),
	}
	for _, h := range heads(r.Key, changes) {
		if h.Kind != Clash {
			continue
		}
		w := Write{Site: h.Site, Size: h.Object.Size, SHA256: h.Object.SHA256}
		everywhere := true
		for _, objects := range replicas {
			if o, there := objects[r.Key]; there && o.Identity() == h.Identity {
				continue
			}
			w.Copy = copyOf(objects, r.Key, h.Identity)
			everywhere = everywhere && w.Copy != ""
		}
		if !everywhere {
			return c, false
		}
		c.Writes = append(c.Writes, w)
	}
	return c, len(c.Writes) > 1
}

// propagation is how long changes took from the answer to their writer until they were in the last of the other replicas.
func propagation(changes []Change) Propagation {
	var took []time.Duration
	for _, c := range changes {
		if !c.Everywhere.IsZero() && c.Kind != Large {
			took = append(took, max(c.Everywhere.Sub(c.Acked), 0))
		}
	}
	slices.Sort(took)
	return Propagation{
		Measured: len(took), P50Millis: millis(quantile(took, 0.5)), P99Millis: millis(quantile(took, 0.99)), MaxMillis: millis(quantile(took, 1)),
	}
}

// quantile is the smallest value that is at least as large as the share q of all.
func quantile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[max(int(math.Ceil(q*float64(len(sorted))))-1, 0)]
}

func millis(d time.Duration) float64 { return math.Round(float64(d.Microseconds())/10) / 100 }
