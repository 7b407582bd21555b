// Package child runs the demo's servers, each in a process of its own: usually the running program, started once more. One
// process can't hold two of some servers, and none of them may take the others down.
//
// Start runs a command whose program calls Serve. A child serves until its standard input ends, which also happens when its
// parent is killed: servers never outlive who started them, and the last thing they do is to remove their data.
//
// Errors: Invalid for options that can't work; Unavailable for a server that did not start, with the end of what it printed.
// Concurrency: a Process may be used from many goroutines.
package child

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
)

// Spec says what a child serves. It reaches the child through its standard input, so that no secret is in a list of processes.
type Spec struct {
	Kind string `json:"kind"` // of the server: what Serve looks for
	Name string `json:"name"` // for messages
	Dir  string `json:"dir"`  // an empty folder of the server's own; it is removed when the server ends
	// Cleanup is a folder that is removed with Dir if the parent dies without a farewell; "": none.
	Cleanup string          `json:"cleanup"`
	Options json.RawMessage `json:"options"` // of the kind of server
}

// hello is what a child says on its standard output once it serves; all else that it prints goes to standard error.
type hello struct {
	Endpoint string `json:"endpoint"`
}

// farewell is what the parent says before it closes the pipe: the parent cleans up by itself.
const farewell = "bye\n"

// Process is a running child.
type Process struct {
	spec     Spec
	endpoint string
	cmd      *exec.Cmd
	stdin    io.WriteCloser
	log      *tail
	gone     chan struct{}
	err      error // of the process, once gone is closed
	stop     sync.Once
}

// Start runs cmd, whose program has to call Serve, and waits until the server serves. The caller has not set up cmd's
// standard streams. options are those of the kind of server, as JSON. ctx bounds the start only.
func Start(ctx context.Context, cmd *exec.Cmd, spec Spec, options any) (*Process, error) {
	if spec.Name == "" || spec.Dir == "" {
		return nil, errkind.New(errkind.Invalid, "start %s server: name and folder are required", spec.Kind)
	}
	var err error
	if spec.Options, err = json.Marshal(options); err != nil {
		return nil, errkind.New(errkind.Invalid, "start %s server %s: encode options: %w", spec.Kind, spec.Name, err)
	}
	p := &Process{spec: spec, cmd: cmd, log: &tail{limit: 4 << 10}, gone: make(chan struct{})}
	cmd.Stderr = p.log
	detach(cmd)
	if p.stdin, err = cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("start %s server %s: %w", spec.Kind, spec.Name, err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start %s server %s: %w", spec.Kind, spec.Name, err)
	}
	if err := cmd.Start(); err != nil {
		return nil, errkind.New(errkind.Unavailable, "start %s server %s: %w", spec.Kind, spec.Name, err)
	}
	greeted := make(chan hello, 1)
	go func() {
		var h hello
		reader := bufio.NewReader(stdout)
		if line, err := reader.ReadBytes('\n'); err == nil && json.Unmarshal(line, &h) == nil {
			greeted <- h
		}
		_, _ = io.Copy(io.Discard, reader) // Wait may only be called once the pipe is read
		p.err = cmd.Wait()
		endGroup(cmd.Process.Pid)
		close(p.gone)
	}()
	if err := json.NewEncoder(p.stdin).Encode(spec); err != nil {
		p.Close()
		return nil, p.failed(err)
	}
	select {
	case h := <-greeted:
		p.endpoint = h.Endpoint
		return p, nil
	case <-p.gone:
		p.Close()
		return nil, p.failed(p.err)
	case <-ctx.Done():
		p.Close()
		return nil, p.failed(ctx.Err())
	}
}

func (p *Process) failed(err error) error {
	if err == nil {
		err = errors.New("it ended at once")
	}
	return errkind.New(errkind.Unavailable, "start %s server %s: %w: %s", p.spec.Kind, p.spec.Name, err, p.log)
}

// Endpoint is the server's URL, http://127.0.0.1:PORT.
func (p *Process) Endpoint() string { return p.endpoint }

// PID is the child's process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Kill ends the server as a crash would. Its data stay until Close.
func (p *Process) Kill() error {
	if err := p.cmd.Process.Kill(); err != nil {
		return fmt.Errorf("kill %s server %s: %w", p.spec.Kind, p.spec.Name, err)
	}
	return nil
}

// Gone is closed when the server has ended, for whatever reason.
func (p *Process) Gone() <-chan struct{} { return p.gone }

// Log is the end of what the server printed.
func (p *Process) Log() string { return p.log.String() }

// patience is how long a server may take to end by itself.
const patience = 5 * time.Second

// Close ends the server, which removes its data. It may be called more than once.
func (p *Process) Close() {
	p.stop.Do(func() {
		_, _ = io.WriteString(p.stdin, farewell) // a child that is gone already needs none
		_ = p.stdin.Close()
		timer := time.NewTimer(patience)
		defer timer.Stop()
		select {
		case <-p.gone:
		case <-timer.C:
			_ = p.cmd.Process.Kill()
			<-p.gone
		}
		_ = os.RemoveAll(p.spec.Dir) // a server that ended by itself has done it
	})
}

// tail keeps the end of what is written to it.
type tail struct {
	mu    sync.Mutex
	buf   []byte
	limit int
}

// Write implements io.Writer.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, p...)
	if cut := len(t.buf) - t.limit; cut > 0 {
		t.buf = bytes.Clone(t.buf[cut:])
	}
	return len(p), nil
}

// String implements fmt.Stringer.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(string(t.buf))
}
