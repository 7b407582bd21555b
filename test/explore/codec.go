package main

import "math/bits"

// codec writes a state as bytes, or reads it. States that differ only in names are written the same: serials and nonces are
// numbered by their first occurrence, and workers are sorted. What has no meaning at a worker's place is left out.
type codec struct {
	buf             []byte
	at              int
	decoding        bool
	serials, nonces [256]uint8
	ns, nn          uint8
}

func (c *codec) u8(p *uint8) {
	if c.decoding {
		*p = c.buf[c.at]
		c.at++
		return
	}
	c.buf = append(c.buf, *p)
}

func (c *codec) flag(p *bool) {
	v := bit(*p)
	c.u8(&v)
	*p = v == 1
}

// pair writes two numbers below 16 as one byte.
func (c *codec) pair(a, b *uint8) {
	v := *a<<4 | *b
	c.u8(&v)
	*a, *b = v>>4, v&15
}

func (c *codec) name(p *uint8, names *[256]uint8, n *uint8) {
	if c.decoding {
		c.u8(p)
		*n = max(*n, *p)
		return
	}
	if *p != 0 && names[*p] == 0 {
		*n++
		names[*p] = *n
	}
	c.buf = append(c.buf, names[*p])
}

func (c *codec) serial(p *uint8) { c.name(p, &c.serials, &c.ns) }
func (c *codec) nonce(p *uint8)  { c.name(p, &c.nonces, &c.nn) }

func (c *codec) print(p *mark) {
	v := p.content | bit(p.told)<<7
	c.u8(&v)
	if v == 0 {
		return
	}
	p.content, p.told = v&127, v>>7 == 1
	c.serial(&p.serial)
	c.nonce(&p.nonce)
}

func (c *codec) object(o *object) {
	c.u8(&o.content)
	if o.content != 0 {
		c.serial(&o.serial)
		c.nonce(&o.nonce)
	}
	c.u8(&o.time)
}

func (c *codec) vector(v *vector) {
	c.pair(&v[0], &v[1])
	c.pair(&v[2], &v[3])
}

func (c *codec) row(r *row, replicas int) {
	head := bit(r.missing)<<7 | r.nv<<3 | r.ni
	c.u8(&head)
	r.missing, r.nv, r.ni = head>>7 == 1, head>>3&15, head&7
	for i := range replicas {
		h := &r.replicas[i]
		c.pair(&h.version, &h.tentative)
		c.print(&h.print)
		c.serial(&h.over)
		c.u8(&h.status)
	}
	for i := range r.versions[:r.nv] {
		v := &r.versions[i]
		kind := v.kind()
		c.u8(&kind)
		v.supposed, v.joined, v.content, v.origin, v.hasLineage = kind>>7 == 1, kind>>6&1 == 1, kind>>3&7, kind>>1&3, kind&1 == 1
		c.u8(&v.hlc)
		c.vector(&v.vector)
		c.vector(&v.may)
		if v.hasLineage {
			c.vector(&v.lineage)
		}
	}
	for i := range r.intents[:r.ni] {
		it := &r.intents[i]
		c.nonce(&it.nonce)
		c.pair(&it.replica, &it.version)
		c.print(&it.expect)
		c.u8(&it.lease)
	}
	c.u8(&r.nl)
	for i := range r.lates[:r.nl] {
		l := &r.lates[i]
		c.nonce(&l.nonce)
		c.pair(&l.replica, &l.content)
		c.vector(&l.lineage)
	}
	c.vector(&r.counters)
}

// kind is all of a version that is not a vector or a rank. Contents are fewer than eight.
func (v *ver) kind() uint8 {
	return bit(v.supposed)<<7 | bit(v.joined)<<6 | v.content<<3 | v.origin<<1 | bit(v.hasLineage)
}

// key is the row alone, by its own names.
func (r *row) key(buf []byte, replicas int) []byte {
	for i := range r.replicas[:replicas] {
		h := &r.replicas[i]
		buf = append(buf, h.version<<4|h.tentative, h.print.content|bit(h.print.told)<<7, h.print.serial, h.print.nonce, h.over, h.status)
	}
	buf = append(buf, bit(r.missing)<<7|r.nv<<3|r.ni, r.nl)
	for i := range r.versions[:r.nv] {
		v := &r.versions[i]
		buf = append(buf, v.kind(), v.hlc)
		buf = append(buf, v.vector[:]...)
		buf = append(buf, v.may[:]...)
		buf = append(buf, v.lineage[:]...)
	}
	for i := range r.intents[:r.ni] {
		it := &r.intents[i]
		buf = append(buf, it.nonce, it.replica<<4|it.version, it.expect.content|bit(it.expect.told)<<7, it.expect.serial, it.expect.nonce, it.lease)
	}
	for i := range r.lates[:r.nl] {
		l := &r.lates[i]
		buf = append(buf, l.nonce, l.replica<<4|l.content)
		buf = append(buf, l.lineage[:]...)
	}
	return append(buf, r.counters[:]...)
}

