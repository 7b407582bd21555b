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
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/bucketmesh/bucketmesh/pkg/demo"
	"github.com/bucketmesh/bucketmesh/pkg/demo/s3server"
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
func facts(t *testing.T, s *demo.Site) map[string]string {
	t.Helper()
	found := map[string]string{}
	pages := s3.NewListObjectsV2Paginator(s.Client, &s3.ListObjectsV2Input{Bucket: &s.Bucket})
	for pages.HasMorePages() {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatalf("list %s: %v", s.Name, err)
		}
		for _, o := range page.Contents {
			if strings.HasPrefix(*o.Key, ".bucketmesh/") {
				continue
			}
			got, err := s.Client.GetObject(t.Context(), &s3.GetObjectInput{Bucket: &s.Bucket, Key: o.Key})
			if err != nil {
				t.Fatalf("get %s: %v", *o.Key, err)
			}
			h := sha256.New()
			_, err = io.Copy(h, got.Body)
			_ = got.Body.Close()
			if err != nil {
				t.Fatalf("read %s: %v", *o.Key, err)
			}
			maps.DeleteFunc(got.Metadata, func(k, _ string) bool { return strings.HasPrefix(k, "bucketmesh-") })
			found[*o.Key] = fmt.Sprint(hex.EncodeToString(h.Sum(nil)), aws.ToString(got.ContentType), got.Metadata)
		}
	}
	return found
}

// The whole demo, and its summary held against facts that are found out in another way.
func TestDemo(t *testing.T) {
	d := start(t, demo.Options{})
	s, err := d.Run(t.Context())
	if err != nil {
		t.Fatalf("run demo: %v", err)
	}
	if !s.OK() || !s.Converged || s.Lost != 0 || s.Conflicts < 1 {
		t.Errorf("converged %v, lost %d, conflicts %d: %q %q", s.Converged, s.Lost, s.Conflicts, s.Differences, s.LostContents)
	}
	us := facts(t, d.Sites()[0])
	for i, site := range d.Sites() {
		if found := facts(t, site); !maps.Equal(found, us) {
			t.Errorf("%s is not as us: %d and %d objects", site.Name, len(found), len(us))
		}
		if s.Replicas[i].Objects != len(us) {
			t.Errorf("%s: the summary has %d objects of %d", site.Name, s.Replicas[i].Objects, len(us))
		}
	}
	accounts(t, s, us)
	costs(t, s)
	prints(t, s)

	if err := d.StopPipeline(); err != nil {
		t.Fatalf("stop pipeline: %v", err)
	}
	tamper(t, d, s)
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
			Name, Provider, Endpoint string
			Objects                  *int
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

	put(t, eu, keys[0], "tampered", nil)
	notice(t, d, "other bytes in one replica", keys[0]+": the bytes are not the same in asia and eu", true)
	_, err := asia.Client.CopyObject(t.Context(), &s3.CopyObjectInput{
		Bucket: &asia.Bucket, Key: &keys[10], CopySource: aws.String(asia.Bucket + "/" + keys[10]),
		MetadataDirective: types.MetadataDirectiveReplace, ContentType: aws.String("text/plain; charset=utf-8"), Metadata: map[string]string{"author": "mallory"},
	})
	if err != nil {
		t.Fatalf("tamper with metadata: %v", err)
	}
	notice(t, d, "other metadata in one replica", keys[10]+": the metadata are", true)
	remove(t, eu, keys[12])
	notice(t, d, "an object less in one replica", keys[12]+": it is in asia and not in eu", true)
	for _, site := range d.Sites() {
		put(t, site, deleted[0], "back", nil)
		put(t, site, "nobody.txt", "wrote this", nil)
	}
	notice(t, d, "a deleted object is back everywhere", deleted[0]+": eu holds something that was", false)
	notice(t, d, "an object that nobody wrote", "nobody.txt: it is there, and nobody wrote it", false)

	c := s.ConflictsFound[0]
	for _, w := range c.Writes {
		if w.Copy != "" {
			for _, site := range d.Sites() {
				remove(t, site, w.Copy)
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

func put(t *testing.T, s *demo.Site, key, body string, meta map[string]string) {
	t.Helper()
	_, err := s.Client.PutObject(t.Context(), &s3.PutObjectInput{Bucket: &s.Bucket, Key: &key, Body: strings.NewReader(body), Metadata: meta})
	if err != nil {
		t.Fatalf("put %s: %v", key, err)
	}
}

func remove(t *testing.T, s *demo.Site, key string) {
	t.Helper()
	if _, err := s.Client.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: &s.Bucket, Key: &key}); err != nil {
		t.Fatalf("delete %s: %v", key, err)
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
	d := start(t, demo.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	var out page
	ended := make(chan error, 1)
	go func() { ended <- d.Play(ctx, &out) }()
	waitFor(t, &out, "aws --endpoint-url "+d.Sites()[1].Endpoint)
	if !strings.Contains(out.String(), d.Secret()) {
		t.Error("a person needs the secret key")
	}
	put(t, d.Sites()[2], "hello.txt", "hello", nil)
	waitFor(t, &out, "asia wrote hello.txt")
	waitFor(t, &out, "hello.txt is everywhere")
	remove(t, d.Sites()[0], "hello.txt")
	waitFor(t, &out, "us   deleted hello.txt")
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
