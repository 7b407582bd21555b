package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// Program is the built command line with its configuration. At most one "up" of it runs at a time.
type Program struct {
	binary string   // that is run as "up"
	cli    string   // that answers everything else
	group  string   // the configuration file
	data   string   // of the one process
	listen string   // where the normalizer listens
	state  []string // arguments that choose the state store
	args   []string // more arguments of "up"
	env    []string
	logs   string // folder

	client *http.Client
	starts int
	cmd    *exec.Cmd
	gone   chan struct{} // closed when cmd has ended
	log    *os.File
}

// Start runs "bucketmesh up", with more arguments if there are any, and does not wait until it is ready.
func (p *Program) Start(ctx context.Context, more ...string) error {
	p.starts++
	log, err := os.OpenFile(filepath.Join(p.logs, "up.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open log: %w", err)
	}
	fmt.Fprintf(log, "--- start %d at %s\n", p.starts, time.Now().Format(time.RFC3339Nano))
	args := slices.Concat([]string{"up", "-f", p.group, "--data", p.data, "--listen", p.listen}, p.state, p.args, more)
	p.cmd = exec.CommandContext(ctx, p.binary, args...)
	p.cmd.Env = append(os.Environ(), p.env...)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	if err := p.cmd.Start(); err != nil {
		return errors.Join(fmt.Errorf("start bucketmesh up: %w", err), log.Close())
	}
	p.log, p.gone = log, make(chan struct{})
	go func(cmd *exec.Cmd, gone chan struct{}) {
		_ = cmd.Wait() // how it ended is in its log; that it ended is what counts
		close(gone)
	}(p.cmd, p.gone)
	return nil
}

// Ready waits until the process says that it takes notifications.
func (p *Program) Ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 90*time.Second)
	defer cancel()
	for {
		select {
		case <-p.gone:
			return fmt.Errorf("bucketmesh up ended: %s; see %s", p.cmd.ProcessState, p.log.Name())
		default:
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.listen+"/readyz", nil)
		if err != nil {
			return err
		}
		resp, err := p.client.Do(req)
		if err == nil {
			if err = resp.Body.Close(); err == nil && resp.StatusCode == http.StatusOK {
				return nil
			}
			err = errors.Join(err, fmt.Errorf("status %s", resp.Status))
		}
		if ended := pause(ctx, 50*time.Millisecond); ended != nil {
			return fmt.Errorf("wait for bucketmesh up: %w (last: %w); see %s", ended, err, p.log.Name())
		}
	}
}

// Kill is kill -9, and waits until the process is gone.
func (p *Program) Kill() error {
	if p.cmd == nil {
		return nil
	}
	err := p.cmd.Process.Kill()
	if errors.Is(err, os.ErrProcessDone) {
		err = fmt.Errorf("bucketmesh up had ended by itself: %s; see %s", p.cmd.ProcessState, p.log.Name())
	}
	return p.reap(err)
}

// Gone is closed when the process has ended.
func (p *Program) Gone() <-chan struct{} { return p.gone }

// Died is how a process ended that was not asked to.
func (p *Program) Died() (*os.ProcessState, error) {
	<-p.gone
	state := p.cmd.ProcessState
	return state, p.reap(nil)
}

// Stop is SIGTERM, and waits until the process is gone.
func (p *Program) Stop(ctx context.Context) error {
	if p.cmd == nil {
		return nil
	}
	err := p.cmd.Process.Signal(os.Interrupt)
	select {
	case <-p.gone:
	case <-time.After(30 * time.Second):
		err = errors.Join(err, errors.New("bucketmesh up did not drain within 30 s"), p.cmd.Process.Kill())
	case <-ctx.Done():
		err = errors.Join(err, ctx.Err(), p.cmd.Process.Kill())
	}
	return p.reap(err)
}

func (p *Program) reap(err error) error {
	<-p.gone
	p.cmd = nil
	return errors.Join(err, p.log.Close())
}

// run carries out another command of the program. Its output goes to a log and is returned.
func (p *Program) run(ctx context.Context, limit time.Duration, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	log, err := os.OpenFile(filepath.Join(p.logs, args[0]+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	cmd := exec.CommandContext(ctx, p.cli, append(append(args, "-f", p.group, "--data", p.data), p.state...)...)
	cmd.Env = append(os.Environ(), p.env...)
	var out limitedBuffer
	cmd.Stdout, cmd.Stderr = io.MultiWriter(log, &out), log
	err = cmd.Run()
	if err != nil {
		err = fmt.Errorf("bucketmesh %s: %w; see %s", args[0], err, log.Name())
	}
	return out.bytes(), errors.Join(err, log.Close())
}

// limitedBuffer keeps the first 16 MiB.
type limitedBuffer struct {
	mu sync.Mutex
	b  []byte
}

func (l *limitedBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if room := 16<<20 - len(l.b); room > 0 {
		l.b = append(l.b, b[:min(room, len(b))]...)
	}
	return len(b), nil
}

func (l *limitedBuffer) bytes() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b
}
