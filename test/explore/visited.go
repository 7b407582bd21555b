package main

import "sync"

// visited is a set of hashes that many goroutines add to. It is split by the first bits, so that they rarely wait.
type visited struct {
	shards [256]shard
}

type shard struct {
	mu    sync.Mutex
	slots []hash // open addressing; the zero hash is an empty place
	used  int
}

// add reports whether h is new.
func (v *visited) add(h hash) bool {
	if h == (hash{}) {
		h.a = 1
	}
	s := &v.shards[h.a>>56]
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.used*10 >= len(s.slots)*8 {
		s.grow()
	}
	if !s.place(h) {
		return false
	}
	s.used++
	return true
}

func (s *shard) place(h hash) bool {
	mask := uint64(len(s.slots) - 1) //nolint:gosec // a power of two
	for i := h.b & mask; ; i = (i + 1) & mask {
		switch s.slots[i] {
		case h:
			return false
		case hash{}:
			s.slots[i] = h
			return true
		}
	}
}

func (s *shard) grow() {
	old := s.slots
	s.slots = make([]hash, max(64, 2*len(old)))
	for _, h := range old {
		if h != (hash{}) {
			s.place(h)
		}
	}
}

func (v *visited) len() (n int) {
	for i := range v.shards {
		n += v.shards[i].used
	}
	return n
}
