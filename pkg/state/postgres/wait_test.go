package postgres_test

import (
	"io"
	"net"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/state/postgres"
	"github.com/bucketmesh/bucketmesh/pkg/state/postgres/pgtest"
)

// door is an address that hangs up on the first connections, and leads to the server then, as one does that is restarted.
func door(t *testing.T, dsn string, closed int32) (through string, knocks *atomic.Int32) {
	t.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	server := u.Host
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	knocks = &atomic.Int32{}
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			if knocks.Add(1) <= closed {
				_ = in.Close()
				continue
			}
			out, err := net.Dial("tcp", server)
			if err != nil {
				_ = in.Close()
				continue
			}
			go func() { _, _ = io.Copy(out, in); _ = out.Close() }()
			go func() { _, _ = io.Copy(in, out); _ = in.Close() }()
		}
	}()
	u.Host = l.Addr().String()
	return u.String(), knocks
}

// A pod that is started while the database is restarted must not die of it: it would be started again later and later.
func TestOpenWaitsForAServerThatIsRestarted(t *testing.T) {
	through, knocks := door(t, pgtest.Schema(t), 20)
	if _, err := postgres.Open(t.Context(), through, postgres.Options{}); !errkind.Is(err, errkind.Unavailable) {
		t.Fatalf("without waiting: %v", err)
	}
	s, err := postgres.Open(t.Context(), through, postgres.Options{Wait: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if n := knocks.Load(); n <= 20 {
		t.Errorf("%d connections", n)
	}
}
