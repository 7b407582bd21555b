package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/bucketmesh/bucketmesh/pkg/cli"
	"github.com/bucketmesh/bucketmesh/pkg/control"
	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/pipeline"
	"github.com/bucketmesh/bucketmesh/pkg/reconcile"
	"github.com/bucketmesh/bucketmesh/pkg/state"
	"github.com/bucketmesh/bucketmesh/pkg/version"
)

// answers stands in for a process that works on the data directory, to see what is made of its answers: the contents of its
// buckets and its choices are the matter of TestQueue.
type answers struct {
	control.API // the rest is not asked

	sides    reconcile.Sides
	restored reconcile.Restored
	proposal reconcile.Proposal
	choice   reconcile.Choice
	limit    int64
	err      error
}

func (a *answers) Choose(_ context.Context, id string, c reconcile.Choice) (state.Conflict, error) {
	a.choice = c
	at := time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)
	return state.Conflict{
		ID: id, Group: "media", Key: "config.json", State: state.ConflictResolved, Policy: "manual", Reason: "decided by " + c.By, Detected: at, Resolved: at,
		Winner: put("us.2", `{"a":2}`), WinnerAt: "us",
		Losers: []state.Loser{
			{Version: put("eu.2", `{"a":3}`), Replica: "eu", Copy: ".conflicts/config.json/eu.2"},
			{Version: version.Version{ID: "ap.2", Kind: version.Delete, Origin: "ap"}, Replica: "ap"},
		},
	}, a.err
}

func (a *answers) Restore(context.Context, string, version.ID) (reconcile.Restored, error) {
	return a.restored, a.err
}

func (a *answers) Sides(_ context.Context, _ string, limit int64) (reconcile.Sides, error) {
	a.limit = limit
	return a.sides, a.err
}

func (a *answers) Try(context.Context, string) (reconcile.Proposal, error) { return a.proposal, a.err }

// working has a process with these answers work on a data directory.
func working(t *testing.T, a *answers) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "group.yaml"), []byte(document), 0o600); err != nil {
		t.Fatal(err)
	}
	path, err := pipeline.SocketPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	s, err := control.Serve(t.Context(), path, a)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func put(id version.ID, content string) version.Version {
	origin, _, _ := strings.Cut(string(id), ".")
	return version.Version{
		ID: id, Kind: version.Put, Origin: origin, ProviderTime: time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC).UnixNano(),
		Content: version.Content{Size: int64(len(content)), MD5: strings.Repeat("0b", 16)},
	}
}

func side(id version.ID, content string) reconcile.Side {
	v := put(id, content)
	return reconcile.Side{Version: v, Replica: v.Origin, Where: "k", Content: []byte(content)}
}

func TestQueueTables(t *testing.T) {
	large := side("ap.2", strings.Repeat("x", 100))
	large.Content, large.Why = nil, "100 bytes are more than maxSize (50)"
	deleted := reconcile.Side{Version: version.Version{ID: "ap.2", Kind: version.Delete}, Replica: "ap", Why: "it is a delete"}
	base := side("us.1", `{"a":1,"b":1}`)
	won := side("us.2", `{"a":2,"b":1}`)
	won.Winner = true
	noBase := reconcile.Side{Why: "it is not known any more"}
	const hostile = "a\x1b[2J\u202eb\r\n"
	for _, c := range []struct {
		name string
		args []string
		a    answers
	}{
		{"conflicts-diff", []string{"diff", "c1"}, answers{sides: reconcile.Sides{
			Key: "config.json", State: state.ConflictPending, Base: base, Sides: []reconcile.Side{side("us.2", `{"a":2,"b":1}`), side("eu.2", `{"a":3,"b":2}`), deleted},
		}}},
		{"conflicts-diff-decided", []string{"diff", "c1", "--color", "always"}, answers{sides: reconcile.Sides{
			Key: "no extension", State: state.ConflictResolved, Base: base, Sides: []reconcile.Side{won, side("eu.2", `{"a":3,"b":2}`)},
		}}},
		{"conflicts-diff-text", []string{"diff", "c1", "--limit", "50"}, answers{sides: reconcile.Sides{
			Key: "k\x1b", State: state.ConflictPending, Base: noBase, Sides: []reconcile.Side{side("us.2", "a\n"), side("eu.2", hostile), large},
		}}},
		{"conflicts-diff-binary", []string{"diff", "c1"}, answers{sides: reconcile.Sides{
			Key: "k.png", State: state.ConflictPending, Base: base, Sides: []reconcile.Side{side("us.2", "\x89PNG\x00"), side("eu.2", "\x89PNG\x01")},
		}}},
		{"conflicts-diff-nothing", []string{"diff", "c1"}, answers{sides: reconcile.Sides{
			Key: "k", State: state.ConflictPending, Base: noBase, Sides: []reconcile.Side{side("us.2", "a\n"), deleted},
		}}},
		{"conflicts-resolve", []string{"resolve", "c1", "--take", "us", "--by", "ann\x1b"}, answers{}},
		{"conflicts-restore", []string{"restore", "c1"}, answers{restored: reconcile.Restored{
			Key: "k", Replica: "us", Version: "us.1", Was: &version.Content{Size: 5, SHA256: "00112233445566778899"}, Copy: ".conflicts/k/us.ab",
		}}},
		{"conflicts-restore-pending", []string{"restore", "c1"}, answers{restored: reconcile.Restored{Key: "k", Replica: "us", Version: "us.1", Pending: true}}},
		{"conflicts-try", []string{"try", "--key", "k"}, answers{proposal: reconcile.Proposal{
			Key: "k", Real: true, Heads: []reconcile.Side{side("us.2", "a"), side("eu.2", "b"), deleted}, Policy: "merge", Keep: []version.ID{"us.2", "eu.2"},
			Reason: "the edits of 2 versions would be merged", Merged: []byte("\tone\n" + hostile), Unknown: map[string]string{"ap": "503\x1b"},
		}}},
		{"conflicts-try-asks", []string{"try", "--key", "k"}, answers{proposal: reconcile.Proposal{
			Key: "k", Heads: []reconcile.Side{side("us.2", "a"), side("eu.2", "b")}, Policy: "manual", Winner: "us.2", Keep: []version.ID{"eu.2"}, Waits: true,
			Reason: "keep-both decides: us.2 was written last",
		}}},
		{"conflicts-try-nothing", []string{"try", "--key", "k"}, answers{proposal: reconcile.Proposal{
			Key: "k", Heads: []reconcile.Side{side("us.2", "a")}, Keep: []version.ID{}, Reason: "the replicas hold the same",
		}}},
	} {
		for _, format := range []string{"table", "json"} {
			t.Run(c.name+"-"+format, func(t *testing.T) {
				dir := working(t, &c.a)
				got := run(t, nil, append(append([]string{"conflicts"}, c.args...), "--data", dir, "-o", format)...)
				if got.code != cli.OK || got.err != "" {
					t.Errorf("%d %s", got.code, got.err)
				}
				switch {
				case format == "json" && !json.Valid([]byte(got.out)):
					t.Error("not JSON")
				case format == "table" && !strings.Contains(c.name, "decided"): // which has colours
					for _, r := range got.out {
						if r != '\n' && !unicode.IsPrint(r) {
							t.Errorf("%q gets to the terminal", r)
						}
					}
				}
				golden(t, c.name+"."+format, got.out, `--data \S+`, "--data DATA")
			})
		}
	}
}

