// Package transport is the HTTP transport of the drivers: bounded where net/http's default isn't, and bytes are copied as they
// are stored.
//
// There are no errors. A transport may be used from many goroutines.
package transport

import (
	"net"
	"net/http"
	"time"
)

// New is a transport that connects within timeout (10 s at most) and keeps that many connections open to a host.
func New(timeout time.Duration, connections int) *http.Transport {
	connect := min(timeout, 10*time.Second)
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: connect, KeepAlive: 30 * time.Second}).DialContext,
		TLSHandshakeTimeout:   connect,
		ExpectContinueTimeout: time.Second,
		MaxIdleConns:          connections,
		MaxIdleConnsPerHost:   connections,
		IdleConnTimeout:       90 * time.Second,
		ForceAttemptHTTP2:     true,
		DisableCompression:    true, // bytes are copied as they are stored
	}
}
