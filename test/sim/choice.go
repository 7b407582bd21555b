package main

import (
	"math/rand/v2"
	"strconv"
	"strings"
)

// chooser makes every decision of a run: from a seed, or from the tape of an earlier run. 0 always means the dull choice: no
// fault, the oldest event, the smallest world. So a tape becomes simpler where numbers of it become 0 or are left out.
type chooser struct {
	rng  *rand.Rand
	tape *tape // nil: nothing is recorded
	hash uint64
}

// tape holds the decisions of one run in parts: one for the setting, one for each act, one for the way to rest. A part that is
// left out leaves the meaning of the others as it was.
type tape struct {
	parts  [][]uint32 // setting, acts...
	rest   []uint32
	replay bool
	part   int // that is played; -1: rest
	at     int
}

const whole = 1 << 20 // certainty

func newChooser(seed uint64) *chooser {
	return &chooser{rng: rand.New(rand.NewPCG(seed, 0x6275636b6574)), hash: 14695981039346656037} //nolint:gosec // a reproducible run needs a seeded generator
}

// recording is a chooser that keeps a tape.
func recording(seed uint64) *chooser {
	c := newChooser(seed)
	c.tape = &tape{parts: [][]uint32{nil}}
	return c
}

// replaying is a chooser that plays a tape. Where the tape has no number, it is 0.
func replaying(t *tape) *chooser {
	return &chooser{tape: &tape{parts: t.parts, rest: t.rest, replay: true}, hash: 14695981039346656037}
}

// acts is how many acts the run has, if the tape says so.
func (c *chooser) acts(n int) int {
	if c.tape != nil && c.tape.replay {
		return len(c.tape.parts) - 1
	}
	return n
}

// turn begins the next part.
func (c *chooser) turn() {
	if t := c.tape; t != nil {
		t.part++
		t.at = 0
		if !t.replay {
			t.parts = append(t.parts, nil)
		}
	}
}

// end begins the last part.
func (c *chooser) end() {
	if t := c.tape; t != nil {
		t.part, t.at = -1, 0
	}
}

// intN is a number below n.
func (c *chooser) intN(n int) int {
	var v uint32
	if t := c.tape; t != nil && t.replay {
		v = t.next() % uint32(n)
	} else {
		v = c.rng.Uint32N(uint32(n))
		if t != nil {
			t.keep(v)
		}
	}
	c.mix(uint64(v))
	return int(v)
}

// chance is true with probability p.
func (c *chooser) chance(p float64) bool {
	return p > 0 && c.intN(whole) >= whole-int(p*whole)
}

// part of a number, evenly: 0 is none.
func (c *chooser) upTo(x float64) float64 { return x * float64(c.intN(1024)) / 1024 }

// mix lets the digest of the run depend on x.
func (c *chooser) mix(x uint64) { c.hash = (c.hash ^ x) * 1099511628211 }

func (c *chooser) mixString(s string) {
	for i := range len(s) {
		c.mix(uint64(s[i]))
	}
	c.mix(256)
}

func (t *tape) playing() *[]uint32 {
	if t.part < 0 {
		return &t.rest
	}
	return &t.parts[t.part]
}

func (t *tape) next() uint32 {
	p := *t.playing()
	t.at++
	if t.at > len(p) {
		return 0
	}
	return p[t.at-1]
}

func (t *tape) keep(v uint32) {
	p := t.playing()
	*p = append(*p, v)
}

// String writes a tape in one word: parts between "/", numbers with base 36 between ".", zeros as nothing.
func (t *tape) String() string {
	var b strings.Builder
	for i, p := range append(append([][]uint32{}, t.parts...), t.rest) {
		if i > 0 {
			b.WriteByte('/')
		}
		for len(p) > 0 && p[len(p)-1] == 0 {
			p = p[:len(p)-1]
		}
		for j, v := range p {
			if j > 0 {
				b.WriteByte('.')
			}
			if v > 0 {
				b.WriteString(strconv.FormatUint(uint64(v), 36))
			}
		}
	}
	return b.String()
}

// parseTape reads what String wrote.
func parseTape(s string) (*tape, error) {
	t := &tape{}
	for part := range strings.SplitSeq(strings.TrimSpace(s), "/") {
		var p []uint32
		if part != "" {
			for n := range strings.SplitSeq(part, ".") {
				v := uint64(0)
				if n != "" {
					var err error
					if v, err = strconv.ParseUint(n, 36, 32); err != nil {
						return nil, err
					}
				}
				p = append(p, uint32(v))
			}
		}
		t.parts = append(t.parts, p)
	}
	last := len(t.parts) - 1
	t.parts, t.rest = t.parts[:last], t.parts[last]
	if last == 0 {
		t.parts = [][]uint32{nil}
	}
	return t, nil
}
