// Command svcproxy stands for a cluster's DNS and its addresses where there is no cluster: it is an HTTP proxy (HTTP_PROXY) that
// takes requests for the names of Services to ports of loopback.
//
//	svcproxy -listen 127.0.0.1:3128 broker-ingress.knative-eventing.svc.cluster.local=127.0.0.1:8181 '*-kn-channel.*=127.0.0.1:8080'
//
// A pattern is a name, or one with stars for any part of a name; the first that matches counts. What matches none is answered with
// 502, as is a request to a port where nobody listens.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"os"
	"os/signal"
	"path"
	"strings"
	"syscall"
	"time"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "svcproxy:", err)
		os.Exit(1)
	}
}

func run() error {
	listen := flag.String("listen", "127.0.0.1:3128", "host:port")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	names, err := parse(flag.Args())
	if err != nil {
		return err
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", *listen)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	server := &http.Server{Handler: names.proxy(), ReadHeaderTimeout: 10 * time.Second}
	context.AfterFunc(ctx, func() { _ = server.Close() }) // what is under way comes again
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve: %w", err)
	}
	return nil
}

// table says where names lead.
type table []struct{ pattern, address string }

func parse(args []string) (table, error) {
	t := make(table, len(args))
	for i, a := range args {
		var ok bool
		if t[i].pattern, t[i].address, ok = strings.Cut(a, "="); !ok {
			return nil, fmt.Errorf("%q: must be NAME=HOST:PORT", a)
		}
		if _, err := path.Match(t[i].pattern, ""); err != nil {
			return nil, fmt.Errorf("%q: %w", a, err)
		}
	}
	return t, nil
}

// find is the address of a host, which may have a port; "" if there is none.
func (t table) find(host string) string {
	name, _, _ := strings.Cut(host, ":")
	for _, e := range t {
		if ok, err := path.Match(e.pattern, name); ok && err == nil {
			return e.address
		}
	}
	return ""
}

func (t table) proxy() http.Handler {
	forward := &httputil.ReverseProxy{
		Transport: &http.Transport{MaxIdleConnsPerHost: 100, IdleConnTimeout: time.Minute}, // and no proxy behind it
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host, r.Out.Host = "http", t.find(r.In.Host), r.In.Host
		},
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if t.find(r.Host) == "" {
			http.Error(w, "no such service: "+r.Host, http.StatusBadGateway)
			return
		}
		forward.ServeHTTP(w, r)
	})
}
