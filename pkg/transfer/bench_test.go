package transfer_test

import (
	"bytes"
	"context"
	"io"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
	"github.com/bucketmesh/bucketmesh/pkg/object/mem"
	"github.com/bucketmesh/bucketmesh/pkg/transfer"
)

// sink reads what it is given and stores nothing: what is left is the copier.
type sink struct{ *mem.Bucket }

func drain(body io.Reader) error {
	_, err := io.Copy(io.Discard, body)
	return err
}

func (sink) Put(_ context.Context, _ string, body io.ReadSeeker, _ *driver.PutOptions) (*driver.Attrs, error) {
	return &driver.Attrs{}, drain(body)
}

func (sink) PutPart(_ context.Context, _, _ string, n int, body io.ReadSeeker, size int64) (driver.Part, error) {
	return driver.Part{Number: n, Size: size}, drain(body)
}

func (s sink) Complete(ctx context.Context, key, id string, _ []driver.Part, _ *driver.PutOptions) (*driver.Attrs, error) {
	return &driver.Attrs{}, s.Abort(ctx, key, id)
}

func sinks(n int) (dests []transfer.Dest) {
	for range n {
		dests = append(dests, transfer.Dest{Bucket: sink{mem.New(mem.Config{})}, Key: "key"})
	}
	return dests
}

func BenchmarkFanSmall(b *testing.B) {
	c, err := transfer.New(transfer.Config{})
	if err != nil {
		b.Fatal(err)
	}
	object, dests := data(4*kib), sinks(2)
	b.SetBytes(4 * kib)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := c.Fan(b.Context(), bytes.NewReader(object), 4*kib, dests); err != nil {
			b.Fatal(err)
		}
	}
}

// pattern generates bytes without holding them.
type pattern struct{ n byte }

func (p *pattern) Read(b []byte) (int, error) {
	p.n++
	for i := range b {
		b[i] = p.n
	}
	return len(b), nil
}

// BenchmarkFanLarge copies 1 GiB to two destinations with the default limits. peak-MiB is the largest resident memory
// that the process ever had, where the system tells (Linux).
func BenchmarkFanLarge(b *testing.B) {
	const size = 1 << 30
	c, err := transfer.New(transfer.Config{})
	if err != nil {
		b.Fatal(err)
	}
	dests := sinks(2)
	b.SetBytes(size)
	b.ReportAllocs()
	for b.Loop() {
		_, results, err := c.Fan(b.Context(), io.LimitReader(&pattern{}, size), size, dests)
		if err != nil || results[0].Err != nil || results[1].Err != nil {
			b.Fatal(err, results)
		}
	}
	if peak, ok := peakRSS(); ok {
		b.ReportMetric(float64(peak)/float64(mib), "peak-MiB")
	}
}

func peakRSS() (bytes int64, ok bool) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, false
	}
	_, rest, found := strings.Cut(string(status), "VmHWM:")
	line, _, _ := strings.Cut(rest, " kB")
	n, err := strconv.ParseInt(strings.TrimSpace(line), 10, 64)
	return n * kib, found && err == nil
}
