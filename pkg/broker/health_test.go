package broker

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
)

func TestReadyAndBrokenWhenTheStoreWasShut(t *testing.T) {
	b := open(t, Config{})
	if err := errors.Join(b.Ready(), b.Broken()); err != nil {
		t.Fatal(err)
	}
	if err := b.server.DisableJetStream(); err != nil { // what the server does when a write finds no space
		t.Fatal(err)
	}
	if err := b.Ready(); !errkind.Is(err, errkind.Unavailable) {
		t.Errorf("ready: %v", err)
	}
	if err := b.Broken(); !errkind.Is(err, errkind.Unavailable) || !strings.Contains(err.Error(), b.cfg.Dir) {
		t.Errorf("broken: %v", err)
	}
}

func TestReadyAndBrokenWhenTheStoreRefusesEverything(t *testing.T) {
	b := open(t, Config{})
	noSpace := errors.New("no space left on device")
	start := time.Now().Add(-31 * time.Second)
	for s := range 32 {
		b.eventsHealth.note(start.Add(time.Duration(s)*time.Second), noSpace)
		b.deadHealth.note(start.Add(time.Duration(s)*time.Second), nil)
	}
	if err := b.Ready(); !errors.Is(err, noSpace) {
		t.Errorf("ready: %v", err)
	}
	if err := b.Broken(); !errors.Is(err, noSpace) || !strings.Contains(err.Error(), b.cfg.Dir) {
		t.Errorf("broken: %v", err)
	}
	b.eventsHealth.note(time.Now(), nil)
	if err := errors.Join(b.Ready(), b.Broken()); err != nil {
		t.Errorf("after a success: %v", err)
	}
}

func TestFailuresOfMessagesAreNotedByStream(t *testing.T) {
	b := open(t, Config{PublishWait: 50 * time.Millisecond})
	if err := b.js.DeleteStream(t.Context(), b.names.deadStream); err != nil { // nobody answers for its subjects
		t.Fatal(err)
	}
	if err := b.StoreRaw(t.Context(), []byte("x"), "", "r"); err == nil {
		t.Fatal("it was stored")
	}
	if _, err := b.deadHealth.failing(time.Now()); err == nil {
		t.Error("the failure was not noted")
	}
	if _, err := b.eventsHealth.failing(time.Now()); err != nil {
		t.Errorf("noted for the other stream: %v", err)
	}
}

func TestHealthOfAStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var h health
		broken, full := errors.New("no space"), storeError(&jetstream.APIError{ErrorCode: 10077, Description: "maximum bytes exceeded"})
		check := func(what string, d time.Duration, want error) {
			t.Helper()
			if got, err := h.failing(time.Now()); got != d || !errors.Is(err, want) {
				t.Errorf("%s: %v, %v", what, got, err)
			}
		}
		check("nothing happened", 0, nil)
		h.note(time.Now(), broken)
		<-time.After(20 * time.Second) // of the bubble's clock
		check("one failure lasts no time", 0, broken)
		h.note(time.Now(), broken)
		check("two failures", 20*time.Second, broken)
		<-time.After(failureAge + time.Second)
		check("an old failure", 0, nil)
		h.note(time.Now(), broken)
		check("a new row", 0, broken)
		h.note(time.Now(), full)
		check("a full store works", 0, nil)
	})
}
