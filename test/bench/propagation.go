package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

type propagationOptions struct {
	duration   time.Duration
	rate, size int
	give       time.Duration
}

const (
	poll   = time.Millisecond
	block  = 10 * time.Second // the two take turns, so that a slow moment of the machine is shared
	warmUp = 3 * time.Second
)

// figures of one contender, in milliseconds.
type figures struct {
	Name   string  `json:"name"`
	Puts   int     `json:"puts"`
	Unseen int     `json:"unseen"`
	P50    float64 `json:"p50Millis"`
	P90    float64 `json:"p90Millis"`
	P99    float64 `json:"p99Millis"`
	Max    float64 `json:"maxMillis"`
	PutP50 float64 `json:"putP50Millis"` // how long the PUT itself took
}

// propagation measures both in one run.
func propagation(ctx context.Context, ro rigOptions, o propagationOptions, out, progress io.Writer) (err error) {
	if o.rate < 1 || o.duration < time.Second || o.size < 1 {
		return errors.New("--rate, --size and --duration must be at least 1, 1 and 1s")
	}
	r, err := startRig(ctx, ro, progress)
	defer func() { err = errors.Join(err, r.stop(err != nil)) }()
	if err != nil {
		return err
	}
	if err := r.replicate(ctx); err != nil {
		return err
	}
	floor, err := r.floor(ctx)
	if err != nil {
		return err
	}
	ours, theirs := &contender{name: "bucketmesh", bucket: bucketOurs}, &contender{name: "MinIO replication", bucket: bucketTheirs}
	for _, c := range []*contender{ours, theirs} {
		if err := (&contender{name: c.name, bucket: c.bucket}).measure(ctx, r, o, warmUp, "warm"); err != nil {
			return err
		}
	}
	for done := time.Duration(0); done < o.duration; done += block {
		for _, c := range []*contender{ours, theirs} {
			fmt.Fprintf(progress, "%s: %s of %s\n", c.name, done, o.duration)
			if err := c.measure(ctx, r, o, min(block, o.duration-done), fmt.Sprintf("t%d", done/block)); err != nil {
				return err
			}
		}
	}
	result := []figures{ours.figures(), theirs.figures(), floor}
	if err := printFigures(out, ro.output, o, result); err != nil {
		return err
	}
	if ours.unseen > 0 {
		return fmt.Errorf("%d of %d writes were not seen within %s", ours.unseen, len(ours.seen)+ours.unseen, o.give)
	}
	return nil
}

// replicate switches on MinIO's own replication, as its documentation says: with its client.
func (r *rig) replicate(ctx context.Context) error {
	if err := r.run(ctx, "bash", "-c", `. hack/lib.sh && install_tool mc "$0"`, mcPin); err != nil {
		return err
	}
	script := `. hack/lib.sh && export MC_HOST_a="$0" && exec "$BIN/mc" --config-dir "$1" --quiet replicate add "a/$2" --remote-bucket "$3/$2" --replicate delete,delete-marker,existing-objects`
	host := func(n int) string { return fmt.Sprintf("http://%s:%s@127.0.0.1:%d", accessKey, secretKey, r.ports+n) }
	return r.run(ctx, "bash", "-c", script, host(1), filepath.Join(r.dir, "mc"), bucketTheirs, host(2))
}

// contender is one way to get an object from A to B.
type contender struct {
	name, bucket string

	mu     sync.Mutex
	seen   []time.Duration // PUT acknowledged -> readable
	puts   []time.Duration
	unseen int
}

