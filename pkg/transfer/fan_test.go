package transfer_test

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"

	"pgregory.net/rapid"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
	"github.com/bucketmesh/bucketmesh/pkg/object/mem"
	"github.com/bucketmesh/bucketmesh/pkg/transfer"
	"github.com/bucketmesh/bucketmesh/pkg/version"
)

// Tests run in bubbles of synctest: a goroutine that outlives its test fails it, and pauses between attempts take no
// time.

func contentOf(b []byte) version.Content {
	return version.Content{Size: int64(len(b)), MD5: fmt.Sprintf("%x", md5.Sum(b)), SHA256: fmt.Sprintf("%x", sha256.Sum256(b))}
}

func TestFanCopiesEverySize(t *testing.T) {
	const part = 8 * kib
	for _, size := range []int64{0, 1, 4 * kib, part - 1, part, part + 1, 2 * part, 9*part + 7} {
		for name, run := range map[string]func(...func()){"goroutines": nil, "sequential": sequential} {
			t.Run(fmt.Sprintf("%d bytes, %s", size, name), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					f, want := newFleet(3), data(size)
					c := newCopier(t, transfer.Config{PartSize: part, Parallel: 3, Run: run})
					// Readers that give one byte at a time, and the end together with the last one, are readers too.
					body := iotest.DataErrReader(iotest.HalfReader(bytes.NewReader(want)))
					content, results, err := c.Fan(t.Context(), body, size, f.dests)
					if err != nil {
						t.Fatal(err)
					}
					wantKinds(t, results, "ok, sent", "ok, sent", "ok, sent")
					if content != contentOf(want) {
						t.Errorf("content %+v, want %+v", content, contentOf(want))
					}
					for _, s := range f.spies {
						holds(t, s, want)
						parts := 0
						if size > part {
							parts = int((size + part - 1) / part)
						}
						if got := f.log.count(s.name + " part"); got != parts {
							t.Errorf("%s: %d parts, want %d", s.name, got, parts)
						}
						if n := f.log.count(s.name + " abort"); n != 0 {
							t.Errorf("%s: aborted what is complete", s.name)
						}
					}
					f.clean(t, c)
				})
			})
		}
	}
}

func TestBrokenSourceLeavesNothingBehind(t *testing.T) {
	const part = 8 * kib
	for _, size := range []int64{0, 100, part, 5 * part, 5*part + 1} {
		for _, tc := range []struct {
			name string
			body func(b []byte) io.Reader
			kind errkind.Kind
		}{
			{"ends early", func(b []byte) io.Reader { return bytes.NewReader(b[:max(len(b)-1, 0)]) }, errkind.Unavailable},
			{"is empty", func([]byte) io.Reader { return bytes.NewReader(nil) }, errkind.Unavailable},
			{"is longer", func(b []byte) io.Reader { return bytes.NewReader(append(b, 0)) }, errkind.Conflict},
			{"changed while it was read", func(b []byte) io.Reader {
				return io.MultiReader(bytes.NewReader(b[:len(b)/2]), iotest.ErrReader(errkind.New(errkind.PreconditionFailed, "changed")))
			}, errkind.PreconditionFailed},
			{"fails at its end", func(b []byte) io.Reader {
				return io.MultiReader(bytes.NewReader(b), iotest.ErrReader(errkind.New(errkind.Invalid, "bad checksum")))
			}, errkind.Invalid},
		} {
			if size == 0 && tc.kind == errkind.Unavailable {
				continue // an empty object can't end early
			}
			t.Run(fmt.Sprintf("%d bytes, source %s", size, tc.name), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					f := newFleet(2)
					c := newCopier(t, transfer.Config{PartSize: part, Parallel: 2})
					content, results, err := c.Fan(t.Context(), tc.body(data(size)), size, f.dests)
					if !errkind.Is(err, tc.kind) || content != (version.Content{}) {
						t.Errorf("error %v, content %+v, want kind %q", err, content, tc.kind)
					}
					wantKinds(t, results, tc.kind.String(), tc.kind.String())
					f.silent(t)
					f.clean(t, c)
					if size > part && f.log.count("a abort") != 1 {
						t.Errorf("journal without an abort: %q", f.log.lines)
					}
				})
			})
		}
	}
}

