package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/normalize/s3"
)

// gate is the address that the servers notify. The servers want to tell somebody that they start before the pipeline can
// be there, which needs the servers; so the gate is first, and later leads to the pipeline. What passes is also told to
// the demo, which learns from it when a change has arrived where.
//
// The S3 servers tell everything once and give up after three seconds. The gate tries again, as Amazon does: the demo is
// about synchronizing, and losing notifications is another exercise (bucketmesh sync). For the others it is one webhook as
// any: Pub/Sub (package gcsserver stands in for its push) and Event Grid (the gate of package emulator) try again themselves.
type gate struct {
	server *http.Server
	addr   string
	tell   func(Notification)
	next   atomic.Pointer[string] // URL of the normalizer
	client *http.Client
	served chan struct{}
	done   context.Context // ends with the gate
	stop   context.CancelFunc
}

// delivery bounds the attempts for one notification.
const delivery = 30 * time.Second

const maxNotification = 1 << 20 // bytes

func openGate(ctx context.Context, tell func(Notification)) (*gate, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for notifications: %w", err)
	}
	g := &gate{
		addr: l.Addr().String(), tell: tell, served: make(chan struct{}),
		client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}, Timeout: 10 * time.Second},
	}
	g.done, g.stop = context.WithCancel(context.WithoutCancel(ctx))
	g.server = &http.Server{Handler: g, ReadHeaderTimeout: 5 * time.Second}
	go func() {
		defer close(g.served)
		_ = g.server.Serve(l) // ends with close, and with nothing else on a listener that works
	}()
	return g, nil
}

// url is where a replica's server posts to: the normalizer's own path, with the secret that proves who it is.
func (g *gate) url(prefix, replica, token string) string {
	to := "bucketmesh:" + token + "@" + g.addr + prefix + replica
	if prefix != s3.PathPrefix { // Pub/Sub and Event Grid have a query for it
		to = g.addr + prefix + replica + "?token=" + token
	}
	return "http://" + to
}

// lead opens the gate: what comes goes to the normalizer at a URL.
func (g *gate) lead(to string) { g.next.Store(&to) }

func (g *gate) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	g.stop()
	err := g.server.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) { // a server that is being stopped keeps its connection
		err = g.server.Close()
	}
	<-g.served
	g.client.CloseIdleConnections()
	return err
}

// ServeHTTP implements http.Handler. Before the gate is opened there is nothing but the servers' test events.
func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	now := time.Now()
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxNotification))
	if err != nil {
		http.Error(w, "the notification can't be read", http.StatusRequestEntityTooLarge)
		return
	}
	next := g.next.Load()
	if next == nil {
		return
	}
	// The demo looks first: when the pipeline acts, the demo knows why.
	for _, n := range read(r.URL.Path, body, now) {
		g.tell(n)
	}
	status, err := g.forward(*next+r.URL.RequestURI(), r.Header, body)
	if err != nil {
		http.Error(w, "the normalizer does not take it", http.StatusBadGateway)
		return
	}
	w.WriteHeader(status)
}

// forward gives a notification to the normalizer until it is answered for good, whether or not the sender still waits.
func (g *gate) forward(to string, header http.Header, body []byte) (status int, err error) {
	return backoff.Retry(g.done, func() (int, error) {
		req, err := http.NewRequestWithContext(g.done, http.MethodPost, to, bytes.NewReader(body))
		if err != nil {
			return 0, backoff.Permanent(err)
		}
		req.Header = header.Clone()
		res, err := g.client.Do(req)
		if err != nil {
			return 0, err
		}
		_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, maxNotification)) // so that the connection is used again
		_ = res.Body.Close()
		if res.StatusCode >= http.StatusInternalServerError {
			return 0, errkind.New(errkind.Unavailable, "the normalizer answered %s", res.Status)
		}
		return res.StatusCode, nil
	}, backoff.WithMaxElapsedTime(delivery))
}
