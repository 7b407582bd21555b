package child

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
)

// Run serves until ctx ends, and does not return before its server is gone. It calls ready once, when requests are answered.
type Run func(ctx context.Context, spec Spec, ready func(endpoint string)) error

// Serve is the child's side: it reads a Spec from stdin, runs the server of that kind, says so on stdout, and ends with
// stdin. Call it from main; it changes the process's standard output.
func Serve(ctx context.Context, stdin io.Reader, stdout *os.File, kinds map[string]Run) error {
	in := bufio.NewReader(stdin)
	line, err := in.ReadBytes('\n')
	if err != nil {
		return errkind.New(errkind.Invalid, "serve: read options: %w", err)
	}
	var spec Spec
	if err := json.Unmarshal(line, &spec); err != nil {
		return errkind.New(errkind.Invalid, "serve: decode options: %w", err)
	}
	run, ok := kinds[spec.Kind]
	if !ok || spec.Dir == "" {
		return errkind.New(errkind.Invalid, "serve: no server of the kind %q, or no folder for it", spec.Kind)
	}
	// Libraries print to os.Stdout, which belongs to the greeting.
	os.Stdout = os.Stderr
	// If the parent is killed, whatever is printed next would end this process, and leave what it has started.
	signal.Ignore(syscall.SIGPIPE)

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	orphan := make(chan bool, 1)
	go func() {
		rest, _ := io.ReadAll(io.LimitReader(in, int64(len(farewell)))) // an end of any kind is an end
		orphan <- string(rest) != farewell
		cancel()
	}()
	served := run(ctx, spec, func(endpoint string) {
		// A parent that is gone closes stdin as well, and that ends us.
		_ = json.NewEncoder(stdout).Encode(hello{Endpoint: endpoint})
	})
	if ctx.Err() == nil {
		if served == nil {
			served = errkind.New(errkind.Unavailable, "serve: the server ended by itself")
		}
		return served // it never served, or broke down; the parent sees the process end and asks why
	}
	err = os.RemoveAll(spec.Dir)
	if <-orphan && spec.Cleanup != "" {
		err = errors.Join(err, os.RemoveAll(spec.Cleanup))
	}
	return err //nolint:wrapcheck // says what can't be removed
}

// Options decodes those of a kind of server.
func Options[T any](spec Spec) (o T, err error) {
	if err := json.Unmarshal(spec.Options, &o); err != nil {
		return o, errkind.New(errkind.Invalid, "serve %s: decode options: %w", spec.Name, err)
	}
	return o, nil
}
