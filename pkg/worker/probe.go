package worker

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/config"
	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/object"
	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
)

// probed is what is remembered of a probe.
type probed struct {
	object.Report

	At      time.Time // the zero time: nobody noted it
	Program string    // its version: another one may look for more
}

// probe finds out what the bucket promises, and whether that is enough. A replica that does not answer is taken at the
// word of its last probe: an outage must not keep the others from their work. So is one whose last probe is not older than
// Options.ProbeEvery, because a service that starts from zero many times a day must not take its time for the same finding; but not
// one that was not fit: it may be mended. answers is false if the bucket is known not to answer now.
func (w *Worker) probe(ctx context.Context, r *Replica, d driver.Bucket, answers bool) error {
	last, known, err := w.lastProbe(ctx, r)
	if err != nil {
		return err
	}
	if known && w.good(r, last) {
		r.Report = last.Report
		return nil
	}
	var report object.Report
	err = errkind.New(errkind.Unavailable, "probe bucket: it does not answer")
	if answers {
		report, err = object.Probe(ctx, d, w.o.Probe)
	}
	switch {
	case err == nil:
		text, err := json.Marshal(probed{report, time.Now(), w.o.Program})
		if err != nil {
			return fmt.Errorf("remember probe: %w", err)
		}
		if err := w.o.Store.SetCursor(ctx, w.o.Group.Name, probeCursor(r), string(text)); err != nil {
			return stateTrouble{fmt.Errorf("remember probe: %w", err)}
		}
	case errkind.Of(err) == errkind.Unavailable || errkind.Of(err) == errkind.Throttled:
		if !known {
			return err //nolint:wrapcheck // says "probe bucket"
		}
		report = last.Report
		w.log.WarnContext(ctx, "replica does not answer; it is taken to be what it was at the last start", "replica", r.Name, "error", err)
	default:
		return err //nolint:wrapcheck // says "probe bucket"
	}
	r.Report = report
	for _, f := range report.Findings {
		w.log.InfoContext(ctx, "finding about a bucket", "replica", r.Name, "finding", f)
	}
	return w.fit(r, report)
}

// good reports that a probe need not be made again.
func (w *Worker) good(r *Replica, last probed) bool {
	age := time.Since(last.At)
	return last.Program == w.o.Program && age >= 0 && age < w.o.ProbeEvery && w.fit(r, last.Report) == nil
}

func (w *Worker) fit(r *Replica, report object.Report) error {
	return object.Fit(report, r.Mode == config.ReadWrite, r.AcceptLossWindow) //nolint:wrapcheck // says "check bucket"
}

// probeCursor is where the last probe of a replica's bucket is remembered.
func probeCursor(r *Replica) string { return "probe/" + r.Name + "/" + r.Source() + "/" + r.Prefix }

// lastProbe is what the last probe found, if there was one.
func (w *Worker) lastProbe(ctx context.Context, r *Replica) (last probed, known bool, err error) {
	text, err := w.o.Store.Cursor(ctx, w.o.Group.Name, probeCursor(r))
	if err != nil {
		return probed{}, false, stateTrouble{fmt.Errorf("read last probe: %w", err)}
	}
	if text == "" || json.Unmarshal([]byte(text), &last) != nil {
		return probed{}, false, nil //nolint:nilerr // nobody noted any
	}
	return last, true, nil
}