func TestPreconditionHoldsAtOneOfTwo(t *testing.T) {
	for _, size := range []int64{10, 100 * kib} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, want := newFleet(2), data(size)
				c := newCopier(t, transfer.Config{PartSize: 8 * kib})
				theirs := driver.PutOptions{Size: 3, Properties: f.dests[0].Put.Properties}
				if _, err := f.spies[0].Bucket.Put(t.Context(), "key", bytes.NewReader([]byte("old")), &theirs); err != nil {
					t.Fatal(err)
				}
				content, results, err := c.Fan(t.Context(), bytes.NewReader(want), size, f.dests)
				if err != nil || content != contentOf(want) {
					t.Fatal(content, err)
				}
				wantKinds(t, results, "precondition failed, sent", "ok, sent")
				holds(t, f.spies[0], []byte("old"))
				holds(t, f.spies[1], want)
				f.clean(t, c)
				if large := size > 8*kib; large != (f.log.count("a abort") == 1) {
					t.Errorf("%d aborts", f.log.count("a abort"))
				}
			})
		})
	}
}

func TestOneDestinationFails(t *testing.T) {
	const part, size = 8 * kib, 100 * kib
	// The parts after the second hang until the destination is given up, so that they can't get ahead of the failure.
	failPart2 := func(kind errkind.Kind) func(context.Context, string) error {
		return func(ctx context.Context, op string) error {
			switch {
			case op == "part 2":
				return errkind.New(kind, "injected")
			case strings.HasPrefix(op, "part") && op != "part 1":
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		}
	}
	for _, tc := range []struct {
		name   string
		spoil  func(d *transfer.Dest, s *spy)
		result string
		aborts int
		parts  int // most parts that may be asked of it
	}{
		{"begin", func(_ *transfer.Dest, s *spy) { s.before = failOn("begin", errkind.PermissionDenied) }, "permission denied", 0, 0},
		{"the caller can't record the upload", func(d *transfer.Dest, _ *spy) {
			d.Started = func(context.Context, string) error { return errkind.New(errkind.Conflict, "lost the lease") }
		}, "conflict", 1, 0},
		// Part 2 fails while 3 and 4 may be in flight; nothing is begun after that.
		{"a part, for good", func(_ *transfer.Dest, s *spy) { s.before = failPart2(errkind.PermissionDenied) }, "permission denied", 1, 4},
		{"the upload disappears", func(_ *transfer.Dest, s *spy) { s.before = failPart2(errkind.NotFound) }, "not found", 1, 4},
		{"the lease is lost at the end", func(d *transfer.Dest, _ *spy) {
			d.Finish = func(context.Context) error { return errkind.New(errkind.Conflict, "lost the lease") }
		}, "conflict", 1, 13},
		{"complete answers conflict", func(_ *transfer.Dest, s *spy) { s.before = failOn("complete", errkind.Conflict) }, "conflict, sent", 1, 13},
		{"complete times out", func(_ *transfer.Dest, s *spy) { s.before = failOn("complete", errkind.Unavailable) }, "unavailable, sent", 1, 13},
		{"no multipart uploads", func(d *transfer.Dest, s *spy) { d.Bucket = noParts{s} }, "unsupported", 0, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, want := newFleet(3), data(size)
				tc.spoil(&f.dests[1], f.spies[1])
				c := newCopier(t, transfer.Config{PartSize: part, Parallel: 3})
				content, results, err := c.Fan(t.Context(), bytes.NewReader(want), size, f.dests)
				if err != nil || content != contentOf(want) {
					t.Fatal(content, err)
				}
				wantKinds(t, results, "ok, sent", tc.result, "ok, sent")
				holds(t, f.spies[0], want)
				holds(t, f.spies[1], nil)
				holds(t, f.spies[2], want)
				f.clean(t, c)
				if n := f.log.count("b abort"); n != tc.aborts {
					t.Errorf("%d aborts, want %d", n, tc.aborts)
				}
				if n := f.log.count("b part"); n > tc.parts {
					t.Errorf("%d parts were sent to a failed destination", n)
				}
				if n := f.log.count("b complete"); n > 1 {
					t.Errorf("complete was sent %d times", n)
				}
			})
		})
	}
}

func TestSmallObjectFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, want := newFleet(4), data(100)
		f.spies[0].before = failOn("put", errkind.Unavailable)
		f.dests[1].Finish = func(context.Context) error { return errkind.New(errkind.Conflict, "lost the lease") }
		f.spies[2].after = func(string) error { return errkind.New(errkind.Unavailable, "timeout after commit") }
		c := newCopier(t, transfer.Config{PartSize: 8 * kib})
		_, results, err := c.Fan(t.Context(), bytes.NewReader(want), 100, f.dests)
		if err != nil {
			t.Fatal(err)
		}
		wantKinds(t, results, "unavailable, sent", "conflict", "unavailable, sent", "ok, sent")
		holds(t, f.spies[1], nil)
		holds(t, f.spies[2], want)
		holds(t, f.spies[3], want)
		for _, s := range []string{"a", "c"} {
			if n := f.log.count(s + " put"); n != 1 {
				t.Errorf("a conditional put was sent %d times", n)
			}
		}
		f.clean(t, c)
	})
}

func TestReadingStopsWhenAllHaveFailed(t *testing.T) {
	for name, run := range map[string]func(...func()){"goroutines": nil, "sequential": sequential} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const part = 8 * kib
				f := newFleet(2)
				f.spies[0].before = failOn("part 1", errkind.PermissionDenied)
				f.spies[1].before = func(ctx context.Context, op string) error {
					switch op {
					case "part 1", "part 2":
						return nil
					case "part 3":
						return errkind.New(errkind.PermissionDenied, "injected")
					case "part 4": // it must not get ahead of part 3
						<-ctx.Done()
						return ctx.Err()
					}
					return nil
				}
				body := bytes.NewReader(data(1000 * part))
				c := newCopier(t, transfer.Config{PartSize: part, Parallel: 2, Run: run})
				content, results, err := c.Fan(t.Context(), body, 1000*part, f.dests)
				if err != nil || content != (version.Content{}) {
					t.Fatal(content, err)
				}
				wantKinds(t, results, "permission denied", "permission denied")
				// Part 3 failed; with two slots, one more had been begun meanwhile.
				if read := body.Size() - int64(body.Len()); read > 4*part {
					t.Errorf("%d parts were read", read/part)
				}
				f.silent(t)
				f.clean(t, c)
			})
		})
	}
}

func TestFinishIsCalledRightBeforeTheConditionalRequest(t *testing.T) {
	for _, size := range []int64{0, 10, 100 * kib} {
		synctest.Test(t, func(t *testing.T) {
			f := newFleet(1)
			f.dests[0].Started = func(_ context.Context, id string) error { f.log.add("started " + id); return nil }
			f.dests[0].Finish = func(context.Context) error { f.log.add("finish"); return nil }
			c := newCopier(t, transfer.Config{PartSize: 50 * kib})
			if _, _, err := c.Fan(t.Context(), bytes.NewReader(data(size)), size, f.dests); err != nil {
				t.Fatal(err)
			}
			lines := f.log.lines
			want := []string{"finish", "a put"}
			if size > 50*kib {
				want = []string{"finish", "a complete"}
				if !slices.Equal(lines[:2], []string{"a begin", "started upload-1"}) {
					t.Errorf("journal %q", lines)
				}
			}
			if !slices.Equal(lines[len(lines)-2:], want) {
				t.Errorf("journal %q ends otherwise than %q", lines, want)
			}
		})
	}
}

