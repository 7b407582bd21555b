package emulator

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"
)

// EventGridConfig says how events are delivered. Zero fields take the defaults.
type EventGridConfig struct {
	Webhook    string        // URL, with the secret in its query
	Account    string        // whose subscription it is
	Seed       uint64        // of the order and of the duplicates
	MaxBatch   int           // events of one request; default: 20
	Workers    int           // requests at a time; default: 8
	Queue      int           // events that wait; default: 100,000
	Duplicates float64       // how many of the events are delivered a second time, 0 to 1
	MinBackoff time.Duration // before the first retry, doubled each time; default: 200 ms (Event Grid: 10 s)
	MaxBackoff time.Duration // default: 5 s (Event Grid: 12 h)
	Attempts   int           // default: 30, as with Event Grid
	Timeout    time.Duration // of one request; default: 30 s, as with Event Grid
}

func (c *EventGridConfig) defaults() {
	set := func(n *int, d int) {
		if *n == 0 {
			*n = d
		}
	}
	wait := func(n *time.Duration, d time.Duration) {
		if *n == 0 {
			*n = d
		}
	}
	set(&c.MaxBatch, 20)
	set(&c.Workers, 8)
	set(&c.Queue, 100_000)
	set(&c.Attempts, 30)
	wait(&c.MinBackoff, 200*time.Millisecond)
	wait(&c.MaxBackoff, 5*time.Second)
	wait(&c.Timeout, 30*time.Second)
}

// EventGridStats count events.
type EventGridStats struct {
	Delivered, Duplicated, Retried int // Retried: deliveries that failed and were tried again
	Lost                           int // refused for good, tried too often, or more than the queue holds
	Waiting                        int // in the queue or under way
}

// EventGrid delivers events to one webhook. Event Grid's promises are kept, and no more: at least once (if the webhook says
// 2xx within the attempts), in no order, in batches, each tried again with back-off, but after 400, 401, 403 and 413, which
// end it. The queue is in memory.
type EventGrid struct {
	conf   EventGridConfig
	client *http.Client
	stop   context.CancelFunc
	ended  sync.WaitGroup
	wake   chan struct{}

	mu    sync.Mutex
	rand  *rand.Rand
	queue []Event
	stats EventGridStats
}

// NewEventGrid starts the deliveries. Close ends them.
func NewEventGrid(conf EventGridConfig) *EventGrid {
	conf.defaults()
	ctx, stop := context.WithCancel(context.Background())
	g := &EventGrid{
		conf: conf, client: &http.Client{Timeout: conf.Timeout}, stop: stop,
		wake: make(chan struct{}, conf.Workers), rand: rand.New(rand.NewPCG(conf.Seed, 0xe4e7)),
	}
	for range conf.Workers {
		g.ended.Go(func() { g.deliver(ctx) })
	}
	return g
}

// Publish takes an event. It does not wait.
func (g *EventGrid) Publish(e Event) {
	g.mu.Lock()
	switch {
	case len(g.queue) >= g.conf.Queue:
		g.stats.Lost++
	default:
		e.Data.ETag = quoted(e.Data.ETag, g.rand.IntN(2) == 0) // both are seen
		g.queue = append(g.queue, e)
		g.stats.Waiting++
	}
	g.mu.Unlock()
	g.wakeOne()
}

func (g *EventGrid) wakeOne() {
	select {
	case g.wake <- struct{}{}:
	default: // all are awake
	}
}

// Stats are the counts so far.
func (g *EventGrid) Stats() EventGridStats {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.stats
}

// Close ends all deliveries; what was not delivered is dropped.
func (g *EventGrid) Close() {
	g.stop()
	g.ended.Wait()
}

// Validate does what Event Grid does before it sends to a webhook for the first time: the webhook has to give a code back.
func (g *EventGrid) Validate(ctx context.Context) error {
	code, err := newID()
	if err != nil {
		return err
	}
	e := map[string]any{
		"id": code, "topic": topicOf(g.conf.Account), "subject": "", "eventType": "Microsoft.EventGrid.SubscriptionValidationEvent",
		"eventTime": time.Now().UTC().Format(time.RFC3339Nano), "metadataVersion": "1", "dataVersion": "2",
		"data": map[string]string{"validationCode": code},
	}
	status, answer, err := g.post(ctx, "SubscriptionValidation", 0, []any{e})
	if err != nil {
		return fmt.Errorf("validate webhook: %w", err)
	}
	var a struct{ ValidationResponse string }
	if err := json.Unmarshal(answer, &a); status != http.StatusOK || err != nil || a.ValidationResponse != code {
		return fmt.Errorf("validate webhook: status %d, answer %.200q: want 200 and the code", status, answer)
	}
	return nil
}

func (g *EventGrid) deliver(ctx context.Context) {
	for {
		batch := g.take()
		if len(batch) == 0 {
			select {
			case <-g.wake:
				continue
			case <-ctx.Done():
				return
			}
		}
		g.wakeOne() // there may be more
		g.send(ctx, batch)
		if ctx.Err() != nil {
			return
		}
	}
}

// take draws a batch from the queue, in no order.
func (g *EventGrid) take() []Event {
	g.mu.Lock()
	defer g.mu.Unlock()
	n := min(len(g.queue), 1+g.rand.IntN(g.conf.MaxBatch))
	near := min(len(g.queue), 4*g.conf.MaxBatch) // not later than all that follow
	g.rand.Shuffle(near, func(i, j int) { g.queue[i], g.queue[j] = g.queue[j], g.queue[i] })
	batch := append([]Event(nil), g.queue[:n]...)
	g.queue = g.queue[n:]
	return batch
}

// send delivers a batch, and some of it twice.
func (g *EventGrid) send(ctx context.Context, batch []Event) {
	wait := g.conf.MinBackoff
	for attempt := range g.conf.Attempts {
		status, _, err := g.post(ctx, "Notification", attempt, batch)
		switch {
		case err == nil && status >= 200 && status < 300:
			g.done(batch)
			return
		case status == http.StatusBadRequest, status == http.StatusUnauthorized, status == http.StatusForbidden,
			status == http.StatusRequestEntityTooLarge:
			g.lose(batch)
			return
		}
		g.mu.Lock()
		g.stats.Retried += len(batch)
		g.mu.Unlock()
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return
		}
		wait = min(2*wait, g.conf.MaxBackoff)
	}
	g.lose(batch)
}

func (g *EventGrid) lose(batch []Event) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.stats.Lost += len(batch)
	g.stats.Waiting -= len(batch)
}

func (g *EventGrid) done(batch []Event) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.stats.Delivered += len(batch)
	g.stats.Waiting -= len(batch)
	for _, e := range batch {
		if g.rand.Float64() < g.conf.Duplicates {
			g.queue = append(g.queue, e) // the same event with the same id
			g.stats.Duplicated++
			g.stats.Waiting++
		}
	}
}

// post is one request. Errors: no answer.
func (g *EventGrid) post(ctx context.Context, kind string, attempt int, events any) (status int, answer []byte, err error) {
	b, err := json.Marshal(events)
	if err != nil {
		return 0, nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, g.conf.Webhook, bytes.NewReader(b))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Content-Type", "application/json; charset=utf-8")
	req.Header.Set("aeg-event-type", kind)
	req.Header.Set("aeg-subscription-name", "EMULATOR")
	req.Header.Set("aeg-delivery-count", fmt.Sprint(attempt))
	resp, err := g.client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	answer, err = io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	return resp.StatusCode, answer, errors.Join(err, resp.Body.Close())
}
