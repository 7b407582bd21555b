package demo_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/demo"
	"github.com/bucketmesh/bucketmesh/pkg/demo/azurite"
)

// role says that this program is to be a server.
const role = "BUCKETMESH_TEST_ROLE"

func TestMain(m *testing.M) {
	if os.Getenv(role) == "" {
		os.Exit(m.Run())
	}
	if err := demo.Serve(context.Background(), os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func server(ctx context.Context) *exec.Cmd {
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append(os.Environ(), role+"=server")
	return cmd
}

// start starts a demo and, at the end of the test, sees to it that nothing is left of it.
func start(t *testing.T, opts demo.Options) *demo.Demo {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	opts.Server, opts.Dir = server, t.TempDir()
	d, err := demo.Start(ctx, opts)
	if err != nil {
		t.Fatalf("start demo: %v", err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Errorf("close demo: %v", err)
		}
		left, err := os.ReadDir(opts.Dir)
		if err != nil || len(left) > 0 {
			t.Errorf("what is left: %v, %v", left, err)
		}
	})
	return d
}

// facts are all objects of a replica, read here and not by the demo: key -> digest of bytes, type and metadata.
func facts(t *testing.T, d *demo.Demo, s demo.Site) map[string]string {
	t.Helper()
	found := map[string]string{}
	u := userOf(t, d, s)
	for _, key := range u.list() {
		if strings.HasPrefix(key, ".bucketmesh/") {
			continue
		}
		body, contentType, meta := u.get(key)
		own := map[string]string{}
		for k, v := range meta {
			if k = strings.ToLower(k); !strings.HasPrefix(k, "bucketmesh-") && !strings.HasPrefix(k, "bucketmesh_x2d_") {
				own[k] = v
			}
		}
		sum := sha256.Sum256(body)
		found[key] = fmt.Sprint(hex.EncodeToString(sum[:]), contentType, own)
	}
	return found
}

// azuriteProgram is that of hack/test.sh.
func azuriteProgram(t *testing.T) string {
	t.Helper()
	path, err := azurite.Find(func(name string) (string, bool) {
		path := os.Getenv(name)
		if path == "" {
			t.Fatalf("%s is not set: run hack/test.sh", name)
		}
		return path, true
	})
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// The whole demo, and its summary held against facts that are found out in another way.
func TestDemo(t *testing.T) {
	d := start(t, demo.Options{Azurite: azuriteProgram(t)})
	s, err := d.Run(t.Context())
	if err != nil {
		t.Fatalf("run demo: %v", err)
	}
	if !s.OK() || !s.Converged || s.Lost != 0 || s.Conflicts < 1 {
		t.Errorf("converged %v, lost %d, conflicts %d: %q %q", s.Converged, s.Lost, s.Conflicts, s.Differences, s.LostContents)
	}
	providers(t, s, "s3 versitygw", "gcs fake-gcs-server", "azblob azurite")
	us := facts(t, d, d.Sites()[0])
	for i, site := range d.Sites() {
		name := site.Where().Name
		if found := facts(t, d, site); !maps.Equal(found, us) {
			t.Errorf("%s is not as us: %d and %d objects", name, len(found), len(us))
		}
		if s.Replicas[i].Objects != len(us) {
			t.Errorf("%s: the summary has %d objects of %d", name, s.Replicas[i].Objects, len(us))
		}
	}
	if n := s.Replicas[2].Written[demo.Edit]; n != 0 || len(s.Notes) != 1 || !strings.Contains(s.Notes[0], "edits of metadata") {
		t.Errorf("%d edits at a site whose provider tells nobody of them; notes %q", n, s.Notes)
	}
	accounts(t, s, us)
	costs(t, s)
	prints(t, s)

	if err := d.StopPipeline(); err != nil {
		t.Fatalf("stop pipeline: %v", err)
	}
	tamper(t, d, s)
}

func providers(t *testing.T, s *demo.Summary, want ...string) {
	t.Helper()
	for i, r := range s.Replicas {
		if got := r.Provider + " " + r.Server; got != want[i] {
			t.Errorf("replica %s is %s, want %s", r.Name, got, want[i])
		}
	}
}

// Without Azurite, or with one that does not work, there is a demo all the same, and it says what it is not.
func TestDemoWithoutAzurite(t *testing.T) {
	broken := filepath.Join(t.TempDir(), "azurite")
	if err := os.WriteFile(broken, []byte("#!/bin/sh\necho no such module >&2\nexit 1\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	for program, note := range map[string]string{"": "Azurite was not found", broken: "no such module"} {
		d := start(t, demo.Options{Azurite: program, Objects: 20, Large: 9 << 20})
		s, err := d.Run(t.Context())
		if err != nil {
			t.Fatalf("run demo: %v", err)
		}
		if !s.OK() {
			t.Errorf("converged %v, lost %d, conflicts %d: %q %q", s.Converged, s.Lost, s.Conflicts, s.Differences, s.LostContents)
		}
		providers(t, s, "s3 versitygw", "gcs fake-gcs-server", "s3 versitygw")
		if len(s.Notes) != 1 || !strings.Contains(s.Notes[0], note) {
			t.Errorf("notes %q, want %q", s.Notes, note)
		}
		var text strings.Builder
		if err := s.Text(&text); err != nil || !strings.Contains(text.String(), note) {
			t.Errorf("the summary does not say it (%v):\n%s", err, text.String())
		}
	}
}

// accounts: what the summary says of changes and conflicts is in the replicas.
func accounts(t *testing.T, s *demo.Summary, objects map[string]string) {
	t.Helper()
	sum, live := 0, 0
	for _, r := range s.Replicas {
		for kind, n := range r.Written {
			sum += n
			switch kind {
			case demo.Create, demo.Large:
				live += n
			case demo.Delete:
				live -= n
			default:
			}
		}
	}
	copied := 0
	for key := range objects {
		if strings.HasPrefix(key, ".conflicts/") {
			copied++
		}
	}
	if sum != s.Changes || live+copied != len(objects) {
		t.Errorf("%d changes of %d; %d objects and %d copies of %d", sum, s.Changes, live, copied, len(objects))
	}
	if s.Conflicts != len(s.ConflictsFound) || copied < s.Conflicts {
		t.Errorf("%d conflicts, %d told of, %d copies", s.Conflicts, len(s.ConflictsFound), copied)
	}
	for _, c := range s.ConflictsFound {
		winners := 0
		for _, w := range c.Writes {
			at := w.Copy
			if at == "" {
				at = c.Key
				winners++
			}
			if !strings.HasPrefix(objects[at], w.SHA256) {
				t.Errorf("what %s wrote to %s is not at %s", w.Site, c.Key, at)
			}
		}
		if winners != 1 || c.Reason == "" || c.WinnerAt == "" {
			t.Errorf("%d winners: %+v", winners, c)
		}
	}
}

func costs(t *testing.T, s *demo.Summary) {
	t.Helper()
	// Each put goes to two other replicas at least once, and is read at least once.
	puts := int64(0)
	for _, r := range s.Replicas {
		puts += int64(r.Written[demo.Create] + r.Written[demo.Overwrite])
	}
	if s.Requests.Put < 2*puts || s.Requests.Get < puts {
		t.Errorf("%d puts of users and only %+v", puts, s.Requests)
	}
	if s.Small.Requests.Put < s.Small.Ideal.Put || s.Small.Requests.Get < s.Small.Ideal.Get {
		t.Errorf("cheaper than possible: %+v", s.Small)
	}
	p := s.Propagation
	if p.Measured < s.Changes*9/10 || p.P50Millis <= 0 || p.P50Millis > p.P99Millis || p.P99Millis > p.MaxMillis {
		t.Errorf("propagation of %d changes: %+v", s.Changes, p)
	}
}

func prints(t *testing.T, s *demo.Summary) {
	t.Helper()
	var text strings.Builder
	if err := s.Text(&text); err != nil {
		t.Fatal(err)
	}
	c := s.ConflictsFound[0]
	for _, want := range []string{c.Key, c.Reason, "won, and is the current", "Everything is as promised", fmt.Sprintf("%d changes", s.Changes)} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the summary does not say %q:\n%s", want, text.String())
		}
	}
	t.Log(text.String())
	raw, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	var out struct {
		Converged   *bool
		Lost        *int
		Conflicts   *int
		Changes     *int
		Requests    struct{ Get, Put, Head, List, Delete *int64 }
		Propagation struct{ P50Millis, P99Millis *float64 }
		Replicas    []struct {
			Name, Provider, Server, Endpoint string
			Objects                          *int
		}
		ConflictsFound []json.RawMessage
		Differences    []string
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	if err := dec.Decode(&out); err != nil {
		t.Fatalf("decode summary: %v", err)
	}
	r := out.Requests
	if out.Converged == nil || out.Lost == nil || out.Conflicts == nil || out.Changes == nil || out.Propagation.P50Millis == nil ||
		out.Propagation.P99Millis == nil || slices.Contains([]*int64{r.Get, r.Put, r.Head, r.List, r.Delete}, nil) ||
		len(out.Replicas) != 3 || out.Replicas[0].Objects == nil || out.ConflictsFound == nil || out.Differences == nil {
		t.Errorf("something is missing in %s", raw)
	}
}

// tamper breaks replicas on purpose, one way after the other; the check has to notice each.
func tamper(t *testing.T, d *demo.Demo, s *demo.Summary) {
	t.Helper()
	eu, asia := d.Sites()[1], d.Sites()[2]
	clean(t, d, "before")
	var keys, deleted []string
	for _, c := range d.Changes() {
		switch {
		case c.Kind == demo.Delete:
			deleted = append(deleted, c.Object.Key)
		case c.Kind == demo.Create && strings.HasPrefix(c.Object.Key, "notes/"):
			keys = append(keys, c.Object.Key)
		}
	}
	keys = slices.DeleteFunc(keys, func(k string) bool { return slices.Contains(deleted, k) })

	userOf(t, d, eu).put(keys[0], "tampered")
	notice(t, d, "other bytes in one replica", keys[0]+": the bytes are not the same in asia and eu", true)
	found, ok, err := asia.Head(t.Context(), keys[10])
	if err != nil || !ok {
		t.Fatalf("head: %v, %v", ok, err)
	}
	found.Metadata["author"] = "mallory"
	if err := asia.Edit(t.Context(), found); err != nil {
		t.Fatalf("tamper with metadata: %v", err)
	}
	notice(t, d, "other metadata in one replica", keys[10]+": the metadata are", true)
	userOf(t, d, eu).remove(keys[12])
	notice(t, d, "an object less in one replica", keys[12]+": it is in asia and not in eu", true)
	for _, site := range d.Sites() {
		userOf(t, d, site).put(deleted[0], "back")
		userOf(t, d, site).put("nobody.txt", "wrote this")
	}
	notice(t, d, "a deleted object is back everywhere", deleted[0]+": eu holds something that was", false)
	notice(t, d, "an object that nobody wrote", "nobody.txt: it is there, and nobody wrote it", false)

	c := s.ConflictsFound[0]
	for _, w := range c.Writes {
		if w.Copy != "" {
			for _, site := range d.Sites() {
				userOf(t, d, site).remove(w.Copy)
			}
		}
	}
	notice(t, d, "the loser of a conflict is nowhere", c.Key+": what was written in ", true)
}

func clean(t *testing.T, d *demo.Demo, when string) {
	t.Helper()
	v, err := d.Verify(t.Context())
	if err != nil || !v.Converged() || len(v.Lost) > 0 {
		t.Fatalf("%s: %v, %+v", when, err, v)
	}
}

// notice expects a line of the check, and says whether a content is lost by it (once it is in no replica any more, or not
// in all of them).
func notice(t *testing.T, d *demo.Demo, what, line string, lost bool) {
	t.Helper()
	v, err := d.Verify(t.Context())
	if err != nil {
		t.Fatalf("verify: %v", err)
	}
	if !slices.ContainsFunc(append(v.Differences, v.Lost...), func(s string) bool { return strings.HasPrefix(s, line) }) {
		t.Errorf("%s was not noticed: %q", what, v)
	}
	if lost && len(v.Lost) == 0 {
		t.Errorf("%s: nothing is said to be lost", what)
	}
}

// page is a text that is written and read at the same time.
type page struct {
	mu   sync.Mutex
	text strings.Builder
}

func (p *page) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.Write(b)
}

func (p *page) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.String()
}

