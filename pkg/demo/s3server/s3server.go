// Package s3server runs real S3 servers for the demo and for tests, without anything to install: versitygw as a library,
// on files in a folder, with conditional writes and notifications like the program itself.
//
// One process can hold one such server, so each is a child process: Start runs a command, usually the running program
// once more, which calls Serve. A child serves until its standard input ends, which also happens when its parent is killed:
// servers never outlive who started them, and the last thing they do is to remove their data.
//
// Errors: Invalid for options that can't work; Unavailable for a server that did not start, with the end of what it
// printed. Concurrency: a Server may be used from many goroutines.
package s3server

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

// Options of one server. They reach the child through its standard input, so that no secret is in a list of processes.
type Options struct {
	Name      string `json:"name"`      // for messages
	Dir       string `json:"dir"`       // an empty folder of the server's own; it is removed when the server ends
	AccessKey string `json:"accessKey"` // of the one account
	SecretKey string `json:"secretKey"`
	Bucket    string `json:"bucket"`  // made at the start
	Webhook   string `json:"webhook"` // URL for notifications; somebody must listen there already
	// Sidecar keeps attributes of objects in files of their own. Without it that is done where the file system can't do better.
	Sidecar bool `json:"sidecar"`
	// Cleanup is a folder that is removed with Dir if the parent dies without a farewell; "": none.
	Cleanup string `json:"cleanup"`
}

func (o Options) validate() error {
	switch {
	case o.Name == "" || o.Dir == "" || o.Bucket == "":
		return errkind.New(errkind.Invalid, "start s3 server: name, folder and bucket are required")
	case o.AccessKey == "" || o.SecretKey == "":
		return errkind.New(errkind.Invalid, "start s3 server %s: an access key and its secret are required", o.Name)
	}
	return nil
}

// hello is what a child says on its standard output once it serves; all else that it prints goes to standard error.
type hello struct {
	Endpoint string `json:"endpoint"`
}

// farewell is what the parent says before it closes the pipe: the parent cleans up by itself.
const farewell = "bye\n"

// Server is a running child.
type Server struct {
	Options

	endpoint string
	cmd      *exec.Cmd
	stdin    io.WriteCloser
	log      *tail
	gone     chan struct{}
	err      error // of the process, once gone is closed
	stop     sync.Once
}

// Start runs cmd, whose program has to call Serve, and waits until the server serves. The caller has not set up cmd's
// standard streams. ctx bounds the start only.
func Start(ctx context.Context, cmd *exec.Cmd, opts Options) (*Server, error) {
	if err := opts.validate(); err != nil {
		return nil, err
	}
	s := &Server{Options: opts, cmd: cmd, log: &tail{limit: 4 << 10}, gone: make(chan struct{})}
	cmd.Stderr = s.log
	detach(cmd)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start s3 server %s: %w", opts.Name, err)
	}
	s.stdin = stdin
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start s3 server %s: %w", opts.Name, err)
	}
	if err := cmd.Start(); err != nil {
		return nil, errkind.New(errkind.Unavailable, "start s3 server %s: %w", opts.Name, err)
	}
	greeted := make(chan hello, 1)
	go func() {
		var h hello
		reader := bufio.NewReader(stdout)
		if line, err := reader.ReadBytes('\n'); err == nil && json.Unmarshal(line, &h) == nil {
			greeted <- h
		}
		_, _ = io.Copy(io.Discard, reader) // Wait may only be called once the pipe is read
		s.err = cmd.Wait()
		close(s.gone)
	}()
	if err := json.NewEncoder(stdin).Encode(opts); err != nil {
		s.Close()
		return nil, s.failed(err)
	}
	select {
	case h := <-greeted:
		s.endpoint = h.Endpoint
		return s, nil
	case <-s.gone:
		return nil, s.failed(s.err)
	case <-ctx.Done():
		s.Close()
		return nil, s.failed(ctx.Err())
	}
}

func (s *Server) failed(err error) error {
	if err == nil {
		err = errors.New("it ended at once")
	}
	return errkind.New(errkind.Unavailable, "start s3 server %s: %w: %s", s.Name, err, s.log)
}

// Endpoint is the server's URL, http://127.0.0.1:PORT.
func (s *Server) Endpoint() string { return s.endpoint }

// PID is the child's process id.
func (s *Server) PID() int { return s.cmd.Process.Pid }

// Kill ends the server as a crash would. Its data stay until Close.
func (s *Server) Kill() error {
	if err := s.cmd.Process.Kill(); err != nil {
		return fmt.Errorf("kill s3 server %s: %w", s.Name, err)
	}
	return nil
}

// Gone is closed when the server has ended, for whatever reason.
func (s *Server) Gone() <-chan struct{} { return s.gone }

// Log is the end of what the server printed.
func (s *Server) Log() string { return s.log.String() }

// patience is how long a server may take to end by itself.
const patience = 5 * time.Second

// Close ends the server, which removes its data. It may be called more than once.
func (s *Server) Close() {
	s.stop.Do(func() {
		_, _ = io.WriteString(s.stdin, farewell) // a child that is gone already needs none
		_ = s.stdin.Close()
		timer := time.NewTimer(patience)
		defer timer.Stop()
		select {
		case <-s.gone:
		case <-timer.C:
			_ = s.cmd.Process.Kill()
			<-s.gone
		}
		_ = os.RemoveAll(s.Dir) // a server that ended by itself has done it
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
