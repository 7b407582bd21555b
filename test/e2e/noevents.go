package e2e

import (
	"context"
	"fmt"
	"io"
	"time"
)

// pairs of keys that show which deletes are inferred.
const deletePairs = 30

func editedKey(i int) string   { return fmt.Sprintf("edits/%d +%%", i) }
func provedKey(i int) string   { return fmt.Sprintf("deletes/proved/%d +%%", i) }
func unprovedKey(i int) string { return fmt.Sprintf("deletes/unproved/%d +%%", i) }

// withoutEvents lets bucketmesh learn half of the keys, then works on all keys while no notification arrives, and then has
// "bucketmesh sync" bring the replicas together.
func (s *Stage) withoutEvents(ctx context.Context, sum *Summary, progress io.Writer) (asserts []string, err error) {
	keys := keySpace(s.keys)
	plan := planOptions{seed: s.seed, replicas: s.traits(), keys: keys[:len(keys)/2], over: 15 * time.Second, count: s.ops / 2, first: 1}
	fmt.Fprintf(progress, "%d operations on half of the keys, with notifications\n", plan.count)
	first := makePlan(plan)
	for i := range deletePairs {
		first = append(first, s.extra(1_000_000+i, i%len(s.replicas), OpPut, provedKey(i), plan.over),
			s.extra(6_000_000+i, i%len(s.replicas), OpPut, editedKey(i), plan.over))
	}
	if err := s.work(ctx, first, progress); err != nil {
		return nil, err
	}
	if _, err := settle(ctx, s.seed, s.replicas, s.limit, progress); err != nil {
		return nil, s.atFault(ctx, err)
	}

	s.gate.closed.Store(true)
	plan.keys, plan.over, plan.count, plan.first, plan.multipart = keys, min(s.over, 30*time.Second), s.ops, 100_000, min(s.multipart, 12)
	fmt.Fprintf(progress, "%d operations on all keys, without notifications\n", plan.count)
	second := makePlan(plan)
	for i := range deletePairs {
		n := len(s.replicas)
		// What had been brought everywhere is deleted at one replica.
		second = append(second, s.extra(2_000_000+i, (i+1)%n, OpDelete, provedKey(i), plan.over))
		// The metadata of others are edited: the ETag stays as it was.
		second = append(second, s.extra(7_000_000+i, i%n, OpEdit, editedKey(i), plan.over))
		// What nobody knows of is put at two replicas.
		second = append(second, s.extra(3_000_000+i, i%n, OpPut, unprovedKey(i), plan.over))
		second = append(second, s.extra(4_000_000+i, (i+1)%n, OpPut, unprovedKey(i), plan.over))
	}
	if err := s.work(ctx, second, progress); err != nil {
		return nil, err
	}
	var third []Operation
	for i := range deletePairs { // and deleted at one of the two
		third = append(third, s.extra(5_000_000+i, i%len(s.replicas), OpDelete, unprovedKey(i), 0))
	}
	if err := s.work(ctx, third, progress); err != nil {
		return nil, err
	}
	if _, diff, err := compareListings(ctx, s.replicas); err != nil {
		return nil, err
	} else if len(diff) == 0 {
		return nil, fmt.Errorf("the replicas are equal although notifications were off: the run proves nothing")
	}
	if err := s.sync(ctx, progress); err != nil {
		return nil, err
	}
	sum.Dropped = s.gate.dropped.Load()
	return []string{
		fmt.Sprintf("%d edits of nothing but metadata, of keys that had been in sync, are everywhere", deletePairs),
		fmt.Sprintf("%d deletes of keys that had been in sync are done everywhere", deletePairs),
		fmt.Sprintf("%d deletes of keys that were never in sync are not inferred: the other replica's content is everywhere", deletePairs),
	}, nil
}

func (s *Stage) extra(number, replica int, k Kind, key string, at time.Duration) Operation {
	return Operation{Number: number, At: at, Replica: replica, Kind: k, Key: key, Size: 512, Conditional: true, ContentType: "text/plain", Note: "delete"}
}

// checkDeletes asserts which deletes were propagated, and that edits were.
func (s *Stage) checkDeletes(objects map[string]full) (faults []string) {
	for i := range deletePairs {
		if o, ok := objects[provedKey(i)]; ok {
			faults = append(faults, fmt.Sprintf("%q was in sync and then deleted, and is there: %+v", provedKey(i), o))
		}
		if o := objects[editedKey(i)]; o.op != 7_000_000+i {
			faults = append(faults, fmt.Sprintf("%q was edited by operation %d: all replicas should have that, not %+v", editedKey(i), 7_000_000+i, o))
		}
		o, ok := objects[unprovedKey(i)]
		if !ok || o.op != 4_000_000+i {
			faults = append(faults, fmt.Sprintf("%q was deleted where it had never been in sync: the other replica's operation %d should be there, not %+v (present: %v)",
				unprovedKey(i), 4_000_000+i, o, ok))
		}
	}
	return faults
}
