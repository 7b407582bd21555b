package gcs_test

import (
	"crypto/rand"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/api/option"
	"google.golang.org/api/storage/v1"

	"github.com/bucketmesh/bucketmesh/pkg/config"
	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/notifications"
	"github.com/bucketmesh/bucketmesh/pkg/notifications/gcs"
)

// The tests in this file run on a real fake-gcs-server.

const (
	ourID    = "bucketmesh-media-us"
	ourTopic = "projects/p/topics/media"
	prefix   = "//pubsub.googleapis.com/"
)

func env(t *testing.T, name string) string {
	t.Helper()
	v := os.Getenv(name)
	if v == "" {
		t.Fatalf("%s is not set: this test needs real servers; run hack/test.sh, which starts them", name)
	}
	return v
}

// server is a bucket of its own.
type server struct {
	t      *testing.T
	bucket string
	api    *storage.Service
	cfg    gcs.Config
}

func newServer(t *testing.T) *server {
	t.Helper()
	endpoint := env(t, "BUCKETMESH_TEST_GCS")
	s := &server{t: t, bucket: "notify-" + strings.ToLower(rand.Text()[:16])}
	var err error
	if s.api, err = storage.NewService(t.Context(), option.WithHTTPClient(&http.Client{Timeout: time.Minute}), option.WithEndpoint(endpoint+"/storage/v1/")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.api.Buckets.Insert("p", &storage.Bucket{Name: s.bucket}).Context(t.Context()).Do(); err != nil {
		t.Fatalf("create bucket: %v", err)
	}
	s.cfg = gcs.Config{ID: ourID, Replica: config.Replica{
		Name: "us", Provider: "gcs", Bucket: s.bucket, Endpoint: endpoint, Prefix: "media/",
		Notifications: config.Notifications{Target: ourTopic},
	}}
	return s
}

func (s *server) open(change ...func(*gcs.Config)) *gcs.Bucket {
	s.t.Helper()
	return open(s.t, s.cfg, change...)
}

func open(t *testing.T, cfg gcs.Config, change ...func(*gcs.Config)) *gcs.Bucket {
	t.Helper()
	for _, c := range change {
		c(&cfg)
	}
	b, err := gcs.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return b
}

// get is what the server says, as it says it, sorted.
func (s *server) get() []string {
	s.t.Helper()
	list, err := s.api.Notifications.List(s.bucket).Context(s.t.Context()).Do()
	if err != nil {
		s.t.Fatal(err)
	}
	var out []string
	for _, n := range list.Items {
		text, err := n.MarshalJSON()
		if err != nil {
			s.t.Fatal(err)
		}
		out = append(out, string(text))
	}
	slices.Sort(out)
	return out
}

func (s *server) put(n *storage.Notification) string {
	s.t.Helper()
	out, err := s.api.Notifications.Insert(s.bucket, n).Context(s.t.Context()).Do()
	if err != nil {
		s.t.Fatal(err)
	}
	return out.Id
}

func plan(t *testing.T, b *gcs.Bucket, goal notifications.Goal) notifications.Plan {
	t.Helper()
	p, err := b.Plan(t.Context(), goal)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func apply(t *testing.T, b *gcs.Bucket, goal notifications.Goal) {
	t.Helper()
	if err := b.Apply(t.Context(), goal); err != nil {
		t.Fatal(err)
	}
	if p := plan(t, b, goal); !p.Settled() {
		t.Fatalf("not settled after it was applied: %+v", p.Entries)
	}
}

// states are the entries in short.
func states(p notifications.Plan) string {
	var out []string
	for _, e := range p.Entries {
		out = append(out, string(e.State)+"/"+string(e.Action))
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

func TestTrapForeignConfigurationsAreKept(t *testing.T) {
	s := newServer(t)
	s.put(&storage.Notification{Topic: prefix + "projects/q/topics/thumbnails", PayloadFormat: "NONE", EventTypes: []string{"OBJECT_FINALIZE"}, ObjectNamePrefix: "media/a/"})
	s.put(&storage.Notification{
		Topic: prefix + ourTopic, PayloadFormat: "JSON_API_V1", ObjectNamePrefix: "media/",
		CustomAttributes: map[string]string{gcs.Attribute: ourID + "-2", "team": "billing"},
	})
	before := s.get()
	b := s.open()
	p := plan(t, b, notifications.Install)
	if got := states(p); got != "foreign/keep foreign/keep missing/add" {
		t.Errorf("plan: %s", got)
	}
	// One of them tells our topic: that is said, and harmless.
	if len(p.Findings) != 1 || p.Findings[0].Level != notifications.Warning || !strings.Contains(p.Findings[0].Text, "comes twice") {
		t.Errorf("findings: %+v", p.Findings)
	}
	if got := s.get(); !slices.Equal(got, before) {
		t.Fatalf("a plan changed the bucket: %v", got)
	}
	apply(t, b, notifications.Install)
	got := s.get()
	for _, n := range before {
		if !slices.Contains(got, n) {
			t.Errorf("lost %s", n)
		}
	}
	if len(got) != len(before)+1 {
		t.Errorf("after install: %v", got)
	}
	apply(t, b, notifications.Remove)
	if got := s.get(); !slices.Equal(got, before) {
		t.Errorf("after remove: %v, before %v", got, before)
	}
}

func TestTwiceIsOnce(t *testing.T) {
	s := newServer(t)
	b := s.open()
	apply(t, b, notifications.Install)
	before := s.get()
	if len(before) != 1 || !strings.Contains(before[0], `"bucketmesh":"`+ourID+`"`) || !strings.Contains(before[0], `"object_name_prefix":"media/"`) ||
		!strings.Contains(before[0], `"JSON_API_V1"`) || !strings.Contains(before[0], prefix+ourTopic) || strings.Count(before[0], "OBJECT_") != 4 {
		t.Errorf("installed: %v", before)
	}
	apply(t, b, notifications.Install)
	if got := s.get(); !slices.Equal(got, before) {
		t.Errorf("the second install left %v, the first %v", got, before)
	}
	apply(t, b, notifications.Remove)
	apply(t, b, notifications.Remove)
	if got := s.get(); len(got) != 0 {
		t.Errorf("after remove: %v", got)
	}
}

func TestOursIsMendedAndASecondOneGoes(t *testing.T) {
	s := newServer(t)
	b := s.open()
	old := s.put(&storage.Notification{
		Topic: prefix + ourTopic, PayloadFormat: "NONE", EventTypes: []string{"OBJECT_FINALIZE"}, CustomAttributes: map[string]string{gcs.Attribute: ourID},
	})
	p := plan(t, b, notifications.Install)
	if got := states(p); got != "different/change" || p.Entries[0].Name != old || len(p.Entries[0].Differences) != 3 {
		t.Errorf("one that differs: %+v", p.Entries)
	}
	apply(t, b, notifications.Install)
	if got := s.get(); len(got) != 1 || !strings.Contains(got[0], "JSON_API_V1") {
		t.Errorf("after: %v", got)
	}
	// As an interrupted change leaves it.
	s.put(&storage.Notification{Topic: prefix + ourTopic, PayloadFormat: "NONE", CustomAttributes: map[string]string{gcs.Attribute: ourID}})
	if got := states(plan(t, b, notifications.Install)); got != "present/keep surplus/remove" {
		t.Errorf("two of ours: %s", got)
	}
	apply(t, b, notifications.Install)
	if got := s.get(); len(got) != 1 {
		t.Errorf("after: %v", got)
	}
}

func TestBucketThatIsNotThere(t *testing.T) {
	s := newServer(t)
	_, err := s.open(func(c *gcs.Config) { c.Replica.Bucket = "not-there" }).Plan(t.Context(), notifications.Install)
	if !errkind.Is(err, errkind.NotFound) || !strings.Contains(err.Error(), "not-there") {
		t.Errorf("got %v (%s)", err, errkind.Of(err))
	}
}

func TestTrapCredentialsFileIsNotRepeated(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key.json")
	if err := os.WriteFile(path, []byte(`{"type":"service_account","private_key":"top-secret-value"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := gcs.Open(t.Context(), gcs.Config{ID: ourID, CredentialsFile: path, Replica: config.Replica{Bucket: "b", Notifications: config.Notifications{Target: ourTopic}}})
	if !errkind.Is(err, errkind.Invalid) || !strings.Contains(err.Error(), path) || strings.Contains(err.Error(), "top-secret") {
		t.Errorf("got %v", err)
	}
}

// documentedGCS is a local HTTP server that refuses as Cloud Storage documents it; fake-gcs-server takes everything.
func documentedGCS(t *testing.T, code int, message string) gcs.Config {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.Method == http.MethodGet {
			_, _ = io.WriteString(w, `{"kind":"storage#notifications"}`)
			return
		}
		w.WriteHeader(code)
		_, _ = io.WriteString(w, `{"error":{"message":"`+message+`"}}`)
	}))
	t.Cleanup(srv.Close)
	return gcs.Config{ID: ourID, Replica: config.Replica{Bucket: "b", Endpoint: srv.URL, Notifications: config.Notifications{Target: ourTopic}}}
}

func TestTopicThatStorageMayNotTellSaysWhatItNeeds(t *testing.T) {
	cfg := documentedGCS(t, http.StatusForbidden, "The service account 'service-1@gs-project-accounts.iam.gserviceaccount.com' does not have permission to publish messages")
	err := open(t, cfg).Apply(t.Context(), notifications.Install)
	if !errkind.Is(err, errkind.PermissionDenied) || !strings.Contains(err.Error(), "roles/pubsub.publisher") || !strings.Contains(err.Error(), "service-1@") {
		t.Errorf("got %v (%s)", err, errkind.Of(err))
	}
}
