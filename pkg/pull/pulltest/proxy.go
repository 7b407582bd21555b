package pulltest

import (
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// Proxy passes connections on to a server, until it is cut: then nobody answers, as if the server was gone.
type Proxy struct {
	Addr string // host:port

	to    string
	mu    sync.Mutex
	l     net.Listener
	conns map[net.Conn]bool
}

// NewProxy listens on loopback until the test ends; to is host:port.
func NewProxy(t *testing.T, to string) *Proxy {
	t.Helper()
	p := &Proxy{to: to, conns: make(map[net.Conn]bool)}
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p.Addr = l.Addr().String()
	p.serve(l)
	t.Cleanup(p.Cut)
	return p
}

// Cut ends all connections, and takes no new ones.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = p.l.Close()
	for c := range p.conns {
		_ = c.Close()
	}
}

// Restore listens again, where it did.
func (p *Proxy) Restore(t *testing.T) {
	t.Helper()
	var l net.Listener
	Eventually(t, "listen again at "+p.Addr, func() bool {
		var err error
		l, err = new(net.ListenConfig).Listen(t.Context(), "tcp", p.Addr)
		return err == nil
	})
	p.serve(l)
}

func (p *Proxy) serve(l net.Listener) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.l = l
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := (&net.Dialer{Timeout: time.Second}).Dial("tcp", p.to)
			if err != nil {
				_ = in.Close()
				continue
			}
			p.mu.Lock()
			p.conns[in], p.conns[out] = true, true
			p.mu.Unlock()
			go p.copy(in, out)
			go p.copy(out, in)
		}
	}()
}

func (p *Proxy) copy(to, from net.Conn) {
	_, _ = io.Copy(to, from)
	_ = to.Close()
	_ = from.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, to)
	delete(p.conns, from)
}
