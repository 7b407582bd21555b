// Command testevent takes the one event that versitygw sends when it starts, in place of a normalizer that is not up
// yet, and ends. It fails if the address is taken, or if no event came in time.
package main

import (
	"context"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:19000", "address to take the event at")
	limit := flag.Duration("for", time.Minute, "how long to wait for the event")
	flag.Parse()
	if err := run(*listen, *limit); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(listen string, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", listen)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	taken := make(chan struct{}, 1)
	srv := &http.Server{
		ReadHeaderTimeout: limit,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusNoContent)
			if r.Method == http.MethodPost {
				select {
				case taken <- struct{}{}:
				default: // one is enough
				}
			}
		}),
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }()
	select {
	case <-taken:
		// Shutdown waits for the answer to be written, and no longer than the whole time allowed.
		if err := srv.Shutdown(ctx); err != nil {
			return fmt.Errorf("finish answer: %w", err)
		}
		return nil
	case err := <-served:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
		return fmt.Errorf("no event came within %s", limit)
	}
}
