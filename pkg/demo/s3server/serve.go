package s3server

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime/debug"
	"syscall"

	"github.com/versity/versitygw/backend/meta"
	"github.com/versity/versitygw/backend/posix"
	"github.com/versity/versitygw/embedgw"
	"github.com/versity/versitygw/s3api"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
)

// Limits of one server.
const (
	maxConnections = 512
	maxRequests    = 256
	maxParts       = 10_000
	portTries      = 20
	maxCopy        = 5 << 30   // bytes, as at Amazon; a copy onto itself edits metadata
	heap           = 192 << 20 // bytes after which the collector works harder: three servers share a laptop
)

// Serve is the child's side: it reads Options from stdin, serves, says so on stdout, and ends with stdin. Call it from
// main; it changes the process's working directory and standard output.
func Serve(ctx context.Context, stdin io.Reader, stdout *os.File) error {
	in := bufio.NewReader(stdin)
	line, err := in.ReadBytes('\n')
	if err != nil {
		return errkind.New(errkind.Invalid, "serve s3: read options: %w", err)
	}
	var opts Options
	if err := json.Unmarshal(line, &opts); err != nil {
		return errkind.New(errkind.Invalid, "serve s3: decode options: %w", err)
	}
	if err := opts.validate(); err != nil {
		return err
	}
	debug.SetMemoryLimit(heap)
	// The library prints to os.Stdout, which belongs to the greeting.
	os.Stdout = os.Stderr //nolint:reassign // this process is nothing but the server

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	orphan := make(chan bool, 1)
	go func() {
		rest, _ := io.ReadAll(io.LimitReader(in, int64(len(farewell)))) // an end of any kind is an end
		orphan <- string(rest) != farewell
		cancel()
	}()
	err = serve(ctx, opts, func(endpoint string) error {
		return json.NewEncoder(stdout).Encode(hello{Endpoint: endpoint})
	})
	if ctx.Err() == nil {
		return err // it never served, or broke down; the parent sees the process end and asks why
	}
	err = errors.Join(err, os.RemoveAll(opts.Dir))
	if <-orphan && opts.Cleanup != "" {
		err = errors.Join(err, os.RemoveAll(opts.Cleanup))
	}
	return err
}

// serve runs the gateway on a free port until ctx ends. The library can't tell which port the system gave it, so one is
// looked for beforehand; should another process take it in between, the next one is tried.
func serve(ctx context.Context, opts Options, ready func(endpoint string) error) error {
	objects, sidecar := filepath.Join(opts.Dir, "objects"), filepath.Join(opts.Dir, "attributes")
	for _, dir := range []string{filepath.Join(objects, opts.Bucket), sidecar} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("serve s3: make folder: %w", err)
		}
	}
	// Attributes in files of their own need no extended attributes, which tmpfs and container file systems may lack.
	store, err := meta.NewSideCar(sidecar)
	if err != nil {
		return fmt.Errorf("serve s3: open attributes: %w", err)
	}
	files, err := posix.New(objects, store, posix.PosixOpts{SideCarDir: sidecar, CopyObjectThreshold: maxCopy})
	if err != nil {
		return fmt.Errorf("serve s3: open folder: %w", err)
	}
	for range portTries {
		var addr string
		if addr, err = freeAddr(ctx); err != nil {
			return err
		}
		err = embedgw.RunVersityGW(ctx, files, &embedgw.Config{
			RootUserAccess: opts.AccessKey, RootUserSecret: opts.SecretKey, Region: "us-east-1",
			Ports: []string{addr}, MaxConnections: maxConnections, MaxRequests: maxRequests, MultipartMaxParts: maxParts,
			EventWebhookURL: opts.Webhook, Quiet: true, KeepAlive: true,
			S3Options: []s3api.Option{s3api.WithOnListen(func() {
				// A parent that is gone closes stdin as well, and that ends us.
				_ = ready("http://" + addr)
			})},
		})
		if !errors.Is(err, syscall.EADDRINUSE) {
			break
		}
	}
	if ctx.Err() != nil {
		return nil // that is how it should end
	}
	return fmt.Errorf("serve s3: %w", cmp.Or(err, errors.New("the server ended by itself")))
}

func freeAddr(ctx context.Context) (string, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", errkind.New(errkind.Unavailable, "serve s3: find a free port: %w", err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String(), nil
}
