package emulator

import (
	"slices"
	"sync"
)

// objectLocks are a reader-writer lock per object. Locks that nobody holds or waits for take no memory.
type objectLocks struct {
	mu    sync.Mutex
	locks map[string]*objectLock
}

type objectLock struct {
	sync.RWMutex
	users int
}

// lock takes all the objects that are written, and those that are only read; the function that it gives back lets them go
// and may be called twice.
func (o *objectLocks) lock(write, read []string) (unlock func()) {
	exclusive := map[string]bool{}
	for _, name := range read {
		exclusive[name] = false
	}
	for _, name := range write {
		exclusive[name] = true
	}
	names := make([]string, 0, len(exclusive))
	for name := range exclusive {
		names = append(names, name)
	}
	slices.Sort(names) // one order for all, or two would wait for each other
	for _, name := range names {
		l := o.get(name)
		if exclusive[name] {
			l.Lock()
		} else {
			l.RLock()
		}
	}
	return sync.OnceFunc(func() {
		for _, name := range names {
			o.put(name, exclusive[name])
		}
	})
}

func (o *objectLocks) get(name string) *objectLock {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.locks == nil {
		o.locks = map[string]*objectLock{}
	}
	l := o.locks[name]
	if l == nil {
		l = &objectLock{}
		o.locks[name] = l
	}
	l.users++
	return l
}

func (o *objectLocks) put(name string, exclusive bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	l := o.locks[name]
	if exclusive {
		l.Unlock()
	} else {
		l.RUnlock()
	}
	if l.users--; l.users == 0 {
		delete(o.locks, name)
	}
}
