package e2e

import (
	"context"
	"fmt"
	"io"
	"maps"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// shownDifferences of replicas are printed; the rest is counted.
const shownDifferences = 40

// settled is the contents that all replicas agreed on.
type settled struct {
	objects map[string]full
	after   time.Duration // from the last write
}

// settle waits until the replicas are equal by independent reading, and stay so for a while. The cheap listings are compared
// first; all bytes and metadata are read only when these agree.
func settle(ctx context.Context, seed uint64, replicas []*replica, limit time.Duration, progress io.Writer) (*settled, error) {
	start := time.Now()
	quiet, ends := 3*time.Second, start.Add(limit)
	var report []string
	for {
		before, diff, err := compareListings(ctx, replicas)
		if err != nil {
			return nil, err
		}
		equalSince := time.Since(start)
		if len(diff) == 0 {
			var objects map[string]full
			if objects, diff, err = compareContents(ctx, seed, replicas); err != nil {
				return nil, err
			}
			if len(diff) == 0 {
				if err := pause(ctx, quiet); err != nil {
					return nil, err
				}
				again, diff, err := compareListings(ctx, replicas)
				if err != nil {
					return nil, err
				}
				if len(diff) == 0 && maps.Equal(before, again) {
					return &settled{objects, equalSince}, nil
				}
				continue
			}
		}
		report = diff
		if time.Now().After(ends) {
			return nil, fmt.Errorf("not converged %s after the last write; %d differences:\n%s", limit, len(report),
				strings.Join(report[:min(len(report), shownDifferences)], "\n"))
		}
		fmt.Fprintf(progress, "  %.0f s: %d keys differ, e.g. %s\n", time.Since(start).Seconds(), len(report), report[0])
		if err := pause(ctx, 2*time.Second); err != nil {
			return nil, err
		}
	}
}

// compareListings compares keys and sizes. (ETags of large objects depend on how they were uploaded.)
func compareListings(ctx context.Context, replicas []*replica) (first map[string]entry, diff []string, err error) {
	lists := make([]map[string]entry, len(replicas))
	g, ctx := errgroup.WithContext(ctx)
	for i, r := range replicas {
		g.Go(func() (err error) {
			lists[i], err = r.list(ctx)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, nil, err
	}
	for _, key := range keysOf(lists...) {
		holds := make([]string, len(replicas))
		same := true
		for i, l := range lists {
			e, ok := l[key]
			holds[i] = fmt.Sprintf("%s: absent", replicas[i].name)
			if ok {
				holds[i] = fmt.Sprintf("%s: %d bytes, etag %s", replicas[i].name, e.size, e.etag)
			}
			f, there := lists[0][key]
			same = same && ok == there && e.size == f.size
		}
		if !same {
			diff = append(diff, fmt.Sprintf("%q %s", key, strings.Join(holds, "; ")))
		}
	}
	return lists[0], diff, nil
}

// compareContents compares bytes, content types and the users' metadata. A content that is not what some operation wrote is a
// difference, too, even if all replicas have it.
func compareContents(ctx context.Context, seed uint64, replicas []*replica) (first map[string]full, diff []string, err error) {
	all := make([]map[string]full, len(replicas))
	for i, r := range replicas { // one after the other: the bytes of one replica at a time
		if all[i], err = r.read(ctx, seed); statusOf(err) == 404 {
			return nil, []string{fmt.Sprintf("an object went away while %s was read: %v", r.name, err)}, nil
		} else if err != nil {
			return nil, nil, err
		}
	}
	for _, key := range keysOf(all...) {
		for i, r := range replicas {
			f, ok := all[i][key]
			want, there := all[0][key]
			switch {
			case ok != there:
				diff = append(diff, fmt.Sprintf("%q is at %s: %v, at %s: %v", key, replicas[0].name, there, r.name, ok))
			case !f.equal(want):
				diff = append(diff, fmt.Sprintf("%q is %+v at %s and %+v at %s", key, want, replicas[0].name, f, r.name))
			case f.fault != "":
				diff = append(diff, fmt.Sprintf("%q at %s: %s", key, r.name, f.fault))
			}
		}
	}
	return all[0], diff, nil
}

// conflictCopies sorts the objects of a bucket into keys and conflict copies of keys.
func conflictCopies(objects map[string]full) (current map[string]object, kept map[string][]object) {
	current, kept = map[string]object{}, map[string][]object{}
	for key, f := range objects {
		rest, ok := strings.CutPrefix(key, conflictPrefix)
		if !ok {
			current[key] = f.object
			continue
		}
		if i := strings.LastIndexByte(rest, '/'); i > 0 {
			rest = rest[:i]
		}
		kept[rest] = append(kept[rest], f.object)
	}
	return current, kept
}
