package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"syscall"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/deadletter"
	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/pipeline"
	"github.com/bucketmesh/bucketmesh/pkg/scan"
	"github.com/bucketmesh/bucketmesh/pkg/worker"
)

// ErrNobody means that no process serves the socket.
var ErrNobody = errkind.New(errkind.NotFound, "no process serves the control socket")

const dialTimeout = 3 * time.Second

// Client asks the process at a socket. Make one with Dial.
type Client struct{ http *http.Client }

// Dial looks whether a process serves the socket. The error wraps ErrNobody if none does.
func Dial(ctx context.Context, path string) (*Client, error) {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{Timeout: dialTimeout}).DialContext(ctx, "unix", path)
	}
	c, err := dial(ctx, "", "")
	if errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ECONNREFUSED) {
		return nil, ErrNobody
	}
	if errors.Is(err, os.ErrPermission) {
		return nil, errkind.New(errkind.PermissionDenied, "dial control socket: %w: run it as the user of `bucketmesh up`", err)
	}
	if err != nil {
		return nil, errkind.New(errkind.Unavailable, "dial control socket: %w", err)
	}
	_ = c.Close() // it was only opened to see that somebody listens
	return &Client{&http.Client{Transport: &http.Transport{DialContext: dial}}}, nil
}

// Status implements API.
func (c *Client) Status(ctx context.Context) (s pipeline.Status, err error) {
	return s, c.ask(ctx, http.MethodGet, pathStatus, nil, &s)
}

// DeadLetters implements API.
func (c *Client) DeadLetters(ctx context.Context, limit int) (letters []deadletter.Letter, err error) {
	return letters, c.ask(ctx, http.MethodGet, pathDeadLetters+"?limit="+url.QueryEscape(strconv.Itoa(limit)), nil, &letters)
}

// DeadLetter implements API.
func (c *Client) DeadLetter(ctx context.Context, id string) (l deadletter.Letter, err error) {
	return l, c.ask(ctx, http.MethodGet, pathDeadLetter+"?id="+url.QueryEscape(id), nil, &l)
}

// Replay implements API.
func (c *Client) Replay(ctx context.Context, ids ...string) (int, error) {
	return c.count(ctx, pathReplay, ids)
}

// Drop implements API.
func (c *Client) Drop(ctx context.Context, ids ...string) (int, error) {
	return c.count(ctx, pathDrop, ids)
}

func (c *Client) count(ctx context.Context, path string, ids []string) (int, error) {
	var a letterCount
	if err := c.ask(ctx, http.MethodPost, path, letters{ids}, &a); err != nil {
		return 0, err
	}
	return a.Done, a.Error.err()
}

// Backfill implements API.
func (c *Client) Backfill(ctx context.Context, progress func(scan.Progress)) (scan.Progress, error) {
	return follow[scan.Progress, scan.Progress](ctx, c, pathBackfill, nil, progress)
}

// Brake implements API.
func (c *Client) Brake(ctx context.Context, r pipeline.BrakeRequest, progress func(worker.Done)) (pipeline.Brake, error) {
	return follow[worker.Done, pipeline.Brake](ctx, c, pathBrake, r, progress)
}

// Undelete implements API.
func (c *Client) Undelete(ctx context.Context, s worker.Select, progress func(worker.Done)) (pipeline.UndeleteResult, error) {
	return follow[worker.Done, pipeline.UndeleteResult](ctx, c, pathUndelete, s, progress)
}

// follow reads the lines of an answer to their end.
func follow[P, R any](ctx context.Context, c *Client, path string, request any, progress func(P)) (result R, err error) {
	body, err := c.send(ctx, http.MethodPost, path, request)
	if err != nil {
		return result, err
	}
	defer body.Close()
	lines := json.NewDecoder(body)
	for {
		var l line[P, R]
		if err := lines.Decode(&l); err != nil {
			return result, gone(ctx, err)
		}
		if l.Result != nil {
			return *l.Result, l.Error.err()
		}
		if progress != nil && l.Progress != nil {
			progress(*l.Progress)
		}
	}
}

func gone(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return errkind.New(errkind.Canceled, "ask running process: %w", ctx.Err())
	}
	return errkind.New(errkind.Unavailable, "ask running process: its answer broke off: %w", err)
}

func (c *Client) ask(ctx context.Context, method, path string, request, into any) error {
	body, err := c.send(ctx, method, path, request)
	if err != nil {
		return err
	}
	defer body.Close()
	if err := json.NewDecoder(body).Decode(into); err != nil {
		return gone(ctx, err)
	}
	return nil
}

func (c *Client) send(ctx context.Context, method, path string, request any) (io.ReadCloser, error) {
	text, err := json.Marshal(request)
	if err != nil {
		return nil, errkind.New(errkind.Invalid, "ask running process: %w", err)
	}
	r, err := http.NewRequestWithContext(ctx, method, "http://control"+path, bytes.NewReader(text))
	if err != nil {
		return nil, errkind.New(errkind.Invalid, "ask running process: %w", err)
	}
	a, err := c.http.Do(r)
	if err != nil {
		return nil, gone(ctx, err)
	}
	if a.StatusCode == http.StatusOK {
		return a.Body, nil
	}
	defer a.Body.Close()
	var f failure
	if err := json.NewDecoder(a.Body).Decode(&f); err != nil {
		return nil, errkind.New(errkind.Unknown, "ask running process: it answered %s", a.Status)
	}
	return nil, f.err()
}