// measure puts at the rate for a while, and waits until everything is seen or given up.
func (c *contender) measure(ctx context.Context, r *rig, o propagationOptions, during time.Duration, prefix string) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	tick := time.NewTicker(time.Second / time.Duration(o.rate))
	defer tick.Stop()
	var wg sync.WaitGroup
	total := int(during.Seconds() * float64(o.rate))
	for i := range total {
		select {
		case <-tick.C:
		case <-ctx.Done():
			wg.Wait()
			return context.Cause(ctx)
		}
		wg.Go(func() {
			if err := c.one(ctx, r, o, fmt.Sprintf("%s/%06d", prefix, i)); err != nil {
				cancel(err)
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

// one puts at A and asks B until the object is there.
func (c *contender) one(ctx context.Context, r *rig, o propagationOptions, key string) error {
	body := bytes.Repeat([]byte(key+"\n"), o.size/(len(key)+1)+1)[:o.size]
	started := time.Now()
	if _, err := r.a.PutObject(ctx, &s3.PutObjectInput{Bucket: &c.bucket, Key: &key, Body: bytes.NewReader(body)}); err != nil {
		return fmt.Errorf("put: %w", err)
	}
	acked := time.Now()
	after, ok, err := waitFor(ctx, r.b, c.bucket, key, o.give)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.puts = append(c.puts, acked.Sub(started))
	if !ok {
		c.unseen++
		return nil
	}
	c.seen = append(c.seen, after.Sub(acked))
	return nil
}

// waitFor asks with HEAD until the key is readable, and says when the answer came.
func waitFor(ctx context.Context, client *s3.Client, bucket, key string, give time.Duration) (time.Time, bool, error) {
	ctx, cancel := context.WithTimeout(ctx, give)
	defer cancel()
	for {
		_, err := client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &bucket, Key: &key})
		now := time.Now()
		if err == nil {
			return now, true, nil
		}
		if errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
			return now, false, nil
		}
		if ctx.Err() != nil {
			return now, false, ctx.Err()
		}
		if _, missing := errors.AsType[*types.NotFound](err); !missing {
			return now, false, fmt.Errorf("head: %w", err)
		}
		_ = pause(ctx, poll) // the end of the context is seen by the next request
	}
}

// floor is what the measurement itself costs: the object was put at B, so it is there already.
func (r *rig) floor(ctx context.Context) (figures, error) {
	c := &contender{name: "floor (a HEAD of what is there)"}
	for i := range 500 {
		key := fmt.Sprintf("floor/%06d", i)
		_, err := r.b.PutObject(ctx, &s3.PutObjectInput{Bucket: aws.String(bucketTheirs), Key: &key, Body: bytes.NewReader(make([]byte, 4096))})
		if err != nil {
			return figures{}, fmt.Errorf("put: %w", err)
		}
		acked := time.Now()
		after, ok, err := waitFor(ctx, r.b, bucketTheirs, key, time.Minute)
		if err != nil || !ok {
			return figures{}, errors.Join(err, errors.New("what was put is not there"))
		}
		c.seen = append(c.seen, after.Sub(acked))
	}
	return c.figures(), nil
}

func (c *contender) figures() figures {
	slices.Sort(c.seen)
	slices.Sort(c.puts)
	return figures{
		Name: c.name, Puts: len(c.seen) + c.unseen, Unseen: c.unseen,
		P50: millis(c.seen, 0.50), P90: millis(c.seen, 0.90), P99: millis(c.seen, 0.99), Max: millis(c.seen, 1), PutP50: millis(c.puts, 0.5),
	}
}

// millis is a quantile of sorted durations.
func millis(sorted []time.Duration, q float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	i := min(int(q*float64(len(sorted))), len(sorted)-1)
	return float64(sorted[i].Microseconds()) / 1000
}

func printFigures(out io.Writer, format string, o propagationOptions, all []figures) error {
	if format == "json" {
		enc := json.NewEncoder(out)
		enc.SetIndent("", "  ")
		return enc.Encode(map[string]any{"rate": o.rate, "size": o.size, "seconds": o.duration.Seconds(), "results": all})
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "\tputs\tunseen\tp50 ms\tp90 ms\tp99 ms\tmax ms\tput p50 ms\t")
	for _, f := range all {
		fmt.Fprintf(w, "%s\t%d\t%d\t%.1f\t%.1f\t%.1f\t%.1f\t%.1f\t\n", f.Name, f.Puts, f.Unseen, f.P50, f.P90, f.P99, f.Max, f.PutP50)
	}
	return w.Flush()
}