func (c *codec) world(s *world, sc *scope) {
	c.row(&s.row, sc.replicas)
	for i := range s.truth[:s.row.nv] {
		c.u8(&s.truth[i])
	}
	for i := range sc.replicas {
		b := &s.buckets[i]
		c.object(b)
		c.u8(&b.past)
		c.u8(&b.claim)
		if sc.tags == versions {
			c.u8(&s.below[i].content)
			c.serial(&s.below[i].serial)
		}
		if sc.faults > 0 {
			c.u8(&s.fault[i])
		}
	}
	low, high := uint8(s.preserved), uint8(s.preserved>>8) //nolint:gosec // the two bytes of it
	c.u8(&low)
	c.u8(&high)
	s.preserved = uint16(high)<<8 | uint16(low)
	c.pair(&s.no, &s.nh)
	for i := range s.ops[:s.no] {
		c.pair(&s.ops[i].content, &s.ops[i].replica)
		c.u8(&s.ops[i].past)
	}
	c.u8(&s.hidden)
	c.u8(&s.unseen)
	c.u8(&s.revived)
	c.u8(&s.blind)
	c.pair(&s.crashes, &s.losses)
	c.u8(&s.faults)
	for i := range s.history[:s.nh] {
		h := &s.history[i]
		c.pair(&h.replica, &h.content)
		c.nonce(&h.nonce)
	}
	for i := range s.workers[:sc.workers] {
		c.worker(&s.workers[i], sc)
	}
	if c.decoding {
		s.serials, s.nonces = c.ns, c.nn
	}
}

func (c *codec) worker(w *worker, sc *scope) {
	head := w.at | bit(w.stale)<<4 | bit(w.full)<<5 | bit(w.loose)<<6
	c.u8(&head)
	w.at, w.stale, w.full, w.loose = head&15, head>>4&1 == 1, head>>5&1 == 1, head>>6 == 1
	if w.at == idle {
		return
	}
	if w.at < opening {
		c.pair(&w.out, &w.nk)
		for i := range w.known[:w.nk] {
			c.nonce(&w.known[i])
		}
	}
	switch w.at {
	case looking, finding, deciding:
		c.pair(&w.seen, &w.unknown)
		c.pair(&w.broken, &w.found)
		c.u8(&w.late)
		c.u8(&w.hint)
		for r := range sc.replicas {
			if w.seen>>r&1 == 1 {
				c.object(&w.looks[r])
				c.u8(&w.looks[r].claim)
			}
		}
	case reading, writing, storing, dropping:
		c.pair(&w.target, &w.no)
		c.pair(&w.content, &w.source)
		c.u8(&w.truth)
		if w.at == reading {
			c.print(&w.pin)
		}
		if w.at == dropping {
			c.flag(&w.retry)
		}
		for i := range w.orders[:w.no] {
			o := &w.orders[i]
			c.pair(&o.replica, &o.end)
			c.nonce(&o.nonce)
			c.print(&o.expect)
			c.serial(&o.serial)
		}
	case opening, keeping:
		c.pair(&w.nl, &w.hand)
		for i := range w.losers[:w.nl] {
			c.u8(&w.losers[i].replica)
			c.print(&w.losers[i].print)
		}
	}
}

// tidy brings a state into the form in which it is written: dead references of stale workers and late writes that can't come any more are
// dropped and workers sorted. Names of workers move along.
func (s *world) tidy(sc *scope, names *[maxWorkers]uint8) {
	s.forgetLates(sc)
	for i := range s.workers[:sc.workers] {
		w := &s.workers[i]
		if w.at >= reading && w.at <= dropping && w.stale {
			w.target = 0
		}
	}
	for i := 1; i < sc.workers; i++ {
		for j := i; j > 0 && s.workers[j].order() < s.workers[j-1].order(); j-- {
			s.workers[j], s.workers[j-1] = s.workers[j-1], s.workers[j]
			if names != nil {
				names[j], names[j-1] = names[j-1], names[j]
			}
		}
	}
}

func (s *world) forgetLates(sc *scope) {
	was := s.row.lates
	n := uint8(0)
	for _, l := range was[:s.row.nl] {
		b := s.buckets[l.replica]
		due := b.nonce == l.nonce && b.serial != s.row.replicas[l.replica].print.serial // it landed, and the row does not know
		for i := range s.workers[:sc.workers] {
			w := &s.workers[i]
			switch {
			case w.at == reading || w.at == writing:
				for _, o := range w.orders[:w.no] {
					due = due || o.nonce == l.nonce && o.end == unsent
				}
			case w.at >= looking && w.at <= finding:
				due = due || w.seen>>l.replica&1 == 1 && w.looks[l.replica].nonce == l.nonce
			}
		}
		if due {
			was[n] = l
			n++
		}
	}
	s.row.lates, s.row.nl = [maxLates]late{}, n
	copy(s.row.lates[:], was[:n])
}

// order puts workers in a sequence that names have no part in.
func (w *worker) order() uint64 {
	o := w.orders[0]
	return uint64(w.at)<<56 | uint64(bit(w.stale))<<55 | uint64(bit(w.full))<<54 | uint64(w.seen|w.nl)<<48 | uint64(w.unknown)<<44 | uint64(w.hint)<<40 |
		uint64(w.target)<<32 | uint64(w.content|w.hand)<<24 | uint64(o.end)<<16 | uint64(o.replica)<<12 | uint64(w.truth)
}

// hash is 128 bits of a state's bytes, the same in every run.
type hash struct{ a, b uint64 }

func hashOf(p []byte) hash {
	const k1, k2, k3 = 0x9e3779b97f4a7c15, 0xd6e8feb86659fd93, 0xa0761d6478bd642f
	a, b := uint64(len(p))*k1, uint64(k3)
	step := func(x uint64) {
		hi, lo := bits.Mul64(a^x, k2)
		a = hi ^ lo + b
		hi, lo = bits.Mul64(b+x^k1, k3)
		b = hi ^ lo ^ a
	}
	for len(p) >= 8 {
		step(uint64(p[0]) | uint64(p[1])<<8 | uint64(p[2])<<16 | uint64(p[3])<<24 | uint64(p[4])<<32 | uint64(p[5])<<40 | uint64(p[6])<<48 | uint64(p[7])<<56)
		p = p[8:]
	}
	last := uint64(1)
	for _, x := range p {
		last = last<<8 | uint64(x)
	}
	step(last)
	step(k2)
	step(k1)
	return hash{a, b}
}
