package main

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"knative.dev/networking/pkg/apis/networking/v1alpha1"
)

// table has the paths of each host, in the order in which they are tried.
type table map[string][]v1alpha1.HTTPIngressPath

// proxy forwards each request as the table of the moment says.
type proxy struct {
	routes    atomic.Pointer[table]
	transport http.RoundTripper
}

func newProxy() *proxy {
	p := &proxy{transport: &http.Transport{
		MaxIdleConnsPerHost: 100,
		IdleConnTimeout:     5 * time.Second, // pods come and go behind a service's address
		DialContext:         (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
	}}
	p.routes.Store(&table{})
	return p
}

func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	path := match((*p.routes.Load())[host], r)
	if path == nil {
		http.Error(w, "no route for "+host, http.StatusNotFound)
		return
	}
	split := draw(path.Splits)
	target := &url.URL{Scheme: "http", Host: fmt.Sprintf("%s.%s.svc.cluster.local:%s", split.ServiceName, split.ServiceNamespace, split.ServicePort.String())}
	(&httputil.ReverseProxy{
		FlushInterval: -1,
		Transport:     p.transport,
		Rewrite: func(out *httputil.ProxyRequest) {
			out.SetXForwarded()
			out.Out.URL.Scheme, out.Out.URL.Host, out.Out.Host = target.Scheme, target.Host, out.In.Host
			if path.RewriteHost != "" {
				out.Out.Host = path.RewriteHost
			}
			for _, headers := range []map[string]string{path.AppendHeaders, split.AppendHeaders} {
				for name, value := range headers {
					out.Out.Header.Set(name, value)
				}
			}
		},
	}).ServeHTTP(w, r)
}

// match is the first path that the request fits.
func match(paths []v1alpha1.HTTPIngressPath, r *http.Request) *v1alpha1.HTTPIngressPath {
next:
	for i, p := range paths {
		if !strings.HasPrefix(r.URL.Path, p.Path) {
			continue
		}
		for name, m := range p.Headers {
			if r.Header.Get(name) != m.Exact {
				continue next
			}
		}
		return &paths[i]
	}
	return nil
}

// draw picks one of the splits, by their percentages.
func draw(splits []v1alpha1.IngressBackendSplit) v1alpha1.IngressBackendSplit {
	n := rand.IntN(100)
	for _, s := range splits[:len(splits)-1] {
		if n -= s.Percent; n < 0 {
			return s
		}
	}
	return splits[len(splits)-1]
}
