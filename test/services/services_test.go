// Package services_test runs the services as a cluster would: each in a process of its own, with events between them over
// HTTP, and PostgreSQL under them.
package services_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	cloudevents "github.com/cloudevents/sdk-go/v2/event"

	"github.com/bucketmesh/bucketmesh/pkg/audit"
	"github.com/bucketmesh/bucketmesh/pkg/broker"
	"github.com/bucketmesh/bucketmesh/pkg/config"
	"github.com/bucketmesh/bucketmesh/pkg/event"
	"github.com/bucketmesh/bucketmesh/pkg/serve"
	"github.com/bucketmesh/bucketmesh/pkg/serve/env"
	"github.com/bucketmesh/bucketmesh/pkg/state/postgres"
	"github.com/bucketmesh/bucketmesh/pkg/state/postgres/pgtest"
	"github.com/bucketmesh/bucketmesh/pkg/subscriber"
	"github.com/bucketmesh/bucketmesh/test/cluster"
)

// bin is where TestMain puts the services' programs.
var bin string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	var err error
	if bin, err = os.MkdirTemp("", "services"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(bin) }()
	cmd := exec.CommandContext(context.Background(), "go", "build", "-o", bin, "./services/normalizer-s3", "./services/sync", "./services/conflict-resolver", "./services/audit")
	cmd.Dir = filepath.Join("..", "..")
	if out, err := cmd.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build services: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// launch runs a service until the test ends, which it must do in order.
func launch(t *testing.T, service, listen string, environment ...string) (url string) {
	t.Helper()
	if listen == "" {
		listen = cluster.FreePort(t)
	}
	port := listen[strings.LastIndex(listen, ":")+1:]
	var log bytes.Buffer
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), filepath.Join(bin, service))
	cmd.Env = append(append(os.Environ(), "PORT="+port), environment...)
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended by itself, which Wait tells
		if err := <-ended; err != nil {
			t.Errorf("%s: %v", service, err)
		}
		if t.Failed() {
			t.Logf("%s said:\n%s", service, log.String())
		}
	})
	url = "http://127.0.0.1:" + port
	client := &http.Client{Timeout: 5 * time.Second}
	cluster.Eventually(t, service+" is ready", func() bool {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+serve.ReadyPath, nil)
		if err != nil {
			t.Fatal(err)
		}
		a, err := client.Do(r)
		if err != nil {
			return false
		}
		_ = a.Body.Close() // nothing is read of it
		return a.StatusCode == http.StatusOK
	})
	return url
}

