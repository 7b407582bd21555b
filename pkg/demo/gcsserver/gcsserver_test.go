package gcsserver_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"cloud.google.com/go/storage"
	"google.golang.org/api/googleapi"
	"google.golang.org/api/option"

	"github.com/bucketmesh/bucketmesh/pkg/demo/child"
	"github.com/bucketmesh/bucketmesh/pkg/demo/gcsserver"
	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/object"
	"github.com/bucketmesh/bucketmesh/pkg/object/gcs"
)

// role says that the test program is to be a server.
const role = "BUCKETMESH_TEST_ROLE"

func TestMain(m *testing.M) {
	if os.Getenv(role) == "" {
		os.Exit(m.Run())
	}
	if err := child.Serve(context.Background(), os.Stdin, os.Stdout, map[string]child.Run{gcsserver.Kind: gcsserver.Run}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func start(t *testing.T, webhook string) (s *gcsserver.Server, dir string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	dir = filepath.Join(t.TempDir(), "server")
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), role+"=server")
	s, err := gcsserver.Start(ctx, cmd, child.Spec{Name: "eu", Dir: dir}, gcsserver.Options{Bucket: "media", Webhook: webhook})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s, dir
}

// hook is a webhook that refuses every message once.
type hook struct {
	t       *testing.T
	refused map[string]bool
	events  chan string // type and name
}

func (h *hook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var push struct {
		Message struct {
			Attributes             map[string]string
			Data                   []byte
			MessageID, PublishTime string
		}
		Subscription string
	}
	if err = errors.Join(err, json.Unmarshal(body, &push)); err != nil {
		h.t.Errorf("push: %v: %s", err, body)
	}
	m := push.Message
	if m.MessageID == "" || m.PublishTime == "" || !strings.HasPrefix(push.Subscription, "projects/") || r.URL.Query().Get("token") != "secret" {
		h.t.Errorf("push %s to %s", body, r.URL)
	}
	var o struct{ Name, Generation, MD5Hash string }
	if err := json.Unmarshal(m.Data, &o); err != nil || o.Name != m.Attributes["objectId"] || o.Generation != m.Attributes["objectGeneration"] ||
		o.MD5Hash == "" && m.Attributes["eventType"] != "OBJECT_DELETE" {
		h.t.Errorf("data %s of %v: %v", m.Data, m.Attributes, err)
	}
	h.events <- m.Attributes["eventType"] + " " + o.Name
	if h.refuse(m.MessageID) {
		http.Error(w, "later", http.StatusServiceUnavailable)
	}
}

func (h *hook) refuse(id string) bool {
	if h.refused[id] {
		return false
	}
	h.refused[id] = true
	return true
}

// hear takes events, which come in no order, until each of wants came.
func (h *hook) hear(wants ...string) {
	h.t.Helper()
	limit := time.After(30 * time.Second)
	for len(wants) > 0 {
		select {
		case e := <-h.events:
			if i := slices.Index(wants, e); i >= 0 {
				wants = slices.Delete(wants, i, i+1)
			}
		case <-limit:
			h.t.Fatalf("no notifications %q came", wants)
		}
	}
}

// one is a handler that takes one request at a time.
func one(h http.Handler) http.Handler {
	turn := make(chan struct{}, 1)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		turn <- struct{}{}
		defer func() { <-turn }()
		h.ServeHTTP(w, r)
	})
}