func TestSequentialRunIsDeterministic(t *testing.T) {
	f := newFleet(3)
	f.spies[1].before = failOn("part 2", errkind.Invalid)
	f.spies[2].before = failOn("complete", errkind.PreconditionFailed)
	c := newCopier(t, transfer.Config{PartSize: 8 * kib, Parallel: 4, Run: sequential})
	if _, _, err := c.Fan(t.Context(), bytes.NewReader(data(20*kib)), 20*kib, f.dests); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"a begin", "b begin", "c begin",
		"a part 1", "b part 1", "c part 1",
		"a part 2", "b part 2", "b abort", "c part 2",
		"a part 3", "c part 3",
		"a complete", "c complete", "c abort",
	}
	if !slices.Equal(f.log.lines, want) {
		t.Errorf("journal %q\nwant    %q", f.log.lines, want)
	}
}

func TestArgumentsAndLimits(t *testing.T) {
	for _, cfg := range []transfer.Config{
		{PartSize: -1}, {Parallel: -1}, {Memory: -1}, {Bandwidth: -1}, {Attempts: -1}, {RetryDelay: -1}, {AbortTimeout: -1},
		{PartSize: 2, Memory: 1}, {Memory: transfer.DefaultPartSize - 1},
	} {
		if _, err := transfer.New(cfg); !errkind.Is(err, errkind.Invalid) {
			t.Errorf("New(%+v): %v", cfg, err)
		}
	}
	c := newCopier(t, transfer.Config{PartSize: 8 * kib})
	if _, _, err := c.Fan(t.Context(), bytes.NewReader(nil), -1, newFleet(1).dests); !errkind.Is(err, errkind.Invalid) {
		t.Errorf("negative size: %v", err)
	}
	if _, _, err := c.Fan(t.Context(), bytes.NewReader(nil), 0, nil); !errkind.Is(err, errkind.Invalid) {
		t.Errorf("no destinations: %v", err)
	}
}

func TestPartsFitTheBuckets(t *testing.T) {
	truth := mem.New(mem.Config{}).Capabilities()
	with := func(change func(c *driver.Capabilities)) driver.Capabilities {
		c := truth
		change(&c)
		return c
	}
	for _, tc := range []struct {
		name    string
		size    int64
		caps    driver.Capabilities
		parts   int
		results []string
		err     errkind.Kind
	}{
		{"few parts are larger", 9 * mib, with(func(c *driver.Capabilities) { c.MaxParts = 4 }), 3, []string{"ok, sent", "ok, sent"}, 0},
		{"a large smallest part", 9 * mib, with(func(c *driver.Capabilities) { c.MinPart = 5 * mib }), 2, []string{"ok, sent", "ok, sent"}, 0},
		{"no limits declared", 3 * mib, with(func(c *driver.Capabilities) { c.MaxParts, c.MinPart, c.MaxPut = 0, 0, 0 }), 3, []string{"ok, sent", "ok, sent"}, 0},
		{"small, but too large for one put", mib, with(func(c *driver.Capabilities) { c.MaxPut = mib / 2 }), 2, []string{"ok, sent", "ok, sent"}, 0},
		{
			"parts that one can't take", 4 * mib,
			with(func(c *driver.Capabilities) { c.MaxPut, c.MinPart = mib/2, mib }), 8, []string{"ok, sent", "unsupported"}, 0,
		},
		{
			"more parts than one takes", 4 * mib,
			with(func(c *driver.Capabilities) { c.MaxPut, c.MaxParts = mib/2, 7 }), 8, []string{"ok, sent", "unsupported"}, 0,
		},
		{"parts larger than the memory", 41 * mib, with(func(c *driver.Capabilities) { c.MaxParts = 2 }), 0, []string{"invalid", "invalid"}, errkind.Invalid},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, want := newFleet(2), data(tc.size)
				f.spies[1].Bucket = mem.New(mem.Config{Capabilities: &tc.caps})
				c := newCopier(t, transfer.Config{PartSize: mib, Memory: 20 * mib})
				_, results, err := c.Fan(t.Context(), bytes.NewReader(want), tc.size, f.dests)
				if errkind.Of(err) != tc.err {
					t.Fatal(err)
				}
				wantKinds(t, results, tc.results...)
				if n := f.log.count("a part"); n != tc.parts {
					t.Errorf("%d parts, want %d", n, tc.parts)
				}
				if tc.err == 0 {
					holds(t, f.spies[0], want)
				}
				f.clean(t, c)
			})
		})
	}
}

