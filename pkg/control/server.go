package control

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/pipeline"
	"github.com/bucketmesh/bucketmesh/pkg/worker"
)

const (
	maxRequest    = 32 << 20 // a merged content, too
	progressEvery = 100 * time.Millisecond
	closeTimeout  = 5 * time.Second
)

// Server serves an API on a socket. Make one with Serve.
type Server struct {
	http   *http.Server
	path   string
	stop   context.CancelFunc
	served sync.WaitGroup
}

// Serve begins to serve. Whoever calls it must be the only user of the data directory: a socket that is there was left
// behind by a process that is dead.
func Serve(ctx context.Context, path string, api API) (*Server, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, errkind.New(errkind.Invalid, "remove stale control socket: %w", err)
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "unix", path)
	if err != nil {
		return nil, errkind.New(errkind.Invalid, "listen on control socket: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		_ = listener.Close() // the first error is what matters
		return nil, errkind.New(errkind.Invalid, "protect control socket: %w", err)
	}
	requests, stop := context.WithCancel(context.WithoutCancel(ctx))
	s := &Server{path: path, stop: stop, http: &http.Server{
		Handler: handler(api), ReadHeaderTimeout: closeTimeout,
		BaseContext: func(net.Listener) context.Context { return requests },
	}}
	s.served.Go(func() { _ = s.http.Serve(listener) }) // ends with Close; a client notices anything else
	return s, nil
}

// Close cancels what is under way and removes the socket.
func (s *Server) Close() error {
	s.stop()
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	err := s.http.Shutdown(ctx)
	if err != nil {
		err = errors.Join(err, s.http.Close())
	}
	s.served.Wait()
	if err != nil {
		return errkind.New(errkind.Unavailable, "close control socket: %w", err)
	}
	return nil
}

func handler(api API) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+pathStatus, func(w http.ResponseWriter, r *http.Request) {
		s, err := api.Status(r.Context())
		answer(w, s, err)
	})
	mux.HandleFunc("GET "+pathDeadLetters, func(w http.ResponseWriter, r *http.Request) {
		limit, err := strconv.Atoi(r.URL.Query().Get("limit"))
		if err != nil {
			answer(w, nil, errkind.New(errkind.Invalid, "read limit: %w", err))
			return
		}
		letters, err := api.DeadLetters(r.Context(), limit)
		answer(w, letters, err)
	})
	mux.HandleFunc("GET "+pathDeadLetter, func(w http.ResponseWriter, r *http.Request) {
		l, err := api.DeadLetter(r.Context(), r.URL.Query().Get("id"))
		answer(w, l, err)
	})
	for path, do := range map[string]func(context.Context, ...string) (int, error){pathReplay: api.Replay, pathDrop: api.Drop} {
		mux.HandleFunc("POST "+path, func(w http.ResponseWriter, r *http.Request) {
			if req, ok := asked[letters](w, r); ok {
				n, err := do(r.Context(), req.IDs...)
				answer(w, letterCount{n, failureOf(err)}, nil)
			}
		})
	}
	conflicts(mux, api)
	mux.HandleFunc("POST "+pathBackfill, func(w http.ResponseWriter, r *http.Request) { work(w, r, api.Backfill) })
	mux.HandleFunc("POST "+pathBrake, func(w http.ResponseWriter, r *http.Request) {
		if req, ok := asked[pipeline.BrakeRequest](w, r); ok {
			work(w, r, func(ctx context.Context, progress func(worker.Done)) (pipeline.Brake, error) {
				return api.Brake(ctx, req, progress)
			})
		}
	})
	mux.HandleFunc("POST "+pathUndelete, func(w http.ResponseWriter, r *http.Request) {
		if req, ok := asked[worker.Select](w, r); ok {
			work(w, r, func(ctx context.Context, progress func(worker.Done)) (pipeline.UndeleteResult, error) {
				return api.Undelete(ctx, req, progress)
			})
		}
	})
	return mux
}

// asked reads a request; if it can't, it answers.
func asked[T any](w http.ResponseWriter, r *http.Request) (q T, ok bool) {
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxRequest)).Decode(&q); err != nil {
		answer(w, nil, errkind.New(errkind.Invalid, "read request: %w", err))
		return q, false
	}
	return q, true
}

func answer(w http.ResponseWriter, body any, err error) {
	w.Header().Set("Content-Type", "application/json")
	if err != nil {
		w.WriteHeader(errkind.Of(err).HTTPStatus())
		body = failureOf(err)
	}
	_ = json.NewEncoder(w).Encode(body) // whoever asked is gone
}

// work answers with lines of progress while do runs, and with its result. It ends when whoever asked hangs up.
func work[P, R any](w http.ResponseWriter, r *http.Request, do func(ctx context.Context, progress func(P)) (R, error)) {
	w.Header().Set("Content-Type", "application/x-ndjson")
	out := json.NewEncoder(w)
	flush := http.NewResponseController(w)
	var last time.Time
	send := func(l line[P, R]) {
		_ = out.Encode(l) // whoever asked is gone: the request's context ends the work
		_ = flush.Flush()
	}
	result, err := do(r.Context(), func(p P) {
		if time.Since(last) >= progressEvery {
			last = time.Now()
			send(line[P, R]{Progress: &p})
		}
	})
	send(line[P, R]{Result: &result, Error: failureOf(err)})
}
