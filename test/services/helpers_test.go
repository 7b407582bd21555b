package services_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/serve"
	"github.com/bucketmesh/bucketmesh/pkg/serve/env"
	"github.com/bucketmesh/bucketmesh/pkg/state/postgres"
	"github.com/bucketmesh/bucketmesh/pkg/state/postgres/pgtest"
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

// serveS3 runs the services over a document whose replicas are S3's, with normalizer-s3 where the webhooks of c go.
func serveS3(t *testing.T, c *cluster.Cluster, document string) (b *hub, o operator) {
	t.Helper()
	dsn, path := pgtest.Schema(t), written(t, document)
	b = newHub(t)
	settings := append(cluster.Environment(), env.Config+"="+path, env.State+"="+dsn, env.Broker+"="+b.url, env.Tokens+"=secret-word")
	b.subscribers(t, settings)
	launch(t, "normalizer-s3", c.Listen, settings...)
	return b, operator{t, []string{"-f", path, "--state", dsn}}
}
