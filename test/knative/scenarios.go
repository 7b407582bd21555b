package knative

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// scenario is one thing that is proved.
type scenario struct {
	name, proves string
	run          func(ctx context.Context, w *world, r *Result) error
}

// scenarios in the order in which they run: the first one finds services that did nothing yet, the last ones judge all before.
func scenarios() []scenario {
	return []scenario{
		{"first", "a put is readable at the other side", first},
		{"load", "so are all puts under steady load, quickly", load},
		{"delete", "a delete that waits for its hold arrives, and no timer has to tick", deleted},
		{"conflict", "of two who write at once one wins, and the loser is kept", conflict},
		{"forged", "senders without the secret are refused, and cause nothing", forged},
		{"outage", "while the broker is down the normalizer says 503, and the provider delivers later", outage},
		{"poison", "what can not be handled is a dead letter with its reason; mended and replayed, it is handled", poison},
		{"kills", "kill -9 of services under load loses nothing", kills},
		{"equal", "both sides are equal, and every acknowledged content is there, overwritten or kept", equal},
		{"audit", "the audit log is sound", auditLog},
		{"books", "every event is accounted for", books},
	}
}

// play runs the scenarios. One that fails does not keep the others from running.
func (w *world) play(ctx context.Context, only []string) (*report, error) {
	began := time.Now()
	all := &report{Seed: w.seed, OK: true}
	for _, s := range w.scenarios(w.fleet) {
		if len(only) > 0 && !slices.Contains(only, s.name) {
			continue
		}
		fmt.Fprintf(w.progress, "%s: %s\n", s.name, s.proves)
		r := Result{Scenario: s.name, Proves: s.proves, Facts: []Fact{}}
		start := time.Now()
		err := s.run(ctx, w, &r)
		r.OK, r.Seconds = err == nil, time.Since(start).Seconds()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err != nil {
			r.Error, all.OK = err.Error(), false
			fmt.Fprintf(w.progress, "%s: FAIL: %v\n", s.name, err)
		}
		all.Results = append(all.Results, r)
	}
	all.Seconds = time.Since(began).Seconds()
	return all, nil
}
