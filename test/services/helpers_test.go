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
	"sync"
	"syscall"
	"testing"
	"time"

	cloudevents "github.com/cloudevents/sdk-go/v2/event"

	"github.com/bucketmesh/bucketmesh/pkg/broker"
	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/event"
	"github.com/bucketmesh/bucketmesh/pkg/serve"
	"github.com/bucketmesh/bucketmesh/pkg/state/postgres"
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
	cmd := exec.CommandContext(context.Background(), "go", "build", "-o", bin, "./services/normalizer-s3", "./services/normalizer-gcs",
		"./services/normalizer-azure", "./services/puller", "./services/sync", "./services/conflict-resolver", "./services/audit", "./services/dead-letters")
	cmd.Dir = filepath.Join("..", "..")
	if out, err := cmd.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build services: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// variable of the environment that hack/test.sh sets.
func variable(t *testing.T, name string) string {
	t.Helper()
	v := os.Getenv(name)
	if v == "" {
		t.Fatalf("%s is not set: run the tests with hack/test.sh, which starts the servers", name)
	}
	return v
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// written is the path of a file with that content.
func written(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "group.yaml")
	must(t, os.WriteFile(path, []byte(content), 0o600))
	return path
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

// hub does for the services what a Knative Broker does: it takes events over HTTP and posts them to subscribers.
type hub struct {
	*broker.Broker

	url string // of the ingress

	mu      sync.Mutex
	down    bool
	refused map[string]int // events while it was down, by provider
	lose    func(trigger string, e cloudevents.Event) bool
}

func newHub(t *testing.T) *hub {
	t.Helper()
	b, err := broker.Open(t.Context(), broker.Config{Dir: t.TempDir()})
	must(t, err)
	h := &hub{Broker: b}
	ingress, err := serve.Events(serve.HandlerFunc(func(ctx context.Context, e cloudevents.Event) error {
		if h.refuse(e) {
			return errkind.New(errkind.Unavailable, "the broker is down")
		}
		return b.Publish(ctx, e)
	}), serve.Options{})
	must(t, err)
	server := httptest.NewServer(ingress)
	t.Cleanup(func() {
		server.Close()
		if err := b.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	h.url = server.URL
	return h
}

// refuse says whether the ingress is down, and counts what it did not take.
func (h *hub) refuse(e cloudevents.Event) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.down {
		provider, _ := e.Extensions()[event.ExtProvider].(string)
		h.refused[provider]++
	}
	return h.down
}

// setLose has events lost on their way to a subscriber: acknowledged, and not delivered.
func (h *hub) setLose(lose func(trigger string, e cloudevents.Event) bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lose = lose
}

func (h *hub) loses(trigger string, e cloudevents.Event) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.lose != nil && h.lose(trigger, e)
}

// setDown begins an outage, in which every event is answered with 503, or ends it.
func (h *hub) setDown(down bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.down, h.refused = down, map[string]int{}
}

// refusedFrom says whether an event of the provider came since the outage began.
func (h *hub) refusedFrom(provider string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.refused[provider] > 0
}

// subscribers launches the services that events are posted to.
func (h *hub) subscribers(t *testing.T, settings []string) {
	t.Helper()
	triggers, err := broker.ParseTriggers(strings.NewReader(subscriber.Triggers()))
	must(t, err)
	must(t, h.Declare(t.Context(), triggers...))
	for _, tr := range triggers {
		url := launch(t, tr.Subscriber, "", settings...)
		out, err := serve.NewHTTPSink(serve.SinkConfig{URL: url, Tries: 1, TryTimeout: tr.Timeout, Timeout: tr.Timeout})
		must(t, err)
		post := broker.HandlerFunc(func(ctx context.Context, e cloudevents.Event) error {
			if h.loses(tr.Name, e) {
				return nil
			}
			return out.Publish(ctx, e)
		})
		must(t, h.Subscribe(t.Context(), tr, post))
	}
}

// idle waits until every event is handled.
func (h *hub) idle(t *testing.T, store *postgres.Store) {
	t.Helper()
	cluster.Eventually(t, "every event is handled", func() bool {
		s, err := h.Status(t.Context())
		stats, serr := store.Stats(t.Context(), "test")
		if err != nil || serr != nil {
			t.Fatal(err, serr)
		}
		return s.Events == 0 && stats.Outbox == 0
	})
}

// openStore opens the services' state.
func openStore(t *testing.T, dsn string) *postgres.Store {
	t.Helper()
	store, err := postgres.Open(t.Context(), dsn, postgres.Options{})
	must(t, err)
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return store
}
