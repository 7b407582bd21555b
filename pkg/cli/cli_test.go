package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/audit"
	"github.com/bucketmesh/bucketmesh/pkg/cli"
	"github.com/bucketmesh/bucketmesh/pkg/config"
	"github.com/bucketmesh/bucketmesh/pkg/ledger"
	"github.com/bucketmesh/bucketmesh/pkg/pipeline"
	"github.com/bucketmesh/bucketmesh/pkg/state"
	"github.com/bucketmesh/bucketmesh/pkg/version"
)

var update = flag.Bool("update", false, "write golden files")

// childVariable makes this test binary the program that it tests.
const childVariable = "BUCKETMESH_TEST_CLI_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childVariable) != "" {
		app := &cli.App{Version: "test", Out: os.Stdout, Err: os.Stderr}
		os.Exit(int(app.Run(context.Background(), os.Args[1:])))
	}
	time.Local = time.UTC // golden files show local time
	os.Exit(m.Run())
}

type result struct {
	code     cli.Code
	out, err string
}

func run(t *testing.T, env map[string]string, args ...string) result {
	t.Helper()
	var out, errs bytes.Buffer
	app := &cli.App{Version: "test", Out: &out, Err: &errs, LookupEnv: func(name string) (string, bool) { v, ok := env[name]; return v, ok }}
	code := app.Run(t.Context(), args)
	return result{code, out.String(), errs.String()}
}

// golden compares a text with testdata/name, after what differs from run to run was replaced.
func golden(t *testing.T, name, got string, volatile ...string) {
	t.Helper()
	for i := 0; i+1 < len(volatile); i += 2 {
		got = regexp.MustCompile(volatile[i]).ReplaceAllString(got, volatile[i+1])
	}
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v; write it with: go test ./pkg/cli -update", err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
	}
}

const document = `apiVersion: bucketmesh.dev/v1alpha1
kind: SyncGroup
metadata: {name: media}
spec:
  replicas:
  - {name: us, url: "s3://media-us?region=us-east-1&credentials=us"}
  - {name: eu, url: "s3://media-eu?region=eu-west-1"}
`

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

var credentials = map[string]string{"BUCKETMESH_US_ACCESS_KEY_ID": "id", "BUCKETMESH_US_SECRET_ACCESS_KEY": "secret"}