// A server keeps what the demo relies on: conditions, metadata, notifications that are tried again; and it leaves nothing behind.
func TestServer(t *testing.T) {
	const emulator = "PUBSUB_EMULATOR_HOST"
	before, set := os.LookupEnv(emulator)
	h := &hook{t: t, refused: map[string]bool{}, events: make(chan string, 10_000)}
	web := httptest.NewServer(one(h))
	t.Cleanup(web.Close)
	s, dir := start(t, web.URL+"?token=secret")
	if now, still := os.LookupEnv(emulator); now != before || still != set {
		t.Errorf("%s was set here", emulator)
	}
	c, err := storage.NewClient(t.Context(), option.WithEndpoint(s.Endpoint()+"/storage/v1/"), option.WithoutAuthentication())
	if err != nil {
		t.Fatal(err)
	}
	o := c.Bucket(s.Bucket).Retryer(storage.WithPolicy(storage.RetryNever)).Object("a/größe 1+1%20.txt")
	put := func(o *storage.ObjectHandle, body string) (*storage.ObjectAttrs, error) {
		w := o.NewWriter(t.Context())
		w.ContentType, w.Metadata = "text/plain", map[string]string{"author": "us"}
		_, err := io.WriteString(w, body)
		return w.Attrs(), errors.Join(err, w.Close())
	}
	if _, err := put(o, "one"); err != nil {
		t.Fatal(err)
	}
	first, err := o.Attrs(t.Context())
	if err != nil || first.Metadata["author"] != "us" || first.ContentType != "text/plain" || first.Metageneration != 1 {
		t.Errorf("attributes %+v, %v", first, err)
	}
	edited, err := o.Update(t.Context(), storage.ObjectAttrsToUpdate{Metadata: map[string]string{"author": "eu"}})
	if err != nil || edited.Metageneration != 2 || edited.Generation != first.Generation {
		t.Errorf("edited: %+v, %v", edited, err)
	}
	stale := storage.Conditions{GenerationMatch: first.Generation, MetagenerationMatch: 1}
	if _, err := put(o.If(stale), "two"); status(err) != http.StatusPreconditionFailed {
		t.Errorf("put over an edit that was not seen: %v", err)
	}
	if err := o.If(stale).Delete(t.Context()); status(err) != http.StatusPreconditionFailed {
		t.Errorf("delete of an edit that was not seen: %v", err)
	}
	if _, err := put(o.If(storage.Conditions{GenerationMatch: first.Generation, MetagenerationMatch: 2}), "two"); err != nil {
		t.Errorf("put over what was seen: %v", err)
	}
	if err := o.Delete(t.Context()); err != nil {
		t.Error(err)
	}
	name := o.ObjectName()
	h.hear("OBJECT_FINALIZE "+name, "OBJECT_FINALIZE "+name, "OBJECT_METADATA_UPDATE "+name, "OBJECT_METADATA_UPDATE "+name, "OBJECT_DELETE "+name, "OBJECT_DELETE "+name)
	promises(t, s)
	s.Close()
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("the folder is still there: %v", err)
	}
}

func status(err error) int {
	if e := new(googleapi.Error); errors.As(err, &e) {
		return e.Code
	}
	return 0
}

// promises lets the product's own probe, with writers at once, find out what the bucket keeps.
func promises(t *testing.T, s *gcsserver.Server) {
	t.Helper()
	b, err := gcs.Open(t.Context(), gcs.Config{Bucket: s.Bucket, Endpoint: s.Endpoint()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	report, err := object.Probe(t.Context(), b, object.ProbeOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := object.Fit(report, true, false); err != nil {
		t.Errorf("not fit for ReadWrite: %v; %v", err, report.Findings)
	}
}

func TestStartTellsWhatWentWrong(t *testing.T) {
	_, err := gcsserver.Start(t.Context(), exec.Command(os.Args[0]), child.Spec{Name: "eu", Dir: t.TempDir()}, gcsserver.Options{})
	if !errkind.Is(err, errkind.Invalid) {
		t.Errorf("no bucket: %v", err)
	}
	_, err = gcsserver.Start(t.Context(), exec.Command(filepath.Join(t.TempDir(), "nothing")), child.Spec{Name: "eu", Dir: t.TempDir()}, gcsserver.Options{Bucket: "media"})
	if !errkind.Is(err, errkind.Unavailable) {
		t.Errorf("no program: %v", err)
	}
}