// Whatever fails and wherever: a destination without an error holds the source's bytes, and one with an error whose
// conditional request did not go out holds nothing.
func TestAnyFaults(t *testing.T) {
	allKinds := []errkind.Kind{errkind.Unknown, errkind.Unavailable, errkind.Throttled, errkind.PermissionDenied, errkind.NotFound, errkind.Conflict}
	rapid.Check(t, func(rt *rapid.T) {
		size := rapid.Int64Range(0, 40*kib).Draw(rt, "size")
		want := data(size)
		n := rapid.IntRange(1, 4).Draw(rt, "destinations")
		cfg := transfer.Config{
			PartSize: rapid.Int64Range(kib, 10*kib).Draw(rt, "part"),
			Parallel: rapid.IntRange(1, 5).Draw(rt, "parallel"),
			Attempts: rapid.IntRange(1, 3).Draw(rt, "attempts"),
		}
		cfg.Memory = cfg.PartSize * rapid.Int64Range(1, 4).Draw(rt, "memory")
		f := newFleet(n)
		for i, s := range f.spies {
			if rapid.Bool().Draw(rt, "faulty") {
				op := rapid.SampledFrom([]string{"put", "begin", "part 1", "part 2", "part 5", "complete", "abort"}).Draw(rt, fmt.Sprintf("op %d", i))
				s.before = failOn(op, rapid.SampledFrom(allKinds).Draw(rt, fmt.Sprintf("kind %d", i)))
			}
		}
		cut := int64(-1)
		body := io.Reader(bytes.NewReader(want))
		if rapid.Bool().Draw(rt, "broken source") {
			cut = rapid.Int64Range(0, size).Draw(rt, "cut")
			body = io.MultiReader(bytes.NewReader(want[:cut]), iotest.ErrReader(errors.New("broken")))
		}
		synctest.Test(t, func(t *testing.T) {
			c := newCopier(t, cfg)
			content, results, err := c.Fan(t.Context(), body, size, f.dests)
			failed := 0
			for i, r := range results {
				switch {
				case r.Err == nil:
					holds(t, f.spies[i], want)
				case !r.Sent:
					holds(t, f.spies[i], nil)
					failed++
				}
			}
			switch {
			case err != nil && cut < 0:
				t.Errorf("the source was sound: %v", err)
			case err == nil && cut >= 0 && failed < n:
				t.Error("the broken source was not noticed")
			case err == nil && failed < n && content != contentOf(want):
				t.Errorf("content %+v", content)
			case err != nil:
				f.silent(t)
			}
			if c.Buffered() != 0 {
				t.Error("memory is still in use")
			}
			for _, s := range f.spies {
				if s.Uploads() > 0 && s.abortError() == nil {
					t.Errorf("%s: an upload is left", s.name)
				}
			}
		})
		if t.Failed() {
			rt.Fatal("see above")
		}
	})
}

// abortError is what an abort answers; nil if it works.
func (s *spy) abortError() error {
	if s.before == nil {
		return nil
	}
	return s.before(context.Background(), "abort")
}
