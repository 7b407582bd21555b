package cluster

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// The ports of FreePort lie below those that systems give to whoever asks for any port (from 32768 on Linux, from 49152
// elsewhere), and above those of hack/servers.sh: between the answer of FreePort and the start of the server, no connection
// and no listener of another test gets one of them by chance.
const (
	firstPort = 20100
	lastPort  = 32700
)

// FreePort is a port of loopback that nobody listens on. It belongs to the test until its end, also after a server on it
// was stopped: among test processes, a lock on a file stands for it.
func FreePort(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(os.TempDir(), "bucketmesh-test-ports")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for range 1000 {
		port := firstPort + rand.IntN(lastPort-firstPort)
		if reserve(t, filepath.Join(dir, fmt.Sprint(port)), port) {
			return fmt.Sprintf("127.0.0.1:%d", port)
		}
	}
	t.Fatalf("no port from %d to %d is free", firstPort, lastPort)
	return ""
}

// reserve says whether the port was free. If it was, it is the test's.
func reserve(t *testing.T, path string, port int) bool {
	t.Helper()
	lock, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil {
		_ = lock.Close() // another test has it
		return false
	}
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		_ = lock.Close() // somebody else listens there
		return false
	}
	_ = l.Close()
	t.Cleanup(func() { _ = lock.Close() })
	return true
}
