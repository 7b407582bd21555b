package knative

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// forged has every door knocked at without the secret.
func forged(ctx context.Context, w *world, r *Result) error {
	for _, d := range w.doors {
		if err := w.forge(ctx, d, r); err != nil {
			return fmt.Errorf("%s: %w", d.replica, err)
		}
	}
	return poll(ctx, w.within, 100*time.Millisecond, "the true ones are in the audit log", func(ctx context.Context) (bool, error) {
		all, err := w.entries(ctx)
		var subjects []string
		for _, e := range all {
			if strings.HasPrefix(e.Subject, "forged-") {
				return false, fmt.Errorf("a forged notification became the event %s of %s", e.Type, e.Subject)
			}
			subjects = append(subjects, e.Subject)
		}
		for _, d := range w.doors {
			if !slices.Contains(subjects, "true-"+d.replica) {
				return false, err
			}
		}
		return true, err
	})
}

func (w *world) forge(ctx context.Context, d door, r *Result) error {
	fact := func(name string, status int) { r.fact(d.replica+" "+name, status) }
	for _, forger := range []struct {
		name, token string
		header      http.Header
	}{
		{"none", "", nil},
		{"wrong", w.token + "x", nil},
		{"scheme", "", http.Header{"Authorization": {"Basic Og=="}}},
		{"unsigned", "", http.Header{"Authorization": {"Bearer eyJhbGciOiJub25lIn0.e30."}}}, // a JWT that nobody signed
	} {
		status, err := w.notify(ctx, d, "forged-"+forger.name, forger.token, forger.header)
		if err != nil {
			return err
		}
		fact(forger.name, status)
		if status != http.StatusUnauthorized && status != http.StatusForbidden {
			return fmt.Errorf("with the proof %q a sender is answered %d", forger.name, status)
		}
	}
	// The same with the right one is taken: it was the proof that was refused, not the message.
	status, err := w.notify(ctx, d, "true-"+d.replica, w.token, nil)
	if err != nil {
		return err
	}
	fact("right", status)
	if status/100 != 2 {
		return fmt.Errorf("a sender with the right proof is answered %d", status)
	}
	return nil
}
