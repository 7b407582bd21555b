package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/normalize/s3"
)

// Notification is what a server said of itself, as far as the demo looks into it.
type Notification struct {
	Site    string
	Key     string
	ETag    string // without quotes; "" for a delete
	Deleted bool
	At      time.Time // when it came
}

// gate is the address that the servers notify. The servers want to tell somebody that they start before the pipeline can
// be there, which needs the servers; so the gate is first, and later leads to the pipeline. What passes is also told to
// the demo, which learns from it when a change has arrived where.
type gate struct {
	server *http.Server
	addr   string
	tell   func(Notification)
	next   atomic.Pointer[httputil.ReverseProxy]
	served chan struct{}
}

const maxNotification = 1 << 20 // bytes

const notifyPath = s3.PathPrefix

func openGate(ctx context.Context, tell func(Notification)) (*gate, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for notifications: %w", err)
	}
	g := &gate{addr: l.Addr().String(), tell: tell, served: make(chan struct{})}
	g.server = &http.Server{Handler: g, ReadHeaderTimeout: 5 * time.Second}
	go func() {
		defer close(g.served)
		_ = g.server.Serve(l) // ends with close, and with nothing else on a listener that works
	}()
	return g, nil
}

// url is where a replica's server posts to: the normalizer's own path, with the secret that proves who it is.
func (g *gate) url(replica, token string) string {
	return "http://bucketmesh:" + token + "@" + g.addr + notifyPath + replica
}

// lead opens the gate: what comes goes to the normalizer at a URL.
func (g *gate) lead(to *url.URL) {
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to) }}
	g.next.Store(proxy)
}

func (g *gate) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	err := g.server.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) { // a server that is being stopped keeps its connection
		err = g.server.Close()
	}
	<-g.served
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
	for _, n := range read(strings.TrimPrefix(r.URL.Path, notifyPath), body, now) {
		g.tell(n)
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	next.ServeHTTP(w, r)
}

// read is deliberately not the product's decoder: the demo must not see with the eyes of what it checks.
func read(site string, body []byte, at time.Time) []Notification {
	var message struct {
		Records []struct {
			EventName string `json:"eventName"`
			S3        struct {
				Object struct {
					Key  string `json:"key"`
					ETag string `json:"eTag"`
				} `json:"object"`
			} `json:"s3"`
		}
	}
	if err := json.Unmarshal(body, &message); err != nil {
		return nil // not ours to judge; the normalizer gets it
	}
	var out []Notification
	for _, r := range message.Records {
		n := Notification{Site: site, Key: r.S3.Object.Key, ETag: strings.Trim(r.S3.Object.ETag, `"`), At: at}
		switch {
		case strings.Contains(r.EventName, "ObjectCreated:"):
		case strings.Contains(r.EventName, "ObjectRemoved:"):
			n.Deleted, n.ETag = true, ""
		default:
			continue
		}
		out = append(out, n)
	}
	return out
}
