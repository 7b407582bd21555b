package pipeline

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/broker"
	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/event"
	"github.com/bucketmesh/bucketmesh/pkg/scan"
	"github.com/bucketmesh/bucketmesh/pkg/serve"
	"github.com/bucketmesh/bucketmesh/pkg/subscriber"
	"github.com/bucketmesh/bucketmesh/pkg/subscriber/record"
)

// subscribe connects the handlers to their triggers.
func (p *Pipeline) subscribe(ctx context.Context) error {
	triggers, err := broker.ParseTriggers(strings.NewReader(subscriber.Triggers()))
	if err != nil {
		return fmt.Errorf("read triggers: %w", err)
	}
	triggers = slices.DeleteFunc(triggers, func(t broker.Trigger) bool {
		return t.Subscriber == subscriber.NameDeadLetters // the broker of this process keeps them itself
	})
	parallel := max(p.opts.Group.Transfer.Parallel, 1)
	handlers := map[string]subscriber.Handler{
		subscriber.NameSync: &subscriber.Sync{
			Group: p.opts.Group, Engine: p.worker.Engine(), Now: time.Now, Logger: p.log,
			Below: p.worker.Below, Scan: p.scanOnRequest, Ledger: p.ledger,
		},
		subscriber.NameResolver: &subscriber.Resolver{Group: p.opts.Group.Name, Engine: p.worker.Engine(), Logger: p.log},
		subscriber.NameAudit:    &record.Handler{Log: p.audit},
	}
	concurrency := map[string]int{
		subscriber.NameSync:     min(2*parallel, 64), // echoes cost a worker only a moment
		subscriber.NameResolver: parallel,
		subscriber.NameAudit:    1, // in the order of arrival
	}
	names := make([]string, 0, len(triggers))
	for i := range triggers {
		triggers[i].Concurrency = concurrency[triggers[i].Name]
		names = append(names, triggers[i].Name)
	}
	// All are declared before anything can publish: none misses an event.
	if err := p.broker.Declare(ctx, triggers...); err != nil {
		return fmt.Errorf("declare triggers: %w", err)
	}
	if err := p.broker.Prune(ctx, names...); err != nil {
		return fmt.Errorf("prune triggers: %w", err)
	}
	for _, t := range triggers {
		h := handlers[t.Subscriber]
		if h == nil {
			return errkind.New(errkind.Invalid, "trigger %s: there is no subscriber %q", t.Name, t.Subscriber)
		}
		if p.opts.between != nil {
			h = p.opts.between(t.Subscriber, h)
		}
		observed, err := serve.Observe(h, serve.Options{Logger: p.log, Telemetry: p.opts.Telemetry})
		if err != nil {
			return fmt.Errorf("observe subscriber %s: %w", t.Subscriber, err)
		}
		if err := p.broker.Subscribe(ctx, t, observed); err != nil {
			return fmt.Errorf("subscribe %s: %w", t.Subscriber, err)
		}
	}
	return nil
}

// scanOnRequest does what a scan.requested event asks for. In this process there is a timer too; an event comes from
// whoever shares an outside broker.
func (p *Pipeline) scanOnRequest(ctx context.Context, s event.Scan) error {
	if s.What == event.ScanDue {
		return p.worker.Sweep(ctx) //nolint:wrapcheck // the handler says "scan"
	}
	_, err := p.worker.Backfill(ctx, nil)
	return err //nolint:wrapcheck // the handler says "scan"
}

// nextScan is the cursor with the time of the next regular scan.
const nextScan = "scan/next"

// scans does the regular scans of the group until ctx is done. The time of the next one survives a restart, so that a
// process that is often restarted scans, and one that was down for long scans at once.
func (p *Pipeline) scans(ctx context.Context) {
	every := p.opts.Group.Scan.Every
	if every <= 0 {
		return
	}
	for {
		at := p.nextScanAt(ctx, every)
		timer := time.NewTimer(time.Until(at))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		result, err := p.worker.Backfill(ctx, func(scan.Progress) {})
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			p.log.WarnContext(ctx, "regular scan failed", "error", err)
		} else {
			p.log.InfoContext(ctx, "regular scan done", "keys", result.Keys, "differ", result.Differ, "pending", result.Pending, "skipped", result.Skipped)
		}
		p.setNextScan(ctx, time.Now().Add(every))
	}
}

func (p *Pipeline) nextScanAt(ctx context.Context, every time.Duration) time.Time {
	latest := time.Now().Add(every) // the interval may have been made shorter since
	text, err := p.store.Cursor(ctx, p.opts.Group.Name, nextScan)
	if err == nil && text != "" {
		if at, err := time.Parse(time.RFC3339, text); err == nil && at.Before(latest) {
			return at
		}
	}
	p.setNextScan(ctx, latest)
	return latest
}

func (p *Pipeline) setNextScan(ctx context.Context, at time.Time) {
	if err := p.store.SetCursor(ctx, p.opts.Group.Name, nextScan, at.UTC().Format(time.RFC3339)); err != nil && ctx.Err() == nil {
		p.log.WarnContext(ctx, "time of the next scan is not remembered", "error", err)
	}
}