// newBroker does for the services what a Knative Broker does: it takes events over HTTP and posts them to subscribers.
func newBroker(t *testing.T) (b *broker.Broker, ingress string) {
	t.Helper()
	b, err := broker.Open(t.Context(), broker.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	handler, err := serve.Events(serve.HandlerFunc(func(ctx context.Context, e cloudevents.Event) error { return b.Publish(ctx, e) }), serve.Options{})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(handler)
	t.Cleanup(func() {
		server.Close()
		if err := b.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	return b, server.URL
}

func TestServicesOverHTTPAndPostgres(t *testing.T) {
	dsn := pgtest.Schema(t)
	b, ingress := newBroker(t)
	triggers, err := broker.ParseTriggers(strings.NewReader(subscriber.Triggers()))
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Declare(t.Context(), triggers...); err != nil {
		t.Fatal(err)
	}
	c := cluster.New(t, cluster.Options{Token: "secret-word"}, "a", "b")
	document := filepath.Join(t.TempDir(), "group.yaml")
	if err := os.WriteFile(document, []byte(c.Document), 0o600); err != nil {
		t.Fatal(err)
	}
	settings := append(cluster.Environment(), env.Config+"="+document, env.State+"="+dsn, env.Broker+"="+ingress, env.Tokens+"=other,secret-word")
	for _, tr := range triggers {
		url := launch(t, tr.Subscriber, "", settings...)
		out, err := serve.NewHTTPSink(serve.SinkConfig{URL: url, Tries: 1, TryTimeout: tr.Timeout, Timeout: tr.Timeout})
		if err != nil {
			t.Fatal(err)
		}
		post := broker.HandlerFunc(func(ctx context.Context, e cloudevents.Event) error { return out.Publish(ctx, e) })
		if err := b.Subscribe(t.Context(), tr, post); err != nil {
			t.Fatal(err)
		}
	}
	launch(t, "normalizer-s3", c.Listen, settings...)

	c.Sites["a"].Put("k", "1")
	c.Everywhere("k", "1")
	c.Sites["b"].Put("k", "2")
	c.Everywhere("k", "2")
	c.Sites["a"].Delete("k")
	c.Everywhere("k", "")

	store, err := postgres.Open(t.Context(), dsn, postgres.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	}()
	idle := func() {
		cluster.Eventually(t, "every event is handled", func() bool {
			s, err := b.Status(t.Context())
			stats, serr := store.Stats(t.Context(), "test")
			if err != nil || serr != nil {
				t.Fatal(err, serr)
			}
			return s.Events == 0 && stats.Outbox == 0
		})
	}
	idle()
	if s, err := b.Status(t.Context()); err != nil || s.DeadLetters != 0 {
		t.Errorf("%d dead letters, %v", s.DeadLetters, err)
	}

	// Two write at once: the resolver is a process of its own.
	c.Sites["a"].Put("clash", "from a")
	c.Sites["b"].Put("clash", "from b")
	cluster.Eventually(t, "both sites hold the same, and nothing was lost", func() bool {
		ca, cb := c.Sites["a"].Contents(), c.Sites["b"].Contents()
		if len(ca) != len(cb) || len(ca) == 0 {
			return false
		}
		found := map[string]bool{}
		for key, content := range ca {
			if cb[key] != content {
				return false
			}
			found[content] = true
		}
		// Either the two were concurrent, and both are kept, or one was already everywhere when the other was written.
		return found["from b"] && (found["from a"] || len(ca) == 1)
	})
	idle()

	// A timer's event makes the service sync bring together what it was not told of.
	request, err := event.NewScan("", event.Scan{Group: "test", What: "backfill"}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Publish(t.Context(), request); err != nil {
		t.Fatal(err)
	}
	idle()
	head, err := audit.Verify(t.Context(), store.Audit(), audit.VerifyOptions{})
	if err != nil || head.Seq < 10 {
		t.Errorf("audit log of %d entries: %v", head.Seq, err)
	}
	entries, err := store.Audit().Range(t.Context(), 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, e := range entries {
		seen[e.Type] = true
	}
	for _, typ := range []string{event.ObjectWritten, event.ObjectDeleted, event.SyncApplied, event.ScanRequested} {
		if !seen[typ] {
			t.Errorf("the audit log has no %s", typ)
		}
	}
}

// A service says what it lacks, and ends.
func TestServicesRefuseToStart(t *testing.T) {
	g := filepath.Join(t.TempDir(), "group.yaml")
	if err := os.WriteFile(g, []byte("kind: "+config.Kind+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		service, says string
		environment   []string
	}{
		{"sync", env.Config, nil},
		{"conflict-resolver", env.Config, nil},
		{"normalizer-s3", env.Config, nil},
		{"audit", env.State, nil},
		{"sync", "apiVersion", []string{env.Config + "=" + g}},
		{"normalizer-s3", "apiVersion", []string{env.Config + "=" + g}},
	} {
		cmd := exec.CommandContext(t.Context(), filepath.Join(bin, c.service))
		cmd.Env = append([]string{"PORT=0"}, c.environment...)
		out, err := cmd.CombinedOutput()
		if err == nil || !strings.Contains(string(out), c.says) {
			t.Errorf("%s with %v: %v, must say %s:\n%s", c.service, c.environment, err, c.says, out)
		}
	}
}
