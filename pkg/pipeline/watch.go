package pipeline

import (
	"sync"

	cloudevents "github.com/cloudevents/sdk-go/v2/event"
)

// watchers are told of every event that goes into the broker.
type watchers struct {
	mu   sync.Mutex
	next int
	all  map[int]func(cloudevents.Event)
}

func (w *watchers) tell(e cloudevents.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, f := range w.all {
		f(e)
	}
}

// Watch has f called with every event that goes into the broker, object.* from the normalizer as well as sync.* and
// conflict.* from the outbox, at least once each. f must be quick; calls do not overlap. stop ends it.
func (p *Pipeline) Watch(f func(cloudevents.Event)) (stop func()) {
	w := &p.watch
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.all == nil {
		w.all = map[int]func(cloudevents.Event){}
	}
	id := w.next
	w.next++
	w.all[id] = f
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.all, id)
	}
}
