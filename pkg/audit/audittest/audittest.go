// Package audittest is the suite that every audit.Log passes.
//
// Failures are reported by testing.TB. A log is opened for each test; tests run in parallel.
package audittest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/audit"
	"github.com/bucketmesh/bucketmesh/pkg/errkind"
)

// Logs is an empty log, and the ways around it.
type Logs struct {
	Log       audit.Log
	Again     func() audit.Log         // opens the same log once more, as another process would
	Exec      func(query string) error // runs SQL beside it
	Unprotect []string                 // what somebody with all rights does first
	Refused   []string                 // more changes that the database must refuse
}

// Open makes an empty log; now is the clock of its entries.
type Open func(t *testing.T, now func() time.Time) Logs

var start = time.Date(2026, 3, 1, 12, 0, 0, 123456789, time.UTC)

// Run runs the suite.
func Run(t *testing.T, open Open) {
	t.Helper()
	for _, test := range []struct {
		name string
		run  func(t *testing.T, l Logs)
	}{
		{"empty", empty},
		{"entries come back as they were", roundTrip},
		{"known events are left alone", dedupe},
		{"a batch is all or nothing", batchAtomic},
		{"what can't be recorded is refused", invalid},
		{"many writers make one chain", race},
		{"range", pages},
		{"the database refuses changes", appendOnly},
		{"verify", verify},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.run(t, open(t, func() time.Time { return start }))
		})
	}
	t.Run("verify finds", func(t *testing.T) {
		for _, tamper := range tampers {
			t.Run(tamper.name, func(t *testing.T) {
				t.Parallel()
				finds(t, open(t, func() time.Time { return start }), tamper)
			})
		}
	})
}

func event(n int) audit.Event {
	return audit.Event{
		Source: "https://s3.example/media", ID: fmt.Sprint("id-", n), Type: "dev.bucketmesh.object.written.v1",
		Subject: fmt.Sprintf("a/b \u00e9 %d", n), Time: start.Add(time.Duration(n)),
		JSON: fmt.Appendf(nil, `{ "id":"id-%d",  "x":1.0 }`, n), // blanks and all: byte for byte
	}
}

func empty(t *testing.T, l Logs) {
	head, err := l.Log.Head(t.Context())
	check(t, err)
	want(t, head, audit.Head{})
	entries, err := l.Log.Range(t.Context(), 0, 0)
	check(t, err)
	want(t, len(entries), 0)
	head, err = audit.Verify(t.Context(), l.Log, audit.VerifyOptions{})
	check(t, err)
	want(t, head, audit.Head{})
	added, err := l.Log.AppendBatch(t.Context(), nil)
	check(t, err)
	want(t, added, 0)
}

func roundTrip(t *testing.T, l Logs) {
	untimed := event(2)
	untimed.Time, untimed.Subject = time.Time{}, ""
	check(t, l.Log.Append(t.Context(), event(1)))
	check(t, l.Log.Append(t.Context(), untimed))
	got, err := l.Again().Range(t.Context(), 0, 0)
	check(t, err)
	want(t, len(got), 2)
	var prev audit.Hash
	for i, e := range []audit.Event{event(1), untimed} {
		g := got[i]
		if g.Source != e.Source || g.ID != e.ID || g.Type != e.Type || g.Subject != e.Subject || !g.Time.Equal(e.Time) || !bytes.Equal(g.JSON, e.JSON) {
			t.Errorf("got %+v, want %+v", g.Event, e)
		}
		want(t, g.Seq, int64(i+1))
		want(t, g.Prev, prev)
		want(t, g.Hash, g.Sum())
		if !g.Recorded.Equal(start) {
			t.Errorf("recorded at %v, want %v", g.Recorded, start)
		}
		prev = g.Hash
	}
	want(t, got[1].Time.IsZero(), true)
	head, err := l.Log.Head(t.Context())
	check(t, err)
	want(t, head, audit.Head{Seq: 2, Hash: prev})
}

