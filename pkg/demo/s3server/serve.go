package s3server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"github.com/gofiber/fiber/v3"
	"github.com/versity/versitygw/backend/meta"
	"github.com/versity/versitygw/backend/posix"
	"github.com/versity/versitygw/embedgw"
	"github.com/versity/versitygw/s3api"

	"github.com/bucketmesh/bucketmesh/pkg/demo/child"
	"github.com/bucketmesh/bucketmesh/pkg/errkind"
)

// Limits of one server.
const (
	maxConnections = 512
	maxRequests    = 256
	maxParts       = 10_000
	portTries      = 20
	grace          = 100 * time.Millisecond
	maxCopy        = 5 << 30   // bytes, as at Amazon; a copy onto itself edits metadata
	heap           = 192 << 20 // bytes after which the collector works harder: three servers share a laptop
)

// Run is the child's side. It serves one gateway in this process, whose working directory it changes.
func Run(ctx context.Context, spec child.Spec, ready func(endpoint string)) error {
	opts, err := child.Options[Options](spec)
	if err != nil {
		return err //nolint:wrapcheck // says "serve"
	}
	if err := opts.validate(); err != nil {
		return err
	}
	debug.SetMemoryLimit(heap)
	var served error
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		served = serve(ctx, opts, spec.Dir, ready)
	}()
	select {
	case <-ended:
		return served
	case <-ctx.Done():
	}
	// The library waits for clients to close their connections. Nobody is left who needs an answer.
	select {
	case <-ended:
	case <-time.After(grace):
	}
	return nil
}

// serve runs the gateway on a free port until ctx ends. The library can't tell which port the system gave it, so one is
// looked for beforehand; should another process take it in between, the next one is tried.
func serve(ctx context.Context, opts Options, dir string, ready func(endpoint string)) error {
	objects := filepath.Join(dir, "objects")
	if err := os.MkdirAll(filepath.Join(objects, opts.Bucket), 0o700); err != nil {
		return fmt.Errorf("serve s3: make folder: %w", err)
	}
	store, extra, err := attributes(opts.Sidecar, dir, objects)
	if err != nil {
		return err
	}
	files, err := posix.New(objects, store, posix.PosixOpts{CopyObjectThreshold: maxCopy})
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
			S3Options: append(extra, s3api.WithOnListen(func() { ready("http://" + addr) })),
		})
		if !errors.Is(err, syscall.EADDRINUSE) {
			break
		}
	}
	return fmt.Errorf("serve s3: %w", cmp.Or(err, errors.New("the server ended by itself")))
}

// attributes is where tags, types and metadata of objects are kept: with the files, in extended attributes, which change
// together with them; or in files of their own, where the file system has no such attributes (some container file
// systems, tmpfs of older kernels). The library writes those before it publishes an object, and removes folders that another
// request is about to use: only requests that do not overlap find everything as it should be.
func attributes(sidecar bool, root, objects string) (meta.MetadataStorer, []s3api.Option, error) {
	if !sidecar && (meta.XattrMeta{}).StoreAttribute(nil, objects, "", "bucketmesh-test", []byte("1")) == nil {
		return meta.XattrMeta{}, nil, nil
	}
	dir := filepath.Join(root, "attributes")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, nil, fmt.Errorf("serve s3: make folder: %w", err)
	}
	store, err := meta.NewSideCar(dir)
	if err != nil {
		return nil, nil, fmt.Errorf("serve s3: open attributes: %w", err)
	}
	var order sync.RWMutex
	return store, []s3api.Option{s3api.WithMiddleware("/", func(c fiber.Ctx) error {
		if m := c.Method(); m == fiber.MethodGet || m == fiber.MethodHead {
			order.RLock()
			defer order.RUnlock()
		} else {
			order.Lock()
			defer order.Unlock()
		}
		return c.Next()
	})}, nil
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
