package azurite

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/debug"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"github.com/bucketmesh/bucketmesh/pkg/demo/child"
	"github.com/bucketmesh/bucketmesh/pkg/demo/emulator"
	"github.com/bucketmesh/bucketmesh/pkg/errkind"
)

const (
	heap = 128 << 20 // bytes, of the gate: it holds what is being written
	// nodeHeap is for Azurite. What it stores is on disk.
	nodeHeap = "--max-old-space-size=256"
	// keepAlive is in seconds, and longer than the gate keeps its connections: who of the two closes one while the other
	// sends a write loses it.
	keepAlive = "120"
)

// Run is the child's side: Azurite, and the gate in front of it.
func Run(ctx context.Context, spec child.Spec, ready func(endpoint string)) (err error) {
	opts, err := child.Options[Options](spec)
	if err != nil {
		return err //nolint:wrapcheck // says "serve"
	}
	if err := opts.validate(); err != nil {
		return err
	}
	debug.SetMemoryLimit(heap)
	data := filepath.Join(spec.Dir, "data")
	if err := os.MkdirAll(data, 0o700); err != nil {
		return fmt.Errorf("serve azure: make folder: %w", err)
	}
	a, err := start(ctx, opts, data)
	if err != nil {
		return err
	}
	defer a.end()
	grid := emulator.NewEventGrid(emulator.EventGridConfig{Webhook: opts.Webhook, Account: opts.Account})
	defer grid.Close()
	gate, err := emulator.NewAzure(a.endpoint, opts.Account, opts.Key, grid.Publish)
	if err != nil {
		return fmt.Errorf("serve azure: %w", err)
	}
	endpoint, closeGate, err := emulator.Serve(ctx, "127.0.0.1:0", gate)
	if err != nil {
		return fmt.Errorf("serve azure: %w", err)
	}
	defer func() { err = errors.Join(err, closeGate()) }()
	if err := makeContainer(ctx, endpoint, opts); err != nil {
		return err
	}
	ready(endpoint)
	select {
	case <-a.gone:
		return errkind.New(errkind.Unavailable, "serve azure: Azurite ended")
	case <-ctx.Done():
		return nil
	}
}

func makeContainer(ctx context.Context, endpoint string, opts Options) error {
	key, err := container.NewSharedKeyCredential(opts.Account, opts.Key)
	if err != nil {
		return errkind.New(errkind.Invalid, "serve azure: account key: %w", err)
	}
	c, err := container.NewClientWithSharedKeyCredential(endpoint+"/"+opts.Account+"/"+opts.Container, key, nil)
	if err != nil {
		return errkind.New(errkind.Invalid, "serve azure: %w", err)
	}
	if _, err := c.Create(ctx, nil); err != nil {
		return errkind.New(errkind.Unavailable, "serve azure: make container: %w", err)
	}
	return nil
}

// running is Azurite at work.
type running struct {
	endpoint string // of its blob service
	stop     context.CancelFunc
	gone     chan struct{}
}

// listening is what Azurite says when its blob service is up. It finds free ports by itself, and tells of them there.
var listening = regexp.MustCompile(`Blob service .*successful.* (http://127\.0\.0\.1:\d+)`)

// start starts Azurite with all its services, of which the blob service is used, and waits until that is up.
func start(ctx context.Context, opts Options, data string) (*running, error) {
	ctx, stop := context.WithCancel(ctx)
	cmd := exec.CommandContext(ctx, opts.Program, "--silent", "--location", data, "--skipApiVersionCheck", "--disableTelemetry",
		"--blobHost", "127.0.0.1", "--blobPort", "0", "--blobKeepAliveTimeout", keepAlive, "--queueHost", "127.0.0.1", "--queuePort", "0",
		"--tableHost", "127.0.0.1", "--tablePort", "0")
	cmd.Dir = data
	cmd.Env = append(os.Environ(), "AZURITE_ACCOUNTS="+opts.Account+":"+opts.Key, "NODE_OPTIONS="+nodeHeap)
	// Not our own standard error: who waits for us waits for its end, and Azurite would hold it open if we were killed.
	cmd.Stderr = struct{ io.Writer }{os.Stderr}
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		stop()
		return nil, errkind.New(errkind.Unavailable, "serve azure: start Azurite: %w", err)
	}
	a := &running{stop: stop, gone: make(chan struct{})}
	up := make(chan string, 1)
	go func() {
		defer close(a.gone)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if m := listening.FindSubmatch(lines.Bytes()); m != nil && len(up) == 0 {
				up <- string(m[1])
				continue
			}
			fmt.Fprintln(os.Stderr, lines.Text())
		}
		_, _ = io.Copy(io.Discard, out) // after a line that is too long
		_ = cmd.Wait()                  // it was ended, or has said why
	}()
	select {
	case a.endpoint = <-up:
		return a, nil
	case <-a.gone:
		stop()
		return nil, errkind.New(errkind.Unavailable, "serve azure: Azurite (%s) ended before it served", opts.Program)
	case <-ctx.Done():
		a.end()
		return nil, errkind.New(errkind.Canceled, "serve azure: %w", ctx.Err())
	}
}

// end ends Azurite. It is killed: its data are not needed any more.
func (a *running) end() {
	a.stop()
	<-a.gone
}