// What a person wants gets to the process as it was said.
func TestDecisions(t *testing.T) {
	file := write(t, "merged.json", `{"a":2,"b":2}`)
	for name, c := range map[string]struct {
		args []string
		in   string
		want reconcile.Choice
	}{
		"replica":        {[]string{"--take", "us"}, "", reconcile.Choice{Replica: "us"}},
		"version":        {[]string{"--version", "us.2"}, "", reconcile.Choice{Winner: "us.2"}},
		"file":           {[]string{"--merged", file}, "", reconcile.Choice{Merged: []byte(`{"a":2,"b":2}`)}},
		"standard input": {[]string{"--merged", "-"}, "from in", reconcile.Choice{Merged: []byte("from in")}},
		"name":           {[]string{"--take", "us", "--by", "ann"}, "", reconcile.Choice{Replica: "us", By: "ann"}},
	} {
		t.Run(name, func(t *testing.T) {
			var a answers
			var out, errs bytes.Buffer
			app := &cli.App{Version: "test", In: strings.NewReader(c.in), Out: &out, Err: &errs, LookupEnv: func(string) (string, bool) { return "", false }}
			if code := app.Run(t.Context(), append([]string{"conflicts", "resolve", "c1", "--data", working(t, &a)}, c.args...)); code != cli.OK {
				t.Fatalf("%d %s", code, errs.String())
			}
			if c.want.By == "" && a.choice.By == "" {
				t.Error("nobody decided")
			}
			if a.choice.Replica != c.want.Replica || a.choice.Winner != c.want.Winner || !bytes.Equal(a.choice.Merged, c.want.Merged) || c.want.By != "" && a.choice.By != c.want.By {
				t.Errorf("choice %+v, want %+v", a.choice, c.want)
			}
		})
	}
}

func TestQueueErrorsSayWhatToDo(t *testing.T) {
	for _, c := range []struct {
		args []string
		err  error
		code cli.Code
		says string
	}{
		{[]string{"resolve", "c1", "--take", "us"}, errkind.New(errkind.Conflict, "it is decided already"), cli.Failure, "decided already"},
		{[]string{"resolve", "c1", "--take", "us"}, errkind.New(errkind.NotFound, "no conflict"), cli.NotFound, "no conflict"},
		{[]string{"restore", "c1"}, errkind.New(errkind.PreconditionFailed, "write version"), cli.Failure, "was not overwritten"},
		{[]string{"diff", "c1"}, errkind.New(errkind.NotFound, "no conflict"), cli.NotFound, "no conflict"},
		{[]string{"try", "--key", "k"}, errkind.New(errkind.Unavailable, "down"), cli.Failure, "can pass by itself"},
	} {
		dir := working(t, &answers{err: c.err})
		got := run(t, nil, append(append([]string{"conflicts"}, c.args...), "--data", dir)...)
		if got.code != c.code || !strings.Contains(got.err, c.says) || got.out != "" {
			t.Errorf("%v: %d %s%s", c.args, got.code, got.out, got.err)
		}
	}
	silent := answers{proposal: reconcile.Proposal{Unknown: map[string]string{"us": "it is down", "eu": "it is down"}}}
	if got := run(t, nil, "conflicts", "try", "--key", "k", "--data", working(t, &silent)); got.code != cli.Failure || !strings.Contains(got.err, "it is down") {
		t.Errorf("no replica answers: %d %s%s", got.code, got.out, got.err)
	}
}

func TestDiffLimitAndCompletion(t *testing.T) {
	var a answers
	if got := run(t, nil, "conflicts", "diff", "c1", "--data", working(t, &a)); got.code != cli.OK || a.limit != 4<<20 {
		t.Errorf("%d, limit %d: %s", got.code, a.limit, got.err)
	}
	got := run(t, nil, "__complete", "conflicts", "resolve", "--data", fill(t), "")
	if got.code != cli.OK || !strings.Contains(got.out, "c2\tcontracts/1.json") || strings.Contains(got.out, "c1") {
		t.Errorf("%d %s%s", got.code, got.out, got.err)
	}
}
