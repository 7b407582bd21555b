package demo

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/bucketmesh/bucketmesh/pkg/config"
)

// Snapshot is all that a replica holds, read by a plain client, by key.
type Snapshot map[string]Object

// Verdict is what the check found.
type Verdict struct {
	Differences []string // what is not the same everywhere, or is not what users wrote last; nothing: converged
	Lost        []string // acknowledged contents that are nowhere
}

// Converged reports that all replicas are the same, and hold what the last writers wrote.
func (v Verdict) Converged() bool { return len(v.Differences) == 0 }

// snapshots reads all replicas.
func snapshots(ctx context.Context, sites []Site, parallel int) (map[string]Snapshot, error) {
	found := make([]Snapshot, len(sites))
	var all errgroup.Group
	for i, s := range sites {
		all.Go(func() (err error) {
			found[i], err = contents(ctx, s, parallel)
			return err
		})
	}
	if err := all.Wait(); err != nil {
		return nil, err
	}
	by := map[string]Snapshot{}
	for i, s := range sites {
		by[s.Where().Name] = found[i]
	}
	return by, nil
}

// Check holds what replicas contain against each other and against what users were told is saved.
//
// All replicas have the same keys with the same bytes, content type and metadata of the user. Each content that was
// acknowledged is current, or was overwritten or deleted by somebody who had read it, or is kept as a conflict copy. What
// is current was not overwritten by anybody who had read it: nothing old has come back.
func Check(changes []Change, replicas map[string]Snapshot) Verdict {
	v := Verdict{Differences: []string{}, Lost: []string{}}
	names := slices.Sorted(maps.Keys(replicas))
	keys := map[string]bool{}
	for _, objects := range replicas {
		for k := range objects {
			keys[k] = true
		}
	}
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		v.compare(key, names, replicas)
	}
	for _, key := range written(changes) {
		v.account(key, changes, names, replicas)
	}
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		if !strings.HasPrefix(key, config.ConflictPrefix) && !slices.Contains(written(changes), key) {
			v.differ("%s: it is there, and nobody wrote it", key)
		}
	}
	return v
}

func (v *Verdict) differ(format string, args ...any) {
	v.Differences = append(v.Differences, fmt.Sprintf(format, args...))
}

// compare compares one key at all replicas with the first.
func (v *Verdict) compare(key string, names []string, replicas map[string]Snapshot) {
	first, in := replicas[names[0]][key]
	for _, name := range names[1:] {
		o, ok := replicas[name][key]
		switch {
		case in != ok:
			at, not := names[0], name
			if ok {
				at, not = name, names[0]
			}
			v.differ("%s: it is in %s and not in %s", key, at, not)
		case o.SHA256 != first.SHA256:
			v.differ("%s: the bytes are not the same in %s and %s", key, names[0], name)
		case o.ContentType != first.ContentType:
			v.differ("%s: the content type is %q in %s and %q in %s", key, first.ContentType, names[0], o.ContentType, name)
		case !maps.Equal(o.Metadata, first.Metadata):
			v.differ("%s: the metadata are %v in %s and %v in %s", key, first.Metadata, names[0], o.Metadata, name)
		}
	}
}

// account holds one key against the ledger.
func (v *Verdict) account(key string, changes []Change, names []string, replicas map[string]Snapshot) {
	latest := heads(key, changes)
	for _, c := range latest {
		if c.Kind == Delete {
			continue
		}
		for _, name := range names {
			if !holds(replicas[name], key, c.Identity) {
				v.Lost = append(v.Lost, fmt.Sprintf("%s: what was written in %s (%s, change %d) is not in %s, neither current nor as a conflict copy",
					key, c.Site, c.Kind, c.ID, name))
				break
			}
		}
	}
	for _, name := range names {
		o, there := replicas[name][key]
		ok := slices.ContainsFunc(latest, func(c Change) bool {
			return there && c.Identity == o.Identity() || !there && c.Kind == Delete
		})
		switch {
		case ok:
		case there:
			v.differ("%s: %s holds something that was overwritten, deleted or never written", key, name)
		default:
			v.differ("%s: it is not in %s, and nobody deleted it", key, name)
		}
	}
}

// heads are the changes of a key that no other change follows.
func heads(key string, changes []Change) []Change {
	followed := map[int]bool{}
	var own []Change
	for _, c := range changes {
		if c.Object.Key == key {
			own = append(own, c)
			for _, id := range c.Follows {
				followed[id] = true
			}
		}
	}
	return slices.DeleteFunc(own, func(c Change) bool { return followed[c.ID] })
}

// holds reports whether a replica has a content as the current one of a key, or as a conflict copy of it.
func holds(objects Snapshot, key, identity string) bool {
	if o, ok := objects[key]; ok && o.Identity() == identity {
		return true
	}
	return copyOf(objects, key, identity) != ""
}

// copyOf is the key of the conflict copy with a content, "" if there is none.
func copyOf(objects Snapshot, key, identity string) string {
	for k, o := range objects {
		if strings.HasPrefix(k, config.ConflictPrefix+key+"/") && o.Identity() == identity {
			return k
		}
	}
	return ""
}

// written are all keys that users ever wrote.
func written(changes []Change) []string {
	keys := map[string]bool{}
	for _, c := range changes {
		keys[c.Object.Key] = true
	}
	return slices.Sorted(maps.Keys(keys))
}
