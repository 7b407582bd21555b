package cli

import "sync/atomic"

// atomicText is a text that one goroutine sets and another one shows.
type atomicText struct{ v atomic.Value }

func (t *atomicText) set(s string) { t.v.Store(s) }

func (t *atomicText) get() string {
	s, _ := t.v.Load().(string)
	return s
}
