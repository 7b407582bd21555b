package pipeline

import (
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"
)

func TestPipelineFailsWhenItsBrokerIsBroken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &Pipeline{log: slog.New(slog.DiscardHandler), failed: make(chan struct{})}
		since, noSpace := time.Now(), errors.New("no space in the data directory")
		go p.failWhen(t.Context(), func() error {
			if time.Since(since) < time.Minute {
				return nil
			}
			return noSpace
		})
		<-p.Failed()
		if d := time.Since(since); d < time.Minute || d > time.Minute+2*brokenEvery {
			t.Errorf("failed after %v", d)
		}
		if !errors.Is(p.Err(), noSpace) {
			t.Errorf("err: %v", p.Err())
		}
	})
}
