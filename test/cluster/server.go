package cluster

import (
	"bytes"
	"context"
	"net/http"
	"os"
	"os/exec"
	"testing"
	"time"
)

// server is a MinIO server that can be stopped and started again.
type server struct {
	t        *testing.T
	endpoint string
	address  string
	dir      string
	env      []string
	log      bytes.Buffer
	cmd      *exec.Cmd
	ended    chan struct{}
}

func newServer(t *testing.T, webhook string, o Options) *server {
	t.Helper()
	s := &server{t: t, address: FreePort(t), dir: t.TempDir()}
	s.endpoint = "http://" + s.address
	s.env = append(os.Environ(),
		"MINIO_ROOT_USER="+accessKey, "MINIO_ROOT_PASSWORD="+secretKey, "MINIO_BROWSER=off",
		"MINIO_NOTIFY_WEBHOOK_ENABLE_T1=on", "MINIO_NOTIFY_WEBHOOK_ENDPOINT_T1="+webhook,
	)
	if o.Token != "" {
		s.env = append(s.env, "MINIO_NOTIFY_WEBHOOK_AUTH_TOKEN_T1="+o.Token)
	}
	if o.QueueDir {
		s.env = append(s.env, "MINIO_NOTIFY_WEBHOOK_QUEUE_DIR_T1="+s.dir+"/queue")
	}
	t.Cleanup(func() {
		s.stop()
		if t.Failed() {
			t.Logf("MinIO at %s said:\n%s", s.address, s.log.String())
		}
	})
	return s
}

func (s *server) start() {
	s.t.Helper()
	bin := os.Getenv("BUCKETMESH_TEST_MINIO_BIN")
	if bin == "" {
		s.t.Fatal("BUCKETMESH_TEST_MINIO_BIN is not set: run hack/test.sh, which installs MinIO and says where it is")
	}
	// Not the test's context: it is canceled before the clean-up, which stops the server in its order.
	s.cmd = exec.CommandContext(context.WithoutCancel(s.t.Context()), bin, "server", "--quiet", "--address", s.address, s.dir+"/data")
	s.cmd.Env, s.cmd.Stdout, s.cmd.Stderr = s.env, &s.log, &s.log
	if err := s.cmd.Start(); err != nil {
		s.t.Fatalf("start MinIO: %v", err)
	}
	client := &http.Client{Timeout: 5 * time.Second}
	s.ended = make(chan struct{})
	go func(cmd *exec.Cmd, ended chan struct{}) {
		_ = cmd.Wait() // it is killed
		close(ended)
	}(s.cmd, s.ended)
	Eventually(s.t, "MinIO is healthy", func() bool {
		r, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, s.endpoint+"/minio/health/cluster", nil)
		if err != nil {
			s.t.Fatal(err)
		}
		a, err := client.Do(r)
		if err != nil {
			return false
		}
		_ = a.Body.Close() // nothing is read of it
		return a.StatusCode == http.StatusOK
	})
}

func (s *server) stop() {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Kill() // it may have ended by itself
	<-s.ended
	s.cmd = nil
}