// A demo that is left to a person tells of what the person does, and ends when told to.
func TestPlay(t *testing.T) {
	d := start(t, demo.Options{Azurite: azuriteProgram(t)})
	ctx, cancel := context.WithCancel(t.Context())
	var out page
	ended := make(chan error, 1)
	go func() { ended <- d.Play(ctx, &out) }()
	for _, s := range d.Sites() {
		waitFor(t, &out, s.Where().Endpoint+"  bucket "+s.Where().Bucket)
	}
	if !strings.Contains(out.String(), d.Secret()) || !strings.Contains(out.String(), d.AccountKey()) {
		t.Error("a person needs the secret keys")
	}
	userOf(t, d, d.Sites()[2]).put("hello.txt", "hello")
	waitFor(t, &out, "asia wrote hello.txt")
	waitFor(t, &out, "hello.txt is everywhere")
	userOf(t, d, d.Sites()[1]).remove("hello.txt")
	waitFor(t, &out, "eu   deleted hello.txt")
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("play: %v", err)
	}
}

func waitFor(t *testing.T, out *page, text string) {
	t.Helper()
	limit := time.After(30 * time.Second)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !strings.Contains(out.String(), text) {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("%q was not said:\n%s", text, out)
		}
	}
}

// A person whose server broke down is told so.
func TestPlayTellsOfADeadServer(t *testing.T) {
	d := start(t, demo.Options{})
	ended := make(chan error, 1)
	go func() { ended <- d.Play(t.Context(), io.Discard) }()
	d.KillServer(1)
	if err := <-ended; err == nil || !strings.Contains(err.Error(), "server eu ended") {
		t.Errorf("play: %v", err)
	}
}
