package e2e

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync/atomic"
	"time"
)

// gate is between the senders of notifications and the normalizer. Closed, it takes notifications and throws them away: the
// senders believe that they were delivered, so none comes later.
type gate struct {
	closed  atomic.Bool
	dropped atomic.Int64
	passed  atomic.Int64
	server  *http.Server
	failed  chan error
}

// openGate listens at one address and passes requests on to another.
func openGate(ctx context.Context, listen, to string) (*gate, error) {
	g := &gate{failed: make(chan error, 1)}
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: to})
	proxy.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) }
	g.server = &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if g.closed.Load() {
			g.dropped.Add(1)
			w.WriteHeader(http.StatusOK)
			return
		}
		g.passed.Add(1)
		proxy.ServeHTTP(w, r)
	})}
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", listen)
	if err != nil {
		return nil, fmt.Errorf("listen for notifications: %w", err)
	}
	go func() { g.failed <- g.server.Serve(ln) }()
	return g, nil
}

func (g *gate) close() error {
	err := g.server.Close()
	if served := <-g.failed; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}