func dedupe(t *testing.T, l Logs) {
	check(t, l.Log.Append(t.Context(), event(1)))
	check(t, l.Log.Append(t.Context(), event(1)))
	other := event(1)
	other.Source = "https://s3.example/other" // the same id of another source is another event
	added, err := l.Log.AppendBatch(t.Context(), []audit.Event{event(2), event(1), other, event(2), event(3)})
	check(t, err)
	want(t, added, 3)
	added, err = l.Again().AppendBatch(t.Context(), []audit.Event{event(3), event(2)})
	check(t, err)
	want(t, added, 0)
	want(t, ids(t, l.Log), "id-1 id-2 id-1 id-3")
	_, err = audit.Verify(t.Context(), l.Log, audit.VerifyOptions{})
	check(t, err)
}

func batchAtomic(t *testing.T, l Logs) {
	check(t, l.Log.Append(t.Context(), event(1)))
	bad := event(3)
	bad.ID = ""
	_, err := l.Log.AppendBatch(t.Context(), []audit.Event{event(2), bad})
	want(t, errkind.Of(err), errkind.Invalid)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = l.Log.AppendBatch(ctx, []audit.Event{event(2)})
	want(t, errkind.Of(err), errkind.Canceled)
	want(t, ids(t, l.Log), "id-1")
}

func invalid(t *testing.T, l Logs) {
	for name, change := range map[string]func(*audit.Event){
		"no source":     func(e *audit.Event) { e.Source = "" },
		"no id":         func(e *audit.Event) { e.ID = "" },
		"no type":       func(e *audit.Event) { e.Type = "" },
		"no document":   func(e *audit.Event) { e.JSON = nil },
		"NUL":           func(e *audit.Event) { e.Subject = "a\x00b" },
		"invalid UTF-8": func(e *audit.Event) { e.ID = "\xff" },
	} {
		e := event(1)
		change(&e)
		if err := l.Log.Append(t.Context(), e); !errkind.Is(err, errkind.Invalid) {
			t.Errorf("%s: error is %v, want kind invalid", name, err)
		}
	}
	want(t, ids(t, l.Log), "")
}

func race(t *testing.T, l Logs) {
	logs := []audit.Log{l.Log, l.Again()}
	const writers, each = 8, 10
	errs := make([]error, writers)
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				// Every event by two writers: it must be there once.
				_, err := logs[w%2].AppendBatch(t.Context(), []audit.Event{event(w/2*100 + 2*i), event(w/2*100 + 2*i + 1)})
				errs[w] = errors.Join(errs[w], err)
			}
		})
	}
	wg.Wait()
	check(t, errors.Join(errs...))
	head, err := audit.Verify(t.Context(), l.Log, audit.VerifyOptions{})
	check(t, err)
	want(t, head.Seq, int64(writers/2*each*2))
}

func pages(t *testing.T, l Logs) {
	fill(t, l.Log, 25)
	var got []string
	after := int64(0)
	for {
		page, err := l.Log.Range(t.Context(), after, 10)
		check(t, err)
		for _, e := range page {
			got = append(got, e.ID)
			want(t, e.Seq, after+1)
			after = e.Seq
		}
		if len(page) < 10 {
			break
		}
	}
	want(t, strings.Join(got, " "), ids(t, l.Log))
	want(t, len(got), 25)
}

func appendOnly(t *testing.T, l Logs) {
	fill(t, l.Log, 3)
	for _, query := range append([]string{
		`UPDATE bm_audit SET subject = 'other' WHERE seq = 2`,
		`DELETE FROM bm_audit WHERE seq = 3`,
		`DELETE FROM bm_audit`,
	}, l.Refused...) {
		err := l.Exec(query)
		if err == nil {
			t.Errorf("the database did not refuse %s", query)
		}
	}
	head, err := audit.Verify(t.Context(), l.Log, audit.VerifyOptions{})
	check(t, err)
	want(t, head.Seq, int64(3))
	want(t, ids(t, l.Log), "id-0 id-1 id-2")
}

func verify(t *testing.T, l Logs) {
	fill(t, l.Log, 600) // more than two pages
	remembered, err := l.Log.Head(t.Context())
	check(t, err)
	check(t, l.Log.Append(t.Context(), event(600)))
	var done []int64
	head, err := audit.Verify(t.Context(), l.Log, audit.VerifyOptions{Expect: remembered, Progress: func(n, total int64) {
		done = append(done, n)
		want(t, total, int64(601))
	}})
	check(t, err)
	want(t, head.Seq, int64(601))
	if len(done) < 3 || done[len(done)-1] != 601 {
		t.Errorf("progress was %v", done)
	}
	_, err = audit.Verify(t.Context(), l.Again(), audit.VerifyOptions{Expect: head})
	check(t, err)
}