func TestReference(t *testing.T) {
	path := filepath.Join("..", "..", "docs", "cli.md")
	if *update {
		if err := os.WriteFile(path, []byte(cli.Reference()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != cli.Reference() {
		t.Error("docs/cli.md is not what the commands say; write it with: go test ./pkg/cli -run TestReference -update")
	}
}

func TestExitCodes(t *testing.T) {
	good, bad := write(t, "good.yaml", document), write(t, "bad.yaml", strings.Replace(document, "name: eu", "name: us", 1))
	empty := t.TempDir()
	for _, c := range []struct {
		name string
		args []string
		env  map[string]string
		want cli.Code
		says string // in what is printed
	}{
		{"help", []string{"--help"}, nil, cli.OK, "Available Commands"},
		{"no command", nil, nil, cli.OK, "Available Commands"},
		{"version", []string{"--version"}, nil, cli.OK, "test"},
		{"completion", []string{"completion", "bash"}, nil, cli.OK, "bucketmesh"},
		{"unknown command", []string{"copy"}, nil, cli.Usage, `unknown command or argument "copy"`},
		{"unknown flag", []string{"status", "--fast"}, nil, cli.Usage, "--fast"},
		{"argument too many", []string{"status", "now"}, nil, cli.Usage, `"now"`},
		{"no data directory", []string{"status"}, nil, cli.Usage, "--data is missing"},
		{"unknown format", []string{"validate", "-f", good, "-o", "xml"}, nil, cli.Usage, "table or json"},
		{"unknown level", []string{"validate", "-f", good, "--log-level", "loud"}, nil, cli.Usage, "loud"},
		{"unknown progress", []string{"sync", "--data", empty, "--progress", "fireworks"}, nil, cli.Usage, "fireworks"},
		{"no document", []string{"validate"}, nil, cli.Usage, "--file is missing"},
		{"document is not there", []string{"validate", "-f", "/nowhere.yaml"}, nil, cli.NotFound, "/nowhere.yaml"},
		{"valid", []string{"validate", "-f", good}, credentials, cli.OK, "valid: group media"},
		{"no credentials", []string{"validate", "-f", good}, nil, cli.Misconfigured, "BUCKETMESH_US_ACCESS_KEY_ID"},
		{"document alone", []string{"validate", "-f", good, "--document-only"}, nil, cli.OK, "valid"},
		{"invalid", []string{"validate", "-f", bad}, credentials, cli.Misconfigured, "spec.replicas[1].name"},
		{"a directory that nothing used", []string{"status", "--data", empty}, nil, cli.Misconfigured, empty + " is no data directory of bucketmesh"},
		{"a directory that is not there", []string{"status", "-f", good, "--data", filepath.Join(empty, "typo")}, nil, cli.NotFound, "typo"},
		{"listening to everybody", []string{"up", "-f", good, "--data", empty, "--listen", "0.0.0.0:0"}, credentials, cli.Misconfigured, "BUCKETMESH_WEBHOOK_TOKENS"},
		{"a port that is none", []string{"up", "-f", good, "--data", empty, "--listen", "127.0.0.1:99000"}, credentials, cli.Usage, "65535"},
		{"a limit below nothing", []string{"audit", "list", "--data", empty, "--limit", "-1"}, nil, cli.Usage, "0 (all)"},
		{"help of a command", []string{"status", "now"}, nil, cli.Usage, "bucketmesh: unknown command or argument \"now\"\nRun `bucketmesh status --help`"},
		{"up without credentials", []string{"up", "-f", good, "--data", empty}, nil, cli.Misconfigured, "BUCKETMESH_US_ACCESS_KEY_ID"},
		{"replay of nothing", []string{"dead-letters", "replay", "--data", empty}, nil, cli.Usage, "--all"},
		{"letters of nobody", []string{"dead-letters", "list"}, nil, cli.Usage, "-f group.yaml and --state"},
		{"letter without id", []string{"dead-letters", "show", "--data", empty}, nil, cli.Usage, "name the id"},
		{"drop of nothing", []string{"dead-letters", "drop", "--data", empty}, nil, cli.Usage, "name the ids"},
		{"replay to two brokers", []string{"dead-letters", "replay", "--data", empty, "--broker", "http://b", "1"}, nil, cli.Usage, "--broker is for services"},
		{"undelete of nothing", []string{"undelete", "--data", empty}, nil, cli.Usage, "--prefix or --all"},
		{"undelete of two things", []string{"undelete", "--data", empty, "--all", "--key", "k"}, nil, cli.Usage, "--prefix or --all"},
		{"unknown progress of undo", []string{"brake", "undo", "--data", empty, "--progress", "fireworks"}, nil, cli.Usage, "fireworks"},
		{"approval of less than nothing", []string{"brake", "approve", "--data", empty, "--for", "-1h"}, nil, cli.Usage, "negative"},
		{"conflict without id", []string{"conflicts", "show", "--data", empty}, nil, cli.Usage, "name the id"},
		{"decision without id", []string{"conflicts", "resolve", "--data", empty, "--take", "us"}, nil, cli.Usage, "name the id"},
		{"decision for nobody", []string{"conflicts", "resolve", "c", "--data", empty}, nil, cli.Usage, "--take REPLICA"},
		{"decision for two", []string{"conflicts", "resolve", "c", "--data", empty, "--take", "us", "--version", "us.1"}, nil, cli.Usage, "one of --take"},
		{"decision for no name", []string{"conflicts", "resolve", "c", "--data", empty, "--take", ""}, nil, cli.Usage, "one of --take"},
		{"merged file that is not there", []string{"conflicts", "resolve", "c", "--data", empty, "--merged", "/nowhere.json"}, nil, cli.NotFound, "/nowhere.json"},
		{"merged file that is empty", []string{"conflicts", "resolve", "c", "--data", empty, "--merged", write(t, "empty.json", "")}, nil, cli.Misconfigured, "nothing was decided"},
		{"unknown colour", []string{"conflicts", "diff", "c", "--data", empty, "--color", "red"}, nil, cli.Usage, "auto, always, never"},
		{"nothing to read", []string{"conflicts", "diff", "c", "--data", empty, "--limit", "0"}, nil, cli.Usage, "--limit must be 1"},
		{"trial without a key", []string{"conflicts", "try", "-f", good}, nil, cli.Usage, "--key is missing"},
		{"trial of nothing", []string{"conflicts", "try", "--key", "k"}, nil, cli.Usage, "-f, or the data directory"},
		{"trial of a key of our own", []string{"conflicts", "try", "-f", good, "--key", ".bucketmesh/replica"}, nil, cli.NotFound, "takes no part in the group media"},
		{"trial where nothing is", []string{"conflicts", "try", "-f", good, "--key", "k", "--data", filepath.Join(empty, "typo")}, credentials, cli.NotFound, "typo"},
		{"head that is none", []string{"audit", "verify", "-f", good, "--data", empty, "--expect", "7"}, nil, cli.Usage, "NUMBER:HASH"},
		{"state of another kind", []string{"conflicts", "list", "-f", good, "--data", empty, "--state", "mysql://x"}, nil, cli.Misconfigured, "postgres://"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := run(t, c.env, c.args...)
			if got.code != c.want || !strings.Contains(got.out+got.err, c.says) {
				t.Errorf("exit code %d, want %d; must say %q:\n%s%s", got.code, c.want, c.says, got.out, got.err)
			}
			if got.code != cli.OK && got.code != cli.Misconfigured && got.err == "" {
				t.Error("a failure says nothing on standard error")
			}
		})
	}
}

// fill makes a data directory with something in it.
func fill(t *testing.T) (dir string) {
	t.Helper()
	ctx, dir := t.Context(), t.TempDir()
	g, err := config.Load([]byte(document), config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	p, err := pipeline.Inspect(ctx, pipeline.Options{Group: g, DataDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}()
	// An up would have left it, for the commands that name no document.
	if err := os.WriteFile(filepath.Join(dir, "group.yaml"), []byte(document), 0o600); err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)
	winner := version.Version{ID: "eu.2", Kind: version.Put, Origin: "eu", ProviderTime: at.UnixNano(), Content: version.Content{Size: 12}}
	loser := version.Version{ID: "us.1", Kind: version.Put, Origin: "us", ProviderTime: at.Add(-time.Second).UnixNano(), Content: version.Content{Size: 11}}
	_, err = p.Store().Commit(ctx, state.Row{Group: "media", Key: "a b\n", Replicas: map[string]state.Replica{"us": {}}}, state.Effects{
		Conflicts: []state.Conflict{{
			ID: "c1", Group: "media", Key: "a b\n", State: "resolved", Policy: "keep-both", Reason: "eu was written last", Winner: winner, WinnerAt: "eu",
			Losers: []state.Loser{{Version: loser, Replica: "us", Copy: ".conflicts/a b/us.1"}}, Detected: at, Resolved: at,
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	// Open ones: a person has time until the deadline, and a merge is being written.
	open := func(id, key, st string) state.Conflict {
		return state.Conflict{
			ID: id, Group: "media", Key: key, State: st, Policy: "manual", Reason: "a conflict waits\x1b[2J", Detected: at.Add(time.Minute),
			Losers: []state.Loser{{Version: loser, Replica: "us"}, {Version: version.Version{ID: "eu.3", Kind: version.Delete, Origin: "eu"}, Replica: "eu"}},
		}
	}
	pending, merging := open("c2", "contracts/1.json", state.ConflictPending), open("c3", "merging", state.ConflictMerging)
	pending.Deadline = time.Date(2126, 5, 7, 3, 2, 1, 0, time.UTC)
	pending.Losers[0].Version.Content.SHA256 = strings.Repeat("0a", 32)
	merging.Winner = version.Version{ID: "~.1", Kind: version.Put, Origin: "~", Sources: []version.Vector{{"us": 1}, {"eu": 3}}}
	gone := open("c4", "gone", state.ConflictSuperseded)
	gone.Detected = at.Add(-time.Minute)
	for _, c := range []state.Conflict{pending, merging, gone} {
		if _, err := p.Store().Commit(ctx, state.Row{Group: "media", Key: c.Key}, state.Effects{Conflicts: []state.Conflict{c}}); err != nil {
			t.Fatal(err)
		}
	}
	due := time.Now().Add(30*time.Second + 500*time.Millisecond)
	if err := p.Store().MarkDirty(ctx, "media", []string{"stuck"}, due, "eu: stat: 503 Service Unavailable"); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"e1", "e2"} {
		e := audit.Event{Source: "https://s3.us-east-1.amazonaws.com/media-us", ID: id, Type: "dev.bucketmesh.object.written.v1", Subject: "a%20b", Time: at, JSON: []byte(`{"id":"` + id + `"}`)}
		if err := p.Audit().Append(ctx, e); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestTables(t *testing.T) {
	dir := fill(t)
	bad := write(t, "bad.yaml", strings.Replace(document, "name: eu", "name: us", 1))
	const hash, stamp = `[0-9a-f]{64}`, `20\d\d-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d+Z)?`
	for _, c := range []struct {
		name string
		args []string
	}{
		{"status", []string{"status"}},
		{"conflicts-list", []string{"conflicts", "list"}},
		{"conflicts-unresolved", []string{"conflicts", "list", "--unresolved"}},
		{"conflicts-show", []string{"conflicts", "show", "c1"}},
		{"conflicts-show-pending", []string{"conflicts", "show", "c2"}},
		{"conflicts-show-merging", []string{"conflicts", "show", "c3"}},
		{"conflicts-show-superseded", []string{"conflicts", "show", "c4"}},
		{"audit-list", []string{"audit", "list"}},
		{"audit-verify", []string{"audit", "verify"}},
		{"dead-letters-list", []string{"dead-letters", "list"}},
		{"validate", []string{"validate", "-f", bad}},
	} {
		for _, format := range []string{"table", "json"} {
			t.Run(c.name+"-"+format, func(t *testing.T) {
				args := append(c.args, "-o", format)
				if c.name != "validate" {
					args = append(args, "--data", dir)
				}
				got := run(t, credentials, args...)
				if got.err != "" {
					t.Errorf("standard error: %s", got.err)
				}
				if format == "json" && !json.Valid([]byte(got.out)) {
					t.Error("not JSON")
				}
				golden(t, c.name+"."+format, got.out, hash, "HASH", regexp.QuoteMeta(filepath.Dir(bad)), "DIR", `in \d+s`, "in 30s", `\(in \d+h[\dms]+\)`, "(in 72h)", regexp.QuoteMeta(dir), "DATA",
					`("(due|recorded)": ")`+stamp, "${1}TIME", stamp+`(  dev|  object\.written)`, "TIME$2", `(?m)^(\d+       )`+stamp, "${1}TIME")
			})
		}
	}
}

// Whoever is woken because events do not add up is told which, and what to do.
func TestStatusWhenEventsDoNotAddUp(t *testing.T) {
	ctx, dir := t.Context(), fill(t)
	s, err := pipeline.OpenState(ctx, dir, "")
	if err != nil {
		t.Fatal(err)
	}
	const source = "https://s3.us-east-1.amazonaws.com/media-us"
	for _, err := range []error{
		s.Ledger.Begin(ctx, "media"),
		s.Log.Append(ctx, audit.Event{Source: source, ID: "handled", Type: "dev.bucketmesh.object.written.v1", Subject: "fine", JSON: []byte(`{}`)}),
		s.Log.Append(ctx, audit.Event{Source: source, ID: "lost", Type: "dev.bucketmesh.object.deleted.v1", Subject: "gone", JSON: []byte(`{}`)}),
		s.Ledger.Note(ctx, "media", ledger.Note{Source: source, ID: "handled", Outcome: ledger.Applied}),
		s.Close(),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	got := run(t, nil, "status", "--data", dir)
	if got.code != cli.Broken || got.err != "" {
		t.Errorf("%d %s", got.code, got.err)
	}
	_, books, _ := strings.Cut(got.out, "EVENTS IN")
	golden(t, "status-lost.table", "EVENTS IN"+books, `20\d\d-\d\d-\d\d \d\d:\d\d:\d\d`, "TIME               ", `in \d+s`, "in 30s")
	var status pipeline.Status
	if got = run(t, nil, "status", "--data", dir, "-o", "json"); got.code != cli.Broken || json.Unmarshal([]byte(got.out), &status) != nil ||
		status.Ledger.Holds || status.Ledger.Unaccounted != 1 || status.Ledger.In != 2 {
		t.Errorf("%d %s", got.code, got.out)
	}
	for _, c := range []struct {
		underWay string
		code     cli.Code
		holds    bool
	}{{"0s", cli.Broken, false}, {"1h", cli.OK, true}, {"-1s", cli.Usage, false}} {
		var b ledger.Balance
		got := run(t, nil, "audit", "balance", "--data", dir, "--under-way", c.underWay, "-o", "json")
		if err := json.Unmarshal([]byte(got.out), &b); got.code != c.code || c.code != cli.Usage && (err != nil || b.Holds != c.holds || b.In != 2) {
			t.Errorf("under way for %s: %d %s %s", c.underWay, got.code, got.out, got.err)
		}
	}
}

func TestAuditVerifyNoticesAnotherHead(t *testing.T) {
	dir := fill(t)
	got := run(t, nil, "audit", "verify", "--data", dir)
	head := strings.TrimSpace(got.out[strings.Index(got.out, "Head: ")+len("Head: "):])
	if got := run(t, nil, "audit", "verify", "--data", dir, "--expect", head); got.code != cli.OK {
		t.Errorf("its own head: %d %s%s", got.code, got.out, got.err)
	}
	other := "2:" + strings.Repeat("ab", 32)
	got = run(t, nil, "audit", "verify", "--data", dir, "--expect", other)
	if got.code != cli.Broken || !strings.Contains(got.out, "rewritten") {
		t.Errorf("another head: %d %s%s", got.code, got.out, got.err)
	}
}

func TestConflictThatIsNotThere(t *testing.T) {
	if got := run(t, nil, "conflicts", "show", "nothing", "--data", fill(t)); got.code != cli.NotFound {
		t.Errorf("%d %s%s", got.code, got.out, got.err)
	}
}
