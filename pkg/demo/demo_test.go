package demo_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/demo"
	"github.com/bucketmesh/bucketmesh/pkg/demo/s3server"
)

// role says that this program is to be a server.
const role = "BUCKETMESH_TEST_ROLE"

func TestMain(m *testing.M) {
	if os.Getenv(role) == "" {
		os.Exit(m.Run())
	}
	if err := s3server.Serve(context.Background(), os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func server(ctx context.Context) *exec.Cmd {
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append(os.Environ(), role+"=server")
	return cmd
}

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

func TestDemo(t *testing.T) {
	d := start(t, demo.Options{})
	s, err := d.Run(t.Context())
	if err != nil {
		t.Fatalf("run demo: %v", err)
	}
	var text strings.Builder
	if err := s.Text(&text); err != nil {
		t.Fatal(err)
	}
	t.Log(text.String())
}
