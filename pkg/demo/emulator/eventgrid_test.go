package emulator

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// webhook records what it takes, and answers as it is told to.
type webhook struct {
	mu     sync.Mutex
	got    []Event
	sizes  []int
	answer func(call int) int
	calls  int
}

func (h *webhook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var batch []Event
	if err != nil || json.Unmarshal(body, &batch) != nil || r.URL.Query().Get("code") != "secret" || r.Method != http.MethodPost {
		w.WriteHeader(http.StatusTeapot)
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.calls++
	if r.Header.Get("aeg-event-type") == "SubscriptionValidation" {
		var v []struct {
			Data struct{ ValidationCode string }
		}
		if json.Unmarshal(body, &v) == nil {
			_ = json.NewEncoder(w).Encode(map[string]string{"validationResponse": v[0].Data.ValidationCode})
		}
		return
	}
	status := http.StatusOK
	if h.answer != nil {
		status = h.answer(h.calls)
	}
	if status < 300 {
		h.got, h.sizes = append(h.got, batch...), append(h.sizes, len(batch))
	}
	w.WriteHeader(status)
}

func grid(t *testing.T, h *webhook, conf EventGridConfig) *EventGrid {
	t.Helper()
	srv := httptest.NewServer(h)
	conf.Webhook, conf.Account, conf.MinBackoff, conf.MaxBackoff = srv.URL+"/azure/a?code=secret", "a", time.Millisecond, 4*time.Millisecond
	g := NewEventGrid(conf)
	t.Cleanup(func() {
		g.Close()
		srv.Close()
	})
	return g
}

func publish(t *testing.T, g *EventGrid, n int) {
	t.Helper()
	for i := range n {
		e, err := newEvent("Microsoft.Storage.BlobCreated", fmt.Sprintf("/blobs/%d", i), "a", EventData{ETag: "0x1"})
		if err != nil {
			t.Fatal(err)
		}
		g.Publish(e)
	}
}

func settled(t *testing.T, g *EventGrid) EventGridStats {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); <-tick.C {
		if s := g.Stats(); s.Waiting == 0 {
			return s
		}
	}
	t.Fatalf("not delivered: %+v", g.Stats())
	return EventGridStats{}
}

func TestEverythingIsDeliveredAtLeastOnce(t *testing.T) {
	h := &webhook{answer: func(call int) int {
		return []int{http.StatusOK, http.StatusServiceUnavailable, http.StatusNotFound}[call%3]
	}}
	g := grid(t, h, EventGridConfig{Seed: 1, Duplicates: 0.1})
	publish(t, g, 500)
	s := settled(t, g)
	ids, subjects, quotes := map[string]int{}, []string(nil), map[bool]int{}
	for _, e := range h.got {
		if ids[e.ID]++; ids[e.ID] == 1 {
			subjects = append(subjects, e.Subject)
		}
		quotes[strings.HasPrefix(e.Data.ETag, `"`)]++
	}
	if len(ids) != 500 || s.Lost != 0 || s.Retried == 0 || s.Duplicated == 0 || len(h.got) != 500+s.Duplicated || s.Delivered != len(h.got) {
		t.Errorf("%d of 500 events, %d deliveries: %+v", len(ids), len(h.got), s)
	}
	if slices.Max(h.sizes) < 2 || quotes[true] == 0 || quotes[false] == 0 {
		t.Errorf("largest batch %d, quoted ETags %v", slices.Max(h.sizes), quotes)
	}
	if slices.IsSortedFunc(subjects, func(a, b string) int { return len(a) - len(b) }) {
		t.Error("delivered in order: want some disorder")
	}
}

func TestSomeAnswersEndIt(t *testing.T) {
	for _, status := range []int{http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusRequestEntityTooLarge} {
		h := &webhook{answer: func(int) int { return status }}
		g := grid(t, h, EventGridConfig{MaxBatch: 1})
		publish(t, g, 3)
		if s := settled(t, g); s.Lost != 3 || s.Retried != 0 || h.calls != 3 {
			t.Errorf("%d: %+v after %d calls", status, s, h.calls)
		}
	}
}

func TestAttemptsAndTheQueueAreBounded(t *testing.T) {
	h := &webhook{answer: func(int) int { return http.StatusInternalServerError }}
	g := grid(t, h, EventGridConfig{Attempts: 3, MaxBatch: 1, Workers: 1})
	publish(t, g, 2)
	if s := settled(t, g); s.Lost != 2 || h.calls != 6 {
		t.Errorf("%+v after %d calls, want 6", s, h.calls)
	}
	full := &EventGrid{conf: EventGridConfig{Queue: 1}, wake: make(chan struct{}, 1), rand: g.rand}
	publish(t, full, 3)
	if s := full.Stats(); s.Waiting != 1 || s.Lost != 2 {
		t.Errorf("a queue of 1 after 3 events: %+v", s)
	}
}

func TestTheHandshake(t *testing.T) {
	h := &webhook{}
	g := grid(t, h, EventGridConfig{})
	if err := g.Validate(t.Context()); err != nil {
		t.Error(err)
	}
	g.conf.Webhook = strings.Replace(g.conf.Webhook, "secret", "wrong", 1)
	if err := g.Validate(t.Context()); err == nil {
		t.Error("a webhook that does not give the code back passes")
	}
}