type tamper struct {
	name   string
	sql    []string
	expect bool // only a remembered head shows it
	seq    int64
	reason string
}

var tampers = []tamper{
	{"a changed document", []string{`UPDATE bm_audit SET event = (SELECT event FROM bm_audit WHERE seq = 4) WHERE seq = 3`}, false, 3, "changed"},
	{"a changed subject", []string{`UPDATE bm_audit SET subject = 'other' WHERE seq = 5`}, false, 5, "changed"},
	{"text moved between fields", []string{`UPDATE bm_audit SET type = type || 'a', subject = substr(subject, 2) WHERE seq = 5`}, false, 5, "changed"},
	{"a changed time", []string{`UPDATE bm_audit SET time = time + 1 WHERE seq = 1`}, false, 1, "changed"},
	{"a changed time of recording", []string{`UPDATE bm_audit SET recorded = 0 WHERE seq = 9`}, false, 9, "changed"},
	{"a changed hash", []string{`UPDATE bm_audit SET hash = (SELECT hash FROM bm_audit WHERE seq = 1) WHERE seq = 4`}, false, 4, "changed"},
	{"a cut hash", []string{`UPDATE bm_audit SET hash = substr(hash, 1, 31) WHERE seq = 4`}, false, 4, "changed"},
	{"a removed entry", []string{`DELETE FROM bm_audit WHERE seq = 4`}, false, 4, "missing"},
	{"a removed first entry", []string{`DELETE FROM bm_audit WHERE seq = 1`}, false, 1, "missing"},
	{"a removed entry, the others renumbered", []string{
		`DELETE FROM bm_audit WHERE seq = 9`, `UPDATE bm_audit SET seq = 9 WHERE seq = 10`}, false, 9, "changed or moved"},
	{"entries in another order", []string{
		`UPDATE bm_audit SET seq = 99 WHERE seq = 3`, `UPDATE bm_audit SET seq = 3 WHERE seq = 4`, `UPDATE bm_audit SET seq = 4 WHERE seq = 99`},
		false, 3, "changed or moved"},
	{"newest entries cut off", []string{`DELETE FROM bm_audit WHERE seq > 7`}, true, 8, "ends at entry 7, it once had 10"},
	{"everything cut off", []string{`DELETE FROM bm_audit`}, true, 1, "ends at entry 0, it once had 10"},
}

func finds(t *testing.T, l Logs, how tamper) {
	t.Helper()
	fill(t, l.Log, 10)
	remembered, err := l.Log.Head(t.Context())
	check(t, err)
	for _, query := range append(append([]string(nil), l.Unprotect...), how.sql...) {
		check(t, l.Exec(query))
	}
	head, err := audit.Verify(t.Context(), l.Log, audit.VerifyOptions{})
	if how.expect {
		check(t, err)
		head, err = audit.Verify(t.Context(), l.Log, audit.VerifyOptions{Expect: remembered})
	}
	var broken *audit.Broken
	if !errors.As(err, &broken) || !errkind.Is(err, errkind.Invalid) {
		t.Fatalf("error is %v", err)
	}
	want(t, broken.Seq, how.seq)
	want(t, head.Seq, how.seq-1)
	if !strings.Contains(broken.Reason, how.reason) {
		t.Errorf("reason is %q, want %q in it", broken.Reason, how.reason)
	}
}

func fill(t *testing.T, log audit.Log, n int) {
	t.Helper()
	var es []audit.Event
	for i := range n {
		es = append(es, event(i))
	}
	added, err := log.AppendBatch(t.Context(), es)
	check(t, err)
	want(t, added, n)
}

func ids(t *testing.T, log audit.Log) string {
	t.Helper()
	entries, err := log.Range(t.Context(), 0, 0)
	check(t, err)
	var out []string
	for _, e := range entries {
		out = append(out, e.ID)
	}
	return strings.Join(out, " ")
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func want[T comparable](t testing.TB, got, want T) {
	t.Helper()
	if got != want {
		t.Fatalf("got %v, want %v", got, want)
	}
}
