package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/config"
)

// params are the setting of one run, all drawn from its seed.
type params struct {
	replicas, users, workers, chaos, passes int
	clouds                                  []int // of each replica
	readOnly                                int   // how many replicas, at the end, users should not write to
	restores, deletes, edits, nosy          bool  // what users do
	restoring                               int
	opaque                                  bool // no digest in attributes: comparing takes a read
	large                                   bool // what is copied is larger than a part
	sizes                                   bool // contents differ in size
	exact                                   bool // every notification arrives: then nothing may need a scan

	pace, crash, loseRequest, loseAnswer, drop, duplicate, late, jump, sleep, trouble, blink, squat float64

	skews []time.Duration
	rules []config.ConflictRule // of each worker: one for all, or a document that is being rolled out
}

// rules are the ways to decide a conflict. A new policy is a line.
func rules() []config.ConflictRule {
	return []config.ConflictRule{
		{Policy: config.KeepBoth},
		{Policy: config.LastWriterWins},
		{Policy: config.Primary, Order: []string{"b", "a"}},
		{Policy: config.Primary, Order: []string{"a", "b", "c"}},
		{Policy: config.Largest},
		{Policy: config.EditWins},
		{Policy: config.DeleteWins},
		{Policy: config.Quorum, Fallback: config.KeepBoth},
		{Policy: config.CEL, Expression: "head.size"},
		{Policy: config.Merge, Fallback: config.LastWriterWins, Format: config.FormatText}, // these contents always clash
		{Policy: config.Manual, Fallback: config.Largest, Deadline: time.Hour},             // nobody answers
	}
}

// draw decides what kind of run this is.
func draw(c *chooser) params {
	p := params{
		replicas: 2 + c.intN(2), users: 2 + c.intN(5), workers: 1 + c.intN(3), chaos: 40 + c.intN(160),
		deletes: c.intN(4) < 3, restores: c.intN(2) == 1, edits: c.intN(3) == 2, nosy: c.intN(4) == 3,
		restoring: 2, pace: 0.15,
	}
	if c.intN(3) > 0 {
		p.crash, p.loseRequest, p.loseAnswer = c.upTo(0.04), c.upTo(0.05), c.upTo(0.15)
	}
	p.drop, p.duplicate, p.jump = c.upTo(0.3), c.upTo(0.2), c.upTo(0.03)
	mode := c.intN(8)
	switch mode {
	case 7: // unacknowledged writes, old versions restored, leases that end
		p.users, p.restores, p.jump = 4+c.intN(5), true, 0.1
		p.crash, p.loseAnswer, p.drop = c.upTo(0.1), c.upTo(0.5), 0.1
	case 6: // every other operation brings back an old version, while answers are being lost
		p.users, p.replicas, p.restores, p.restoring = 4+c.intN(5), 2, true, 4
		p.crash, p.loseAnswer, p.drop, p.chaos = c.upTo(0.05), c.upTo(0.5), c.upTo(0.3), 200+c.intN(400)
		p.pace = 0.02 + c.upTo(0.05)
	case 5: // users overwrite and restore what dying workers wrote, before anybody looks
		p.users, p.replicas, p.workers, p.restores, p.restoring = 4+c.intN(5), 2, 1, true, 4
		p.crash, p.loseAnswer, p.drop, p.chaos = 0.1+c.upTo(0.2), c.upTo(0.2), c.upTo(0.2), 300+c.intN(500)
		p.pace, p.jump = 0.01+c.upTo(0.03), 0.05
	case 4: // conflicts one after the other
		p.users, p.replicas, p.chaos, p.drop = 4+c.intN(6), 3, 200+c.intN(200), 0
	}
	p.place(c)
	if c.intN(3) == 2 {
		p.trouble, p.sleep = c.upTo(0.03), c.upTo(0.005)
	}
	if c.intN(4) == 3 {
		p.late = c.upTo(0.3)
	}
	p.opaque, p.sizes = c.intN(6) == 5, c.intN(4) == 3
	p.large = c.intN(4) == 3
	if c.intN(5) == 4 {
		p.blink = c.upTo(0.1)
	}
	if c.intN(8) == 7 {
		p.squat = c.upTo(0.2)
	}
	if c.intN(6) == 5 {
		p.passes = 3 + c.intN(3)
	}
	if c.intN(5) == 4 {
		p.exact, p.drop = true, 0
	}
	all := rules()
	first := c.intN(len(all))
	switch mode {
	case 3: // nothing but notifications tells of edits, and they look like echoes
		p.edits, p.exact, p.drop, p.replicas, p.readOnly = true, true, 0, 2, 0
		p.everywhere("s3-compatible")
	case 1: // the same bytes at several replicas, each overwritten by somebody, where time does not decide
		p.nosy, p.restores, p.pace = true, false, 0.3
		first = 2
	case 2: // several processes write where a write may be taken back
		p.workers, p.jump, p.loseAnswer = 3, 0.05, c.upTo(0.2)
		p.everywhere("versions-only")
	}
	other := c.intN(3) == 2
	for range p.workers {
		r := first
		if other {
			r = c.intN(len(all))
		}
		p.rules = append(p.rules, all[r])
	}
	return p
}

// everywhere puts all replicas at one cloud.
func (p *params) everywhere(name string) {
	at := slices.IndexFunc(clouds(), func(c cloud) bool { return c.name == name })
	for i := range p.clouds {
		p.clouds[i] = at
	}
	p.clouds = p.clouds[:p.replicas]
}

// place draws the bucket of each replica, and its clock.
func (p *params) place(c *chooser) {
	fit := len(clouds()) - unguarded
	one := c.intN(fit)
	mixed := c.intN(3) > 0
	if p.readOnly = 0; c.intN(5) == 4 {
		p.readOnly = 1
		p.replicas = max(p.replicas, 2)
	}
	day := c.intN(3) == 2
	for i := range p.replicas {
		at := one
		switch {
		case i >= p.replicas-p.readOnly: // anything will do
			at = c.intN(len(clouds()))
		case c.intN(40) == 39: // acceptLossWindow
			at = fit + c.intN(unguarded)
		case mixed:
			at = c.intN(fit)
		}
		p.clouds = append(p.clouds, at)
		skew := time.Duration(c.intN(7)-3) * time.Second
		if day {
			skew = time.Duration(c.intN(48*60)-24*60) * time.Minute
		}
		p.skews = append(p.skews, skew)
	}
}

// String tells the setting in words.
func (p params) String() string {
	var b strings.Builder
	all := clouds()
	for i, at := range p.clouds {
		mode := ""
		if i >= p.replicas-p.readOnly {
			mode = " (ReadOnly)"
		}
		fmt.Fprintf(&b, "replica %c at %s%s, clock %s; ", 'a'+i, all[at].name, mode, p.skews[i])
	}
	fmt.Fprintf(&b, "%d workers", p.workers)
	for i, r := range p.rules {
		if i == 0 || r.Policy != p.rules[0].Policy {
			fmt.Fprintf(&b, ", %s %v", r.Policy, r.Order)
		}
	}
	for _, f := range []struct {
		name string
		on   bool
	}{
		{"large objects", p.large}, {"no digests", p.opaque}, {"all notifications arrive", p.exact}, {"few passes", p.passes > 0},
	} {
		if f.on {
			b.WriteString(", " + f.name)
		}
	}
	return b.String()
}
