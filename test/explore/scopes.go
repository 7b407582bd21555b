package main

import (
	"fmt"

	"github.com/bucketmesh/bucketmesh/pkg/config"
)

// tags are the kinds of buckets.
type tags uint8

const (
	generations tags = iota // a tag of its own for every write
	etags                   // the tag is made of the content
	versions                // the same, and every write has a version id
)

// scope is what is explored: everything that can happen within these numbers.
type scope struct {
	name     string
	replicas int
	ops      int // of users
	workers  int
	crashes  int // of workers
	losses   int // requests or answers that get lost
	faults   int // times that a replica stops answering or taking writes
	readOnly int // place of the ReadOnly replica; 0: none
	tags     tags

	hints     bool // workers also start from a notification (the fast path)
	leases    bool // leases end while workers are at work; otherwise once nobody is
	anyOrder  bool // replicas are looked at in any order
	reputs    bool // users put old contents again
	restores  bool // users restore and edit objects that we wrote, with our nonce in their metadata
	backwards bool // clocks that run against the order of events
	rule      config.ConflictRule

	short bool // part of -short
	most  int  // states; 0: no bound. A scope that is cut says so
}

func keepBoth() config.ConflictRule { return config.ConflictRule{Policy: config.KeepBoth} }

func primary() config.ConflictRule {
	return config.ConflictRule{Policy: config.Primary, Order: []string{"b", "a", "c"}}
}

// scopes are those of a run. The numbers in a name are replicas, operations of users, and workers.
func scopes() []scope {
	none := func(*scope) {}
	base := scope{hints: true, leases: true, rule: keepBoth()}
	within := func(name string, replicas, ops, workers int, change func(*scope)) scope {
		s := base
		s.name, s.replicas, s.ops, s.workers = name, replicas, ops, workers
		change(&s)
		return s
	}
	return []scope{
		within("2x4x1", 2, 4, 1, func(s *scope) { s.crashes = 1 }),
		within("2x3x1-lossy", 2, 3, 1, func(s *scope) { s.crashes, s.losses, s.anyOrder, s.short = 1, 1, true, true }),
		within("2x3x2", 2, 3, 2, none),
		within("2x2x2-crash", 2, 2, 2, func(s *scope) { s.crashes, s.anyOrder, s.short = 1, true, true }),
		within("2x2x2-lossy", 2, 2, 2, func(s *scope) { s.losses, s.crashes = 1, 1 }),
		within("2x2x3", 2, 2, 3, none),
		within("2x3x1-primary", 2, 3, 1, func(s *scope) { s.crashes, s.rule, s.short = 1, primary(), true }),
		within("2x3x1-backwards", 2, 3, 1, func(s *scope) { s.crashes, s.backwards, s.short = 1, true, true }),
		within("2x3x1-restores", 2, 3, 1, func(s *scope) { s.crashes, s.losses, s.restores, s.short = 1, 1, true, true }),
		within("2x4x1-restores", 2, 4, 1, func(s *scope) { s.restores, s.crashes = true, 1 }),
		within("2x3x1-etags", 2, 3, 1, func(s *scope) { s.crashes, s.reputs, s.tags, s.short = 1, true, etags, true }),
		within("2x4x1-etags", 2, 4, 1, func(s *scope) { s.crashes, s.reputs, s.tags = 1, true, etags }),
		within("2x2x2-etags", 2, 2, 2, func(s *scope) { s.crashes, s.reputs, s.tags = 1, true, etags }),
		within("2x3x1-versions", 2, 3, 1, func(s *scope) { s.crashes, s.reputs, s.restores, s.tags, s.short = 1, true, true, versions, true }),
		within("2x3x2-etags", 2, 3, 2, func(s *scope) { s.reputs, s.tags, s.most = true, etags, 3_000_000 }),
		within("2x3x2-versions", 2, 3, 2, func(s *scope) { s.reputs, s.tags, s.most = true, versions, 3_000_000 }),
		within("2x2x1-faults", 2, 2, 1, func(s *scope) { s.crashes, s.faults, s.short = 1, 1, true }),
		within("2x3x1-faults", 2, 3, 1, func(s *scope) { s.crashes, s.faults = 1, 1 }),
		within("2x2x2-faults", 2, 2, 2, func(s *scope) { s.faults = 1 }),
		within("3x2x1", 3, 2, 1, func(s *scope) { s.crashes, s.short = 1, true }),
		within("3x2x1-primary", 3, 2, 1, func(s *scope) { s.crashes, s.rule, s.short = 1, primary(), true }),
		within("3x2x1-readonly", 3, 2, 1, func(s *scope) { s.crashes, s.losses, s.readOnly, s.short = 1, 1, 2, true }),
		within("3x3x1", 3, 3, 1, none),
		within("3x3x1-crash", 3, 3, 1, func(s *scope) { s.crashes, s.most = 1, 3_000_000 }),
		within("3x3x1-backwards", 3, 3, 1, func(s *scope) { s.backwards = true }),
		within("3x3x1-primary", 3, 3, 1, func(s *scope) { s.rule = primary() }),
		within("3x3x1-readonly", 3, 3, 1, func(s *scope) { s.readOnly = 2 }),
		within("3x2x2", 3, 2, 2, func(s *scope) { s.hints, s.leases = false, false }),
		within("3x2x2-hints", 3, 2, 2, func(s *scope) { s.leases, s.most = false, 3_000_000 }),
		within("3x2x2-leases", 3, 2, 2, func(s *scope) { s.most = 3_000_000 }),
	}
}

// say is a scope in words.
func (sc *scope) say() string {
	text := fmt.Sprintf("%d replicas, %d operations, %d workers", sc.replicas, sc.ops, sc.workers)
	add := func(on bool, what string) {
		if on {
			text += ", " + what
		}
	}
	add(sc.crashes > 0, fmt.Sprintf("%d crash", sc.crashes))
	add(sc.losses > 0, fmt.Sprintf("%d lost request or answer", sc.losses))
	add(sc.faults > 0, fmt.Sprintf("%d outage or refusal of a replica", sc.faults))
	add(sc.readOnly > 0, "a ReadOnly replica")
	add(sc.hints, "fast path")
	add(sc.leases, "leases end at any time")
	add(sc.anyOrder, "looks in any order")
	add(sc.reputs, "old contents put again")
	add(sc.restores, "restores and edits with our nonce")
	add(sc.backwards, "clocks that run backwards")
	return text + ", tags by " + [...]string{"write", "content", "content with versions"}[sc.tags] + ", " + string(sc.rule.Policy)
}
