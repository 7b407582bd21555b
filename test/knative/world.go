package knative

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/bucketmesh/bucketmesh/test/e2e"
)

// world is what scenarios act upon.
type world struct {
	options
	fleet    fleet
	doors    []door
	stage    *e2e.Stage
	http     *http.Client
	token    string // that senders of notifications show
	progress io.Writer
	last     atomic.Int64 // number of an operation
}

// size of a content, bytes.
const size = 1024

// do carries out an operation as a user and says its number.
func (w *world) do(ctx context.Context, kind e2e.Kind, replica int, key string) (int, error) {
	return w.doNoted(ctx, kind, replica, key, "knative")
}

// doNoted is do with a note in the metadata. Where a bucket has no history that tells what was overwritten, users write under the
// condition that it is what they saw.
func (w *world) doNoted(ctx context.Context, kind e2e.Kind, replica int, key, note string) (int, error) {
	n := int(w.last.Add(1))
	op := e2e.Operation{Number: n, Replica: replica, Kind: kind, Key: key, Size: size, ContentType: "text/plain", Conditional: w.fleet.pushed, Note: note}
	return n, w.stage.Do(ctx, op)
}

// readable waits until a replica has the content that an operation made.
func (w *world) readable(ctx context.Context, replica int, key string, op int, within time.Duration) error {
	return poll(ctx, within, 10*time.Millisecond, fmt.Sprintf("%s is at %s", key, w.fleet.names[replica]), func(ctx context.Context) (bool, error) {
		got, err := w.stage.Reads(ctx, replica, key)
		return got == op, err
	})
}

// poll asks until the answer is yes. An error is a no, and is told when the time is over.
func poll(ctx context.Context, within, every time.Duration, what string, ask func(context.Context) (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		ok, err := ask(ctx)
		if ok && err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("gave up waiting until %s after %s: %w", what, within, errors.Join(ctx.Err(), err))
		}
	}
}

// post sends a body and says the status of the answer.
func (w *world) post(ctx context.Context, url string, body []byte, header http.Header) (int, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return 0, fmt.Errorf("make request: %w", err)
	}
	r.Header = header
	a, err := w.http.Do(r)
	if err != nil {
		return 0, fmt.Errorf("post: %w", err)
	}
	defer a.Body.Close()
	_, err = io.Copy(io.Discard, a.Body)
	return a.StatusCode, err
}

// tell has a service killed with kill -9 (and started again), stopped or started.
func (w *world) tell(ctx context.Context, verb, name string) error {
	ctx, cancel := context.WithTimeout(ctx, w.within)
	defer cancel()
	out, err := exec.CommandContext(ctx, w.control, verb, name).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s %s: %w\n%s", filepath.Base(w.control), verb, name, err, out)
	}
	return nil
}

// cli runs a command of bucketmesh and reads its answer. An exit code that says what was found (6) is no error.
func (w *world) cli(ctx context.Context, into any, args ...string) error {
	ctx, cancel := context.WithTimeout(ctx, w.within)
	defer cancel()
	args = slices.Concat(args, []string{"-f", w.stage.Document(), "--state", w.dsn})
	if into != nil {
		args = append(args, "--output", "json")
	}
	cmd := exec.CommandContext(ctx, w.options.cli, args...)
	cmd.Env = append(os.Environ(), "K_SINK="+w.broker, "HTTP_PROXY="+w.proxy)
	for _, name := range []string{"BUCKETMESH_E2E_ACCESS_KEY_ID", "BUCKETMESH_E2E_SECRET_ACCESS_KEY"} {
		if v, ok := w.stage.LookupEnv(name); ok {
			cmd.Env = append(cmd.Env, name+"="+v)
		}
	}
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if exit := (&exec.ExitError{}); errors.As(err, &exit) && exit.ExitCode() == broken {
		err = nil
	}
	if err != nil {
		return fmt.Errorf("bucketmesh %s: %w: %s", strings.Join(args[:2], " "), err, errs.String())
	}
	if into == nil {
		return nil
	}
	if err := json.Unmarshal(out, into); err != nil {
		return fmt.Errorf("read the answer of bucketmesh %s: %w", strings.Join(args[:2], " "), err)
	}
	return nil
}

// broken is the exit code for a log or books that are not what they should be.
const broken = 6
