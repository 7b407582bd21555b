package transfer_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
	"github.com/bucketmesh/bucketmesh/pkg/object/mem"
	"github.com/bucketmesh/bucketmesh/pkg/transfer"
)

const (
	kib = int64(1 << 10)
	mib = int64(1 << 20)
)

// journal is what was asked of all buckets of a test, in order.
type journal struct {
	mu    sync.Mutex
	lines []string
}

func (j *journal) add(line string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, line)
}

func (j *journal) count(prefix string) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	n := 0
	for _, l := range j.lines {
		if strings.HasPrefix(l, prefix) {
			n++
		}
	}
	return n
}

// spy is a bucket in memory that writes a journal, and fails or hangs where a test wants it.
type spy struct {
	*mem.Bucket
	name string
	log  *journal
	// before is asked before every request ("put", "begin", "part 3", "complete", "abort"); an error is the answer.
	before func(ctx context.Context, op string) error
	// after replaces the answer of a request that was executed.
	after func(op string) error
}

func newSpy(log *journal, name string) *spy {
	return &spy{Bucket: mem.New(mem.Config{}), name: name, log: log}
}

func (s *spy) request(ctx context.Context, op string, do func() error) error {
	s.log.add(s.name + " " + op)
	if s.before != nil {
		if err := s.before(ctx, op); err != nil {
			return err
		}
	}
	if err := do(); err != nil {
		return err
	}
	if s.after != nil {
		return s.after(op)
	}
	return nil
}

func (s *spy) Put(ctx context.Context, key string, body io.ReadSeeker, opts *driver.PutOptions) (a *driver.Attrs, err error) {
	err = s.request(ctx, "put", func() error { a, err = s.Bucket.Put(ctx, key, body, opts); return err })
	return a, err
}

func (s *spy) Begin(ctx context.Context, key string, opts *driver.PutOptions) (id string, err error) {
	err = s.request(ctx, "begin", func() error { id, err = s.Bucket.Begin(ctx, key, opts); return err })
	return id, err
}

func (s *spy) PutPart(ctx context.Context, key, id string, n int, body io.ReadSeeker, size int64) (p driver.Part, err error) {
	err = s.request(ctx, fmt.Sprintf("part %d", n), func() error { p, err = s.Bucket.PutPart(ctx, key, id, n, body, size); return err })
	return p, err
}

func (s *spy) Complete(ctx context.Context, key, id string, parts []driver.Part, opts *driver.PutOptions) (a *driver.Attrs, err error) {
	err = s.request(ctx, "complete", func() error { a, err = s.Bucket.Complete(ctx, key, id, parts, opts); return err })
	return a, err
}

func (s *spy) Abort(ctx context.Context, key, id string) error {
	return s.request(ctx, "abort", func() error { return s.Bucket.Abort(ctx, key, id) })
}

// failOn makes one operation fail, each time.
func failOn(op string, kind errkind.Kind) func(context.Context, string) error {
	return func(_ context.Context, got string) error {
		if got == op {
			return errkind.New(kind, "%s: injected", op)
		}
		return nil
	}
}

// noParts is a bucket without multipart uploads.
type noParts struct{ driver.Bucket }

// fleet is some spies, with one journal, and the destinations that they are.
type fleet struct {
	log   *journal
	spies []*spy
	dests []transfer.Dest
}

func newFleet(n int) *fleet {
	f := &fleet{log: &journal{}}
	for i := range n {
		s := newSpy(f.log, string(rune('a'+i)))
		f.spies = append(f.spies, s)
		f.dests = append(f.dests, transfer.Dest{Bucket: s, Key: "key", Put: driver.PutOptions{
			Properties: driver.Properties{ContentType: "text/x-test", Metadata: map[string]string{"nonce": "n1"}},
			If:         driver.Precondition{NotExist: true},
		}})
	}
	return f
}

func data(size int64) []byte {
	b := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{1, byte(size)}).Read(b) // it never fails
	return b
}

func newCopier(t testing.TB, cfg transfer.Config) *transfer.Copier {
	t.Helper()
	c, err := transfer.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	c.Observe(func(held, total int64) {
		limit := cfg.Memory
		if limit == 0 {
			limit = 8 * cfg.PartSize
		}
		if held > limit || total > limit || held < 0 || held > total {
			t.Errorf("%d bytes in use, %d allocated, %d allowed", held, total, limit)
		}
	})
	return c
}

// holds checks that the bucket holds want, with the properties of newFleet; nil is no object.
func holds(t testing.TB, s *spy, want []byte) {
	t.Helper()
	r, a, err := s.Open(context.Background(), "key", nil)
	if want == nil {
		if !errkind.Is(err, errkind.NotFound) {
			t.Errorf("%s holds an object (%v)", s.name, err)
		}
		return
	}
	if err != nil {
		t.Errorf("%s: %v", s.name, err)
		return
	}
	got, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s holds %d bytes, want %d equal ones (%v)", s.name, len(got), len(want), err)
	}
	if a.ContentType != "text/x-test" || a.Metadata["nonce"] != "n1" {
		t.Errorf("%s: properties %+v", s.name, a.Properties)
	}
}

// clean checks that nothing is left over: no upload, no memory in use.
func (f *fleet) clean(t testing.TB, c *transfer.Copier) {
	t.Helper()
	for _, s := range f.spies {
		if n := s.Uploads(); n != 0 {
			t.Errorf("%s: %d uploads are left", s.name, n)
		}
		if a, b := f.log.count(s.name+" abort"), f.log.count(s.name+" begin"); a > b && s.before == nil {
			t.Errorf("%s: %d aborts of %d uploads", s.name, a, b)
		}
	}
	if n := c.Buffered(); n != 0 {
		t.Errorf("%d bytes are still in use", n)
	}
}

// silent checks that no conditional request went out.
func (f *fleet) silent(t testing.TB) {
	t.Helper()
	for _, l := range f.log.lines {
		if strings.HasSuffix(l, "put") || strings.HasSuffix(l, "complete") {
			t.Errorf("a conditional request went out: %q", l)
		}
	}
	for _, s := range f.spies {
		holds(t, s, nil)
	}
}

func kinds(results []transfer.Result) (out []string) {
	for _, r := range results {
		word := "ok"
		if r.Err != nil {
			word = errkind.Of(r.Err).String()
		}
		if r.Sent {
			word += ", sent"
		}
		out = append(out, word)
	}
	return out
}

func wantKinds(t testing.TB, results []transfer.Result, want ...string) {
	t.Helper()
	if got := kinds(results); !slices.Equal(got, want) {
		t.Errorf("results %q, want %q", got, want)
		for _, r := range results {
			t.Log(r.Err)
		}
	}
	for _, r := range results {
		if (r.Err == nil) != (r.Attrs != nil) {
			t.Errorf("attributes %v beside error %v", r.Attrs, r.Err)
		}
	}
}

// sequential is a Config.Run without goroutines.
func sequential(fns ...func()) {
	for _, fn := range fns {
		fn()
	}
}
